// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/study/cell_point.hpp"
#include "tithe/study/cell_record.hpp"

/// Records of cells as lines of JSON, and back: strictly, so that a field that nobody reads, or a figure that is no number,
/// is an error with its line and never a gap in a report.
namespace tithe {

/// Records keep the order in which a person reads them.
using CellJson = nlohmann::ordered_json;

namespace detail {

// JSON has no infinities and no NaN, and a divergence may well be infinite.
inline CellJson figure_json(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  return number;
}

inline CellJson text_json(const std::map<std::string, std::string>& texts) {
  CellJson json = CellJson::object();
  for (const auto& [name, text] : texts) json[repair_utf8(name)] = repair_utf8(text);
  return json;
}

inline CellJson estimate_json(const Estimate& estimate) {
  return {{"name", repair_utf8(estimate.name)},
          {"value", figure_json(estimate.value)},
          {"low", figure_json(estimate.low)},
          {"high", figure_json(estimate.high)},
          {"samples", estimate.samples}};
}

inline CellJson spending_json(const StageSpending& spending) {
  return {{"stage", repair_utf8(spending.stage)},
          {"planned", spending.planned.value()},
          {"paid", spending.paid.value()},
          {"price", figure_json(spending.price)},
          {"steps", spending.steps},
          {"shared", spending.shared},
          {"planned_operations", figure_json(spending.planned_operations)},
          {"operations", figure_json(spending.operations)}};
}

}  // namespace detail

/// A record as an object; text that is no UTF-8, as an error's may be, gets U+FFFD where it is not.
[[nodiscard]] inline CellJson to_json(const CellRecord& record) {
  CellJson json{{"version", cell_record_version},
                {"key", repair_utf8(record.key)},
                {"study", repair_utf8(record.study)},
                {"task", repair_utf8(record.task)},
                {"pipeline", repair_utf8(record.pipeline)},
                {"axes", detail::text_json(record.axes)},
                {"budget", detail::figure_json(record.budget)},
                {"unit", repair_utf8(record.unit)},
                {"sft_share", detail::figure_json(record.sft_share)},
                {"seed", record.seed.value},
                {"demonstrations", record.demonstrations.value()},
                {"preferences", record.preferences.value()},
                {"scores", CellJson::array()},
                {"stages", CellJson::array()},
                {"probes", CellJson::array()},
                {"error", repair_utf8(record.error)},
                {"seconds", detail::figure_json(record.seconds)},
                {"machine", detail::text_json(record.machine)}};
  for (const Estimate& score : record.scores) json["scores"].push_back(detail::estimate_json(score));
  for (const StageSpending& stage : record.stages) json["stages"].push_back(detail::spending_json(stage));
  for (const ProbeRecord& probe : record.probes) {
    json["probes"].push_back(
        {{"stage", repair_utf8(probe.stage)}, {"estimate", detail::estimate_json(probe.estimate)}});
  }
  return json;
}

/// What of a record is a function of its cell, as text: all but the name of the study that ran it, how long it took, on which
/// machine, and whether it was this cell that trained a stage that several share. Two runs of a cell have this in common.
[[nodiscard]] inline std::string reproducible_text(CellRecord record) {
  record.study.clear();
  record.seconds = 0;
  record.machine.clear();
  for (StageSpending& stage : record.stages) stage.shared = false;
  return to_json(record).dump();
}

namespace detail {

/// The fields of an object, each of which must be read.
class StrictObject {
 public:
  StrictObject(const Json& value, Location where) : object_{value, std::move(where), who} {}

  template <class T>
  [[nodiscard]] T require(const std::string& key) {
    read_.push_back(key);
    return object_.require<T>(key);
  }
  /// A count or a seed.
  [[nodiscard]] std::uint64_t natural(const std::string& key) {
    read_.push_back(key);
    const Json& value = object_.require_json(key);
    if (!value.is_number_unsigned()) object_.fail(key, "a whole number of 0 or more", describe(value));
    return value.get<std::uint64_t>();
  }
  [[nodiscard]] std::int64_t count(const std::string& key) {
    constexpr auto most = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const std::uint64_t number = natural(key);
    if (number > most) object_.fail(key, "a count of less than 2^63", std::to_string(number));
    return static_cast<std::int64_t>(number);
  }
  [[nodiscard]] double figure(const std::string& key) {
    read_.push_back(key);
    const Json& value = object_.require_json(key);
    if (value.is_number()) return value.get<double>();
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (value == "inf") return infinity;
    if (value == "-inf") return -infinity;
    if (value == "nan") return std::numeric_limits<double>::quiet_NaN();
    object_.fail(key, R"(a number, "inf", "-inf" or "nan")", describe(value));
  }
  [[nodiscard]] std::map<std::string, std::string> texts(const std::string& key) {
    read_.push_back(key);
    const JsonObject<StudyError> object = object_.object(key);
    std::map<std::string, std::string> texts;
    for (const auto& [name, value] : object.json().items()) texts[name] = object.require<std::string>(name);
    return texts;
  }
  [[nodiscard]] StrictObject object(const std::string& key) {
    read_.push_back(key);
    return StrictObject{object_.object(key)};
  }
  /// Calls `take` with each object of an array.
  template <class Take>
  void each(const std::string& key, Take&& take) {
    read_.push_back(key);
    for (const JsonObject<StudyError>& object : object_.objects(key)) {
      StrictObject fields{object};
      take(fields);
      fields.require_no_more();
    }
  }

  [[nodiscard]] const JsonObject<StudyError>& object() const { return object_; }
  /// Throws StudyError for a field that was not read.
  void require_no_more() const {
    for (const auto& [name, value] : object_.json().items()) {
      bool is_read = false;
      for (const std::string& known : read_) is_read = is_read || known == name;
      if (!is_read) object_.fail(name, "the fields of a record", "another one", "Remove it");
    }
  }

 private:
  static constexpr const char* who = "read_records";
  explicit StrictObject(JsonObject<StudyError> object) : object_{std::move(object)} {}

  JsonObject<StudyError> object_;
  std::vector<std::string> read_{};
};

inline Estimate estimate_from(StrictObject& fields) {
  const Estimate estimate{.name = fields.require<std::string>("name"),
                          .value = fields.figure("value"),
                          .low = fields.figure("low"),
                          .high = fields.figure("high"),
                          .samples = fields.count("samples")};
  if (estimate.low > estimate.high) {
    fields.object().fail("low", "an interval's low end, of " + std::to_string(estimate.high) + " or less",
                         std::to_string(estimate.low));
  }
  return estimate;
}

inline StageSpending spending_from(StrictObject& fields) {
  return {.stage = fields.require<std::string>("stage"),
          .planned = Examples{fields.count("planned")},
          .paid = Examples{fields.count("paid")},
          .price = fields.figure("price"),
          .steps = fields.count("steps"),
          .shared = fields.require<bool>("shared"),
          .planned_operations = fields.figure("planned_operations"),
          .operations = fields.figure("operations")};
}

/// Throws StudyError for what no cell can be.
inline void require_cell(const CellRecord& record, const JsonObject<StudyError>& fields) {
  if (record.key.empty()) fields.fail("key", "the digest that tells a cell from others", "none");
  if (!(std::isfinite(record.budget) && record.budget >= 0))
    fields.fail("budget", "a number from 0", std::to_string(record.budget));
  if (record.unit != "examples" && record.unit != "money" && record.unit != "compute")
    fields.fail("unit", R"("examples", "money" or "compute")", in_quotes(record.unit));
  if (!(record.sft_share >= 0 && record.sft_share <= 1))
    fields.fail("sft_share", "a share from 0 to 1", std::to_string(record.sft_share));
  if (!(std::isfinite(record.seconds) && record.seconds >= 0))
    fields.fail("seconds", "a number from 0", std::to_string(record.seconds));
}

}  // namespace detail

/// A record from a line of JSON. Throws StudyError, with file, line and field, for what is malformed, for a field that is
/// missing or not known, and for a record of another version.
[[nodiscard]] inline CellRecord cell_record_from(std::string_view line, const Location& where) {
  const Json json = parse_json<StudyError>(line, where, "read_records");
  detail::StrictObject fields{json, where};
  const std::int64_t version = fields.count("version");
  if (version != cell_record_version) {
    fields.object().fail("version", "records of version " + std::to_string(cell_record_version),
                         "version " + std::to_string(version),
                         "Read them with the tithe that wrote them, or run the study in a new folder");
  }
  CellRecord record{.key = fields.require<std::string>("key"),
                    .study = fields.require<std::string>("study"),
                    .task = fields.require<std::string>("task"),
                    .pipeline = fields.require<std::string>("pipeline"),
                    .axes = fields.texts("axes"),
                    .budget = fields.figure("budget"),
                    .unit = fields.require<std::string>("unit"),
                    .sft_share = fields.figure("sft_share"),
                    .seed = Seed{fields.natural("seed")},
                    .demonstrations = Examples{fields.count("demonstrations")},
                    .preferences = Examples{fields.count("preferences")}};
  fields.each("scores", [&](auto& score) { record.scores.push_back(detail::estimate_from(score)); });
  fields.each("stages", [&](auto& stage) { record.stages.push_back(detail::spending_from(stage)); });
  fields.each("probes", [&](auto& probe) {
    ProbeRecord found{.stage = probe.template require<std::string>("stage")};
    detail::StrictObject estimate = probe.object("estimate");
    found.estimate = detail::estimate_from(estimate);
    estimate.require_no_more();
    record.probes.push_back(std::move(found));
  });
  record.error = fields.require<std::string>("error");
  record.seconds = fields.figure("seconds");
  record.machine = fields.texts("machine");
  fields.require_no_more();
  detail::require_cell(record, fields.object());
  return record;
}

/// A record's line, without its end. Throws StudyError for one that `cell_record_from` would refuse, so that nobody writes
/// what nobody can read, and for one that it would read as another.
[[nodiscard]] inline std::string record_line(const CellRecord& record) {
  const std::string line = to_json(record).dump();
  const CellRecord read = cell_record_from(line, {});
  if (read.key == record.key && read.axes.size() == record.axes.size()) return line;
  throw StudyError{{.who = "record_line",
                    .required = "a key, and names of axes that differ, in UTF-8",
                    .found = "others in cell " + read.key,
                    .fix = "Write them in UTF-8"}};
}

}  // namespace tithe
