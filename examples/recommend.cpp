// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// How to split twelve thousand dollars between demonstrations and preferences, after three small runs. It needs no model,
// no file and no LibTorch.
#include "tithe/allocation/recommend.hpp"

#include <exception>
#include <iomanip>
#include <iostream>
#include <string>

int main() try {
  // docs: question
  using tithe::Examples;
  const tithe::AllocationQuestion question{
      .prices = {.demonstration = tithe::Money::of(2), .preference = tithe::Money::of(1)},
      .money = tithe::Money::of(12'000),
      .kind = tithe::MetricKind::verified,  // a program checks the answers
      .base_score = 0.20,
      .runs = {{.demonstrations = Examples{500}, .preferences = Examples{0}, .score = 0.43},
               {.demonstrations = Examples{250}, .preferences = Examples{250}, .score = 0.40},
               {.demonstrations = Examples{100}, .preferences = Examples{900}, .score = 0.31}}};
  const tithe::Recommendation answer = tithe::recommend(question);
  // docs: end

  // docs: answer
  std::cout << std::fixed << std::setprecision(3) << "Buy " << answer.plan.demonstrations.value()
            << " demonstrations and " << answer.plan.preferences.value() << " pairs.\n"
            << "A run of that size scores " << answer.score << ", from " << answer.run_80.low << " to "
            << answer.run_80.high << " four times of five.\n"
            << "The best split of all may score " << answer.regret << " more. Against other rules:\n";
  for (const tithe::RuleComparison& rule : answer.rules) {
    std::cout << "  " << std::setw(6) << std::showpos << rule.gain << std::noshowpos << " over " << rule.name
              << (rule.no_difference ? ", which is no measurable difference" : "") << '\n';
  }
  for (const std::string& warning : answer.warnings) std::cout << "Note: " << warning << ".\n";
  // docs: end
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
