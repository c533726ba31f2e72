// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <charconv>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <utility>

#include "tithe/budget/budget.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/text.hpp"
#include "tithe/study/budget_json.hpp"
#include "tithe/study/cell_record.hpp"

/// The cells of a study before they are run: what each is, and the key of all that decides it.
namespace tithe {

/// Named facts that decide what comes of a cell besides its place in the grid, as an experiment tells them: digests of the
/// data and of the model's weights, settings. Two experiments with equal facts must do the same.
using Identity = std::map<std::string, std::string>;

/// One recipe, one budget, one seed, and one value of every other axis.
struct CellPoint {
  std::string key{};       ///< of everything that decides the cell, in hexadecimal digits
  std::string study{};     ///< the study's name; no part of the key
  std::string task{};      ///< what is trained and scored
  std::string pipeline{};  ///< the recipe's type by name
  std::map<std::string, std::string>
      axes{};  ///< "loss", "reference", … of the recipe, and the study's own axes
  Budget budget = Budget::examples(0);
  double sft_share = 0;  ///< of the budget, as the schedule asks for it
  Seed seed{};

  /// The value of an axis. Throws OptionError where there is none.
  [[nodiscard]] const std::string& axis(const std::string& name) const {
    if (const auto found = axes.find(name); found != axes.end()) return found->second;
    throw OptionError{{.who = "CellPoint::axis",
                       .required = "an axis of the study or of its recipe",
                       .found = in_quotes(name),
                       .fix = "Add it to the study's axes"}};
  }
  /// The same as a number. Throws OptionError for a value that is none.
  [[nodiscard]] double number(const std::string& name) const {
    const std::string& text = axis(name);
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error == std::errc{} && end == text.data() + text.size()) return number;
    throw OptionError{{.who = "CellPoint::number",
                       .required = "a number for the axis " + in_quotes(name),
                       .found = in_quotes(text),
                       .fix = "Write it as 0.1"}};
  }
};

/// The version of the records that this library writes. It is part of every key and of every record: what a version
/// measures differently, it does not mix with what another did.
inline constexpr std::int64_t cell_record_version = 1;

namespace detail {

/// Throws OptionError for text that is no UTF-8: what stands in its place in JSON could stand for another text too.
inline void require_utf8(const std::string& text) {
  if (is_valid_utf8(text)) return;
  throw OptionError{{.who = "cell_key",
                     .required = "identities, axes and names in UTF-8",
                     .found = in_quotes(text),
                     .fix = "Write them in UTF-8, or a digest of the bytes in hexadecimal digits"}};
}

}  // namespace detail

/// SHA-256 of all that decides a cell, as JSON with sorted keys. The study's name, and the order of axes, budgets and
/// seeds decide nothing. Throws OptionError for text that is no UTF-8.
[[nodiscard]] inline std::string cell_key(const CellPoint& point, const Identity& identity) {
  for (const std::string* text : {&point.task, &point.pipeline}) detail::require_utf8(*text);
  for (const auto* facts : {&point.axes, &identity}) {
    for (const auto& [name, value] : *facts) {
      detail::require_utf8(name);
      detail::require_utf8(value);
    }
  }
  const nlohmann::json decides{{"version", cell_record_version},
                               {"task", point.task},
                               {"pipeline", point.pipeline},
                               {"axes", point.axes},
                               {"budget", budget_identity(point.budget)},
                               {"seed", point.seed.value},
                               {"identity", identity}};
  return sha256(decides.dump()).hex();
}

/// The record of a cell before anything came of it.
[[nodiscard]] inline CellRecord record_of(const CellPoint& point) {
  return {.key = point.key,
          .study = point.study,
          .task = point.task,
          .pipeline = point.pipeline,
          .axes = point.axes,
          .budget = amount_of(point.budget),
          .unit = std::string{name(point.budget.unit())},
          .sft_share = point.sft_share,
          .seed = point.seed};
}

}  // namespace tithe
