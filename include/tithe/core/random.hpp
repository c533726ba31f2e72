// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <numeric>
#include <utility>
#include <vector>

/// Random numbers that are a function of a seed alone, the same with every compiler and standard library.
namespace tithe {

/// The seed of everything random in one run or call.
struct Seed {
  std::uint64_t value = 0;
  friend constexpr auto operator<=>(const Seed&, const Seed&) = default;
};

/// SplitMix64 (Steele, Lea, Flood 2014): 64 bits of state, 64 bits a draw; one object a use, never shared.
class SplitMix64 {
 public:
  constexpr explicit SplitMix64(Seed seed) : state_{seed.value} {}

  /// The next 64 random bits.
  constexpr std::uint64_t operator()() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  /// Uniform in [0, 1), with 53 random bits.
  constexpr double uniform() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }

  /// Uniform in {0, …, bound − 1}, without bias: draws past the last whole multiple of `bound` are drawn again.
  constexpr std::uint64_t below(std::uint64_t bound) {
    const std::uint64_t excess = (0 - bound) % bound;  // 2⁶⁴ mod bound
    std::uint64_t draw = (*this)();
    while (draw < excess) draw = (*this)();
    return draw % bound;
  }

 private:
  std::uint64_t state_;
};

/// A seed for one purpose of a run, e.g. `derive(seed, {stage, epoch})`: unrelated to those of its neighbours.
constexpr Seed derive(Seed seed, std::initializer_list<std::uint64_t> purpose) {
  for (const std::uint64_t part : purpose) {
    SplitMix64 mix{Seed{seed.value ^ SplitMix64{Seed{part}}()}};
    seed.value = mix();
  }
  return seed;
}

/// A uniformly random order of {0, …, n − 1} (Fisher and Yates).
inline std::vector<std::size_t> permutation(std::size_t n, Seed seed) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  SplitMix64 random{seed};
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

}  // namespace tithe
