// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/shared_stages.hpp"

#include <ATen/Parallel.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "small_data.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/sft_fraction.hpp"

// Stages that runs have in common are trained once, and nobody can tell from what comes of it; what differs in anything is
// trained anew.

namespace {

using namespace tithe;
using namespace tithe::test;

using Pairs = Pipeline<SftFraction<0.5>, Dpo<0.1>, FrozenSft>;
using Verdicts = Pipeline<SftFraction<0.5>, Kto<>, FrozenSft>;
using Rounds = Interleaved<SftFraction<0.5>, 2>;

Decoder plain_decoder() { return small_decoder(); }
Decoder adapted_decoder() {
  Decoder model = small_decoder();
  return model.add_adapter({.rank = 2, .alpha = 4, .seed = Seed{9}});
}

RunOptions quick_options() {
  RunOptions options;
  for (StageOptions* stage : {&options.sft, &options.preference}) {
    stage->learning_rate = {.peak = 2e-2, .decay = LearningRateDecay::constant};
    stage->batch_size = 4;
  }
  options.seed = Seed{3};
  options.held_out = small_dataset(3, 4, 4);
  return options;
}
RunOptions sharing(const std::filesystem::path& folder) {
  RunOptions options = quick_options();
  options.shared_stages = folder;
  return options;
}

/// What can be known of a run.
struct Ran {
  Decoder model;
  RunReport report;
  std::vector<StepRecord> steps;
};

template <class P>
Ran run(const Decoder& model, RunOptions options, const Dataset& data = small_dataset(24, 40, 40)) {
  std::vector<StepRecord> steps;
  options.on_step = [&, also = options.on_step](const StepRecord& record) {
    steps.push_back(record);
    if (also) also(record);
  };
  RunReport report =
      typename P::Trainer(model, small_encoding(), Tokens{64}).fit(data, Budget::examples(32), options);
  return {model, std::move(report), std::move(steps)};
}

bool same_numbers(const std::vector<Estimate>& a, const std::vector<Estimate>& b) {
  return std::ranges::equal(a, b, [](const Estimate& left, const Estimate& right) {
    return left.name == right.name && left.value == right.value && left.low == right.low &&
           left.high == right.high && left.samples == right.samples;
  });
}

/// Whatever two runs say is the same, but for who trained which slice and how long that took.
void check_same(const Ran& shared, const Ran& alone) {
  CATCH_CHECK(same_bits(shared.model, alone.model));
  CATCH_CHECK(same_numbers(shared.report.before, alone.report.before));
  CATCH_CHECK(same_numbers(shared.report.after, alone.report.after));
  CATCH_CHECK_FALSE(alone.report.after.empty());
  CATCH_CHECK(shared.report.ledger.spent() == alone.report.ledger.spent());
  const auto contents = [](const RunReport& report) {
    std::vector<std::string> all;
    for (const LedgerEntry& entry : report.ledger.entries()) all.push_back(entry.content.hex());
    return all;
  };
  CATCH_CHECK(contents(shared.report) == contents(alone.report));
  CATCH_REQUIRE(shared.report.slices.size() == alone.report.slices.size());
  for (std::size_t i = 0; i < shared.report.slices.size(); ++i) {
    const SliceReport &a = shared.report.slices[i], &b = alone.report.slices[i];
    CATCH_CHECK(a.stage == b.stage);
    CATCH_CHECK(a.labels == b.labels);
    CATCH_CHECK(a.training.steps == b.training.steps);
    CATCH_CHECK(a.training.steps_done == b.training.steps_done);
    CATCH_CHECK(a.training.rows == b.training.rows);
    CATCH_CHECK(a.training.tokens == b.training.tokens);
  }
  // The steps that it took itself are the other's, figure for figure.
  for (const StepRecord& step : shared.steps) {
    const auto twin = std::ranges::find_if(alone.steps, [&](const StepRecord& other) {
      return other.slice == step.slice && other.step == step.step;
    });
    CATCH_REQUIRE(twin != alone.steps.end());
    CATCH_CHECK(step.at("loss") == twin->at("loss"));
    CATCH_CHECK(step.at("grad_norm") == twin->at("grad_norm"));
  }
}

std::vector<bool> shared_slices(const RunReport& report) {
  std::vector<bool> shared;
  for (const SliceReport& slice : report.slices) shared.push_back(slice.shared);
  return shared;
}

/// A run three times: alone, and twice with a folder. The second time all but its last slice are there.
template <class P>
void check_interleaved(const std::function<Decoder()>& begin) {
  const TemporaryFolder folder;
  const Ran alone = run<P>(begin(), quick_options());
  const Ran maker = run<P>(begin(), sharing(folder.path()));
  check_same(maker, alone);
  CATCH_CHECK(shared_slices(maker.report) == std::vector{false, false, false, false});
  const Ran finder = run<P>(begin(), sharing(folder.path()));
  check_same(finder, alone);
  CATCH_CHECK(shared_slices(finder.report) == std::vector{true, true, true, false});
  CATCH_CHECK(finder.steps.size() + static_cast<std::size_t>(finder.report.steps_shared()) ==
              alone.steps.size());
}

std::vector<std::filesystem::path> artifacts_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) {
    if (std::filesystem::exists(entry.path() / "SHA256SUMS")) found.push_back(entry.path());
  }
  return found;
}

std::string content_of(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

}  // namespace

CATCH_TEST_CASE("two losses share the demonstrations that both begin with", "[shared]") {
  for (const auto& begin : {plain_decoder, adapted_decoder}) {
    CATCH_CAPTURE(begin == adapted_decoder);
    const TemporaryFolder folder;
    const Ran pairs = run<Pairs>(begin(), sharing(folder.path()));
    const Ran verdicts = run<Verdicts>(begin(), sharing(folder.path()));
    CATCH_CHECK(shared_slices(pairs.report) == std::vector{false, false});
    CATCH_CHECK(shared_slices(verdicts.report) == std::vector{true, false});
    CATCH_CHECK(verdicts.report.steps_shared() == 4);
    CATCH_CHECK(verdicts.report.train_seconds == verdicts.report.slices[1].training.seconds);
    CATCH_CHECK(verdicts.steps.front().slice == 1);
    CATCH_CHECK(artifacts_in(folder.path()).size() == 1);  // nobody begins with the last preferences
    check_same(pairs, run<Pairs>(begin(), quick_options()));
    check_same(verdicts, run<Verdicts>(begin(), quick_options()));
  }
}

CATCH_TEST_CASE("every reference serves a slice behind shared ones", "[shared]") {
  CATCH_SECTION("as it came, cached; with a loss that keeps a mean") {
    check_interleaved<Pipeline<Rounds, Bco<>, Cached<FrozenBase>>>(plain_decoder);
    check_interleaved<Pipeline<Rounds, Bco<>, Cached<FrozenBase>>>(adapted_decoder);
  }
  CATCH_SECTION("moving") { check_interleaved<Pipeline<Rounds, Dpo<0.1>, Moving<0.5, 2>>>(plain_decoder); }
  CATCH_SECTION("off") { check_interleaved<Pipeline<Rounds, Dpo<0.1>, AdapterOff>>(adapted_decoder); }
}

CATCH_TEST_CASE("a stage that differs in anything is trained anew", "[shared]") {
  const TemporaryFolder folder;
  const Dataset data = small_dataset(24, 40, 40);
  const auto first_is_shared = [&](const std::function<void(RunOptions&)>& change, const Decoder& model,
                                   const Dataset& examples) {
    RunOptions options = sharing(folder.path());
    options.held_out = {};
    change(options);
    return run<Pairs>(model, options, examples).report.slices.front().shared;
  };
  const auto with = [&](const std::function<void(RunOptions&)>& change) {
    return first_is_shared(change, plain_decoder(), data);
  };
  CATCH_CHECK_FALSE(with([](RunOptions&) {}));  // the first of its kind
  CATCH_CHECK(with([](RunOptions&) {}));
  // What has no part in the slice makes no difference.
  CATCH_CHECK(with([](RunOptions& options) { options.preference.learning_rate.peak = 1e-3; }));
  CATCH_CHECK(with([](RunOptions& options) { options.held_out = small_dataset(2, 2); }));

  CATCH_CHECK_FALSE(with([](RunOptions& options) { options.seed = Seed{4}; }));
  CATCH_CHECK_FALSE(with([](RunOptions& options) { options.order = Order::file; }));
  CATCH_CHECK_FALSE(with([](RunOptions& options) { options.head.workspace = Bytes{1 << 20}; }));
  const std::vector<std::function<void(StageOptions&)>> changes{
      [](StageOptions& sft) { sft.learning_rate.peak = 2.0000000000000004e-2; },  // by one bit
      [](StageOptions& sft) { sft.learning_rate.decay = LearningRateDecay::linear; },
      [](StageOptions& sft) { sft.learning_rate.warmup = 0.5; },
      [](StageOptions& sft) { sft.epochs = 2; },
      [](StageOptions& sft) { sft.batch_size = 8; },
      [](StageOptions& sft) { sft.accumulate = 2; },
      [](StageOptions& sft) { sft.max_tokens_per_pass = Tokens{40}; },
      [](StageOptions& sft) { sft.weight_decay = 0.1; },
      [](StageOptions& sft) { sft.adam_beta1 = 0.8; },
      [](StageOptions& sft) { sft.adam_beta2 = 0.9; },
      [](StageOptions& sft) { sft.adam_epsilon = 1e-6; },
      [](StageOptions& sft) { sft.max_grad_norm = 0.5; }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    CATCH_CAPTURE(i);
    CATCH_CHECK_FALSE(with([&](RunOptions& options) { changes[i](options.sft); }));
  }

  Dataset one_token = data;
  for (Demonstration& demonstration : one_token.demonstrations) {
    auto& ids = std::get<TokenIds>(demonstration.completion);
    ids.back() = (ids.back() + 1) % small_vocabulary;
  }
  CATCH_CHECK_FALSE(first_is_shared([](RunOptions&) {}, plain_decoder(), one_token));
  CATCH_CHECK_FALSE(first_is_shared([](RunOptions&) {}, small_decoder(at::kDouble), data));
  CATCH_CHECK_FALSE(first_is_shared([](RunOptions&) {}, adapted_decoder(), data));
  const Decoder one_bit = small_decoder();
  float& number = static_cast<float*>(one_bit.weights().back().tensor.data_ptr())[0];
  number = std::nextafter(number, 10.0F);
  CATCH_CHECK_FALSE(first_is_shared([](RunOptions&) {}, one_bit, data));
  const int threads = at::get_num_threads();
  at::set_num_threads(threads + 1);
  CATCH_CHECK_FALSE(with([](RunOptions&) {}));
  at::set_num_threads(threads);
  CATCH_CHECK(with([](RunOptions&) {}));
}

CATCH_TEST_CASE("another loss or reference is another stage of preferences", "[shared]") {
  const TemporaryFolder folder;
  using Live = Pipeline<Rounds, Dpo<0.1>, Moving<0.5, 2>>;
  run<Live>(plain_decoder(), sharing(folder.path()));
  const auto policies = [](double beta, double weight) {
    return compose(Rounds{}, Dpo<dynamic>{.beta = beta}, Moving<dynamic, 2>{.weight = weight});
  };
  const auto shared_with = [&](const auto& composed) {
    using Chosen = Pipeline<Rounds, Dpo<dynamic>, Moving<dynamic, 2>>;
    return shared_slices(Chosen::Trainer(plain_decoder(), small_encoding(), Tokens{64}, composed)
                             .fit(small_dataset(24, 40), Budget::examples(32), sharing(folder.path())));
  };
  CATCH_CHECK(shared_with(policies(0.1, 0.5)) == std::vector{true, true, true, false});
  CATCH_CHECK(shared_with(policies(0.2, 0.5)) == std::vector{true, false, false, false});
  // Of two steps the second moves the reference, which nobody asks again: the model that it leaves is the same, so that what
  // comes behind is shared.
  CATCH_CHECK(shared_with(policies(0.1, 0.25)) == std::vector{true, false, true, false});
}

CATCH_TEST_CASE("a stage on disk that was damaged is refused by name", "[shared]") {
  const TemporaryFolder folder;
  const Ran maker = run<Pairs>(plain_decoder(), sharing(folder.path()));
  const std::filesystem::path stage = artifacts_in(folder.path()).at(0);
  for (const char* name : {"weights.safetensors", "stage.json"}) {
    CATCH_CAPTURE(name);
    const std::string bytes = content_of(stage / name);
    const auto write = [&](const std::string& text) {
      std::ofstream{stage / name, std::ios::binary | std::ios::trunc} << text;
    };
    std::string damaged = bytes;
    damaged[damaged.size() / 2] ^= 1;
    for (const std::string& other : {damaged, bytes.substr(0, bytes.size() / 2), std::string{}}) {
      write(other);
      const Decoder model = plain_decoder();
      const auto error = thrown<CacheError>([&] { run<Pairs>(model, sharing(folder.path())); });
      CATCH_CHECK(contains(error.what(), name));
      CATCH_CHECK(contains(error.what(), "the bytes that were written"));
      CATCH_CHECK(same_bits(model, plain_decoder()));
    }
    write(bytes);
  }
  check_same(run<Pairs>(plain_decoder(), sharing(folder.path())), maker);

  // A list of digests that says nothing of a file.
  const std::string sums = content_of(stage / "SHA256SUMS");
  std::ofstream{stage / "SHA256SUMS", std::ios::trunc} << sums.substr(0, sums.find('\n') + 1);
  CATCH_CHECK_THROWS_AS(run<Pairs>(plain_decoder(), sharing(folder.path())), CacheError);
  std::ofstream{stage / "SHA256SUMS", std::ios::trunc} << sums;
  CATCH_CHECK(run<Pairs>(plain_decoder(), sharing(folder.path())).report.slices[0].shared);

  // A stage under another one's name.
  RunOptions other = sharing(folder.path());
  other.seed = Seed{4};
  run<Pairs>(plain_decoder(), other);
  for (const auto& path : artifacts_in(folder.path())) {
    if (path == stage) continue;
    for (const char* name : {"weights.safetensors", "stage.json", "SHA256SUMS"}) {
      std::filesystem::copy_file(path / name, stage / name,
                                 std::filesystem::copy_options::overwrite_existing);
    }
  }
  const auto error = thrown<CacheError>([&] { run<Pairs>(plain_decoder(), sharing(folder.path())); });
  CATCH_CHECK(contains(error.what(), "the stage that the folder is named for"));

  // What a process that was killed leaves half-written is no stage.
  std::filesystem::rename(stage, folder.path() / (".unfinished-" + stage.filename().string()));
  const Ran again = run<Pairs>(plain_decoder(), sharing(folder.path()));
  CATCH_CHECK(shared_slices(again.report) == std::vector{false, false});
  check_same(again, maker);
  CATCH_CHECK(artifacts_in(folder.path()).size() == 2);
}

CATCH_TEST_CASE("of two runs that need a stage at once one trains it", "[shared]") {
  const TemporaryFolder folder;
  RunOptions options = sharing(folder.path());
  const int threads = at::get_num_threads();
  std::vector<Ran> second;
  std::thread waiting;
  options.on_step = [&](const StepRecord& record) {
    if (record.slice != 0 || record.step != 1) return;
    waiting = std::thread{[&] {  // begins while the first holds the stage
      at::set_num_threads(threads);
      second.push_back(run<Pairs>(plain_decoder(), sharing(folder.path())));
    }};
  };
  const Ran first = run<Pairs>(plain_decoder(), options);
  waiting.join();
  CATCH_CHECK(shared_slices(first.report) == std::vector{false, false});
  CATCH_CHECK(shared_slices(second.at(0).report) == std::vector{true, false});
  check_same(second.at(0), first);
}

CATCH_TEST_CASE("a stage is of the arithmetic that it was trained in", "[shared]") {
  at::Context& context = at::globalContext();
  const Fingerprint usual = fingerprint(at::kFloat);
  CATCH_CHECK(fingerprint(at::kFloat) == usual);
  context.setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL, at::Float32Precision::BF16);
  CATCH_CHECK(fingerprint(at::kFloat) != usual);
  context.setFloat32Precision(at::Float32Backend::MKLDNN, at::Float32Op::MATMUL, at::Float32Precision::NONE);
  CATCH_CHECK(fingerprint(at::kFloat) == usual);
  context.setDeterministicAlgorithms(true, false);
  CATCH_CHECK(fingerprint(at::kFloat) != usual);
  context.setDeterministicAlgorithms(false, false);
  CATCH_CHECK(fingerprint(at::kFloat) == usual);
  // Another device of the same kind is the same machine.
  CATCH_CHECK(fingerprint(at::kFloat, at::Device{at::kCUDA, 1}) ==
              fingerprint(at::kFloat, at::Device{at::kCUDA, 0}));
  CATCH_CHECK(fingerprint(at::kFloat, at::Device{at::kCUDA, 0}) != usual);
}

CATCH_TEST_CASE("whoever is asked to stop waits for no stage, and keeps none", "[shared]") {
  const TemporaryFolder folder;
  const Decoder model = plain_decoder();
  const SharedStages stages{folder.path(), model};
  const nlohmann::json identity = stage_identity(model, "CrossEntropy", {}, {}, small_rows(3, 1));
  CATCH_CHECK(identity.at("library") == library_version);  // an upgrade trains anew
  CATCH_CHECK(identity.at("machine").at("device") == "cpu");
  const ArtifactStore store{folder.path()};
  const std::string key = sha256(identity.dump()).hex();
  std::stop_source stop;
  stop.request_stop();
  const auto cancelled = [] { return SliceReport{.training = {.cancelled = true}}; };
  {
    const auto held = store.lock(key);
    CATCH_CHECK(stages.find_or_train(identity, model, cancelled, stop.get_token()).training.cancelled);
  }
  CATCH_CHECK(stages.find_or_train(identity, model, cancelled).training.cancelled);
  CATCH_CHECK_FALSE(store.has(key));
  const auto done = [] { return SliceReport{.training = {.steps_done = 7}}; };
  CATCH_CHECK_FALSE(stages.find_or_train(identity, model, done).shared);
  CATCH_CHECK(store.has(key));
  CATCH_CHECK(stages.find_or_train(identity, model, cancelled).training.steps_done == 7);
}

CATCH_TEST_CASE("a run with checkpoints goes on with the same bits, whatever is shared", "[shared][resume]") {
  using P = Pipeline<Rounds, Dpo<0.1>, AdapterOff>;
  const Ran whole = run<P>(adapted_decoder(), quick_options());
  const TemporaryFolder filled;
  run<P>(adapted_decoder(), sharing(filled.path()));
  std::filesystem::remove_all(artifacts_in(filled.path()).at(0));  // any one is to be trained anew
  for (const std::int64_t stop_after : {1, 2, 4, 5, 7}) {
    for (const bool is_filled : {false, true}) {
      CATCH_CAPTURE(stop_after, is_filled);
      const TemporaryFolder folder;
      RunOptions options = sharing(is_filled ? filled.path() : folder.path() / "stages");
      if (is_filled) {
        std::filesystem::copy(filled.path(), folder.path() / "stages",
                              std::filesystem::copy_options::recursive);
        options.shared_stages = folder.path() / "stages";
      }
      options.checkpoint = {.folder = folder.path() / "run", .every = Steps{1}, .resume = true};
      std::size_t slices = 0;
      options.on_slice = [&](const SliceReport&) { ++slices; };
      std::stop_source source;
      options.stop = source.get_token();
      std::int64_t steps = 0;
      options.on_step = [&](const StepRecord&) {
        if (++steps == stop_after) source.request_stop();
      };
      const bool was_cancelled = run<P>(adapted_decoder(), options).report.cancelled;
      const std::size_t before = slices;
      options.stop = {};
      options.on_step = {};
      const Ran rest = run<P>(adapted_decoder(), options);
      CATCH_CHECK(rest.report.resumed);
      check_same(rest, whole);
      CATCH_CHECK(slices >= 4);
      CATCH_CHECK(before <= 4);
      if (!is_filled) CATCH_CHECK(was_cancelled);
    }
  }
}

CATCH_TEST_CASE("a hook sees the model after each slice, shared or not", "[shared]") {
  const TemporaryFolder folder;
  std::vector<std::vector<at::Tensor>> seen;
  for (const bool shared : {false, true}) {
    const Decoder model = plain_decoder();
    RunOptions options = sharing(folder.path());
    std::vector<at::Tensor> weights;
    std::vector<SliceReport> reports;
    std::int64_t steps_before = 0, steps = 0;
    options.on_step = [&](const StepRecord&) { ++steps; };
    options.on_slice = [&](const SliceReport& slice) {
      reports.push_back(slice);
      weights.push_back(model.weights().front().tensor.clone());
      CATCH_CHECK(steps - steps_before == (slice.shared ? 0 : slice.training.steps_done));
      steps_before = steps;
    };
    run<Pairs>(model, options);
    CATCH_REQUIRE(reports.size() == 2);
    CATCH_CHECK(reports[0].stage == Stage::sft);
    CATCH_CHECK(reports[0].labels == Examples{16});
    CATCH_CHECK(reports[0].shared == shared);
    CATCH_CHECK_FALSE(reports[1].shared);
    CATCH_CHECK_FALSE(at::equal(weights[0], weights[1]));
    CATCH_CHECK(at::equal(weights[1], model.weights().front().tensor));
    seen.push_back(weights);
  }
  CATCH_CHECK(at::equal(seen[0][0], seen[1][0]));
}

CATCH_TEST_CASE("stages cannot be shared where nobody could tell or keep them", "[shared]") {
  const TemporaryFolder folder;
  struct Anonymous {
    [[nodiscard]] NamedTensors weights() const { return small_decoder().weights(); }
    [[nodiscard]] NamedTensors parameters() const { return weights(); }
    [[nodiscard]] at::Tensor hidden(const PackedRows&) const { return {}; }
    [[nodiscard]] at::Tensor head() const { return {}; }
  };
  const auto anonymous = thrown<OptionError>([&] { SharedStages(folder.path(), Anonymous{}); });
  CATCH_CHECK(contains(anonymous.what(), "RunOptions::shared_stages"));
  CATCH_CHECK_FALSE(SharedStages({}, Anonymous{}).is_on());

  const std::filesystem::path file = folder.path() / "file";
  std::ofstream{file} << "no folder";
  RunOptions options = sharing(file);
  options.on_step = [](const StepRecord&) { CATCH_FAIL("a step was taken"); };
  CATCH_CHECK(contains(thrown<FileError>([&] { run<Pairs>(plain_decoder(), options); }).what(),
                       "a folder for what runs share"));
}
