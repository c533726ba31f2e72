// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
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
#include "tithe/data/encoding.hpp"
#include "tithe/data/row.hpp"

/// Examples to rows: contents as token ids, held against what the model can take.
namespace tithe {

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
    for (std::size_t i = 0; i < row.completions.size(); ++i) {
      row.cut_completion(i, positions - row.prompt.size());
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
  const auto* messages = std::get_if<Messages>(&prompt);
  for (std::size_t i = 0; i < K; ++i) {
    if (std::holds_alternative<Messages>(*completions[i]) == (messages != nullptr)) continue;
    throw DataError{
        {.who = "encode",
         .required = "messages both as prompt and as " + std::string{names[i]} + ", or in neither",
         .found = "them in one of the two",
         .fix = "Write the other as [{\"role\": …, \"content\": …}] too"},
        location_of(origin, names[i])};
  }
  Row row{.prompt = {}, .completions = {}, .id = origin.id};
  if (messages != nullptr) {
    for (std::size_t i = 0; i < K; ++i) {
      add_conversation(row, *messages, std::get<Messages>(*completions[i]), names[i], origin, encoding);
    }
    return fit(std::move(row), names, limits, origin);
  }
  row.prompt = encode_content(prompt, encoding.prompt, std::nullopt, encoding, origin, "prompt");
  for (std::size_t i = 0; i < K; ++i) {
    row.completions.push_back(encode_content(*completions[i], encoding.completion, encoding.end_of_sequence,
                                             encoding, origin, std::string{names[i]}));
  }
  return fit(std::move(row), names, limits, origin);
}

}  // namespace detail

/// One row with one completion. This and its siblings throw DataError, with file and line, for ids outside
/// the vocabulary, for text without a tokenizer, for messages without a chat format or out of turn, and for
/// what is too long under TooLong::error.
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
  const Row pair = std::move(encoded.rows.front());
  encoded.rows = {pair.with_only(0), pair.with_only(1)};
  encoded.rows.back().desirable = false;
  return encoded;
}

}  // namespace tithe
