// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/row.hpp"

/// Examples to rows: text to token ids, and ids held against what the model can take.
namespace tithe {

/// How contents become token ids. Prompt and completion are encoded apart, so that the border between them is
/// the same whatever the completion is. A model's tokenizer makes one; data that are ids already need only
/// `vocabulary_size`.
///
/// Ids that stand in the data are taken as they are: no special token is added to them, before or behind.
struct Encoding {
  using Encoder = std::function<TokenIds(std::string_view)>;

  /// Ids run from 0 to vocabulary_size − 1.
  std::int64_t vocabulary_size = 0;
  /// Text to ids with the special tokens that the tokenizer puts in front, such as a beginning of sequence.
  Encoder prompt{};
  /// Text to ids without any special token.
  Encoder completion{};
  /// Put behind every completion that was text and does not end with it, as a part of it: the model learns to
  /// stop.
  std::optional<std::int64_t> end_of_sequence{};
};

/// What to do with an example whose prompt and longest completion have more tokens than the model takes.
enum class TooLong : std::uint8_t {
  error,     ///< throw DataError at the first one
  drop,      ///< leave it out and report it
  truncate,  ///< cut the ends of its completions, end-of-sequence token included, and report it; never the
             ///< prompt
};

/// What the model and the user can take.
struct Limits {
  /// Of a prompt and its longest completion together: the model's positions, or fewer.
  Tokens max_length{};
  TooLong too_long = TooLong::drop;
  /// Whether pairs whose chosen equals their rejected completion may be drawn; they are reported in any case.
  bool keep_degenerate = false;
};

/// An example's rows, or none and the reason. Rows with an outcome other than usable are usable all the same.
struct Encoded {
  Rows rows{};
  Outcome outcome = Outcome::usable;
  std::string reason{};
};

namespace detail {

inline Location location_of(const Origin& origin, std::string_view field = {}) {
  return {.file = origin.file,
          .line = static_cast<std::size_t>(origin.line),
          .field = field.empty() ? std::string{} : in_quotes(field)};
}

/// Throws OptionError for an encoding or limits that no example could meet.
inline void require_valid(const Encoding& encoding, const Limits& limits) {
  if (encoding.vocabulary_size <= 0) {
    throw OptionError{{.who = "Encoding",
                       .required = "a positive vocabulary_size",
                       .found = std::to_string(encoding.vocabulary_size),
                       .fix = "Take it from the model's configuration"}};
  }
  if (limits.max_length <= Tokens{}) {
    throw OptionError{{.who = "Limits",
                       .required = "a positive max_length",
                       .found = std::to_string(limits.max_length.value()),
                       .fix = "Take the number of positions from the model's configuration"}};
  }
}

/// One content as ids. `field` is its name in the data, `end` what goes behind text.
inline TokenIds encode_content(const Content& content, const Encoding::Encoder& encoder,
                               std::optional<std::int64_t> end, const Encoding& encoding,
                               const Origin& origin, const std::string& field) {
  const auto* text = std::get_if<std::string>(&content);
  if (text != nullptr && !encoder) {
    throw DataError{{.who = "encode",
                     .required = "a tokenizer for text",
                     .found = "an Encoding without one",
                     .fix = "Set its prompt and completion encoders, or give \"" + field + "_ids\""},
                    location_of(origin, field)};
  }
  TokenIds ids = text != nullptr ? encoder(*text) : std::get<TokenIds>(content);
  if (text != nullptr && end && (ids.empty() || ids.back() != *end)) ids.push_back(*end);
  for (const std::int64_t id : ids) {
    if (id >= 0 && id < encoding.vocabulary_size) continue;
    throw DataError{{.who = "encode",
                     .required = "token ids from 0 to " + std::to_string(encoding.vocabulary_size - 1),
                     .found = std::to_string(id),
                     .fix = "Use the tokenizer that belongs to the model"},
                    location_of(origin, text != nullptr ? field : field + "_ids")};
  }
  return ids;
}

inline Encoded refuse(Outcome outcome, std::string reason) {
  return {.rows = {}, .outcome = outcome, .reason = std::move(reason)};
}

inline bool is_degenerate(const Row& row) {
  return row.completions.size() == 2 && row.completions[0] == row.completions[1];
}

/// Holds one row against the limits. `names` are those of its completions.
inline Encoded fit(Row row, std::span<const std::string_view> names, const Limits& limits,
                   const Origin& origin) {
  if (row.prompt.empty()) return refuse(Outcome::empty, "the prompt has no token");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (row.completions[i].empty()) {
      return refuse(Outcome::empty, std::string{names[i]} + " has no token");
    }
  }
  Encoded fitted;
  if (is_degenerate(row)) {
    fitted.outcome = Outcome::degenerate;
    fitted.reason = "chosen and rejected are the same tokens";
    if (!limits.keep_degenerate) return fitted;
  }
  if (row.longest_path() > limits.max_length) {
    std::string reason = "prompt " + std::to_string(row.prompt.size());
    for (std::size_t i = 0; i < names.size(); ++i) {
      reason +=
          (i == 0 ? " + " : " or ") + std::string{names[i]} + ' ' + std::to_string(row.completions[i].size());
    }
    reason += " tokens exceed " + std::to_string(limits.max_length.value());
    if (limits.too_long == TooLong::error) {
      throw DataError{{.who = "encode",
                       .required = "at most " + std::to_string(limits.max_length.value()) + " tokens",
                       .found = "\"" + origin.id + "\", where " + reason,
                       .fix = "Choose TooLong::drop or TooLong::truncate, or raise Limits::max_length"},
                      location_of(origin)};
    }
    const auto positions = static_cast<std::size_t>(limits.max_length.value());
    if (limits.too_long == TooLong::drop) return refuse(Outcome::too_long, std::move(reason));
    if (row.prompt.size() >= positions) {
      return refuse(Outcome::too_long, reason + ", and the prompt leaves no room for a completion");
    }
    for (TokenIds& completion : row.completions) {
      if (completion.size() > positions - row.prompt.size()) completion.resize(positions - row.prompt.size());
    }
    reason += "; completions cut to " + std::to_string(positions - row.prompt.size());
    if (is_degenerate(row)) {
      fitted.outcome = Outcome::degenerate;
      fitted.reason = "chosen and rejected are the same tokens once cut: " + reason;
      if (!limits.keep_degenerate) return fitted;
    } else {
      fitted.outcome = Outcome::truncated;
      fitted.reason = std::move(reason);
    }
  }
  fitted.rows.push_back(std::move(row));
  return fitted;
}

/// Encodes a prompt and its completions into one row, and holds it against the limits.
template <std::size_t K>
Encoded encode_row(const Content& prompt, const std::array<const Content*, K>& completions,
                   const std::array<std::string_view, K>& names, const Origin& origin,
                   const Encoding& encoding, const Limits& limits) {
  require_valid(encoding, limits);
  Row row{.prompt = encode_content(prompt, encoding.prompt, std::nullopt, encoding, origin, "prompt"),
          .completions = {},
          .id = origin.id};
  for (std::size_t i = 0; i < K; ++i) {
    row.completions.push_back(encode_content(*completions[i], encoding.completion, encoding.end_of_sequence,
                                             encoding, origin, std::string{names[i]}));
  }
  return fit(std::move(row), names, limits, origin);
}

}  // namespace detail

/// One row with one completion. This and its siblings throw DataError, with file and line, for ids outside
/// the vocabulary, for text without a tokenizer, and for what is too long under TooLong::error.
inline Encoded encode(const Demonstration& example, const Encoding& encoding, const Limits& limits) {
  return detail::encode_row<1>(example.prompt, {&example.completion}, {"completion"}, example.origin,
                               encoding, limits);
}

/// One row with one completion and its verdict.
inline Encoded encode(const LabeledCompletion& example, const Encoding& encoding, const Limits& limits) {
  Encoded encoded = detail::encode_row<1>(example.prompt, {&example.completion}, {"completion"},
                                          example.origin, encoding, limits);
  for (Row& row : encoded.rows) row.desirable = example.desirable;
  return encoded;
}

/// One row, chosen and rejected; or, as RowKind::labeled, two rows with a verdict each, of one label all the
/// same: both or neither are used.
inline Encoded encode(const PreferencePair& example, const Encoding& encoding, const Limits& limits,
                      RowKind kind = RowKind::pair) {
  Encoded encoded = detail::encode_row<2>(example.prompt, {&example.chosen, &example.rejected},
                                          {"chosen", "rejected"}, example.origin, encoding, limits);
  if (kind != RowKind::labeled || encoded.rows.empty()) return encoded;
  Row chosen = std::move(encoded.rows.front());
  Row rejected = chosen;
  chosen.completions.pop_back();
  rejected.completions.erase(rejected.completions.begin());
  rejected.desirable = false;
  encoded.rows = {std::move(chosen), std::move(rejected)};
  return encoded;
}

}  // namespace tithe
