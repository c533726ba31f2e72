// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/pipeline.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "small_data.hpp"
#include "test.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/study/record.hpp"
#include "tithe/train/priced_on.hpp"
#include "tithe/train/stage_compute.hpp"

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

template <class P, LanguageModel M>
RunReport run(const M& model, const Budget& budget, const RunOptions& options = small_options(),
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

CATCH_TEST_CASE("a plan that is priced on its labels keeps to every limit as they are paid and trained",
                "[pipeline]") {
  const Decoder model = small_decoder();
  const RunOptions options = small_options();
  const LabelCompute compute = label_compute(*trained_model_of(model), Recipe::Policies{}, options.sft.epochs,
                                             options.preference.epochs);
  const Dataset data = small_dataset(40, 40, 40);
  const Pool pool = Pool{data, small_encoding(), Limits{.max_length = Tokens{64}}}.shuffled(options.seed);
  const TokenPrice price{.per_thousand_prompt = Money::of(10), .per_thousand_completion = Money::of(25)};
  const auto of_all = [&](Stage stage) {
    const Slice all{stage, *pool.available(stage)};
    return compute.of_one(stage, rows_of(pool.draw(all, Examples{})), all.count);
  };
  const StageCompute of_label{.demonstration = of_all(Stage::sft), .preference = of_all(Stage::preference)};
  const ComputePrice device{
      .peak = Throughput::teraflops(1e-6), .utilisation = Share{0.5}, .per_hour = Money::of(1)};
  const Compute most = of_label.demonstration * Examples{10} + of_label.preference * Examples{14};
  const Budget guessed =
      Budget::money_by_tokens(Money::of(7), {.demonstration = price,
                                             .preference = price,
                                             .mean = {.demonstration = {.prompt = 8, .completion = 4},
                                                      .preference = {.prompt = 8, .completion = 8}}})
          .paying_for(of_label, device)
          .within(most, of_label);
  const Budget budget = priced_on(guessed, SftFraction<0.25>{}, pool, compute);
  CATCH_CHECK(budget.price(Stage::sft) != guessed.price(Stage::sft));

  const RunReport report = run<Recipe>(model, budget, options, data);
  const Ledger& ledger = report.ledger;
  CATCH_CHECK(ledger.paid(Stage::sft) > Examples{3});
  CATCH_CHECK(ledger.paid(Stage::preference) > Examples{3});
  Compute spent;
  for (const SliceReport& slice : report.slices) {
    CATCH_CHECK(ledger.paid(slice.stage) == ledger.planned(slice.stage));  // none was cut off
    CATCH_CHECK(slice.compute > Compute{});
    CATCH_CHECK(ledger.spent_compute(slice.stage) == slice.compute);
    CATCH_CHECK(slice.compute <= ledger.planned_compute(slice.stage));
    // Planned are as many operations as labels have in the mean, rounded up to a million for each.
    CATCH_CHECK(ledger.planned_compute(slice.stage) - slice.compute <= Compute::of(1e6) * slice.labels);
    spent += slice.compute;
  }
  CATCH_CHECK(spent <= most);
  CATCH_CHECK(ledger.left() >= 0);
  const auto short_of = [&](Stage stage) {
    return ledger.left() < budget.price(stage) || (most - spent).parts() < of_all(stage).parts() + 40;
  };
  CATCH_CHECK(short_of(Stage::sft));
  CATCH_CHECK(short_of(Stage::preference));

  const RecordJson json = to_json(ledger);
  CATCH_CHECK(json["compute"]["spent"] == spent.operations());
  CATCH_CHECK(json["compute"]["limit"] == most.operations());
  CATCH_CHECK(json["compute"]["spent_money"] <= json["compute"]["planned_money"]);
  CATCH_CHECK(json["stages"]["sft"]["cost"] <= json["stages"]["sft"]["planned_cost"]);
  const nlohmann::json identity = to_json(budget);
  CATCH_CHECK(identity["compute"]["limit"] == most.operations());
  CATCH_CHECK(identity["per_thousand_tokens"]["sft"][1] == 25);
  CATCH_CHECK(to_json(Budget::examples(7)) == nlohmann::json{{"examples", 7}});
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
      for (std::size_t i = 0; i < 2; ++i) {
        CATCH_CHECK(report.slices[i].compute == whole_report.slices[i].compute);
      }
      CATCH_CHECK(report.before.size() == 3);
    }
  }
  CATCH_CHECK(sessions > 5);
  CATCH_CHECK(steps.size() == 22);  // every step was done once
  std::filesystem::remove_all(options.checkpoint.folder);
}

CATCH_TEST_CASE("held-out verdicts are scored by the loss's rewards", "[pipeline]") {
  RunOptions options = small_options();
  options.held_out = small_dataset(0, 0, 9);
  const Decoder model = small_decoder();
  const RunReport report =
      run<Pipeline<PreferenceOnly, Kto<0.2>, FrozenSft>>(model, Budget::examples(16), options);
  CATCH_REQUIRE(report.before.size() == 2);
  CATCH_CHECK(report.before[0].name == "nll/desirable");
  CATCH_REQUIRE(report.after.size() == 4);
  const Rows rows = encode_held_out(options.held_out, small_encoding(), {.max_length = Tokens{64}}).labeled;
  const VerdictEstimates expected = verdict_accuracy(model, small_decoder(), 0.2, rows);
  CATCH_CHECK(report.after[2].name == "rewards/accuracies");
  CATCH_CHECK(report.after[2].value == expected.accuracy.value);
  CATCH_CHECK(report.after[3].name == "rewards/margins");
  // In float32, other passes may round the last digits of sums of about 10 otherwise.
  CATCH_CHECK(report.after[3].value == Approx(expected.margin.value).margin(1e-5));
  CATCH_CHECK(std::abs(expected.margin.value) > 1e-3);
  CATCH_CHECK(report.after[3].low < report.after[3].high);

  // A loss on pairs has no reward for a completion alone.
  CATCH_CHECK(run<Recipe>(small_decoder(), Budget::examples(16), options).after.size() == 2);
}

CATCH_TEST_CASE("what cannot be trained is said before a label is paid for or an earlier run removed",
                "[pipeline]") {
  RunOptions options = small_options();
  options.checkpoint = {.folder = empty_folder("judged"), .every = Steps{1}, .resume = true};
  run<Recipe>(small_decoder(), Budget::examples(16), options);
  bool planned = false;
  options.checkpoint.resume = false;
  options.checkpoint.replace = true;
  options.on_plan = [&](const Ledger&) { planned = true; };
  const CheckpointStore store{options.checkpoint.folder};
  const auto untouched = [&] { return !planned && store.exists(); };

  RunOptions bad = options;
  bad.preference.adam_beta1 = 1;  // of the last stage
  CATCH_CHECK(
      contains(thrown<OptionError>([&] { run<Recipe>(small_decoder(), Budget::examples(16), bad); }).what(),
               "adam_beta1"));
  CATCH_CHECK(untouched());
  bad = options;
  bad.held_out.add(
      Demonstration{.prompt = TokenIds{1}, .completion = TokenIds{1'000'000}, .origin = {.id = "far"}});
  CATCH_CHECK(contains(
      thrown<DataError>([&] { run<Recipe>(small_decoder(), Budget::examples(16), bad); }).what(), "1000000"));
  CATCH_CHECK(untouched());
  using Verdicts = Pipeline<SftFraction<0.5>, Kto<0.1>, FrozenSft>;
  CATCH_CHECK(contains(
      thrown<BudgetError>([&] { run<Verdicts>(small_decoder(), Budget::examples(2), options); }).what(),
      "at least 2 labels in each preference slice, as the loss mismatches them, but found a slice of 1"));
  CATCH_CHECK(untouched());
  CATCH_CHECK(run<Verdicts>(small_decoder(), Budget::examples(4), options).ledger.spent() == 4);  // the twin
  CATCH_CHECK(planned);
  std::filesystem::remove_all(options.checkpoint.folder);
}

CATCH_TEST_CASE("a run is cancelled at the next pass, in evaluation too, and goes on from there",
                "[pipeline][resume]") {
  using Labelled = Pipeline<SftFraction<0.25>, Kto<>, FrozenSft>;
  RunOptions options = small_options();
  options.held_out = small_dataset(6, 7, 6);
  const auto run_watched = [&](const Decoder& model, std::function<void()> on_pass) {
    return run<Labelled>(Watched{model, std::move(on_pass)}, Budget::examples(12), options);
  };
  const Decoder whole = small_decoder();
  int all = 0;
  const RunReport expected = run_watched(whole, [&] { ++all; });
  CATCH_REQUIRE(all > 30);

  for (int stopped = 1; stopped <= all; ++stopped) {
    options.checkpoint = {
        .folder = empty_folder("passes"), .every = Steps{1}, .within_steps = true, .resume = true};
    std::stop_source source;
    options.stop = source.get_token();
    int passes = 0;
    const RunReport first = run_watched(small_decoder(), [&] {
      if (++passes == stopped) source.request_stop();
    });
    CATCH_CAPTURE(stopped);
    CATCH_CHECK(first.cancelled);
    CATCH_CHECK(first.after.empty());
    CATCH_CHECK(passes - stopped <= 1);  // a pass and the reference's beside it
    options.stop = {};
    const Decoder resumed = small_decoder();
    const RunReport second = run_watched(resumed, [] {});
    CATCH_CHECK_FALSE(second.cancelled);
    CATCH_CHECK(same_bits(whole, resumed));
    for (const auto& [now, then] :
         {std::pair{second.before, expected.before}, {second.after, expected.after}}) {
      CATCH_CHECK(std::ranges::equal(now, then, {}, &Estimate::value, &Estimate::value));
    }
  }
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
  CATCH_SECTION("other held-out data") {
    RunOptions changed = options;
    changed.held_out = small_dataset(2, 2);
    refuse(changed, 16, "/held_out");
  }
  CATCH_SECTION("a model of the same shapes with other positions") {
    DecoderConfig config = small_decoder().config();
    config.rope_theta = 500'000;
    const Decoder other = Decoder::initialize(config, {}, Seed{1}, at::kFloat);
    const auto error = thrown<CheckpointError>([&] { run<Recipe>(other, Budget::examples(16), options); });
    CATCH_CHECK(
        contains(error.what(), "first at /model/rope_theta: 500000.0 instead of 10000.0. Resume with"));
  }
  CATCH_SECTION("a run that does not resume") {
    RunOptions anew = options;
    anew.checkpoint.resume = false;
    refuse(anew, 16,
           "needs a folder without checkpoints for a run that does not resume, but found those of an earlier "
           "run. Set "
           "resume to go on with that run or replace to remove it, or choose another folder.");
    anew.checkpoint.replace = true;
    anew.on_plan = [&](const Ledger&) { CATCH_CHECK(CheckpointStore{options.checkpoint.folder}.exists()); };
    anew.on_step = [&](const StepRecord& step) {  // gone before there is another
      if (step.slice == 0 && step.step == 1)
        CATCH_CHECK_FALSE(CheckpointStore{options.checkpoint.folder}.exists());
    };
    CATCH_CHECK_FALSE(
        run<Recipe>(small_decoder(), Budget::examples(20), anew).resumed);  // the accepting twin
    anew.checkpoint.resume = true;
    anew.on_plan = {};
    anew.on_step = {};
    CATCH_CHECK(run<Recipe>(small_decoder(), Budget::examples(20), anew)
                    .resumed);  // the new run's, not the old one's
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
  std::function<void()> on_draw{};
  std::stop_token stop{};  ///< cuts a draw short
  std::int64_t left_by_stop = 0;

  [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
  [[nodiscard]] std::vector<Finding> findings(Stage) const { return {}; }
  std::vector<Label> draw(const Slice& slice, Examples drawn, const Decoder& model) {
    ++draws;
    if (on_draw) on_draw();
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
    if (stop.stop_requested()) labels.resize(static_cast<std::size_t>(left_by_stop));
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

CATCH_TEST_CASE("a draw that a stop cuts short pays for nothing, and is drawn again by the run that goes on",
                "[pipeline][resume]") {
  const auto train = [](const Decoder& model, OnDemand& source, const RunOptions& options) {
    return Recipe::Trainer(model, small_encoding(), Tokens{64}).fit(source, Budget::examples(24), options);
  };
  const Decoder whole = small_decoder();
  OnDemand source;
  train(whole, source, small_options());
  for (const int draw : {1, 2}) {
    for (const std::int64_t left : {0, 2}) {
      CATCH_CAPTURE(draw, left);
      RunOptions options = small_options();
      options.checkpoint = {.folder = empty_folder("draw"), .every = Steps{1}, .resume = true};
      std::stop_source stop;
      options.stop = stop.get_token();
      OnDemand first{.stop = stop.get_token(), .left_by_stop = left};
      first.on_draw = [&] {
        if (first.draws == draw) stop.request_stop();
      };
      const RunReport cancelled = train(small_decoder(), first, options);
      CATCH_CHECK(cancelled.cancelled);
      CATCH_CHECK(cancelled.ledger.spent() == (draw == 1 ? 0 : 6));
      CATCH_CHECK(cancelled.slices.size() == static_cast<std::size_t>(draw - 1));
      options.stop = {};
      const Decoder resumed = small_decoder();
      OnDemand second;
      const RunReport done = train(resumed, second, options);
      CATCH_CHECK(second.draws == 3 - draw);
      CATCH_CHECK(done.ledger.spent() == 24);
      CATCH_CHECK(same_bits(whole, resumed));
      std::filesystem::remove_all(options.checkpoint.folder);
    }
  }
  // A source that gives fewer for a reason of its own is paid for what it gives, and one that gives nothing is refused.
  std::stop_source other;
  other.request_stop();
  OnDemand fewer{.stop = other.get_token(), .left_by_stop = 2};
  CATCH_CHECK(train(small_decoder(), fewer, small_options()).ledger.spent() == 4);
  OnDemand none{.stop = other.get_token()};
  CATCH_CHECK(contains(thrown<BudgetError>([&] { train(small_decoder(), none, small_options()); }).what(),
                       "at least 1 and at most 6 labels for the sft stage, but found 0"));
}
