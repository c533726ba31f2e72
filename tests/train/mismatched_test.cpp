// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/mismatched.hpp"

#include <cmath>
#include <cstdint>
#include <memory>
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
  const Rows rows = small_rows(8, 1);
  Tokens own{}, longest{};
  for (const Row& row : rows) {
    own += row.tokens();
    longest = std::max(longest, row.longest_path());
  }
  const auto asked_within = [&](Tokens limit) {
    const Counting model{small_decoder()};
    train_stage(model, kto(small_decoder()), rows, {.batch_size = 8, .max_tokens_per_pass = limit});
    return *model.asked;
  };
  const Asked exceeding = asked_within(own);  // the rows fit a pass, with further completions they do not
  CATCH_CHECK(exceeding.with_others == 0);
  CATCH_CHECK(exceeding.fed_rows == 16);
  CATCH_CHECK(asked_within(Tokens{own.value() + 8 * longest.value()}).with_others == 1);
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
