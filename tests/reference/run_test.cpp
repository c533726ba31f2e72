// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "counted_memory.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/model/padded_model.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "train/recorded_operators.hpp"
#include "train/small_data.hpp"

// References in whole runs: what they are taken of, what they cost, and that a run which was interrupted anywhere ends
// with the bits of one that never was.

using namespace tithe;
using namespace tithe::test;

namespace {

namespace fs = std::filesystem;

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
RunReport run(const Decoder& model, const RunOptions& options = small_options(),
              const Budget& budget = Budget::examples(24)) {
  return typename P::Trainer(model, small_encoding(), Tokens{64})
      .fit(small_dataset(40, 40, 40), budget, options);
}

/// The weights that a run ends with.
template <class P>
Decoder trained(const RunOptions& options = small_options(), std::uint64_t seed = 1) {
  const Decoder model = small_decoder(at::kFloat, seed);
  run<P>(model, options);
  return model;
}

/// The same, of a run that is cancelled after every `steps` steps and resumed, each time with a model whose weights are
/// nobody's: all that matters is in the checkpoint. `damage` is done to the checkpoint in between.
template <class P, class Damage>
Decoder resumed(RunOptions options, int steps, Damage damage) {
  const TemporaryFolder folder;
  options.checkpoint = {.folder = folder.path() / "run", .every = Steps{1}, .resume = true};
  for (std::uint64_t session = 0; session < 100; ++session) {
    std::stop_source source;
    options.stop = source.get_token();
    int seen = 0;
    options.on_step = [&](const StepRecord&) {
      if (++seen == steps) source.request_stop();
    };
    const Decoder model = small_decoder(at::kFloat, session == 0 ? 1 : 50 + session);
    if (!run<P>(model, options).cancelled) return model;
    damage(options.checkpoint.folder);
  }
  CATCH_FAIL("the run never ends");
  return small_decoder();
}
template <class P>
Decoder resumed(const RunOptions& options, int steps) {
  return resumed<P>(options, steps, [](const fs::path&) {});
}

template <class L, class R>
using Mixed = Pipeline<SftFraction<0.5>, L, R>;
template <class L, class R>
using Alternating = Pipeline<Interleaved<SftFraction<0.5>, 2>, L, R>;

/// A reference of a user's own that shares the model's weights and so owns none: the model itself.
struct Itself {
  static constexpr bool gives_reference = true;

  template <class Model>
  struct View {
    Model model;
    [[nodiscard]] at::Tensor token_logprobs(const PackedRows& rows) const {
      return tithe::token_logprobs(model, rows);
    }
  };
  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    return View<Model>{model};
  }
  [[nodiscard]] std::string name() const { return "Itself"; }
};

std::vector<std::string> names_in(const fs::path& folder) {
  const Checkpoint checkpoint = CheckpointStore{folder}.load();
  std::vector<std::string> names;
  for (const NamedTensor& tensor : checkpoint.tensors) names.push_back(tensor.name);
  return names;
}
std::ptrdiff_t count_of(const std::vector<std::string>& names, const std::string& prefix) {
  return std::ranges::count_if(names, [&](const std::string& name) { return name.starts_with(prefix); });
}

}  // namespace

CATCH_TEST_CASE("each reference is another model, and where they agree runs agree", "[reference][run]") {
  const Decoder sft = trained<Mixed<Dpo<>, FrozenSft>>();
  CATCH_CHECK_FALSE(same_bits(sft, trained<Mixed<Dpo<>, FrozenBase>>()));
  CATCH_CHECK_FALSE(same_bits(sft, trained<Mixed<Dpo<>, MovingHard<2>>>()));
  CATCH_CHECK_FALSE(
      same_bits(trained<Mixed<Dpo<>, MovingHard<2>>>(), trained<Mixed<Dpo<>, Moving<0.5, 2>>>()));
  CATCH_CHECK(same_bits(sft, trained<Mixed<Dpo<>, MovingHard<1'000>>>()));  // never moves
  // Without demonstrations the model as it came and as SFT left it are one.
  CATCH_CHECK(same_bits(trained<Pipeline<PreferenceOnly, Dpo<>, FrozenSft>>(),
                        trained<Pipeline<PreferenceOnly, Dpo<>, FrozenBase>>()));
  // In a plan that alternates they are not, even where the first stage has none.
  CATCH_CHECK_FALSE(
      same_bits(trained<Alternating<Dpo<>, FrozenSft>>(), trained<Alternating<Dpo<>, FrozenBase>>()));
}

CATCH_TEST_CASE("cached = live in whole runs", "[reference][run]") {
  // In float64, where a log-probability differs in its last digits alone; AdamW divides by small numbers.
  const auto distance_of = [](auto live, auto cached) {
    const Decoder a = small_decoder(at::kDouble), b = small_decoder(at::kDouble);
    run<typename decltype(live)::type>(a);
    run<typename decltype(cached)::type>(b);
    return distance(a, b);
  };
  using std::type_identity;
  CATCH_CHECK(distance_of(type_identity<Mixed<Dpo<>, FrozenSft>>{},
                          type_identity<Mixed<Dpo<>, Cached<FrozenSft>>>{}) < 1e-9);
  CATCH_CHECK(distance_of(type_identity<Mixed<Kto<>, FrozenSft>>{},
                          type_identity<Mixed<Kto<>, Cached<FrozenSft>>>{}) < 1e-9);
  CATCH_CHECK(distance_of(type_identity<Alternating<Dpo<>, FrozenBase>>{},
                          type_identity<Alternating<Dpo<>, Cached<FrozenBase>>>{}) < 1e-9);
  CATCH_CHECK(distance_of(type_identity<Alternating<Dpo<>, FrozenSft>>{},
                          type_identity<Alternating<Dpo<>, Cached<FrozenBase>>>{}) > 1e-4);
}

CATCH_TEST_CASE("held-out verdicts are scored by a cached reference as by a live one", "[reference][run]") {
  RunOptions options = small_options();
  options.held_out = small_dataset(0, 0, 9);
  const Decoder a = small_decoder(at::kDouble), b = small_decoder(at::kDouble);
  const RunReport live = run<Mixed<Kto<>, FrozenSft>>(a, options);
  const RunReport cached = run<Mixed<Kto<>, Cached<FrozenSft>>>(b, options);
  CATCH_REQUIRE(live.after.size() == cached.after.size());
  CATCH_CHECK(
      std::ranges::any_of(live.after, [](const Estimate& one) { return one.name == "rewards/margins"; }));
  for (std::size_t i = 0; i < live.after.size(); ++i) {
    CATCH_CHECK(cached.after[i].name == live.after[i].name);
    CATCH_CHECK(cached.after[i].value ==
                Approx(live.after[i].value).epsilon(1e-6));  // as training amplifies 1e-16
  }
}

CATCH_TEST_CASE("a run that is interrupted ends with the same bits, whatever its reference",
                "[reference][run]") {
  const RunOptions options = small_options();
  for (const int steps : {1, 2, 5}) {
    CATCH_CHECK(
        same_bits(trained<Mixed<Dpo<>, FrozenBase>>(), resumed<Mixed<Dpo<>, FrozenBase>>(options, steps)));
    CATCH_CHECK(same_bits(trained<Mixed<Dpo<>, Moving<0.6, 2>>>(),
                          resumed<Mixed<Dpo<>, Moving<0.6, 2>>>(options, steps)));
    CATCH_CHECK(same_bits(trained<Mixed<Kto<>, Cached<FrozenSft>>>(),
                          resumed<Mixed<Kto<>, Cached<FrozenSft>>>(options, steps)));
  }
  CATCH_CHECK(same_bits(trained<Alternating<Dpo<>, FrozenBase>>(),
                        resumed<Alternating<Dpo<>, FrozenBase>>(options, 2)));
  CATCH_CHECK(same_bits(trained<Alternating<Dpo<>, MovingSoftly<>>>(),
                        resumed<Alternating<Dpo<>, MovingSoftly<>>>(options, 2)));
  CATCH_CHECK(same_bits(trained<Alternating<Dpo<>, Cached<FrozenBase>>>(),
                        resumed<Alternating<Dpo<>, Cached<FrozenBase>>>(options, 2)));
  CATCH_CHECK(same_bits(trained<Alternating<Dpo<>, Cached<FrozenSft>>>(),
                        resumed<Alternating<Dpo<>, Cached<FrozenSft>>>(options, 2)));
}

CATCH_TEST_CASE("a run that dies after a step has that step's update of its reference", "[reference][run]") {
  // Unlike a run that is stopped, it saves nothing more: the last checkpoint is the one of the step before.
  struct Death {};
  using Recipe = Pipeline<PreferenceOnly, Dpo<>, MovingSoftly<>>;
  const TemporaryFolder folder;
  RunOptions options = small_options();
  options.checkpoint = {.folder = folder.path(), .every = Steps{1}, .resume = true};
  int deaths = 0;
  Decoder model = small_decoder();
  for (bool done = false; !done;) {
    int seen = 0;
    options.on_step = [&](const StepRecord&) {
      if (++seen == 3) throw Death{};
    };
    model = small_decoder(at::kFloat, deaths == 0 ? 1 : 50);
    try {
      run<Recipe>(model, options);
      done = true;
    } catch (const Death&) {
      ++deaths;
    }
  }
  CATCH_CHECK(deaths == 5);  // of 12 steps, two are kept of each session's three
  CATCH_CHECK(same_bits(trained<Recipe>(), model));
}

CATCH_TEST_CASE("the control: what a checkpoint holds of a reference is needed", "[reference][run]") {
  // Each tensor of a reference is overwritten by noise where it stands; the manifest is made anew.
  const auto forget = [](const fs::path& folder) {
    CheckpointStore store{folder};
    Checkpoint checkpoint = store.load();
    for (NamedTensor& tensor : checkpoint.tensors) {
      tensor.tensor = tensor.tensor.clone();
      if (tensor.name.starts_with("reference.") || tensor.name.starts_with("base.")) tensor.tensor.mul_(1.5);
    }
    store.save(checkpoint);
  };
  const RunOptions options = small_options();
  CATCH_CHECK_FALSE(
      same_bits(trained<Mixed<Dpo<>, FrozenBase>>(), resumed<Mixed<Dpo<>, FrozenBase>>(options, 5, forget)));
  CATCH_CHECK_FALSE(same_bits(trained<Mixed<Dpo<>, Moving<0.6, 2>>>(),
                              resumed<Mixed<Dpo<>, Moving<0.6, 2>>>(options, 5, forget)));
  CATCH_CHECK_FALSE(same_bits(trained<Mixed<Dpo<>, Cached<FrozenSft>>>(),
                              resumed<Mixed<Dpo<>, Cached<FrozenSft>>>(options, 5, forget)));
}

CATCH_TEST_CASE("a checkpoint that lacks what it held of a reference is refused", "[reference][run]") {
  const auto lose = [](const fs::path& folder) {
    CheckpointStore store{folder};
    Checkpoint checkpoint = store.load();
    std::erase_if(checkpoint.tensors, [](const NamedTensor& tensor) {
      return tensor.name.starts_with("reference.") || tensor.name.starts_with("base.");
    });
    for (NamedTensor& tensor : checkpoint.tensors) tensor.tensor = tensor.tensor.clone();
    store.save(checkpoint);
  };
  const RunOptions options = small_options();
  CATCH_CHECK_THROWS_AS((resumed<Mixed<Dpo<>, FrozenBase>>(options, 5, lose)), CheckpointError);
  CATCH_CHECK_THROWS_AS((resumed<Mixed<Dpo<>, FrozenBase>>(options, 8, lose)), CheckpointError);
  CATCH_CHECK_THROWS_AS((resumed<Mixed<Dpo<>, Moving<0.6, 2>>>(options, 8, lose)), CheckpointError);
  CATCH_CHECK_THROWS_AS((resumed<Mixed<Dpo<>, Cached<FrozenSft>>>(options, 8, lose)), CheckpointError);
}

CATCH_TEST_CASE("a checkpoint holds of a reference what its strategy needs, and nothing else",
                "[reference][run]") {
  const TemporaryFolder folder;
  const auto weights = static_cast<std::ptrdiff_t>(small_decoder().weights().size());
  struct Held {
    std::ptrdiff_t reference, base;
  };
  /// At the end of each slice of a plan that alternates twice.
  const auto held = [&](auto pipeline, const char* name) {
    RunOptions options = small_options();
    options.checkpoint.folder = folder.path() / name;
    options.checkpoint.every = Steps{1};
    std::vector<Held> slices(4);
    options.on_step = [&](const StepRecord& step) {
      if (step.step < 2) return;  // the first of the slice is saved by then
      const std::vector<std::string> names = names_in(options.checkpoint.folder);
      slices[static_cast<std::size_t>(step.slice)] = {count_of(names, "reference."),
                                                      count_of(names, "base.")};
    };
    run<typename decltype(pipeline)::type>(small_decoder(), options);
    return slices;
  };
  const auto check = [&](const std::vector<Held>& found, const std::vector<Held>& expected) {
    for (std::size_t i = 0; i < 4; ++i) {
      CATCH_INFO("slice " << i);
      CATCH_CHECK(found[i].reference == expected[i].reference);
      CATCH_CHECK(found[i].base == expected[i].base);
    }
  };
  using std::type_identity;
  const auto w = weights;
  check(held(type_identity<Alternating<Dpo<>, FrozenSft>>{}, "sft"), {{0, 0}, {w, 0}, {0, 0}, {w, 0}});
  check(held(type_identity<Alternating<Dpo<>, FrozenBase>>{}, "base"), {{0, w}, {0, w}, {0, w}, {0, w}});
  check(held(type_identity<Alternating<Dpo<>, Cached<FrozenSft>>>{}, "cached"),
        {{0, 0}, {1, 0}, {0, 0}, {1, 0}});
  // The model as it came is kept for the second preference stage, and gone once that has its numbers.
  check(held(type_identity<Alternating<Dpo<>, Cached<FrozenBase>>>{}, "both"),
        {{0, w}, {1, w}, {0, w}, {1, 0}});
  check(held(type_identity<Alternating<SimPo<>, NoReference>>{}, "none"), {{0, 0}, {0, 0}, {0, 0}, {0, 0}});
}

CATCH_TEST_CASE("Moving follows by its weight, every so many steps of its stage", "[reference][moving]") {
  const auto value = [](const Decoder& model) { return model.weights()[0].tensor[1][1].item<double>(); };
  const Decoder model = small_decoder(at::kDouble, 2);
  const Decoder reference = small_decoder(at::kDouble).frozen_copy();
  const double p = value(model), r = value(reference);
  const Moving<0.25, 3> moving;
  for (const std::int64_t step : {1, 2}) moving.follow(reference, model, step);
  CATCH_CHECK(same_bits(reference, small_decoder(at::kDouble).frozen_copy()));
  moving.follow(reference, model, 3);
  CATCH_CHECK(value(reference) == Approx(0.25 * p + 0.75 * r).epsilon(1e-14));  // two roundings of float64
  moving.follow(reference, model, 6);
  CATCH_CHECK(value(reference) == Approx(0.4375 * p + 0.5625 * r).epsilon(1e-14));
  MovingHard<2>{}.follow(reference, model, 4);
  CATCH_CHECK(same_bits(reference, model));
  CATCH_CHECK(Moving<dynamic, dynamic>{.weight = 0.5, .every = 2}.name() == "Moving<0.5, 2>");
  CATCH_CHECK(MovingSoftly<>{}.name() == "Moving<0.6, 1>");
}

CATCH_TEST_CASE("a reference that shares the model's weights has none of its own", "[reference][run]") {
  const TemporaryFolder folder;
  RunOptions options = small_options();
  options.checkpoint.folder = folder.path();
  std::vector<double> losses;
  options.on_step = [&](const StepRecord& step) {
    if (step.stage == "preference") losses.push_back(step.at("loss"));
  };
  run<Mixed<Dpo<>, Itself>>(small_decoder(), options);
  CATCH_CHECK(count_of(names_in(folder.path()), "reference.") == 0);
  CATCH_REQUIRE(losses.size() == 6);
  // Policy and reference are one: ln 2, up to the rounding of single precision.
  for (const double loss : losses) CATCH_CHECK(loss == Approx(0.69314718).epsilon(1e-6));
  run<Mixed<Dpo<>, Cached<Itself>>>(small_decoder());  // taken when the stage begins, it stands still
  options.checkpoint = {};
  options.reference_cache = folder.path() / "kept";  // whose log-probabilities these are, a view cannot say
  CATCH_CHECK_THROWS_AS((run<Mixed<Dpo<>, Cached<Itself>>>(small_decoder(), options)), OptionError);
}

namespace {

/// The bytes that are held after the second step of a preference stage, beyond those before the run.
template <class P>
std::int64_t held_in_stage() {
  const Decoder model = small_decoder();
  std::int64_t held = 0;
  const CountedMemory memory;
  RunOptions options = small_options();
  options.on_step = [&](const StepRecord& step) {
    if (step.stage == "preference" && step.step == 2) held = memory.held();
  };
  run<P>(model, options);
  return held;
}

std::int64_t bytes_of(const Decoder& model) {
  std::int64_t sum = 0;
  for (const NamedTensor& weight : model.weights()) sum += static_cast<std::int64_t>(weight.tensor.nbytes());
  return sum;
}

/// Passes through a decoder in a whole run.
template <class P>
std::ptrdiff_t passes(const RunOptions& options = small_options()) {
  const Names names = operators_of([&] { run<P>(small_decoder(), options); });
  return std::ranges::count(names, std::string{"aten::embedding"});
}

}  // namespace

CATCH_TEST_CASE("what a pipeline does not need is not there", "[reference][run]") {
  const std::int64_t copy = bytes_of(small_decoder());
  const std::int64_t live = held_in_stage<Mixed<Dpo<>, FrozenSft>>();
  const std::int64_t none = held_in_stage<Mixed<SimPo<>, NoReference>>();
  const std::int64_t cached = held_in_stage<Mixed<Dpo<>, Cached<FrozenSft>>>();
  const std::int64_t cached_base = held_in_stage<Mixed<Dpo<>, Cached<FrozenBase>>>();
  CATCH_CHECK(copy > 10'000);
  // All else is the same; LibTorch rounds a tensor's memory up to 64 bytes.
  CATCH_CHECK(live - none >= copy);
  CATCH_CHECK(live - none < copy + copy / 4);
  // 12 pairs of at most 22 tokens, 4 bytes each: 1 KiB.
  CATCH_CHECK(cached - none > 0);
  CATCH_CHECK(cached - none <= 2'048);
  CATCH_CHECK(cached_base - none <= 2'048);
  static_assert(std::is_empty_v<NoSnapshot>);

  // 12 demonstrations and 12 pairs, in three steps an epoch, twice: six passes each.
  CATCH_CHECK(passes<Mixed<SimPo<>, NoReference>>() == 6 + 6);
  CATCH_CHECK(passes<Mixed<Dpo<>, FrozenSft>>() == 6 + 6 + 6);
  CATCH_CHECK(passes<Mixed<Dpo<>, Cached<FrozenSft>>>() == 6 + 6 + 3);
}

CATCH_TEST_CASE("a second run finds its reference's log-probabilities on disk", "[reference][run]") {
  const TemporaryFolder folder;
  RunOptions options = small_options();
  options.reference_cache = folder.path() / "kept" / "here";
  using Recipe = Mixed<Dpo<>, Cached<FrozenSft>>;
  const Decoder in_memory = trained<Recipe>();
  CATCH_CHECK(passes<Recipe>(options) == 6 + 6 + 3);
  CATCH_CHECK(passes<Recipe>(options) == 6 + 6);  // no pass through the reference
  CATCH_CHECK(same_bits(in_memory, trained<Recipe>(options)));
  RunOptions further = options;
  further.preference.epochs = 5;  // pairs are the same in every epoch
  CATCH_CHECK(passes<Recipe>(further) == 6 + 15);
  further.sft.epochs = 1;  // another model
  CATCH_CHECK(passes<Recipe>(further) == 3 + 15 + 3);

  CATCH_SECTION("a damaged file stops the run before the stage; deleted, the run goes on") {
    for (const auto& entry : fs::directory_iterator{options.reference_cache}) {
      std::fstream file{entry.path(), std::ios::in | std::ios::out | std::ios::binary};
      file.seekp(-3, std::ios::end);
      const int byte = file.peek();
      file.put(static_cast<char>(byte ^ 1));
    }
    options.checkpoint = {.folder = folder.path() / "run", .resume = true};
    const auto error = thrown<CacheError>([&] { trained<Recipe>(options); });
    CATCH_CHECK(contains(error.what(), "the numbers that were written, but found others"));
    fs::remove_all(options.reference_cache);
    CATCH_CHECK(same_bits(in_memory, trained<Recipe>(options)));
  }
  CATCH_SECTION("a resume within the stage needs no disk") {
    CATCH_CHECK(same_bits(in_memory, resumed<Recipe>(options, 4, [&](const fs::path&) {
                            fs::remove_all(options.reference_cache);
                          })));
  }
}

CATCH_TEST_CASE("a cache folder that cannot be, or a model that cannot be named, is said before training",
                "[reference][run]") {
  const TemporaryFolder folder;
  RunOptions options = small_options();
  options.on_step = [](const StepRecord&) { CATCH_FAIL("a step was done"); };
  options.reference_cache = folder.file("a file", "") / "below";
  CATCH_CHECK_THROWS_AS((run<Mixed<Dpo<>, Cached<FrozenSft>>>(small_decoder(), options)), FileError);

  const Decoder inner = small_decoder();
  PaddedModelParts parts{.logits = [](const at::Tensor& ids) { return ids; }, .weights = inner.weights()};
  options.reference_cache = folder.path();
  const auto fit = [&] {
    return Mixed<Dpo<>, Cached<FrozenSft>>::Trainer(PaddedModel{parts}, small_encoding(), Tokens{64})
        .fit(small_dataset(40, 40), Budget::examples(24), options);
  };
  CATCH_CHECK(contains(thrown<OptionError>(fit).what(), "PaddedModelParts::settings"));
}

CATCH_TEST_CASE("a stop while a cache is filled is obeyed, and the run goes on", "[reference][run]") {
  // Stopped when the preference stage's labels are paid for, before its first pass.
  struct StopsAtPairs {
    Pool pool;
    std::stop_source* stop;
    [[nodiscard]] std::optional<Examples> available(Stage) const { return std::nullopt; }
    [[nodiscard]] std::vector<Finding> findings(Stage stage) const { return pool.findings(stage); }
    std::vector<Label> draw(const Slice& slice, Examples drawn, const Decoder& model) {
      std::vector<Label> labels = pool.draw(slice, drawn, model);
      if (slice.stage == Stage::preference && stop != nullptr) stop->request_stop();
      return labels;
    }
  };
  using Recipe = Mixed<Dpo<>, Cached<FrozenBase>>;
  const auto fit = [](const Decoder& model, std::stop_source* stop, const RunOptions& options) {
    StopsAtPairs source{
        Pool{small_dataset(40, 40), small_encoding(), {.max_length = Tokens{64}}, RowKind::pair}, stop};
    return Recipe::Trainer(model, small_encoding(), Tokens{64}).fit(source, Budget::examples(24), options);
  };
  const Decoder whole = small_decoder();
  fit(whole, nullptr, small_options());

  const TemporaryFolder folder;
  RunOptions options = small_options();
  options.checkpoint = {.folder = folder.path(), .resume = true};
  std::stop_source stop;
  options.stop = stop.get_token();
  const RunReport cut = fit(small_decoder(), &stop, options);
  CATCH_CHECK(cut.cancelled);
  CATCH_CHECK(cut.ledger.spent() == 24);
  const std::vector<std::string> names = names_in(folder.path());
  CATCH_CHECK(count_of(names, "reference.") == 0);
  CATCH_CHECK(count_of(names, "base.") == static_cast<std::ptrdiff_t>(whole.weights().size()));
  options.stop = {};
  const Decoder model = small_decoder(at::kFloat, 77);
  CATCH_CHECK_FALSE(fit(model, nullptr, options).cancelled);
  CATCH_CHECK(same_bits(whole, model));
}
