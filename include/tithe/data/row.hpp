// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/units.hpp"

/// The unit that a model sees: one prompt and its completions, as token ids.
namespace tithe {

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
