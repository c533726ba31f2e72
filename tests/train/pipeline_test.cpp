// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/pipeline.hpp"

#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <vector>

#include "small_data.hpp"
#include "test.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

using Recipe = Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>;

RunOptions small_options() {
  RunOptions options;
  for (StageOptions* stage : {&options.sft, &options.preference}) {
    stage->learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant};
    stage->batch_size = 4;
    stage->epochs = 2;
  }
  options.seed = Seed{3};
  return options;
}

template <class P>
RunReport run(const Decoder& model, const Budget& budget, const RunOptions& options = small_options(),
              const Dataset& data = small_dataset(40, 40, 40)) {
  return typename P::Trainer(model, small_encoding(), Tokens{64}).fit(data, budget, options);
}

std::filesystem::path empty_folder(const std::string& name) {
  const auto folder = std::filesystem::temp_directory_path() / ("tithe-pipeline-test-" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

}  // namespace

CATCH_TEST_CASE("a pipeline spends exactly its budget, stage by stage", "[pipeline]") {
  const Decoder model = small_decoder();
  RunOptions options = small_options();
  std::vector<StepRecord> steps;
  options.on_step = [&](const StepRecord& record) { steps.push_back(record); };
  options.held_out = small_dataset(6, 7);
  int planned = 0;
  options.on_plan = [&](const Ledger& ledger) {
    ++planned;
    CATCH_CHECK(ledger.spent() == 0);  // known before anything is spent
    CATCH_CHECK(steps.empty());
  };
  const RunReport report = run<Recipe>(model, Budget::examples(40), options);

  CATCH_CHECK(planned == 1);
  CATCH_CHECK(report.pipeline == "Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(report.ledger.spent() == 40);
  CATCH_CHECK(report.ledger.paid(Stage::sft) == Examples{10});
  CATCH_CHECK(report.ledger.paid(Stage::preference) == Examples{30});
  CATCH_REQUIRE(report.slices.size() == 2);
  CATCH_CHECK(report.slices[0].training.steps_done == 6);   // 10 rows in batches of 4, twice
  CATCH_CHECK(report.slices[1].training.steps_done == 16);  // 30 pairs in batches of 4, twice
  CATCH_CHECK(steps.size() == 22);
  CATCH_CHECK(steps.front().stage == "sft");
  CATCH_CHECK(steps.back().stage == "preference");
  CATCH_CHECK(steps.back().slice == 1);
  CATCH_REQUIRE(report.before.size() == 3);
  CATCH_CHECK(report.before[0].name == "nll");
  CATCH_CHECK(report.after[1].name == "preference/accuracy");
  CATCH_CHECK(report.after[1].samples == 7);
  CATCH_CHECK_FALSE(report.cancelled);
  CATCH_CHECK_FALSE(same_bits(model, small_decoder()));  // the caller's handle sees the trained weights
}

CATCH_TEST_CASE("every loss and schedule runs, and the order of policies does not matter", "[pipeline]") {
  const Budget budget = Budget::examples(16);
  CATCH_CHECK(run<Pipeline<SftOnly>>(small_decoder(), budget).ledger.paid(Stage::sft) == Examples{16});
  CATCH_CHECK(run<Pipeline<PreferenceOnly, Dpo<>, FrozenSft>>(small_decoder(), budget)
                  .ledger.paid(Stage::preference) == Examples{16});
  const RunReport labelled = run<Pipeline<FrozenSft, Kto<>, SftFraction<0.5>>>(small_decoder(), budget);
  CATCH_CHECK(labelled.ledger.paid(Stage::preference) == Examples{8});

  const Decoder first = small_decoder();
  const Decoder second = small_decoder();
  run<Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>>(first, budget);
  run<Pipeline<FrozenSft, Dpo<0.1>, SftFraction<0.25>>>(second, budget);
  CATCH_CHECK(same_bits(first, second));
}

CATCH_TEST_CASE("a dynamic policy equals its constant, and is checked", "[pipeline]") {
  const Decoder fixed = small_decoder();
  run<Recipe>(fixed, Budget::examples(16));
  const auto policies =
      compose(SftFraction<dynamic>{.fraction = 0.25}, Dpo<dynamic>{.beta = 0.1}, FrozenSft{});
  using Chosen = Pipeline<SftFraction<dynamic>, Dpo<dynamic>, FrozenSft>;
  const Decoder chosen = small_decoder();
  const RunReport report = Chosen::Trainer(chosen, small_encoding(), Tokens{64}, policies)
                               .fit(small_dataset(40, 40, 40), Budget::examples(16), small_options());
  CATCH_CHECK(report.pipeline == "Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(same_bits(fixed, chosen));
  const auto error = thrown<OptionError>(
      [] { return compose(SftFraction<dynamic>{.fraction = 10}, Dpo<dynamic>{.beta = 0.1}, FrozenSft{}); });
  CATCH_CHECK(contains(error.what(), "a share in [0, 1]"));
}

CATCH_TEST_CASE("more labels than there are is said before anything is trained", "[pipeline]") {
  const Decoder model = small_decoder();
  const auto error = thrown<BudgetError>([&] { run<Recipe>(model, Budget::examples(200)); });
  CATCH_CHECK(contains(error.what(), "50 labels for the sft stage"));
  CATCH_CHECK(same_bits(model, small_decoder()));
}

CATCH_TEST_CASE("a cancelled run that is resumed ends with the bits of a whole one", "[pipeline][resume]") {
  const Decoder whole = small_decoder();
  const RunReport whole_report = run<Recipe>(whole, Budget::examples(40));

  RunOptions options = small_options();
  options.checkpoint = {.folder = empty_folder("cancel"), .every = Steps{1}, .resume = true};
  options.held_out = small_dataset(6, 7);
  int sessions = 0;
  std::vector<std::int64_t> steps;
  for (bool cancelled = true; cancelled && sessions < 30; ++sessions) {
    std::stop_source source;
    int seen = 0;
    options.stop = source.get_token();
    options.on_step = [&](const StepRecord& record) {
      steps.push_back(record.slice * 100 + record.step);
      if (++seen == 3) source.request_stop();
    };
    const Decoder model = small_decoder();  // the checkpoint brings the weights, and the reference's
    const RunReport report = run<Recipe>(model, Budget::examples(40), options);
    cancelled = report.cancelled;
    CATCH_CHECK(report.resumed == (sessions > 0));
    if (!cancelled) {
      CATCH_CHECK(same_bits(whole, model));
      CATCH_CHECK(report.ledger.spent() == whole_report.ledger.spent());
      CATCH_REQUIRE(report.slices.size() == 2);  // what was done before counts too
      CATCH_CHECK(report.slices[0].training.steps_done == 6);
      CATCH_CHECK(report.slices[0].training.tokens == whole_report.slices[0].training.tokens);
      CATCH_CHECK(report.slices[1].training.steps_done == 16);
      CATCH_CHECK(report.slices[1].training.tokens == whole_report.slices[1].training.tokens);
      CATCH_CHECK(report.before.size() == 3);
    }
  }
  CATCH_CHECK(sessions > 5);
  CATCH_CHECK(steps.size() == 22);  // every step was done once
  std::filesystem::remove_all(options.checkpoint.folder);
}

CATCH_TEST_CASE("a checkpoint of another run, or a damaged one, is refused", "[pipeline][resume]") {
  RunOptions options = small_options();
  options.checkpoint = {.folder = empty_folder("refuse"), .every = Steps{1}, .resume = true};
  run<Recipe>(small_decoder(), Budget::examples(16), options);
  const auto refuse = [&](const RunOptions& changed, std::int64_t budget, const char* text) {
    const auto error =
        thrown<CheckpointError>([&] { run<Recipe>(small_decoder(), Budget::examples(budget), changed); });
    CATCH_CHECK(contains(error.what(), text));
  };

  CATCH_SECTION("the accepting twin: the finished run has nothing left to do") {
    CATCH_CHECK(run<Recipe>(small_decoder(), Budget::examples(16), options).resumed);
  }
  CATCH_SECTION("another budget") { refuse(options, 20, "/budget"); }
  CATCH_SECTION("another seed") {
    RunOptions changed = options;
    changed.seed = Seed{4};
    refuse(changed, 16, "/seed");
  }
  CATCH_SECTION("another learning rate") {
    RunOptions changed = options;
    changed.preference.learning_rate.peak = 1;
    refuse(changed, 16, "/preference/learning_rate");
  }
  CATCH_SECTION("other data") {
    const auto error = thrown<Error>(
        [&] { run<Recipe>(small_decoder(), Budget::examples(16), options, small_dataset(41, 41)); });
    CATCH_CHECK(contains(error.what(), "that were paid for"));
  }
  CATCH_SECTION("a flipped byte") {
    for (const auto& entry : std::filesystem::recursive_directory_iterator{options.checkpoint.folder}) {
      if (entry.path().filename() != "tensors.safetensors") continue;
      std::fstream file{entry.path(), std::ios::in | std::ios::out | std::ios::binary};
      file.seekp(static_cast<std::streamoff>(entry.file_size()) - 5);
      const int byte = file.peek();
      file.put(static_cast<char>(byte ^ 1));
    }
    refuse(options, 16, "the bytes that the manifest was made of");
  }
  std::filesystem::remove_all(options.checkpoint.folder);
}

namespace {

/// Makes labels on demand, from the model as it is: they cannot be had twice.
struct OnDemand {
  int draws = 0;
  [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
  [[nodiscard]] std::vector<Finding> findings(Stage) const { return {}; }
  std::vector<Label> draw(const Slice& slice, Examples drawn, const Decoder& model) {
    ++draws;
    // Any number of the model will do to make the rows depend on it.
    const auto bits = static_cast<std::uint64_t>(1e6 * std::abs(model.weights()[1].tensor[0].item<double>()));
    std::vector<Label> labels;
    for (Row& row :
         small_rows(static_cast<std::size_t>(slice.count.value()), slice.stage == Stage::sft ? 1 : 2, bits)) {
      row.id = std::to_string(drawn.value() + std::ssize(labels));
      labels.push_back({.origin = {.id = row.id},
                        .content = sha256(row.id + std::string{name(slice.stage)}),
                        .rows = {row}});
    }
    return labels;
  }
};

}  // namespace

CATCH_TEST_CASE("labels made on demand are kept with the checkpoint", "[pipeline][resume]") {
  const auto train = [](const Decoder& model, OnDemand& source, const RunOptions& options) {
    return Recipe::Trainer(model, small_encoding(), Tokens{64}).fit(source, Budget::examples(24), options);
  };
  const Decoder whole = small_decoder();
  OnDemand source;
  train(whole, source, small_options());
  CATCH_CHECK(source.draws == 2);

  RunOptions options = small_options();
  options.checkpoint = {.folder = empty_folder("on-demand"), .every = Steps{1}, .resume = true};
  std::stop_source stop;
  options.stop = stop.get_token();
  options.on_step = [&](const StepRecord& record) {
    if (record.slice == 1 && record.step == 2) stop.request_stop();
  };
  OnDemand first;
  CATCH_CHECK(train(small_decoder(), first, options).cancelled);
  options.stop = {};
  const Decoder resumed = small_decoder();
  OnDemand second;
  CATCH_CHECK_FALSE(train(resumed, second, options).cancelled);
  CATCH_CHECK(second.draws == 0);
  CATCH_CHECK(same_bits(whole, resumed));
  std::filesystem::remove_all(options.checkpoint.folder);
}
