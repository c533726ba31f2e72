// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/units.hpp"

/// The unit that a model sees: one prompt and its completions, as token ids.
namespace tithe {

/// Tokens [begin, end) of a longer list.
struct TokenSpan {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  friend bool operator==(const TokenSpan&, const TokenSpan&) = default;
  friend auto operator<=>(const TokenSpan&, const TokenSpan&) = default;
};

using TokenSpans = std::vector<TokenSpan>;

/// One prompt with k completions. Supervised fine-tuning has k = 1, a pair k = 2 (chosen first), a labelled completion
/// k = 1; the mismatched completion that KTO's baseline needs makes another row, since it changes every epoch.
///
/// The prompt has at least one token, since the first token of a completion is predicted from the prompt's last.
struct Row {
  TokenIds prompt;
  std::vector<TokenIds> completions;
  /// The verdict on completions[0], where there is one.
  bool desirable = true;
  /// The id of the example that the row was made of (Origin::id), for messages and for the ledger.
  std::string id{};
  /// The tokens of each completion that are read but never predicted, such as what the user said between two answers:
  /// in order, apart, and none at a completion's end. Empty where all are predicted; otherwise a list a completion.
  std::vector<TokenSpans> unscored{};

  /// The tokens of a completion that are not predicted.
  [[nodiscard]] std::span<const TokenSpan> unscored_of(std::size_t completion) const {
    return unscored.empty() ? std::span<const TokenSpan>{} : std::span{unscored.at(completion)};
  }
  /// How many tokens of a completion are predicted.
  [[nodiscard]] std::int64_t scored_tokens(std::size_t completion) const {
    std::int64_t scored = std::ssize(completions.at(completion));
    for (const TokenSpan& span : unscored_of(completion)) scored -= span.end - span.begin;
    return scored;
  }
  /// Adds a completion, and what of it is not predicted.
  void add_completion(TokenIds completion, TokenSpans not_predicted = {}) {
    if (!not_predicted.empty() || !unscored.empty()) {
      unscored.resize(completions.size());
      unscored.push_back(std::move(not_predicted));
    }
    completions.push_back(std::move(completion));
  }
  /// Cuts a completion to at most `length` tokens, and at a token that is predicted.
  void cut_completion(std::size_t completion, std::size_t length) {
    TokenIds& tokens = completions.at(completion);
    if (tokens.size() <= length) return;
    tokens.resize(length);
    if (unscored.empty()) return;
    TokenSpans& spans = unscored.at(completion);
    std::erase_if(spans, [&](const TokenSpan& span) { return span.begin >= std::ssize(tokens); });
    if (spans.empty() || spans.back().end < std::ssize(tokens)) return;
    tokens.resize(static_cast<std::size_t>(spans.back().begin));
    spans.pop_back();
  }
  /// The row of one of the completions alone.
  [[nodiscard]] Row with_only(std::size_t completion) const {
    Row row{.prompt = prompt, .completions = {}, .desirable = desirable, .id = id};
    const auto spans = unscored_of(completion);
    row.add_completion(completions.at(completion), TokenSpans(spans.begin(), spans.end()));
    return row;
  }

  /// Prompt and completions together, each once.
  [[nodiscard]] Tokens tokens() const {
    std::size_t sum = prompt.size();
    for (const TokenIds& completion : completions) sum += completion.size();
    return Tokens{static_cast<std::int64_t>(sum)};
  }
  /// The prompt and its longest completion: the positions that the model must have.
  [[nodiscard]] Tokens longest_path() const {
    std::size_t longest = 0;
    for (const TokenIds& completion : completions) longest = std::max(longest, completion.size());
    return Tokens{static_cast<std::int64_t>(prompt.size() + longest)};
  }
};

using Rows = std::vector<Row>;

/// The digest of some rows as the model sees them: their tokens and verdicts, in their order.
inline Digest digest_of(const Rows& rows) {
  Sha256 hash;
  const auto add = [&](const TokenIds& ids) {
    hash.update(std::uint64_t{ids.size()});
    for (const std::int64_t id : ids) hash.update(static_cast<std::uint64_t>(id));
  };
  for (const Row& row : rows) {
    add(row.prompt);
    hash.update(std::uint64_t{row.completions.size()}).update(std::uint64_t{row.desirable});
    for (const TokenIds& completion : row.completions) add(completion);
    for (std::size_t i = 0; i < row.unscored.size(); ++i) {
      const TokenSpans& spans = row.unscored[i];
      if (spans.empty()) continue;
      hash.update("unscored").update(std::uint64_t{i}).update(std::uint64_t{spans.size()});
      for (const TokenSpan& span : spans) {
        hash.update(static_cast<std::uint64_t>(span.begin)).update(static_cast<std::uint64_t>(span.end));
      }
    }
  }
  return hash.finish();
}

/// What one kind of example becomes: how many rows, of how many completions.
enum class RowKind : std::uint8_t {
  demonstration,  ///< one row, one completion
  pair,           ///< one row, chosen and rejected
  labeled,        ///< one row a verdict: a labelled completion gives one, a preference pair two
};

}  // namespace tithe
