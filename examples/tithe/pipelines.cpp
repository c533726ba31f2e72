// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "pipelines.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <stop_token>
#include <variant>

#include "choices.hpp"
#include "recipe.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/train/stage_compute.hpp"
#include "tithe/train/supervised_objective.hpp"

/// Fine-tuning by the loss that was chosen, as if its type had been known: so nothing is computed that it does not read,
/// and one pipeline serves all supervised losses. (A type says what it reads, and of SupervisedChoice that is unknown.)
template <>
struct tithe::SupervisedObjective<program::SupervisedChoice> {
  program::SupervisedChoice loss{};
  HeadOptions head{};

  void require(std::span<const Row> rows) const { SupervisedObjective<CrossEntropy>{}.require(rows); }

  /// Facts of the whole batch: how many tokens it predicts.
  struct Whole {
    double tokens = 0;
  };
  template <LanguageModel M>
  [[nodiscard]] Whole whole(const M& model, const StepBatch& step, const std::stop_token& stop = {}) const {
    return chosen([&](const auto& objective) { return Whole{objective.whole(model, step, stop).tokens}; });
  }
  template <LanguageModel M>
  [[nodiscard]] PassResult pass(const M& model, const StepBatch& step, std::size_t pass,
                                const Whole& whole) const {
    return chosen([&](const auto& objective) { return objective.pass(model, step, pass, {whole.tokens}); });
  }

 private:
  template <class Use>
  [[nodiscard]] auto chosen(const Use& use) const {
    return std::visit(
        [&]<class Chosen>(const Chosen& one) { return use(SupervisedObjective<Chosen>{one, head}); },
        loss.policy);
  }
};

namespace program {

/// As the library's, but for what of fine-tuning is known at run time alone; found by the argument's namespace.
template <class L, class R>
tithe::StageWork stage_work(const Recipe<L, R>& recipe, tithe::Stage stage, std::int64_t epochs) {
  tithe::StageWork work = tithe::stage_work<Recipe<L, R>>(recipe, stage, epochs);
  if (stage == tithe::Stage::sft) {
    work.trains_on_prompt = std::visit(
        []<class Chosen>(const Chosen&) { return tithe::TrainsOnPrompt<Chosen>; }, recipe.supervised.policy);
  }
  return work;
}

tithe::RunReport fit(const RecipeSettings& settings, const tithe::Pretrained& pretrained,
                     const tithe::Encoding& encoding, const tithe::Pool& pool, const tithe::Budget& budget,
                     const tithe::RunOptions& options) {
  std::optional<tithe::RunReport> report;
  with_recipe(settings, [&]<class Chosen>(const Chosen& recipe) {
    tithe::PipelineTrainer<Chosen, tithe::Decoder> trainer{pretrained.model, encoding, pretrained.positions(),
                                                           recipe};
    report = trainer.fit(pool, budget, options);
  });
  return *std::move(report);
}

}  // namespace program
