// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/row.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/generate.hpp"

/// What probes are asked on: fixed held-out prompts, their gold answers, and the model that training began with.
namespace tithe {

/// What a token of an answer is there for.
enum class TokenGroup : std::uint8_t {
  format,   ///< how an answer is put: marks, separators, the words of a template
  content,  ///< what it says
  neither,  ///< counted in neither group
};
using TokenGroups = std::vector<TokenGroup>;

/// The group of each token of an answer to a row's prompt, the model's own or the gold one.
using TokenGrouping = std::function<TokenGroups(const Row& row, std::span<const std::int64_t> answer)>;

/// The grouping by ids alone: tokens with one of these are format, all others content.
[[nodiscard]] inline TokenGrouping format_ids(TokenIds ids) {
  return [ids = std::move(ids)](const Row&, std::span<const std::int64_t> answer) {
    TokenGroups groups;
    for (const std::int64_t token : answer) {
      const bool is_format = std::ranges::find(ids, token) != ids.end();
      groups.push_back(is_format ? TokenGroup::format : TokenGroup::content);
    }
    return groups;
  };
}

/// What a set of probes is made of.
struct ProbeOptions {
  /// A prompt and one completion each, the gold answer; nothing is ever trained on them.
  Rows gold{};
  /// Without it, figures that are told apart by group are those of all tokens together.
  TokenGrouping group{};
  /// Whether an answer to a row's prompt has the form that the task asks for. Without it there is no such figure.
  std::function<bool(const Row& row, const Generation& answer)> in_format{};
  /// How every model's own answers are sampled, one a prompt: by the same random numbers.
  GenerationOptions sampling{};
  /// Of how many tokens the n-grams are whose repetition is counted.
  std::int64_t ngram = 4;
  /// What is in memory at a time.
  PassLimits pass{.rows = 256, .tokens = Tokens{8'192}};
  HeadOptions head{};
  Bootstrap bootstrap{};
};

namespace detail {

[[noreturn]] inline void fail_probe_set(std::string required, std::string found, std::string fix) {
  throw OptionError{{"ProbeSet", std::move(required), std::move(found), std::move(fix)}};
}

/// The groups of an answer's tokens; none where there is no grouping. Throws OptionError unless there is one a token.
inline TokenGroups groups_of(const ProbeOptions& options, const Row& row,
                             std::span<const std::int64_t> answer) {
  if (!options.group) return {};
  TokenGroups groups = options.group(row, answer);
  if (groups.size() != answer.size()) {
    fail_probe_set("a group for each of " + std::to_string(answer.size()) + " tokens of an answer to row \"" +
                       row.id + '"',
                   std::to_string(groups.size()), "Return one TokenGroup a token");
  }
  return groups;
}

/// Throws OptionError for options that no probe can be asked with.
inline void require_probe_options(const ProbeOptions& options) {
  options.sampling.validate();
  require_one_sample(options.sampling, "ProbeSet", "Probes take one answer to each prompt");
  if (options.gold.empty()) fail_probe_set("held-out prompts", "none", "Give each with its gold answer");
  if (options.ngram < 1) fail_probe_set("an ngram of 1 or more", std::to_string(options.ngram), {});
  for (const Row& row : options.gold) {
    if (row.completions.size() == 1 && row.scored_tokens(0) > 0) continue;
    fail_probe_set("one gold answer, of one token at least, in row \"" + row.id + '"',
                   row.completions.size() == 1 ? "an empty one" : std::to_string(row.completions.size()),
                   "Encode demonstrations");
  }
}

/// Of each gold answer the groups of the tokens that are predicted.
inline std::vector<TokenGroups> gold_groups(const ProbeOptions& options) {
  std::vector<TokenGroups> all;
  for (const Row& row : options.gold) {
    TokenGroups groups = groups_of(options, row, row.completions.front());
    const std::span<const TokenSpan> unscored = row.unscored_of(0);
    for (auto span = unscored.rbegin(); span != unscored.rend() && !groups.empty(); ++span) {
      groups.erase(groups.begin() + span->begin, groups.begin() + span->end);
    }
    all.push_back(std::move(groups));
  }
  return all;
}

}  // namespace detail

/// Prompts, gold answers and a base model, made once and asked of every model. A handle, as models are: copies share all.
template <LanguageModel Base>
class ProbeSet {
 public:
  /// `base` must stay as it is while models are trained: a `frozen_copy()`. Throws OptionError for a row that has not one
  /// completion, for a grouping that misses tokens, and for options that cannot be.
  ProbeSet(Base base, ProbeOptions options) : base_{std::move(base)} {
    detail::require_probe_options(options);
    std::vector<TokenGroups> groups = detail::gold_groups(options);
    options_ = std::make_shared<const ProbeOptions>(std::move(options));
    gold_groups_ = std::make_shared<const std::vector<TokenGroups>>(std::move(groups));
  }

  [[nodiscard]] const Base& base() const { return base_; }
  [[nodiscard]] const ProbeOptions& options() const { return *options_; }
  /// The groups of the predicted tokens of each gold answer; lists without any where there is no grouping.
  [[nodiscard]] const std::vector<TokenGroups>& gold_groups() const { return *gold_groups_; }

 private:
  Base base_;
  std::shared_ptr<const ProbeOptions> options_;
  std::shared_ptr<const std::vector<TokenGroups>> gold_groups_;
};

}  // namespace tithe
