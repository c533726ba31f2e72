// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// A schedule, a loss and a reference of one's own: written, held to the library's laws, composed, planned while compiling,
// and run on a small random model. It needs no files.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <string>

#include "tithe/core/random.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/report/table.hpp"
#include "tithe/testing/gradient_laws.hpp"
#include "tithe/testing/laws.hpp"
#include "tithe/testing/objective_laws.hpp"
#include "tithe/testing/reference_laws.hpp"

// docs: schedule
/// Demonstrations grow as the square root of the budget: 10 of 100, 100 of 10,000.
struct SquareRootSft {
  constexpr tithe::Plan plan(const tithe::Budget& budget) const {
    const std::int64_t most = budget.affordable(tithe::Stage::sft).value();
    std::int64_t root = 0;
    while ((root + 1) * (root + 1) <= most) ++root;
    return budget.split(tithe::Share{most == 0 ? 0 : static_cast<double>(root) / static_cast<double>(most)});
  }
  std::string name() const { return "SquareRootSft"; }
};

static_assert(SquareRootSft{}.plan(tithe::Budget::examples(10'000)) ==
              tithe::Plan{{tithe::Stage::sft, tithe::Examples{100}},
                          {tithe::Stage::preference, tithe::Examples{9'900}}});
// docs: end

// docs: loss
/// A pair is learned until its margin is 1/β, and then left alone: max(0, 1 − β[(log π_w − log ρ_w) − (log π_l − log ρ_l)])².
template <tithe::Real Beta = 0.1>
struct SquaredHinge {
  using Example = tithe::PreferencePair;
  static constexpr bool needs_reference = true;

  [[no_unique_address]] tithe::Knob<Beta> beta{};

  template <class T>
  T operator()(const tithe::PairLogProbs<T>& policy, const tithe::PairLogProbs<T>& reference) const {
    const T margin = (policy.chosen - reference.chosen) - (policy.rejected - reference.rejected);
    return square(clamp_min(1 - beta * margin, 0));
  }
  template <class T>
  tithe::PairRewards<T> rewards(const tithe::PairLogProbs<T>& policy,
                                const tithe::PairLogProbs<T>& reference) const {
    return tithe::log_ratio_rewards(beta, policy, reference);
  }
  std::string name() const { return tithe::policy_name("SquaredHinge", {beta}); }
};
// docs: end

// docs: reference
/// The model as supervised fine-tuning left it, in half the memory.
struct HalfPrecisionSft {
  static constexpr bool gives_reference = true;

  template <class Model>
  auto snapshot(const Model& model) const {
    if constexpr (requires { model.frozen_copy(at::kBFloat16); }) {
      return model.frozen_copy(at::kBFloat16);
    } else {
      return model.frozen_copy();  // a model that has one precision only
    }
  }
  std::string name() const { return "HalfPrecisionSft"; }
};
// docs: end

// docs: recipe
using Recipe = tithe::Pipeline<SquareRootSft, SquaredHinge<0.5>, HalfPrecisionSft>;

static_assert(Recipe::plan(tithe::Budget::examples(400)).count(tithe::Stage::sft) == tithe::Examples{20});
static_assert(
    !tithe::is_valid_v<SquareRootSft, SquaredHinge<>, tithe::NoReference>);  // it compares with a reference
// docs: end

namespace {

constexpr std::int64_t vocabulary = 12;  // 0 ends an answer

/// The right answer repeats the prompt's last id; a rejected one gives another.
tithe::Dataset task(std::int64_t demonstrations, std::int64_t pairs, tithe::Seed seed) {
  tithe::SplitMix64 random{seed};
  const auto id = [&] { return 1 + static_cast<std::int64_t>(random.below(vocabulary - 1)); };
  tithe::Dataset data;
  for (std::int64_t i = 0; i < demonstrations + pairs; ++i) {
    const tithe::TokenIds prompt{id(), id(), id(), id(), id()};
    const tithe::TokenIds right{prompt.back(), 0};
    const tithe::TokenIds wrong{prompt.back() % (vocabulary - 1) + 1, 0};
    if (i < demonstrations) {
      data.add(tithe::Demonstration{.prompt = prompt, .completion = right});
    } else {
      data.add(tithe::PreferencePair{.prompt = prompt, .chosen = right, .rejected = wrong});
    }
  }
  return data;
}

tithe::Decoder small_model() {
  const tithe::DecoderConfig config{.vocab_size = vocabulary,
                                    .hidden_size = 32,
                                    .intermediate_size = 64,
                                    .num_hidden_layers = 2,
                                    .num_attention_heads = 4,
                                    .num_key_value_heads = 2,
                                    .head_dim = 8,
                                    .max_position_embeddings = 16};
  return tithe::Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.3}, tithe::Seed{1});
}

}  // namespace

int main() try {
  // docs: laws
  // A SquaredHinge is 1 where policy and reference agree; bfloat16 keeps 8 bits. All lists are empty if all is well.
  const tithe::testing::Violations broken[] = {
      tithe::testing::schedule_laws(SquareRootSft{}),
      tithe::testing::loss_laws(SquaredHinge<0.5>{}, {.value_at_reference = 1}),
      tithe::testing::gradient_laws(SquaredHinge<0.5>{}),
      tithe::testing::objective_laws(SquaredHinge<0.5>{}),
      tithe::testing::reference_laws(HalfPrecisionSft{}, {.tolerance = 0.1}),
  };
  for (const auto& violations : broken) std::cout << violations.text();
  if (std::ranges::any_of(broken, [](const auto& violations) { return !violations.empty(); })) return 1;
  // docs: end

  tithe::RunOptions options{.held_out = task(100, 100, tithe::Seed{2})};
  for (tithe::StageOptions* stage : {&options.sft, &options.preference}) stage->learning_rate.peak = 3e-3;
  const auto report = Recipe::Trainer(small_model(), {.vocabulary_size = vocabulary}, tithe::Tokens{16})
                          .fit(task(100, 400, tithe::Seed{1}), tithe::Budget::examples(400), options);

  std::cout << report.pipeline << " keeps the laws and spent " << report.ledger.spent() << " labels.\n";
  tithe::Table figures{{{"held out", tithe::Align::left}, {"before"}, {"after"}}};
  for (std::size_t i = 0; i < report.after.size(); ++i) {
    figures.row({report.after[i].name, tithe::estimate_text(report.before[i]),
                 tithe::estimate_text(report.after[i])});
  }
  std::cout << figures.text();
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
