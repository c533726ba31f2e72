// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/mismatched.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <stop_token>
#include <utility>
#include <vector>

#include "small_run.hpp"
#include "test.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/stage.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

/// What a model was asked for.
struct Asked {
  std::int64_t alone = 0, with_others = 0;
  std::int64_t fed_rows = 0;  ///< in all
};

/// A decoder that counts.
struct Counting {
  Decoder model;
  std::shared_ptr<Asked> asked = std::make_shared<Asked>();

  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const { return model.hidden(rows); }
  [[nodiscard]] at::Tensor predicting_hidden(const PackedRows& rows) const {
    ++asked->alone;
    asked->fed_rows += std::ssize(rows.extents);
    return model.predicting_hidden(rows);
  }
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> predicting_hidden(const PackedRows& rows,
                                                                    const PackedRows& others) const {
    ++asked->with_others;
    asked->fed_rows += std::ssize(rows.extents);
    return model.predicting_hidden(rows, others);
  }
  [[nodiscard]] at::Tensor head() const { return model.head(); }
  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
};

auto kto(const Decoder& model) { return PreferenceObjective{Kto<>{}, model.frozen_copy()}; }

}  // namespace

CATCH_TEST_CASE("a step of one pass feeds the policy's prompts once for both completions", "[train]") {
  const Rows rows = small_rows(8, 1);
  const auto asked_in = [&](const StageOptions& options) {
    const Counting model{small_decoder()};
    train_stage(model, kto(small_decoder()), rows, options);
    return *model.asked;
  };
  const Asked whole = asked_in({.batch_size = 8});
  CATCH_CHECK(whole.with_others == 1);
  CATCH_CHECK(whole.alone == 0);
  CATCH_CHECK(whole.fed_rows == 8);
  // The baseline is of the whole batch, so that it must be there before the first of several passes learns.
  const Asked cut = asked_in({.batch_size = 4, .accumulate = 2});
  CATCH_CHECK(cut.with_others == 0);
  CATCH_CHECK(cut.fed_rows == 16);
}

CATCH_TEST_CASE("the mismatched completions of a single pass keep to its limit too", "[train]") {
  Rows rows = small_rows(2, 1);  // each is the other's partner
  for (Row& row : rows) row.prompt.resize(4, 1);
  const auto asked_within = [&](Tokens limit, const Rows& of) {
    const Counting model{small_decoder()};
    train_stage(model, kto(small_decoder()), of, {.batch_size = 2, .max_tokens_per_pass = limit});
    return *model.asked;
  };
  Tokens both = rows[0].tokens() + rows[1].tokens();
  for (const Row& row : rows) both += Tokens{std::ssize(row.completions[0])};
  CATCH_CHECK(asked_within(both, rows).with_others == 1);
  const Asked exceeding = asked_within(both - Tokens{1}, rows);
  CATCH_CHECK(exceeding.with_others == 0);
  CATCH_CHECK(exceeding.fed_rows == 4);
}

/// The same numbers come of a model that cannot share prompts, in passes of its own.
CATCH_TEST_CASE("models with and without a way to share prompts learn the same", "[train]") {
  const Rows rows = small_rows(8, 1);
  const auto trained = [&](const auto& model) {
    train_stage(model, kto(small_decoder(at::kDouble)), rows, {.epochs = 2, .batch_size = 8});
    return model.weights();
  };
  const NamedTensors sharing = trained(small_decoder(at::kDouble));
  const NamedTensors alone = trained(Watched{small_decoder(at::kDouble), [] {}});
  static_assert(SharesPrompts<Decoder> && !SharesPrompts<Watched>);
  for (std::size_t i = 0; i < sharing.size(); ++i) {
    CATCH_CHECK((sharing[i].tensor - alone[i].tensor).abs().max().item<double>() < 1e-9);
  }
}

CATCH_TEST_CASE("a stop that the reference's pass brings keeps the policy from being asked", "[train]") {
  std::stop_source source;
  const Watched reference{small_decoder(), [&] { source.request_stop(); }};
  const Counting model{small_decoder()};
  const StageReport report = train_stage(model, PreferenceObjective{Kto<>{}, reference}, small_rows(4, 1), {},
                                         {.stop = source.get_token()});
  CATCH_CHECK(report.steps_done == 0);
  CATCH_CHECK(model.asked->with_others + model.asked->alone == 0);
}

CATCH_TEST_CASE("a mismatched completion never makes a row longer than the stage's longest", "[train]") {
  // The model has 64 positions; the longest row fills them, and its completion would not fit behind the long prompt.
  Rows rows = small_rows(4, 1);
  rows[0].prompt.assign(40, 3);
  rows[1].completions[0].assign(58, 4);
  const Decoder model = small_decoder();
  std::vector<double> margins;
  const StageHooks keep{
      .on_step = [&](const StepRecord& record) { margins.push_back(record.at("rewards/margins")); }};
  CATCH_CHECK(train_stage(model, kto(model), rows, {.epochs = 3}, keep).steps_done == 3);
  CATCH_CHECK(std::abs(margins.back()) > 0);  // labelled rows have a margin too: of the means
}
