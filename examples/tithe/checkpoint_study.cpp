// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "evaluate.hpp"
#include "pipelines.hpp"
#include "prepared_run.hpp"
#include "study.hpp"
#include "study_probes.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/text.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/cell_of_run.hpp"
#include "train_flags.hpp"
#include "train_record.hpp"

namespace program {
namespace {

/// A number as a flag takes it, and as people read it.
std::string text_of(double number) {
  std::string text = tithe::fixed_text(number, 9);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

/// "NAME=VALUE" as its two parts; VALUE is empty where there is none.
std::pair<std::string, std::string> parts_of(const std::string& text) {
  const std::size_t equals = text.find('=');
  return {text.substr(0, equals), equals == text.npos ? std::string{} : text.substr(equals + 1)};
}

/// Settings of `tithe train` that a study gives each cell, or reads once for all of them.
void require_variable(const std::string& name, const std::vector<std::string>& train) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> not_here{
      {{"budget", "give --budgets"},
       {"sft-fraction", "give --shares"},
       {"loss", "give --losses"},
       {"seed", "give --seeds"},
       {"model", "a study is of one model"},
       {"adapter", "a study is of one model"},
       {"eval", "a study has one set of held-out examples"},
       {"demonstrations", "a study is of one set of labels"},
       {"preferences", "a study is of one set of labels"},
       {"out", "cells have no folders of their own"}}};
  const auto found = std::ranges::find(not_here, name, [](const auto& one) { return one.first; });
  if (found != not_here.end()) throw UsageError{"--vary " + name + ": " + std::string{found->second}};
  const auto is_it = [&](const std::string& argument) {
    return argument == "--" + name || argument.starts_with("--" + name + '=');
  };
  if (std::ranges::any_of(train, is_it))
    throw UsageError{"--vary " + name + ": --" + name + " is given too, for all cells"};
}

std::vector<std::string> split_by_comma(const std::string& text) {
  std::vector<std::string> values;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    values.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return values;
}

/// One digest of some files' names and bytes.
std::string digest_of_files(std::vector<std::filesystem::path> paths) {
  std::ranges::sort(paths);
  tithe::Sha256 hash;
  for (const std::filesystem::path& path : paths) {
    const auto file = tithe::MappedFile::open<tithe::FileError>(path, study_who);
    hash.update(path.filename().string()).update(tithe::sha256(file.text()).hex());
  }
  return hash.finish().hex();
}

std::string digest_of_folder(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{folder, ignored}) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return digest_of_files(std::move(files));
}

}  // namespace

tithe::Budget StudyCommand::budget_of(double amount) const {
  if (price_demonstration == 0) return tithe::Budget::examples(static_cast<std::int64_t>(amount));
  return tithe::Budget::money(tithe::Money::of(amount),
                              {.demonstration = tithe::Money::of(price_demonstration),
                               .preference = tithe::Money::of(price_preference)});
}

CheckpointStudy::CheckpointStudy(const StudyCommand& command)
    : command_{command}, evaluate_{evaluation_of(command.evaluate)} {
  if (command_.task.empty()) command_.task = evaluate_.data.stem().string();
  const std::vector<Setting> all = settings();
  if (all.empty()) throw UsageError{"--budgets is required: what each cell may spend"};
  const TrainSettings first = possible_settings_of(cell_of(all.front(), command.seeds.front()));
  for (const std::string& given : command.evaluate) {
    const auto [name, value] = parts_of(given);
    if (name != "data") digests_["evaluate " + name] += value + '\n';  // --stop may stand there several times
  }
  digests_["model"] = digest_of_folder(first.model.folder);
  if (!first.model.adapter.empty()) digests_["adapter"] = digest_of_folder(first.model.adapter);
  digests_["demonstrations"] = digest_of_files(first.demonstrations);
  digests_["preferences"] = digest_of_files(first.preferences);
  if (command.probes > 0) digests_["probes"] = std::to_string(command.probes);
  if (!first.held_out.empty()) digests_["held_out"] = digest_of_files(first.held_out);
  digests_["evaluation data"] = digest_of_files({evaluate_.data});
  cells_.push_back(base_cell(first.model));
  for (const Setting& setting : all) {
    for (const std::uint64_t seed : command_.seeds) {
      tithe::CellPoint cell = cell_of(setting, seed);
      cell.key = tithe::cell_key(cell, identity_of(possible_settings_of(cell)));
      cells_.push_back(std::move(cell));
    }
  }
}

std::vector<CheckpointStudy::Setting> CheckpointStudy::settings() const {
  std::vector<Setting> settings(1);
  const auto cross = [&](const auto& values, const auto& set) {
    std::vector<Setting> longer;
    for (const Setting& setting : settings) {
      for (const auto& value : values) set(longer.emplace_back(setting), value);
    }
    settings = std::move(longer);
  };
  cross(command_.budgets, [](Setting& setting, double amount) { setting.amount = amount; });
  for (const std::string& axis : command_.vary) {
    const auto [name, values] = parts_of(axis);
    if (name.empty() || values.empty())
      throw UsageError{"--vary " + axis + ": write NAME=VALUE,VALUE, as in sft-lr=1e-4,1e-3"};
    require_variable(name, command_.train);
    std::vector<std::string> list = split_by_comma(values);
    if (!settings.empty() && settings.front().axes.contains(name))
      throw UsageError{"--vary " + name + " is given twice"};
    if (std::set<std::string>{list.begin(), list.end()}.size() < list.size())
      throw UsageError{"--vary " + axis + " names a value twice"};
    cross(list, [&, key = name](Setting& setting, const std::string& value) { setting.axes[key] = value; });
  }
  cross(command_.losses, [](Setting& setting, const std::string& loss) { setting.loss = loss; });
  cross(command_.shares, [](Setting& setting, double share) { setting.share = share; });
  return settings;
}

tithe::CellPoint CheckpointStudy::base_cell(const ModelSettings& model) const {
  tithe::CellPoint cell{.study = command_.name, .task = command_.task, .pipeline = "base"};
  cell.seed = tithe::Seed{command_.seeds.front()};
  tithe::Identity identity = digests_;
  for (const char* labels : {"demonstrations", "preferences", "held_out"}) identity.erase(labels);
  identity["dtype"] = model.dtype;
  if (model.device != "cpu") identity["device"] = model.device;
  identity["chat_format"] = model.chat_format.value_or("");
  cell.key = tithe::cell_key(cell, identity);
  return cell;
}

tithe::CellPoint CheckpointStudy::cell_of(const Setting& setting, std::uint64_t seed) const {
  tithe::CellPoint cell{.study = command_.name,
                        .task = command_.task,
                        .axes = setting.axes,
                        .budget = command_.budget_of(setting.amount),
                        .sft_share = setting.share,
                        .seed = tithe::Seed{seed}};
  cell.axes["loss"] = setting.loss;
  return cell;
}

TrainSettings CheckpointStudy::settings_of(const tithe::CellPoint& cell) const {
  std::vector<std::string> arguments = command_.train;
  const auto give = [&](const std::string& name, const std::string& value) {
    arguments.push_back("--" + name + '=' + value);
  };
  if (cell.budget.is_money()) {
    give("budget-money", text_of(tithe::Money::from_parts(cell.budget.amount()).units()));
    give("price-demonstration", text_of(command_.price_demonstration));
    give("price-preference", text_of(command_.price_preference));
  } else {
    give("budget", std::to_string(cell.budget.amount()));
  }
  give("sft-fraction", text_of(cell.sft_share));
  for (const auto& [name, value] : cell.axes) give(name, value);
  give("seed", std::to_string(cell.seed.value));
  give("out", (command_.out / "cell").string());
  return train_settings_of(std::move(arguments));
}

TrainSettings CheckpointStudy::possible_settings_of(const tithe::CellPoint& cell) const {
  try {
    return settings_of(cell);
  } catch (const UsageError& error) {
    std::string_view what = error.what();
    if (what.starts_with(": ")) what.remove_prefix(2);  // CLI11's mark of an option without a name
    throw UsageError{"cells with " + setting_text(cell.axes) + ": " + std::string{what}};
  }
}

tithe::Identity CheckpointStudy::identity_of(const TrainSettings& settings) const {
  // Where files lie and how a run is got through decides nothing; what is in them does.
  tithe::RecordJson json = settings_json(settings, tithe::Tokens{0});
  for (const char* key : {"model", "adapter", "demonstrations", "preferences", "eval", "checkpoint",
                          "threads", "cache_folder", "save_merged"}) {
    json.erase(key);
  }
  tithe::Identity identity = digests_;
  identity["settings"] = json.dump();
  return identity;
}

void CheckpointStudy::check(const std::vector<tithe::CellPoint>& cells) const {
  require_scorable(evaluate_);
  // Of every setting one cell for each kind of label: data, model and policies are the same in the others.
  std::set<std::tuple<std::map<std::string, std::string>, bool, bool>> checked;
  for (const tithe::CellPoint& cell : cells) {
    if (cell.key == base().key) continue;
    if (!checked.emplace(cell.axes, cell.sft_share > 0, cell.sft_share < 1).second) continue;
    try {
      const PreparedRun prepared = prepare(settings_of(cell), [](const std::string&) {});
      if (command_.probes == 0 || checked.size() > 1) continue;
      const tithe::Tokens positions{trained_model(prepared.settings).config.positions()};
      (void)probe_rows(scoring(prepared.settings.model), command_.probes, prepared.encoding, positions);
    } catch (const tithe::BudgetError&) {  // of this cell alone, whose record will say so
    }
  }
}

tithe::CellRecord CheckpointStudy::run(const tithe::CellPoint& cell, const tithe::CellRun& run) const {
  tithe::CellRecord record = tithe::record_of(cell);
  if (cell.key == base().key) {
    TrainSettings settings = settings_of(cells_.at(1));
    if (command_.probes == 0)
      settings.lora.rank = 0;  // a fresh adapter changes nothing but norms of gradients
    const tithe::Pretrained pretrained = load(settings);
    if (command_.probes > 0)
      record.probes = probes_of(pretrained, scoring(settings.model), command_.probes, run.stop)("base");
    score(settings.model, pretrained, run, record);
    return record;
  }
  const PreparedRun prepared = prepare(settings_of(cell), [](const std::string&) {});
  const tithe::Pretrained pretrained = load(prepared.settings);
  tithe::RunOptions options = prepared.settings.run;
  if (options.too_long == tithe::TooLong::error)
    options.too_long = tithe::TooLong::drop;  // `prepare` refused it
  options.stop = run.stop;
  options.shared_stages = run.parts.folder();
  AskProbes ask;
  if (command_.probes > 0) {
    ask = probes_of(pretrained, scoring(prepared.settings.model), command_.probes, run.stop);
    options.on_slice = [&](const tithe::SliceReport& slice) {
      const std::string stage{tithe::name(slice.stage)};
      std::erase_if(record.probes,
                    [&](const auto& probe) { return probe.stage == stage; });  // of an earlier round
      std::ranges::move(ask(stage), std::back_inserter(record.probes));
    };
  }
  const tithe::RunReport report = fit(prepared.settings.recipe, pretrained, prepared.encoding, prepared.pool,
                                      prepared.preview.ledger.budget(), options);
  if (report.cancelled) return record;
  tithe::take_in(report, record);
  for (tithe::StageSpending& stage : record.stages) {
    if (stage.planned_operations > 0) continue;  // the budget says it
    for (const StagePreview& preview : prepared.preview.stages) {
      if (tithe::name(preview.stage) == stage.stage) stage.planned_operations = preview.operations.total();
    }
  }
  score(prepared.settings.model, pretrained, run, record);
  for (const tithe::Estimate& figure : report.after) record.scores.push_back(figure);
  return record;
}

}  // namespace program
