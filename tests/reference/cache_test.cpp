// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/logprob/logprob_cache.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/train/cached_reference.hpp"
#include "tithe/train/reference_cache.hpp"
#include "tithe/train/stage.hpp"
#include "train/recorded_operators.hpp"
#include "train/small_run.hpp"
#include "train/unscored_rows.hpp"

// A reference that is asked once says what it would say at every step; on disk it is found again, or refused.

using namespace tithe;
using namespace tithe::test;

namespace {

CachedReference<Decoder> cached(const Decoder& model, const std::filesystem::path& folder = {}) {
  return CachedReference<Decoder>{{.model = std::make_shared<const Decoder>(model),
                                   .folder = folder,
                                   .strategy = "FrozenSft",
                                   .machine = fingerprint(model.dtype())}};
}

StageOptions shuffled_epochs(std::int64_t batch_size, std::int64_t accumulate) {
  StageOptions options;
  options.learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::constant};
  options.epochs = 3;
  options.batch_size = batch_size;
  options.accumulate = accumulate;
  options.seed = Seed{7};
  return options;
}

/// Every step of a stage, as train_stage takes them.
template <class Visit>
void for_each_step(const Rows& rows, const StageOptions& options, Visit visit) {
  for (std::int64_t epoch = 0; epoch < options.epochs; ++epoch) {
    const Indices order = epoch_order(rows.size(), options.order, options.seed, epoch);
    for (const Indices& batch : batches_of(order, options.rows_per_step())) {
      StepBatch step{.rows = rows,
                     .order = order,
                     .batch = batch,
                     .passes = {},
                     .kind = options.order,
                     .limits = {options.batch_size, options.max_tokens_per_pass},
                     .longest_path = longest_path_of(rows)};
      step.passes = passes_of(step.batch, rows, step.limits);
      visit(step);
    }
  }
}

/// The loss of each row of a step, and the gradient of each parameter.
struct Computed {
  std::vector<at::Tensor> losses;
  std::vector<at::Tensor> gradients;
};
template <class Objective>
Computed computed(const Objective& objective, const Decoder& model, const StepBatch& step) {
  Computed all;
  const auto whole = objective.whole(model, step);
  for (std::size_t pass = 0; pass < step.passes.size(); ++pass) {
    const PassResult result = objective.pass(model, step, pass, whole);
    result.loss.backward();
    all.losses.push_back(at::tensor(result.row_losses, at::kDouble));
  }
  for (const NamedTensor& parameter : model.parameters()) {
    all.gradients.push_back(parameter.tensor.grad().clone());
    parameter.tensor.mutable_grad().reset();
  }
  return all;
}
double distance(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double largest = a.size() == b.size() ? 0 : 1e300;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    largest = std::max(largest, (a[i] - b[i]).abs().max().item<double>());
  return largest;
}

/// The largest difference between live and cached over a stage's steps; the cache is filled with `fill_batch` rows a pass.
template <class Loss>
double cached_from_live(Loss loss, const Rows& rows, const StageOptions& options, std::int64_t fill_batch,
                        std::uint64_t cached_seed = 1) {
  const Decoder model = small_decoder(at::kDouble, 5);  // has moved away from its reference
  const PreferenceObjective live{loss, small_decoder(at::kDouble).frozen_copy()};
  const PreferenceObjective kept{loss, cached(small_decoder(at::kDouble, cached_seed))};
  StageOptions filling = options;
  filling.batch_size = fill_batch;
  filling.accumulate = options.rows_per_step() / fill_batch;
  kept.prepare(rows, filling);
  double largest = 0;
  for_each_step(rows, options, [&](const StepBatch& step) {
    const Computed a = computed(live, model, step), b = computed(kept, model, step);
    largest = std::max({largest, distance(a.losses, b.losses), distance(a.gradients, b.gradients)});
  });
  return largest;
}

std::size_t count(const Names& names, const char* name) {
  return static_cast<std::size_t>(std::ranges::count(names, std::string{name}));
}

}  // namespace

CATCH_TEST_CASE("cached = live: losses and gradients, however rows are packed", "[reference][cache]") {
  // Sums of products come in another order where other rows stand beside a row: float64 rounds them at 1e-16 each.
  constexpr double rounding = 1e-12;
  for (const auto& [batch, accumulate] : {std::pair{6, 1}, {3, 2}, {1, 6}}) {
    const StageOptions options = shuffled_epochs(batch, accumulate);
    for (const std::int64_t fill_batch : {1, 2, 6}) {
      CATCH_CHECK(cached_from_live(Dpo<>{}, small_rows(17, 2), options, fill_batch) < rounding);
      CATCH_CHECK(cached_from_live(Kto<>{}, small_rows(17, 1), options, fill_batch) < rounding);
    }
  }
  CATCH_SECTION("pairs that begin alike") {
    Rows rows = small_rows(17, 2);
    for (std::size_t i = 0; i < rows.size(); i += 2) {
      for (TokenIds& completion : rows[i].completions) completion.insert(completion.begin(), {3, 5, 4});
    }
    CATCH_CHECK(cached_from_live(Dpo<>{}, rows, shuffled_epochs(3, 2), 2) < rounding);
  }
  CATCH_SECTION("in file order, one row a step") {
    StageOptions options = shuffled_epochs(1, 1);
    options.order = Order::file;
    CATCH_CHECK(cached_from_live(Kto<>{}, small_rows(5, 1), options, 1) < rounding);
  }
  CATCH_SECTION("the control: another model's log-probabilities are others") {
    CATCH_CHECK(cached_from_live(Dpo<>{}, small_rows(17, 2), shuffled_epochs(6, 1), 6, 2) > 1e-3);
    CATCH_CHECK(cached_from_live(Kto<>{}, small_rows(17, 1), shuffled_epochs(6, 1), 6, 2) > 1e-3);
  }
}

CATCH_TEST_CASE("mismatched completions that are cut to fit are cached as they are cut",
                "[reference][cache]") {
  Rows rows = small_rows(6, 1);
  for (std::size_t i = 0; i < rows.size();
       ++i) {  // a long prompt with a short completion, and the other way round
    rows[i].prompt.resize(i % 2 == 0 ? 9 : 2, 3);
    rows[i].completions[0].assign(i % 2 == 0 ? 2 : 8, i % 2 == 0 ? 5 : 4);
  }
  const StageOptions options = shuffled_epochs(3, 1);
  const Rows mismatched = mismatched_of_stage(rows, options);
  CATCH_REQUIRE(mismatched.size() == 18);
  CATCH_CHECK(std::ranges::any_of(mismatched, [](const Row& row) {
    return row.prompt.size() == 9 && row.completions[0] == TokenIds{4, 4};
  }));
  CATCH_CHECK(cached_from_live(Kto<>{}, rows, options, 3) < 1e-12);  // as above
}

CATCH_TEST_CASE("tokens that are not scored are cached as such", "[reference][cache]") {
  const StageOptions options = shuffled_epochs(6, 1);
  CATCH_CHECK(cached_from_live(Dpo<>{}, with_unscored(small_rows(17, 2)), options, 6) < 1e-12);  // as above
  CATCH_CHECK(cached_from_live(Kto<>{}, with_unscored(small_rows(17, 1)), options, 6) < 1e-12);
}

CATCH_TEST_CASE("a cached stage runs no second forward pass", "[reference][cache]") {
  const auto forwards = [](auto reference_of, auto loss, const Rows& rows) {
    const Decoder model = small_decoder();
    const PreferenceObjective objective{loss, reference_of(model)};
    const Names names = operators_of([&] { train_stage(model, objective, rows, shuffled_epochs(4, 1)); });
    return count(names, "aten::embedding");  // one a pass through a decoder
  };
  const auto live = [](const Decoder& model) { return model.frozen_copy(); };
  const auto kept = [](const Decoder& model) { return cached(model); };
  const Rows pairs = small_rows(8, 2), verdicts = small_rows(8, 1);
  // Three epochs of two steps: six passes with gradients, and as many through the reference or two that fill the cache.
  CATCH_CHECK(forwards(live, Dpo<>{}, pairs) == 6 + 6);
  CATCH_CHECK(forwards(kept, Dpo<>{}, pairs) == 6 + 2);
  // KTO scores mismatched completions, too: other ones each epoch. The policy and a live reference read them with the rows'
  // own; to fill the cache takes at most a pass for each step's and two for the rows'.
  CATCH_CHECK(forwards(live, Kto<>{}, verdicts) == 6 + 6);
  CATCH_CHECK(forwards(kept, Kto<>{}, verdicts) <= 6 + 6 + 2);  // some stand there twice
}

CATCH_TEST_CASE("a cache has its reference's log-probabilities, wider than a narrow model's",
                "[reference][cache]") {
  const Rows rows = small_rows(7, 2);
  const Decoder model = small_decoder(at::kBFloat16);
  const CachedReference<Decoder> reference = cached(model);
  CATCH_CHECK(contains(thrown<CacheError>([&] { (void)reference.token_logprobs(pack(rows)); }).what(),
                       "log-probabilities that were prepared"));
  CATCH_CHECK(reference.weights().empty());
  reference.prepare(rows, {}, {});
  const PackedRows packed = pack(rows);
  CATCH_CHECK(reference.token_logprobs(packed).scalar_type() == at::kFloat);
  CATCH_CHECK(reference.token_logprobs(packed).lt(0).all().item<bool>());
  CATCH_REQUIRE(reference.weights().size() == 1);
  CATCH_CHECK(reference.weights()[0].tensor.numel() == packed.predicted_tokens());

  Rows other = rows;
  other[3].completions[1].push_back(1);
  CATCH_CHECK(contains(thrown<CacheError>([&] { (void)reference.token_logprobs(pack(other)); }).what(),
                       "but found another one"));
  other = rows;
  other[3].prompt.push_back(1);  // the same completion behind another prompt
  CATCH_CHECK_THROWS_AS(reference.token_logprobs(pack(other)), CacheError);
}

CATCH_TEST_CASE("what is kept depends on the rows alone, not on their order or repetition",
                "[reference][cache]") {
  Rows rows = small_rows(9, 2), turned = rows;
  std::ranges::reverse(turned);
  turned.push_back(rows[4]);
  turned.back().id = "again";
  const Decoder model = small_decoder();
  const CachedReference<Decoder> a = cached(model), b = cached(model);
  a.prepare(rows, {.rows = 4}, {});
  b.prepare(turned, {.rows = 4}, {});
  CATCH_CHECK(at::equal(a.weights()[0].tensor, b.weights()[0].tensor));
}

CATCH_TEST_CASE("a model is let go once its log-probabilities are kept, and not before",
                "[reference][cache]") {
  auto model = std::make_shared<const Decoder>(small_decoder());
  const std::weak_ptr<const Decoder> seen = model;
  const CachedReference<Decoder> reference{{.model = std::move(model)}};
  std::stop_source stop;
  stop.request_stop();
  reference.prepare(small_rows(5, 2), {}, {}, stop.get_token());
  CATCH_CHECK(reference.weights().empty());
  CATCH_CHECK_FALSE(seen.expired());
  reference.prepare(small_rows(5, 2), {}, {});
  CATCH_CHECK(reference.weights().size() == 1);
  CATCH_CHECK(seen.expired());
}

CATCH_TEST_CASE("a checkpoint's numbers are taken, and must be those of the rows", "[reference][cache]") {
  const Rows rows = small_rows(5, 2);
  const CachedReference<Decoder> first = cached(small_decoder());
  first.prepare(rows, {}, {});
  const at::Tensor numbers = first.weights()[0].tensor;
  const auto from = [&](const at::Tensor& saved) {
    const CachedReference<Decoder> second{
        {.model = std::make_shared<const Decoder>(small_decoder(at::kFloat, 9)), .saved = saved}};
    second.prepare(rows, {}, {});  // not asked: another model
    return second.token_logprobs(pack(rows));
  };
  CATCH_CHECK(at::equal(from(numbers), first.token_logprobs(pack(rows))));
  CATCH_CHECK_THROWS_AS(from(numbers.narrow(0, 1, numbers.numel() - 1)), CacheError);
  CATCH_CHECK_THROWS_AS(from(numbers.to(at::kBFloat16)), CacheError);
}

namespace {

namespace fs = std::filesystem;

std::string bytes_of(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}
fs::path only_file(const fs::path& folder) {
  fs::path found;
  for (const auto& entry : fs::directory_iterator{folder}) {
    CATCH_REQUIRE(found.empty());
    found = entry.path();
  }
  return found;
}
std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator{folder}, fs::directory_iterator{}));
}

/// Prepares a reference from a folder, and counts the passes through the model.
std::size_t passes_to_prepare(const CachedReference<Decoder>& reference, const Rows& rows,
                              std::int64_t batch_size = 4) {
  return count(operators_of([&] { reference.prepare(rows, {.rows = batch_size}, {}); }), "aten::embedding");
}

}  // namespace

CATCH_TEST_CASE("log-probabilities on disk are found again, for what decides them alone",
                "[reference][cache]") {
  const TemporaryFolder folder;
  const Rows rows = small_rows(8, 2);
  const CachedReference<Decoder> first = cached(small_decoder(), folder.path() / "made");
  CATCH_CHECK(passes_to_prepare(first, rows) == 2);
  const auto again = [&](const Decoder& model, const Rows& asked, std::int64_t batch_size = 4) {
    return passes_to_prepare(cached(model, folder.path() / "made"), asked, batch_size);
  };
  const CachedReference<Decoder> second = cached(small_decoder(), folder.path() / "made");
  CATCH_CHECK(passes_to_prepare(second, rows) == 0);
  CATCH_CHECK(at::equal(first.token_logprobs(pack(rows)), second.token_logprobs(pack(rows))));
  CATCH_CHECK(files_in(folder.path() / "made") == 1);

  CATCH_SECTION("another weight") {
    const Decoder other = small_decoder();
    other.weights()[3].tensor[0].add_(1e-6);
    CATCH_CHECK(again(other, rows) == 2);
  }
  CATCH_SECTION("another configuration with the same weights") {
    DecoderConfig config = small_decoder().config();
    config.rope_theta *= 2;
    const Decoder other = Decoder::empty(config);
    const Decoder same = small_decoder();
    for (std::size_t i = 0; i < other.weights().size(); ++i)
      other.weights()[i].tensor.copy_(same.weights()[i].tensor);
    CATCH_CHECK(again(other, rows) == 2);
  }
  CATCH_SECTION("another dtype") { CATCH_CHECK(again(small_decoder(at::kDouble), rows) == 2); }
  CATCH_SECTION("another tokenizer: other ids") {
    Rows other = rows;
    other[5].completions[0][0] = (other[5].completions[0][0] + 1) % small_vocabulary;
    CATCH_CHECK(again(small_decoder(), other) == 2);
  }
  CATCH_SECTION("a row more") { CATCH_CHECK(again(small_decoder(), small_rows(9, 2)) == 3); }
  CATCH_SECTION("other passes: their last bits may differ") {
    CATCH_CHECK(again(small_decoder(), rows, 8) == 1);
  }
  CATCH_SECTION("another strategy, or another machine") {
    const auto with = [&](const std::string& strategy, const Fingerprint& machine) {
      return passes_to_prepare(
          CachedReference<Decoder>{{.model = std::make_shared<const Decoder>(small_decoder()),
                                    .folder = folder.path() / "made",
                                    .strategy = strategy,
                                    .machine = machine}},
          rows);
    };
    CATCH_CHECK(with("FrozenSft", fingerprint(at::kFloat)) == 0);
    CATCH_CHECK(with("FrozenBase", fingerprint(at::kFloat)) == 2);
    CATCH_CHECK(with("FrozenSft", {{"threads", "64"}}) == 2);
  }
}

CATCH_TEST_CASE("a file of log-probabilities that is damaged is refused, whichever bit it is",
                "[reference][cache]") {
  const TemporaryFolder folder;
  const ReferenceCacheFolder files{folder.path()};
  const LogProbIdentity identity{{"model", "a"}, {"rows", "b"}};
  const at::Tensor numbers = at::tensor({-0.5, -1.25, -3.0}, at::kFloat);
  files.keep(identity, numbers);
  const fs::path path = only_file(folder.path());
  CATCH_CHECK(path == files.path_of(identity));
  const std::string whole = bytes_of(path);
  const auto write = [&](const std::string& bytes) { std::ofstream{path, std::ios::binary} << bytes; };
  const auto accepted = [&] { return at::equal(files.find(identity).value(), numbers); };
  CATCH_CHECK(accepted());

  CATCH_SECTION("one bit flipped") {
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      std::string bytes = whole;
      bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
      write(bytes);
      try {
        (void)files.find(identity);
        CATCH_FAIL("bit " << bit << " of " << 8 * whole.size());
      } catch (const CacheError& error) {
        if (error.where().file == path.string() && !error.complaint().fix.empty()) ++refused;
      }
    }
    CATCH_CHECK(refused == 8 * whole.size());
  }
  CATCH_SECTION("torn at any byte, or longer") {
    for (std::size_t size = 0; size < whole.size(); ++size) {
      write(whole.substr(0, size));
      CATCH_REQUIRE_THROWS_AS(files.find(identity), CacheError);
    }
    write(whole + '\0');
    CATCH_CHECK_THROWS_AS(files.find(identity), CacheError);
  }
  CATCH_SECTION("of another model: the header says so, or the file is another's under its name") {
    const LogProbIdentity other{{"model", "c"}, {"rows", "b"}};
    files.keep(other, numbers);
    fs::copy_file(files.path_of(other), path, fs::copy_options::overwrite_existing);
    const auto error = thrown<CacheError>([&] { (void)files.find(identity); });
    CATCH_CHECK(contains(error.what(), "model \"a\", but found \"c\". Delete the file"));
    CATCH_CHECK(at::equal(files.find(other).value(), numbers));
    files.keep({{"model", "a"}, {"rows", "b"}, {"more", "d"}}, numbers);
    fs::copy_file(files.path_of({{"model", "a"}, {"rows", "b"}, {"more", "d"}}), path,
                  fs::copy_options::overwrite_existing);
    CATCH_CHECK_THROWS_AS(files.find(identity), CacheError);
  }
  CATCH_SECTION("other numbers under the right header") {
    std::string bytes = whole;
    std::swap(bytes[bytes.size() - 1], bytes[bytes.size() - 5]);
    write(bytes);
    CATCH_CHECK(contains(thrown<CacheError>([&] { (void)files.find(identity); }).what(),
                         "the numbers that were written, but found others"));
  }
  write(whole);
  CATCH_CHECK(accepted());
  fs::remove(path);
  CATCH_CHECK_FALSE(files.find(identity).has_value());
}

CATCH_TEST_CASE("a stage stops at a damaged file before its first step", "[reference][cache]") {
  const TemporaryFolder folder;
  const Rows rows = small_rows(8, 2);
  const auto train = [&] {
    const Decoder model = small_decoder();
    train_stage(model, PreferenceObjective{Dpo<>{}, cached(model, folder.path())}, rows,
                shuffled_epochs(4, 1));
    return model;
  };
  const Decoder whole = train();
  CATCH_CHECK(same_bits(whole, train()));  // by what is on disk
  const fs::path path = only_file(folder.path());
  std::string bytes = bytes_of(path);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  std::ofstream{path, std::ios::binary} << bytes;
  CATCH_CHECK_THROWS_AS(train(), CacheError);
  fs::remove(path);
  CATCH_CHECK(same_bits(whole, train()));
}

CATCH_TEST_CASE("a model that cannot be told from another one is not cached on disk", "[reference][cache]") {
  struct Anonymous {
    Decoder model = small_decoder();
    [[nodiscard]] NamedTensors weights() const { return model.weights(); }
  };
  struct Named : Anonymous {
    [[nodiscard]] std::string settings() const { return "heads: 4"; }
  };
  CATCH_CHECK(contains(thrown<OptionError>([] { (void)digest_of_model(Anonymous{}); }).what(),
                       "a model that says what decides its numbers, weights and all else"));
  CATCH_CHECK(digest_of_model(Named{}) == digest_of_model(Named{}));
  CATCH_CHECK(digest_of_model(Named{}) != digest_of_model(small_decoder()));
}
