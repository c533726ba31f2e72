// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/content_hash.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/row.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/prompt_walk.hpp"

/// Labels made on demand: completions sampled from the current model, and a verdict on each.
namespace tithe {

namespace detail {

/// A pair whose rejected completion was sampled for the prompt of this index.
inline Label sampled_pair(std::size_t index, const TokenIds& prompt, const TokenIds& chosen,
                          const TokenIds& rejected) {
  Origin origin{.id = "sampled#" + std::to_string(index + 1)};
  Row row{.prompt = prompt, .completions = {chosen, rejected}, .id = origin.id};
  const Digest content = content_hash(PreferencePair{prompt, chosen, rejected});
  return {.origin = std::move(origin), .content = content, .rows = {std::move(row)}};
}

}  // namespace detail

/// Preference pairs of the model's own completions: of K samples of a prompt the first with the highest score is chosen,
/// the first with the lowest rejected; a prompt whose samples all score alike is skipped. For the preference stage.
///
/// `score(index of the prompt, Generation)` is a number or a verdict, of which right is higher; it must be a function of
/// both.
/// Draws throw BudgetError when the prompts that a slice may try run out; cancelled by the options' stop token, they
/// give the labels that there are, none perhaps. A run with the same token then pays for none of them, and draws them all
/// when it goes on.
template <detail::Scores Score>
class SampledPairs {
 public:
  /// Throws OptionError for options out of range.
  SampledPairs(std::vector<TokenIds> prompts, Score score, SampledSourceOptions options = {})
      : walk_{"SampledPairs", std::move(prompts), std::move(score), std::move(options)} {}

  [[nodiscard]] std::optional<Examples> available(Stage stage) const {
    return stage == Stage::preference ? std::nullopt : std::optional{Examples{}};
  }
  [[nodiscard]] std::vector<Finding> findings(Stage /*stage*/) const { return {}; }

  template <LanguageModel M>
  [[nodiscard]] std::vector<Label> draw(const Slice& slice, Examples drawn, const M& model) const {
    const auto make = [&](std::size_t index, std::span<const Generation> completions,
                          const std::vector<double>& scores) -> std::optional<Label> {
      const auto best = std::ranges::max_element(scores);
      const auto worst = std::ranges::min_element(scores);
      if (!(*best > *worst)) return std::nullopt;
      const auto ids_of = [&](auto place) -> const TokenIds& {
        return completions[static_cast<std::size_t>(place - scores.begin())].ids;
      };
      return detail::sampled_pair(index, walk_.prompt(index), ids_of(best), ids_of(worst));
    };
    return walk_.draw(slice, drawn, model, make);
  }

 private:
  detail::PromptWalk<Score> walk_;
};

/// Preference pairs whose chosen completion is given with the prompt, such as a person's, and whose rejected one is the
/// model's own: of K samples the first that `verify` finds wrong; a prompt without one is skipped. The rest is as in
/// SampledPairs.
template <detail::Verifies Verify>
class SampledRejections {
 public:
  /// `chosen` holds a completion for each prompt. Throws OptionError for options out of range, and where it does not.
  SampledRejections(std::vector<TokenIds> prompts, std::vector<TokenIds> chosen, Verify verify,
                    SampledSourceOptions options = {})
      : chosen_{std::move(chosen)},
        walk_{"SampledRejections", std::move(prompts), std::move(verify), std::move(options)} {
    if (chosen_.size() == walk_.size()) return;
    throw OptionError{
        {.who = "SampledRejections",
         .required = "a chosen completion for each of " + std::to_string(walk_.size()) + " prompts",
         .found = std::to_string(chosen_.size()),
         .fix = {}}};
  }

  [[nodiscard]] std::optional<Examples> available(Stage stage) const {
    return stage == Stage::preference ? std::nullopt : std::optional{Examples{}};
  }
  [[nodiscard]] std::vector<Finding> findings(Stage /*stage*/) const { return {}; }

  template <LanguageModel M>
  [[nodiscard]] std::vector<Label> draw(const Slice& slice, Examples drawn, const M& model) const {
    const auto make = [&](std::size_t index, std::span<const Generation> completions,
                          const std::vector<double>& verdicts) -> std::optional<Label> {
      const auto wrong = static_cast<std::size_t>(std::ranges::find(verdicts, 0.0) - verdicts.begin());
      if (wrong == verdicts.size()) return std::nullopt;
      return detail::sampled_pair(index, walk_.prompt(index), chosen_[index], completions[wrong].ids);
    };
    return walk_.draw(slice, drawn, model, make);
  }

 private:
  std::vector<TokenIds> chosen_;
  detail::PromptWalk<Verify> walk_;
};

/// Completions of the model's own with a verdict, one of each prompt; the rest is as in SampledPairs.
template <detail::Verifies Verify>
class SampledCompletions {
 public:
  /// Throws OptionError for options out of range.
  SampledCompletions(std::vector<TokenIds> prompts, Verify verify, SampledSourceOptions options = {})
      : walk_{"SampledCompletions", std::move(prompts), std::move(verify), one_each(std::move(options))} {}

  [[nodiscard]] std::optional<Examples> available(Stage stage) const {
    return stage == Stage::preference ? std::nullopt : std::optional{Examples{}};
  }
  [[nodiscard]] std::vector<Finding> findings(Stage /*stage*/) const { return {}; }

  template <LanguageModel M>
  [[nodiscard]] std::vector<Label> draw(const Slice& slice, Examples drawn, const M& model) const {
    const auto make = [&](std::size_t index, std::span<const Generation> completions,
                          const std::vector<double>& verdicts) -> std::optional<Label> {
      const TokenIds& completion = completions.front().ids;
      Origin origin{.id = "sampled#" + std::to_string(index + 1)};
      Row row{.prompt = walk_.prompt(index),
              .completions = {completion},
              .desirable = verdicts.front() == 1,
              .id = origin.id};
      const Digest content = content_hash(LabeledCompletion{row.prompt, completion, row.desirable});
      return Label{.origin = std::move(origin), .content = content, .rows = {std::move(row)}};
    };
    return walk_.draw(slice, drawn, model, make);
  }

 private:
  static SampledSourceOptions one_each(SampledSourceOptions options) {
    options.samples_per_prompt = options.prompts_per_label = 1;
    return options;
  }

  detail::PromptWalk<Verify> walk_;
};

/// A source of its own for each stage, such as a Pool of demonstrations and SampledPairs.
template <class Sft, class Preference>
struct StageSources {
  Sft sft;
  Preference preference;

  [[nodiscard]] std::optional<Examples> available(Stage stage) const {
    return stage == Stage::sft ? sft.available(stage) : preference.available(stage);
  }
  [[nodiscard]] std::vector<Finding> findings(Stage stage) const {
    if (stage == Stage::sft) return sft.findings(stage);
    return preference.findings(stage);
  }
  template <class... Model>
  [[nodiscard]] std::vector<Label> draw(const Slice& slice, Examples drawn, Model&... model) {
    return slice.stage == Stage::sft ? sft.draw(slice, drawn, model...)
                                     : preference.draw(slice, drawn, model...);
  }
};

}  // namespace tithe
