// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tithe/budget/ledger.hpp"
#include "tithe/core/record.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/data/row.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/stage.hpp"

/// What a checkpoint's state.json is made of: `saved` writes, `…_of` reads. Numbers survive to the last bit.
namespace tithe {
namespace detail {

/// A number to the last bit; JSON has none for NaN and infinity, so these become words.
inline nlohmann::json saved(double number) {
  if (std::isfinite(number)) return number;
  return std::isnan(number) ? "nan" : number > 0 ? "inf" : "-inf";
}
inline double number_of(const nlohmann::json& json) {
  if (!json.is_string()) return json.get<double>();
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return json == "inf" ? infinity : json == "-inf" ? -infinity : std::numeric_limits<double>::quiet_NaN();
}

/// The digest that 64 hexadecimal digits stand for.
inline Digest digest_of(const std::string& digits) {
  Digest digest;
  for (std::size_t i = 0; i < digest.bytes.size(); ++i) {
    digest.bytes[i] = static_cast<std::uint8_t>(std::stoul(digits.substr(2 * i, 2), nullptr, 16));
  }
  return digest;
}

inline nlohmann::json saved(const StageState& state) {
  nlohmann::json means = nlohmann::json::array();
  for (const Means::Entry& entry : state.means.entries())
    means.push_back({entry.name, saved(entry.sum), entry.count});
  return {{"step", state.step},
          {"tokens", state.tokens.value()},
          {"seconds", state.seconds},
          {"pass", state.pass},
          {"means", means},
          {"loss", state.loss},
          {"running", {saved(state.running.mean), saved(state.running.count)}}};
}
inline StageState stage_state_of(const nlohmann::json& json) {
  StageState state{
      .step = json.at("step"),
      .tokens = Tokens{json.at("tokens").get<std::int64_t>()},
      .seconds = json.at("seconds"),
      .pass = json.at("pass"),
      .loss = json.at("loss"),
      .running = {.mean = number_of(json.at("running").at(0)), .count = number_of(json.at("running").at(1))}};
  for (const auto& mean : json.at("means")) {
    state.means.add(mean.at(0).get<std::string>(), number_of(mean.at(1)), mean.at(2));
  }
  return state;
}

/// An entry whose price follows from its tokens has one item more.
inline nlohmann::json saved(const LedgerEntry& entry) {
  nlohmann::json all{static_cast<int>(entry.stage),
                     entry.slice,
                     entry.origin.id,
                     entry.origin.file,
                     entry.origin.line,
                     entry.content.hex(),
                     static_cast<int>(entry.outcome),
                     entry.reason};
  if (entry.price != Money{}) all.push_back(entry.price.parts());
  return all;
}
inline LedgerEntry ledger_entry_of(const nlohmann::json& json) {
  return {.stage = static_cast<Stage>(json.at(0).get<int>()),
          .slice = json.at(1),
          .origin = {.id = json.at(2), .file = json.at(3), .line = json.at(4)},
          .content = digest_of(json.at(5).get<std::string>()),
          .outcome = static_cast<Outcome>(json.at(6).get<int>()),
          .reason = json.at(7),
          .price = Money::from_parts(json.size() > 8 ? json.at(8).get<std::int64_t>() : 0)};
}

inline nlohmann::json saved(const SliceReport& slice) {
  return {static_cast<int>(slice.stage), slice.labels.value(), slice.training.steps,
          slice.training.steps_done,     slice.training.rows,  slice.training.tokens.value(),
          slice.training.seconds,        slice.shared,         slice.compute.parts()};
}
inline SliceReport slice_report_of(const nlohmann::json& json) {
  return {.stage = static_cast<Stage>(json.at(0).get<int>()),
          .labels = Examples{json.at(1).get<std::int64_t>()},
          .training = {.steps = json.at(2),
                       .steps_done = json.at(3),
                       .rows = json.at(4),
                       .tokens = Tokens{json.at(5).get<std::int64_t>()},
                       .seconds = json.at(6)},
          .shared = json.size() > 7 && json.at(7).get<bool>(),  // state.json had no such items at first
          .compute = Compute::from_parts(json.size() > 8 ? json.at(8).get<std::int64_t>() : 0)};
}

inline nlohmann::json saved(const Estimate& estimate) {
  return {estimate.name, saved(estimate.value), saved(estimate.low), saved(estimate.high), estimate.samples};
}
inline Estimate estimate_of(const nlohmann::json& json) {
  return {.name = json.at(0),
          .value = number_of(json.at(1)),
          .low = number_of(json.at(2)),
          .high = number_of(json.at(3)),
          .samples = json.at(4)};
}

/// A row with tokens that are not predicted has one item more: a list of [begin, end] for every completion.
inline nlohmann::json saved(const Row& row) {
  nlohmann::json all{row.prompt, row.completions, row.desirable, row.id};
  if (row.unscored.empty()) return all;
  nlohmann::json unscored = nlohmann::json::array();
  for (const TokenSpans& spans : row.unscored) {
    unscored.push_back(nlohmann::json::array());
    for (const TokenSpan& span : spans) unscored.back().push_back({span.begin, span.end});
  }
  all.push_back(std::move(unscored));
  return all;
}
inline Row row_of(const nlohmann::json& json) {
  Row row{.prompt = json.at(0), .completions = json.at(1), .desirable = json.at(2), .id = json.at(3)};
  if (json.size() < 5) return row;
  for (const nlohmann::json& spans : json.at(4)) {
    TokenSpans& own = row.unscored.emplace_back();
    for (const nlohmann::json& span : spans) own.push_back({span.at(0), span.at(1)});
  }
  return row;
}

template <class T>
nlohmann::json saved_list(const std::vector<T>& items) {
  nlohmann::json list = nlohmann::json::array();
  for (const T& item : items) list.push_back(saved(item));
  return list;
}

}  // namespace detail

}  // namespace tithe
