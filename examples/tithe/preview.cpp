// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "preview.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "loading.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/model/adapter_config.hpp"
#include "tithe/model/weight_files.hpp"
#include "tithe/model/weights.hpp"

namespace program {
namespace {

using tithe::Stage;

/// What a stage's completions are called.
std::vector<std::string> names_of(Stage stage, bool pairs) {
  if (stage == Stage::preference && pairs) return {"chosen", "rejected"};
  return {"completion"};
}

void count(StagePreview& preview, const tithe::Rows& rows, const tithe::StageOptions& options) {
  preview.rows += std::ssize(rows);
  const std::int64_t a_step = options.rows_per_step();
  preview.steps += (std::ssize(rows) + a_step - 1) / a_step * options.epochs;
  const auto epochs = static_cast<double>(options.epochs);
  for (const tithe::Row& row : rows) {
    preview.tokens += epochs * static_cast<double>(row.tokens().value());
    preview.lengths[0].tokens.push_back(std::ssize(row.prompt));
    for (std::size_t i = 0; i < row.completions.size(); ++i) {
      const std::int64_t length = std::ssize(row.completions[i]);
      preview.lengths[i + 1].tokens.push_back(length);
      preview.tokens_apart += epochs * static_cast<double>(std::ssize(row.prompt) + length);
    }
  }
}

StagePreview preview_stage(const TrainSettings& settings, const tithe::TrainedModel& model, Stage stage,
                           const std::vector<tithe::Rows>& slices) {
  const tithe::StageOptions& options = stage == Stage::sft ? settings.run.sft : settings.run.preference;
  const RecipeCosts costs = costs_of(settings.recipe);
  const bool compares = stage == Stage::preference && costs.compares;
  StagePreview preview{.stage = stage};
  preview.lengths.push_back({"prompt", {}});
  for (std::string& name : names_of(stage, needs_pairs(settings.recipe))) {
    preview.lengths.push_back({std::move(name), {}});
  }
  tithe::RowWork largest, all;
  for (const tithe::Rows& rows : slices) {
    count(preview, rows, options);
    const tithe::RowWork pass = tithe::largest_pass(rows, options.batch_size, options.max_tokens_per_pass);
    if (pass.fed > largest.fed) largest = pass;
    all += tithe::work_of(rows);
  }
  for (PartLengths& part : preview.lengths) std::ranges::sort(part.tokens);
  const tithe::LabelCompute compute = label_compute_of(settings, model);
  preview.operations =
      tithe::operations_of(model, all, stage == Stage::sft ? compute.sft : compute.preference);
  preview.memory = tithe::memory_of(model, largest, compares && costs.copies_reference, settings.run.head);
  return preview;
}

}  // namespace

double RunPreview::bytes_beside_weights() const {
  double most = 0;
  for (const StagePreview& stage : stages) most = std::max(most, stage.memory.beside_weights());
  return most;
}

double RunPreview::operations() const {
  double sum = 0;
  for (const StagePreview& stage : stages) sum += stage.operations.total();
  return sum;
}

tithe::TrainedModel trained_model(const TrainSettings& settings) {
  const tithe::DecoderConfig said = tithe::read_folder_config(settings.model.folder);
  const tithe::WeightFiles weights = tithe::WeightFiles::open(settings.model.folder);
  tithe::TrainedModel model{.config = tithe::untie_if_held(said, weights),
                            .recompute_activations = settings.recompute_activations};
  tithe::require_weights(model.config, weights);
  const std::string embeddings = tithe::weight_shapes(model.config).front().name;
  const at::ScalarType own = tithe::scalar_type_of(weights.holding(embeddings).info(embeddings).type);
  model.dtype = dtype_of(settings.model.dtype).value_or(own);
  if (settings.lora.rank > 0) model.lora = settings.lora;
  if (!settings.model.adapter.empty()) {
    const auto adapter = tithe::read_adapter_config(settings.model.adapter / "adapter_config.json");
    model.lora = adapter.options;
    if (!adapter.targets.empty()) {
      model.lora->target_modules.clear();
      for (const std::string_view module : tithe::lora_targets) {
        const auto names = [&](const std::string& target) { return target.ends_with(module); };
        if (std::ranges::any_of(adapter.targets, names)) model.lora->target_modules.emplace_back(module);
      }
    }
  }
  return model;
}

tithe::LabelCompute label_compute_of(const TrainSettings& settings, const tithe::TrainedModel& model) {
  const RecipeCosts costs = costs_of(settings.recipe);
  return {.model = model,
          .sft = {.epochs = settings.run.sft.epochs, .trains_on_prompt = settings.recipe.train_on_prompt},
          .preference = {.epochs = settings.run.preference.epochs,
                         .asks_reference = costs.compares,
                         .caches_reference = costs.caches_reference,
                         .needs_mismatched = costs.compares && costs.needs_mismatched,
                         .feeds_prompts_again = settings.run.preference.cuts_steps()}};
}

RunPreview preview_of(const TrainSettings& settings, const tithe::TrainedModel& model,
                      const tithe::Pool& pool, const tithe::Budget& budget) {
  const tithe::Plan plan = schedule_of(settings.recipe).plan(budget);
  RunPreview preview{.model = model, .ledger = {budget, plan}};
  preview.ledger.require_available(pool);
  std::vector<tithe::Rows> sft, preference;
  for (const tithe::Slice& slice : plan) {
    auto& slices = slice.stage == Stage::sft ? sft : preference;
    slices.push_back(tithe::rows_of(preview.ledger.draw(pool, slice)));
  }
  for (const auto& [stage, slices] : {std::pair{Stage::sft, &sft}, {Stage::preference, &preference}}) {
    if (slices->empty()) continue;
    preview.stages.push_back(preview_stage(settings, model, stage, *slices));
    preview.stages.back().labels = plan.count(stage).value();
  }
  return preview;
}

double measured_throughput(const tithe::TrainedModel& model) {
  using Clock = std::chrono::steady_clock;
  const at::NoGradGuard no_grad;
  constexpr std::int64_t tokens = 1024;
  const std::int64_t in = model.config.hidden_size;
  const std::int64_t out = 2 * model.config.intermediate_size;
  const at::Tensor x = at::ones({tokens, in}, at::TensorOptions{}.dtype(model.dtype));
  const at::Tensor weight = at::ones({in, out}, x.options());
  static_cast<void>(at::mm(x, weight));  // the first one also starts threads
  const auto begun = Clock::now();
  double products = 0, seconds = 0;
  do {
    static_cast<void>(at::mm(x, weight));
    ++products;
    seconds = std::chrono::duration<double>(Clock::now() - begun).count();
  } while (seconds < 0.25);
  return 2.0 * tokens * static_cast<double>(in) * static_cast<double>(out) * products / seconds;
}

}  // namespace program
