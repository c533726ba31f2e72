// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Prints what the compiler says of every combination of policies, for scripts/combinations: a line for each with its four
// slots and the rule that it breaks, then every modifier on every loss. Fields are separated by tabs; "-" is an empty slot.
#include <array>
#include <cstddef>
#include <iostream>
#include <string>
#include <vector>

#include "every_policy.hpp"
#include "tithe/composition.hpp"
#include "tithe/schedule/recommended.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// The facts of a list's policies, as the rules see them, and behind them those of an empty slot, which break none.
template <class... P>
consteval auto facts_of(Types<P...>) {
  return std::array{detail::facts<P>..., detail::PolicyFacts{}};
}
template <class... P>
std::vector<std::string> names_of(Types<P...>) {
  return {P{}.name()..., "-"};
}

// It reads Eigen, which takes seconds, so that only the file that asks of schedules lists it.
using Schedules = decltype(EverySchedule{} + Types<Recommended<MetricKind::verified>>{});

constexpr auto losses = facts_of(EveryLoss{});
constexpr auto references = facts_of(EveryReference{});
constexpr auto supervised = facts_of(EverySupervised{});
constexpr std::size_t cells = losses.size() * references.size() * supervised.size();

/// What the rules say of a schedule with every loss, reference and supervised loss, the last running fastest.
consteval std::array<Misuse, cells> all_with(const detail::PolicyFacts& schedule) {
  std::array<Misuse, cells> misuses{};
  std::size_t cell = 0;
  for (const auto& loss : losses) {
    for (const auto& reference : references) {
      for (const auto& own : supervised) {
        misuses[cell++] = detail::misuse_of({schedule, loss, reference, own});
      }
    }
  }
  return misuses;
}

void print(const std::string& schedule, const std::array<Misuse, cells>& misuses) {
  auto misuse = misuses.begin();
  for (const std::string& loss : names_of(EveryLoss{})) {
    for (const std::string& reference : names_of(EveryReference{})) {
      for (const std::string& own : names_of(EverySupervised{})) {
        std::cout << "pipeline\t" << schedule << '\t' << loss << '\t' << reference << '\t' << own << '\t'
                  << static_cast<int>(*misuse++) << '\n';
      }
    }
  }
}

template <class Modified>
void print_modifier(const char* modifier, const std::string& loss) {
  std::cout << "modifier\t" << modifier << '\t' << loss << '\t'
            << static_cast<int>(detail::facts<Modified>.misuse) << '\n';
}

}  // namespace

int main() {
  for_each_type(Schedules{}, []<class Schedule>() {
    constexpr auto misuses = all_with(detail::facts<Schedule>);
    print(Schedule{}.name(), misuses);
  });
  constexpr auto without_schedule = all_with({});
  print("-", without_schedule);
  for_each_type(EveryLoss{}, []<class Loss>() {
    const std::string loss = Loss{}.name();
    print_modifier<WithDivergence<Loss, JensenShannon>>("WithDivergence", loss);
    print_modifier<LengthDesensitized<Loss, 0.5>>("LengthDesensitized", loss);
    print_modifier<PolicyLengthDesensitized<Loss, 0.5>>("PolicyLengthDesensitized", loss);
    print_modifier<Wpo<Loss>>("Wpo", loss);
    print_modifier<Combined<Weighted<Loss, 1>, Weighted<SftTerm, 1>>>("Combined", loss);
  });
}
