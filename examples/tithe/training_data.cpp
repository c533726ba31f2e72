// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "training_data.hpp"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/content_hash.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"

namespace program {

using tithe::Dataset;
using tithe::Stage;

namespace {

/// Throws DataError for the first example of a kind that a flag's files are not for.
template <class Example>
void refuse(const std::vector<Example>& examples, const std::string& flag, const std::string& required,
            const char* kind) {
  if (examples.empty()) return;
  const tithe::Origin& origin = examples.front().origin;
  throw tithe::DataError{{flag, required, kind, "Give the file to the flag for its kind"},
                         tithe::Location{.file = origin.file, .line = static_cast<std::size_t>(origin.line)}};
}

}  // namespace

Dataset read_training_data(const TrainSettings& settings, const tithe::Plan& plan) {
  const auto labels = [&](Stage stage) { return plan.count(stage).value(); };
  const auto require = [&](Stage stage, bool given, const std::string& flag, const std::string& otherwise) {
    if (labels(stage) == 0 || given) return;
    throw UsageError{"the plan has " + std::to_string(labels(stage)) + " labels for the " +
                     std::string{tithe::name(stage)} + " stage, but no file: give " + flag + ", or " +
                     otherwise};
  };
  require(Stage::sft, !settings.demonstrations.empty(), "--demonstrations", "plan none (--sft-fraction 0)");
  require(Stage::preference, !settings.preferences.empty(), "--preferences", "plan none (--sft-fraction 1)");

  Dataset data;
  if (labels(Stage::sft) > 0) {
    data = read_data(settings.demonstrations, settings.prompt);
    const char* required = "demonstrations: a prompt with a completion";
    refuse(data.preferences, "--demonstrations", required, "a preference pair");
    refuse(data.labeled, "--demonstrations", required, "a completion with a label");
  }
  if (labels(Stage::preference) > 0) {
    Dataset preferences = read_data(settings.preferences, settings.prompt);
    refuse(preferences.demonstrations, "--preferences", "preference pairs, or completions with a label",
           "a demonstration");
    if (needs_pairs(settings.recipe)) {
      refuse(preferences.labeled, "--preferences",
             "preference pairs, as --loss " + loss_named(settings.recipe.loss) + " is trained on pairs",
             "a completion with a label");
    }
    data.preferences = std::move(preferences.preferences);
    data.labeled = std::move(preferences.labeled);
  }
  return data;
}

void refuse_too_long(const tithe::Ledger& ledger) {
  for (const Stage stage : {Stage::sft, Stage::preference}) {
    for (const tithe::Finding& finding : ledger.findings(stage)) {
      if (finding.outcome != tithe::Outcome::too_long) continue;
      throw tithe::DataError{{"tithe train", "no example that is too long, as --too-long error says",
                              tithe::in_quotes(finding.origin.id) + ", where " + finding.reason,
                              "Choose --too-long drop or --too-long truncate, or raise --max-length"},
                             tithe::Location{.file = finding.origin.file,
                                             .line = static_cast<std::size_t>(finding.origin.line)}};
    }
  }
}

std::size_t shared_prompts(const Dataset& training, const Dataset& held_out) {
  std::set<tithe::Digest> seen;
  std::set<tithe::Digest> shared;
  const auto each = [](const Dataset& data, const auto& use) {
    for (const auto& example : data.demonstrations) use(tithe::content_hash(example.prompt));
    for (const auto& example : data.preferences) use(tithe::content_hash(example.prompt));
    for (const auto& example : data.labeled) use(tithe::content_hash(example.prompt));
  };
  each(training, [&](const tithe::Digest& prompt) { seen.insert(prompt); });
  each(held_out, [&](const tithe::Digest& prompt) {
    if (seen.contains(prompt)) shared.insert(prompt);
  });
  return shared.size();
}

}  // namespace program
