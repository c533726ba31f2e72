// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "study.hpp"

/// How a study scores its cells: as `tithe evaluate` does.
namespace program {

EvaluateSettings evaluation_of(const std::vector<std::string>& given) {
  std::vector<std::string> arguments;
  for (const std::string& setting : given) {
    const std::string name = setting.substr(0, setting.find('='));
    constexpr std::array<std::string_view, 10> not_here{"model",       "adapter", "dtype",  "device",
                                                        "chat-format", "out",     "resume", "format",
                                                        "compare",     "threads"};
    if (std::ranges::find(not_here, name) != not_here.end())
      throw UsageError{"--evaluate " + name + ": the study says that itself"};
    arguments.push_back("--" + setting);
  }
  EvaluateSettings settings;
  try {
    settings = evaluate_settings_of(std::move(arguments));
  } catch (const UsageError& error) {
    throw UsageError{"--evaluate: " + std::string{error.what()}};
  }
  if (settings.data.empty()) {
    throw UsageError{
        "--evaluate data=FILE is required: JSON lines that each cell is scored on, as tithe evaluate reads "
        "them"};
  }
  if (!settings.judge.empty() && settings.samples != 1)
    throw UsageError{"--evaluate: --judge compares one answer a prompt; leave samples out"};
  return settings;
}

void require_scorable(const EvaluateSettings& settings) {
  const EvaluationData data = read_evaluation_data(settings);
  if (!data.prompts.empty() || !data.held_out.preferences.empty()) return;
  throw UsageError{
      "--evaluate data holds completions, whose log-likelihood lies in no fixed range: give questions with "
      "answers, pairs, or a judge"};
}

EvaluateSettings CheckpointStudy::scoring(const ModelSettings& model) const {
  EvaluateSettings settings = evaluate_;
  settings.model = model;
  return settings;
}

void CheckpointStudy::score(const ModelSettings& model, const tithe::Pretrained& pretrained,
                            const tithe::CellRun& run, tithe::CellRecord& record) const {
  EvaluateSettings settings = scoring(model);
  EvaluationData data = read_evaluation_data(settings);
  if (!settings.judge.empty()) {
    // Verdicts cost money: they are kept as they come, for a study that is interrupted.
    std::filesystem::create_directories(command_.out / "verdicts");
    settings.out = command_.out / "verdicts" / record.key;
    settings.resume = std::filesystem::exists(settings.out.string() + ".answers.jsonl");
  }
  const Session session{.stop = run.stop};
  const EvaluationResult result =
      data.prompts.empty() ? evaluate_examples(settings, pretrained, data.held_out, session)
                           : evaluate_answers(settings, pretrained, std::move(data.prompts), session);
  record.scores = result.figures;
  if (record.key != base().key) return;
  for (const OutputJson& one : result.left_out) {
    std::cerr << study_who << ": no cell is scored on " << one["id"].get<std::string>() << ": "
              << one["reason"].get<std::string>() << '\n';
  }
}

}  // namespace program
