// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// A study from end to end on a small random model: which share of the labels should be demonstrations, and does that depend
// on the loss? It needs no files. usage: small_study [FOLDER [SHARD]]   a second call runs nothing that is recorded
#include <ATen/Parallel.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "tithe/loss/dpo.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/no_reference.hpp"
#include "tithe/report/table.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/study/cell_of_run.hpp"
#include "tithe/study/runner.hpp"

using namespace tithe;

// docs: grid
using Shares = Grid<Schedules<SftFraction<0.1>, SftFraction<0.5>, SftFraction<0.9>>,  //
                    Losses<Dpo<0.1>, SimPo<>>,                                        //
                    References<FrozenSft, NoReference>>;
static_assert(Shares::size == 6);  // each share with Dpo and its reference, and with SimPo and none
// docs: end

namespace {

constexpr std::int64_t vocabulary = 12;  // 0 ends an answer

/// The right answer repeats the prompt's last id; a rejected one gives another.
Dataset make_labels(std::int64_t demonstrations, std::int64_t pairs, Seed seed) {
  SplitMix64 random{seed};
  const auto id = [&] { return 1 + static_cast<std::int64_t>(random.below(vocabulary - 1)); };
  Dataset data;
  for (std::int64_t i = 0; i < demonstrations + pairs; ++i) {
    const TokenIds prompt{id(), id(), id(), id(), id()};
    const TokenIds right{prompt.back(), 0};
    const TokenIds wrong{prompt.back() % (vocabulary - 1) + 1, 0};
    if (i < demonstrations) {
      data.add(Demonstration{.prompt = prompt, .completion = right});
    } else {
      data.add(PreferencePair{.prompt = prompt, .chosen = right, .rejected = wrong});
    }
  }
  return data;
}

Decoder base_model(Seed seed) {
  const DecoderConfig config{.vocab_size = vocabulary,
                             .hidden_size = 32,
                             .intermediate_size = 64,
                             .num_hidden_layers = 2,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 8,
                             .max_position_embeddings = 16};
  return Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.3}, seed);
}

// docs: experiment
/// What a cell does: it trains by its recipe, under its budget, from its seed, and scores the model on held-out pairs.
struct Experiment {
  Dataset labels = make_labels(200, 200, Seed{1});
  Dataset held_out = make_labels(0, 200, Seed{2});

  std::string task() const { return "repeat the last id"; }
  /// All that decides a cell besides its recipe, budget, seed and axes.
  Identity identity() const {
    return {{"labels", digest_of(labels).hex()},
            {"held out", digest_of(held_out).hex()},
            {"model", "random, 32 wide"}};
  }

  template <class Recipe>
  CellRecord operator()(const Recipe& recipe, const CellPoint& cell, const CellRun& run) const {
    RunOptions options{.seed = cell.seed, .held_out = held_out, .stop = run.stop};
    for (StageOptions* stage : {&options.sft, &options.preference})
      stage->learning_rate.peak = cell.number("learning rate");
    options.shared_stages = run.parts.folder();  // cells that begin alike train the beginning once

    typename CheckedPipeline<Recipe>::Trainer trainer{
        base_model(cell.seed), {.vocabulary_size = vocabulary}, Tokens{16}, recipe};
    const RunReport report = trainer.fit(labels, cell.budget, options);
    CellRecord record;
    take_in(report, record);
    record.scores = report.after;
    return record;
  }
};
// docs: end

}  // namespace

int main(int argc, char** argv) try {
  at::set_num_threads(1);
  const std::filesystem::path folder = argc > 1 ? argv[1] : "small_study";
  // docs: study
  const Study<Shares> study{.name = "small",
                            .budgets = {Budget::examples(40), Budget::examples(160)},
                            .seeds = {Seed{1}, Seed{2}},
                            .axes = {{"learning rate", {"3e-3"}}}};
  StudyOptions options{.shard = Shard::parse(argc > 2 ? argv[2] : "1/1")};
  options.on_progress = [](const StudyProgress& now) {
    if (now.running == nullptr) return;
    std::cerr << now.done << " of " << now.cells << ": " << now.running->pipeline;
    if (now.seconds_left) std::cerr << ", " << *now.seconds_left << " s left";
    std::cerr << '\n';
  };
  const StudySummary summary = run_study(study, folder, Experiment{}, options);
  std::cout << summary.done << " cells run, " << summary.reused << " found, " << summary.failed << " failed; "
            << summary.steps_shared << " of " << summary.steps << " steps were shared.\n";
  // docs: end

  // docs: read
  // The mean over seeds of the study's metric, by recipe and budget.
  std::map<std::string, std::map<double, std::vector<double>>> scores;
  for (const CellRecord& record : read_records(folder / "records.jsonl").records) {
    if (!record.failed()) scores[record.pipeline][record.budget].push_back(record.scores.front().value);
  }
  Table table{{{"recipe", Align::left}, {"budget"}, {"mean score"}, {"seeds"}}};
  for (const auto& [recipe, budgets] : scores) {
    for (const auto& [budget, seeds] : budgets) {
      double sum = 0;
      for (const double score : seeds) sum += score;
      table.row({recipe, fixed_text(budget, 0), fixed_text(sum / static_cast<double>(seeds.size()), 3),
                 std::to_string(seeds.size())});
    }
  }
  std::cout << table.text();
  // docs: end
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
