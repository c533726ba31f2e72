// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What the page on recommendations shows besides examples/recommend.cpp. It compiles against tithe::core, and runs as a test.
#include <exception>
#include <iostream>
#include <optional>
#include <vector>

#include "tithe/allocation/pilots.hpp"
#include "tithe/allocation/predict.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/composition.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/recommended.hpp"

using namespace tithe;

namespace {

AllocationQuestion question() {
  return {.prices = {.demonstration = Money::of(2), .preference = Money::of(1)},
          .money = Money::of(12'000),
          .kind = MetricKind::verified,
          .base_score = 0.20,
          .runs = {{.demonstrations = Examples{500}, .score = 0.43}}};
}

void panels() {
  // docs: panels
  std::vector<Panel> panels = published_panels();
  panels.push_back({.name = "support answers, 8 B",
                    .kind = MetricKind::judged,
                    .runs = {{.score = 0.21},  // no labels: the base model
                             {.demonstrations = Examples{1'000}, .score = 0.52, .seeds = 3},
                             {.demonstrations = Examples{500}, .preferences = Examples{500}, .score = 0.58},
                             {.preferences = Examples{1'000}, .score = 0.33, .standard_error = 0.01}}});
  const Prior prior{panels};  // made once, asked often
  const Recommendation answer = recommend(prior, question());
  // docs: end
  std::cout << answer.panels << " panels, " << answer.plan.demonstrations.value() << " demonstrations\n";
}

void further() {
  // docs: pilots
  const Prior prior = published_prior();
  const std::vector<LabelCounts> affordable{{.demonstrations = 1'000},
                                            {.demonstrations = 500, .preferences = 500}};
  const std::vector<Pilot> runs = pilots(prior, question(), affordable);
  const std::optional<Pilot> next = next_pilot(runs, Money::of(2'500));
  if (next && next->worth_it) std::cout << "Run " << next->plan.demonstrations.value() << " first\n";
  // docs: end

  // docs: surface
  for (const Prediction& at : predict(prior, question(), affordable)) {
    std::cout << at.at.demonstrations << ", " << at.at.preferences << ": " << at.score << '\n';
  }
  // docs: end
}

void schedule() {
  // docs: schedule
  const Recommended<MetricKind::verified> informed{
      .base_score = 0.20, .runs = {{.demonstrations = Examples{500}, .score = 0.43}}};
  const auto policies = compose(informed, Dpo<0.1>{}, FrozenSft{});
  // Pipeline<Recommended<verified, base 0.2, 500+0 0.43>, Dpo<0.1>, FrozenSft>
  std::cout << policies.name() << '\n';
  // docs: end
}

}  // namespace

int main() try {
  panels();
  further();
  schedule();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
