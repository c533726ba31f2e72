// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tithe/loss/concept.hpp"
#include "tithe/loss/modifier.hpp"

/// A sum of losses as one loss.
namespace tithe {

/// A part of Combined: a loss on pairs, and what it counts. `Weighted<Dpo<0.1>, 0.8>`; from values,
/// `Weighted{Dpo<dynamic>{beta}, weight}`.
template <class L, Real Weight = 1>
struct Weighted {
  using Loss = L;

  [[no_unique_address]] L loss{};
  /// 0 or more; a part of weight 0 is computed and not learnt from.
  [[no_unique_address]] Knob<Weight> weight{};

  [[nodiscard]] std::string name() const { return policy_name("Weighted", {loss.name(), weight}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    const std::string_view broken = broken_requirement_of(loss);
    if (!broken.empty()) return broken;
    return weight >= 0 && weight <= std::numeric_limits<double>::max() ? "" : "weights of 0 or more";
  }
};
template <class L>
Weighted(L, double) -> Weighted<L, dynamic>;
template <class L>
Weighted(L) -> Weighted<L>;

namespace detail {

/// The loss of a part, or void where something else stands.
template <class Part>
struct LossOfPart {
  using type = void;
};
template <class L, Real weight>
struct LossOfPart<Weighted<L, weight>> {
  using type = L;
};
template <class Part>
using loss_of_part = typename LossOfPart<Part>::type;

/// How many of Combined's couplings are a loss's own: a T counts one, an array its size, no coupling none.
template <class Coupling>
inline constexpr std::size_t coupling_size = 1;
template <class T, std::size_t n>
inline constexpr std::size_t coupling_size<std::array<T, n>> = n;

template <class L, class T>
using CouplingOf = decltype(couple_rows<L, T>(
    std::declval<const L&>(), std::declval<const PairLogProbs<T>&>(), std::declval<const PairLogProbs<T>&>(),
    std::declval<const MismatchedLogProbs<T>&>()));

template <class L>
consteval std::size_t couplings_of() {
  if constexpr (Coupled<L>) {
    return coupling_size<CouplingOf<L, Column>>;
  } else {
    return 0;
  }
}

/// The part whose rewards a combination tells: the first that compares with a reference, or else the first.
template <class... L>
consteval std::size_t leading_part() {
  std::size_t place = 0;
  for (const bool compares : {NeedsReference<L>...}) {
    if (compares) return place;
    ++place;
  }
  return 0;
}

}  // namespace detail

/// Σ_k w_k L_k, a weighted sum of losses on pairs:
/// `Combined<Weighted<Dpo<0.1>, 0.8>, Weighted<BcoPair<0.1>, 0.2>, Weighted<SftTerm, 1>>`.
///
/// Use it to hold what one loss lets go. The example is mixed preference optimisation as TRL has it (MPO, Wang
/// et al. 2024, whose weights these are), as lists `loss_type` and `loss_weights`; `Combined<Weighted<Dpo<0.1>>,
/// Weighted<SftTerm, 1>>` is RPO (Pang et al. 2024) in the same way: both papers divide each completion by its
/// own length in the supervised term, SftTerm by the batch's mean. The loss of a pair is the sum of its parts', so the mean
/// over pairs is the sum of the means. Each part keeps its own knobs, modifiers and coupling. Rewards are those
/// of the first part that compares with a reference, or else of the first.
///
/// With numbers chosen at run time, parts are given as values:
/// `combine(Weighted{Dpo<dynamic>{beta}, 0.8}, Weighted{SftTerm{}, 1.0})`.
template <class... Parts>
struct Combined {
  using Example = PreferencePair;
  static constexpr Misfit misfit = [] {
    if (sizeof...(Parts) == 0 || (std::is_void_v<detail::loss_of_part<Parts>> || ...)) return Misfit::parts;
    Misfit first = Misfit::none;
    ((first = first == Misfit::none ? misfit_of_wrapped<detail::loss_of_part<Parts>>() : first), ...);
    return first;
  }();
  static constexpr bool needs_reference = (NeedsReference<detail::loss_of_part<Parts>> || ...);
  static constexpr bool couples_rows = (Coupled<detail::loss_of_part<Parts>> || ...);
  static constexpr bool reads_log_ratios = (ReadsLogRatios<detail::loss_of_part<Parts>> && ...);
  static constexpr bool divides_by_length = (DividesByLength<detail::loss_of_part<Parts>> || ...);
  static constexpr Statistics reads = (Statistics{} | ... | statistics_of<detail::loss_of_part<Parts>>());

  [[no_unique_address]] std::tuple<Parts...> parts{};

  /// With a reference and what couples the rows, if any part has them.
  template <class T, class... Coupling>
    requires(needs_reference)
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
                             const Coupling&... coupling) const {
    return total(policy, reference, coupling...);
  }
  template <class T, class... Coupling>
    requires(!needs_reference)
  [[nodiscard]] T operator()(const PairLogProbs<T>& policy, const Coupling&... coupling) const {
    return total(policy, policy, coupling...);
  }

  /// What couples the rows of each part that couples any, one after the other.
  template <class T>
    requires(couples_rows)
  [[nodiscard]] auto couple(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    std::array<T, first_coupling(sizeof...(Parts))> all{};
    std::size_t next = 0;
    const auto append = [&]<class L>(const L& loss) {
      if constexpr (Coupled<L>) {
        const detail::CouplingOf<L, T> own = couple_rows<L, T>(loss, policy, reference, {});
        if constexpr (std::same_as<decltype(own), const T>) {
          all[next++] = own;
        } else {
          for (const T& each : own) all[next++] = each;
        }
      }
    };
    std::apply([&](const Parts&... part) { (append(part.loss), ...); }, parts);
    return all;
  }
  template <class T>
    requires(couples_rows && !needs_reference)
  [[nodiscard]] auto couple(const PairLogProbs<T>& policy) const {
    return couple(policy, policy);
  }

  template <class T, class... Reference>
  [[nodiscard]] PairRewards<T> rewards(const PairLogProbs<T>& policy, const Reference&... reference) const {
    constexpr std::size_t leading = detail::leading_part<detail::loss_of_part<Parts>...>();
    const auto& loss = std::get<leading>(parts).loss;
    if constexpr (NeedsReference<std::remove_cvref_t<decltype(loss)>>) {
      return loss.rewards(policy, reference...);
    } else {
      return loss.rewards(policy);
    }
  }

  [[nodiscard]] std::string name() const {
    return std::apply([](const Parts&... part) { return policy_name("Combined", {part.name()...}); }, parts);
  }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    std::string_view broken;
    const auto look_at = [&](const auto& part) {
      if (broken.empty()) broken = part.broken_requirement();
    };
    const bool learns = std::apply(
        [&](const Parts&... part) {
          (look_at(part), ...);
          return ((part.weight > 0) || ...);
        },
        parts);
    return broken.empty() && !learns ? "a weight above 0" : broken;
  }

 private:
  // Where the couplings of a part begin; past the last part, how many there are.
  static consteval std::size_t first_coupling(std::size_t part) {
    const std::array<std::size_t, sizeof...(Parts)> sizes{
        detail::couplings_of<detail::loss_of_part<Parts>>()...};
    std::size_t first = 0;
    for (std::size_t before = 0; before < part; ++before) first += sizes.at(before);
    return first;
  }

  template <class T, class... Coupling>
  [[nodiscard]] T total(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
                        const Coupling&... coupling) const {
    return [&]<std::size_t... part>(std::index_sequence<part...>) -> T {
      return (... + (std::get<part>(parts).weight * losses<part>(policy, reference, coupling...)));
    }(std::index_sequence_for<Parts...>{});
  }

  template <std::size_t place, class T, class... Coupling>
  [[nodiscard]] T losses(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
                         const Coupling&... coupling) const {
    const auto& loss = std::get<place>(parts).loss;
    using L = std::remove_cvref_t<decltype(loss)>;
    if constexpr (Coupled<L>) {
      return row_losses(loss, policy, reference, own_of<place, detail::CouplingOf<L, T>>(coupling...));
    } else {
      return row_losses(loss, policy, reference);
    }
  }

  // A part's own of all couplings.
  template <std::size_t place, class Own, class T, std::size_t n>
  [[nodiscard]] static Own own_of(const std::array<T, n>& all) {
    if constexpr (std::same_as<Own, T>) {
      return all[first_coupling(place)];
    } else {
      Own own{};
      std::copy_n(all.begin() + first_coupling(place), own.size(), own.begin());
      return own;
    }
  }
};

/// Combined from values: `combine(Weighted{Dpo<dynamic>{beta}, 0.8}, Weighted{SftTerm{}, 1.0})`.
template <class... L, Real... weight>
[[nodiscard]] constexpr Combined<Weighted<L, weight>...> combine(const Weighted<L, weight>&... parts) {
  return {.parts = {parts...}};
}

}  // namespace tithe
