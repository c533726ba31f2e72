// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/generate.hpp"

/// How labels are made on demand: prompts are walked along, and completions of each sampled and judged.
namespace tithe {

/// What one draw took, for observers.
struct SampledDraw {
  Examples labels{};
  /// Prompts up to and including the one that gave the last label; `skipped` of them gave none.
  std::int64_t prompts = 0;
  std::int64_t skipped = 0;
  /// Completions sampled for these prompts, and how many of them were verified right.
  std::int64_t completions = 0;
  std::int64_t right = 0;
};

struct SampledSourceOptions {
  /// How completions are sampled; its seed is the source's.
  GenerationOptions generation{};
  /// Completions of a prompt, of which SampledPairs takes two; the number in `generation` stays 1.
  std::int64_t samples_per_prompt = 4;
  /// A slice may try so many prompts for each of its labels on average, the first slice from the first prompt on; so
  /// that where a slice begins is a function of the labels drawn before it, and no prompt serves two of them.
  std::int64_t prompts_per_label = 8;
  /// Called at the end of each draw.
  std::function<void(const SampledDraw&)> on_draw{};
};

namespace detail {

/// The verdict on a completion of the prompt of this index.
template <class Verify>
concept Verifies = std::predicate<const Verify&, std::size_t, const Generation&>;
/// The score of a completion of the prompt of this index. A verdict is one: 1 or 0.
template <class Score>
concept Scores =
    std::regular_invocable<const Score&, std::size_t, const Generation&> &&
    std::convertible_to<std::invoke_result_t<const Score&, std::size_t, const Generation&>, double>;

/// The walk over prompts that all sampled sources share.
template <Scores Score>
class PromptWalk {
 public:
  PromptWalk(std::string who, std::vector<TokenIds> prompts, Score score, SampledSourceOptions options)
      : who_{std::move(who)},
        prompts_{std::move(prompts)},
        score_{std::move(score)},
        options_{std::move(options)} {
    options_.generation.validate();
    require_one_sample(options_.generation, who_, "Set SampledSourceOptions::samples_per_prompt instead");
    const auto require = [&](std::int64_t value, std::int64_t least, const std::string& name) {
      if (value >= least) return;
      throw OptionError{{who_, name + " of at least " + std::to_string(least), std::to_string(value), {}}};
    };
    require(options_.samples_per_prompt, 1, "samples_per_prompt");
    require(options_.prompts_per_label, 1, "prompts_per_label");
    require(options_.generation.max_new_tokens.value(), 1, "max_new_tokens");
  }

  /// Labels from `make(index of the prompt, its completions, their scores)`, which gives one or nothing.
  template <LanguageModel M, class Make>
  std::vector<Label> draw(const Slice& slice, Examples drawn, const M& model, const Make& make) const {
    if (slice.stage != Stage::preference) {
      throw BudgetError{{.who = who_,
                         .required = "a slice of the preference stage",
                         .found = "one of the " + std::string{name(slice.stage)} + " stage",
                         .fix = "Take the others from a Pool: StageSources joins the two"}};
    }
    const auto wanted = static_cast<std::size_t>(slice.count.value());
    const std::size_t begin = first_prompt(drawn);
    const std::size_t end = first_prompt(drawn + slice.count);
    std::vector<Label> labels;
    SampledDraw facts;
    for (std::size_t next = begin; labels.size() < wanted;) {
      if (next == end) fail_exhausted(slice, labels.size(), begin, end);
      const std::size_t count = std::min(prompts_at_once(wanted - labels.size()), end - next);
      const std::vector<Generation> all = sample(model, next, count);
      for (std::size_t i = 0; i < count && labels.size() < wanted; ++i) {
        const std::span completions = std::span{all}.subspan(i * samples(), samples());
        if (std::ranges::find(completions, FinishReason::cancelled, &Generation::finish) !=
            completions.end()) {
          return labels;
        }
        std::vector<double> scores;
        for (const Generation& one : completions) scores.push_back(score_of(next + i, one));
        facts.prompts += 1;
        facts.completions += std::ssize(completions);
        facts.right += std::ranges::count_if(scores, [](double score) { return score >= 1; });
        if (std::optional<Label> label = make(next + i, completions, scores)) {
          labels.push_back(*std::move(label));
        } else {
          facts.skipped += 1;
        }
      }
      next += count;
    }
    facts.labels = slice.count;
    if (options_.on_draw) options_.on_draw(facts);
    return labels;
  }

  [[nodiscard]] const TokenIds& prompt(std::size_t index) const { return prompts_[index]; }
  [[nodiscard]] std::size_t size() const { return prompts_.size(); }

 private:
  [[nodiscard]] std::size_t samples() const { return static_cast<std::size_t>(options_.samples_per_prompt); }
  /// Where a slice begins that follows so many labels.
  [[nodiscard]] std::size_t first_prompt(Examples drawn) const {
    const auto size = std::ssize(prompts_);
    const std::int64_t share = options_.prompts_per_label;
    return static_cast<std::size_t>(drawn.value() > size / share ? size : drawn.value() * share);
  }
  /// A batch full of completions, though not many more prompts than labels are missing. It changes nothing but speed:
  /// what is sampled for a prompt is a function of the seed and its index.
  [[nodiscard]] std::size_t prompts_at_once(std::size_t missing) const {
    const auto batch = static_cast<std::size_t>(options_.generation.batch_size) / samples();
    return std::clamp(2 * missing, std::size_t{1}, std::max(std::size_t{1}, batch));
  }

  template <LanguageModel M>
  std::vector<Generation> sample(const M& model, std::size_t first, std::size_t count) const {
    GenerationOptions options = options_.generation;
    options.first_index = first;
    options.samples_per_prompt = options_.samples_per_prompt;
    return generate(model, std::span{prompts_}.subspan(first, count), options);
  }

  [[nodiscard]] double score_of(std::size_t index, const Generation& completion) const {
    const auto score = static_cast<double>(score_(index, completion));
    if (!std::isnan(score)) return score;
    const std::string row = "prompt " + std::to_string(index);
    throw NonFiniteError{{.who = who_,
                          .required = "scores that can be compared",
                          .found = "NaN for a completion of " + row,
                          .fix = {}},
                         {row}};
  }

  [[noreturn]] void fail_exhausted(const Slice& slice, std::size_t found, std::size_t begin,
                                   std::size_t end) const {
    throw BudgetError{{.who = who_,
                       .required = "prompts for " + std::to_string(slice.count.value()) + " labels",
                       .found = std::to_string(found) + " after all of this slice's " +
                                std::to_string(end - begin) + " prompts, from " + std::to_string(begin) +
                                " on, of " + std::to_string(prompts_.size()) + " in all",
                       .fix = end < prompts_.size()
                                  ? "Raise prompts_per_label or samples_per_prompt"
                                  : "Give more prompts, raise samples_per_prompt, or plan fewer labels"}};
  }

  std::string who_;
  std::vector<TokenIds> prompts_;
  Score score_;
  SampledSourceOptions options_;
};

}  // namespace detail

}  // namespace tithe
