// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Losses on demonstrations: CrossEntropy, Dft, LabelSmoothed, and each of them on all tokens.
#include <array>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "golden_labeled.hpp"
#include "test.hpp"
#include "tithe/composition.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/concept.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/schedule/sft_only.hpp"

namespace user {

/// A supervised loss as a user writes it, with both choices.
struct Entropic {
  using Example = tithe::Demonstration;
  static constexpr bool trains_on_prompt = false;
  static constexpr tithe::Statistics reads{.vocabulary_mean = true};
  template <class T>
  T operator()(const tithe::TokenLogProbs<T>& policy) const {
    return policy.vocabulary_mean - policy.target;
  }
  std::string name() const { return "Entropic"; }
};

struct PromptAtRunTime : tithe::CrossEntropy {
  bool trains_on_prompt = true;
};
struct PromptAsNumber : tithe::CrossEntropy {
  static constexpr int trains_on_prompt = 1;
};
struct ReadsTails : tithe::CrossEntropy {
  static constexpr tithe::Statistics reads{.tails = true};
};

}  // namespace user

namespace {

using namespace tithe;
namespace golden = test::golden;

template <std::size_t n>
Column column_of(const std::array<double, n>& values) {
  return Column{std::vector<double>(values.begin(), values.end())};
}
/// Ten digits of a double, relative: golden values come from exact arithmetic, formulas take a dozen roundings. Nothing
/// absolute: a token's loss may be tiny and is right nevertheless.
template <std::size_t n>
void check(const Column& losses, const std::array<double, n>& expected) {
  CATCH_REQUIRE(losses.size() == n);
  for (std::size_t i = 0; i < n; ++i) {
    CATCH_CHECK(losses[i] == test::Approx(expected[i]).epsilon(1e-10).margin(0));
  }
}

const TokenLogProbs<Column> tokens{.target = column_of(golden::token_target),
                                   .vocabulary_mean = column_of(golden::token_vocabulary_mean)};
/// As a stage gives them to a loss that reads nothing more.
const TokenLogProbs<Column> targets_alone{.target = column_of(golden::token_target)};

static_assert(SupervisedLoss<Dft> && SupervisedLoss<LabelSmoothed<>> && SupervisedLoss<user::Entropic>);
static_assert(SupervisedLoss<OnAllTokens<CrossEntropy>> &&
              SupervisedLoss<OnAllTokens<LabelSmoothed<dynamic>>> &&
              SupervisedLoss<OnAllTokens<user::Entropic>>);
static_assert(TrainsOnPrompt<OnAllTokens<Dft>> && !TrainsOnPrompt<Dft> && !TrainsOnPrompt<user::Entropic>);
static_assert(statistics_of<LabelSmoothed<>>() == Statistics{.vocabulary_mean = true} &&
              statistics_of<OnAllTokens<LabelSmoothed<>>>() == Statistics{.vocabulary_mean = true} &&
              statistics_of<OnAllTokens<Dft>>() == Statistics{} &&
              statistics_of<CrossEntropy>() == Statistics{});
static_assert(sizeof(OnAllTokens<LabelSmoothed<0.1>>) == 1 &&
              sizeof(OnAllTokens<LabelSmoothed<dynamic>>) == sizeof(double));

// What a trainer could not follow is an error, never silence.
static_assert(HasTokenFormula<user::PromptAtRunTime> && !HasTokenChoices<user::PromptAtRunTime> &&
              !TrainsOnPrompt<user::PromptAtRunTime>);
static_assert(!HasTokenChoices<user::PromptAsNumber> && !TrainsOnPrompt<user::PromptAsNumber>);
static_assert(!HasTokenChoices<user::ReadsTails> && !SupervisedLoss<user::ReadsTails>);
static_assert(misuse_v<SftOnly, user::PromptAtRunTime> == Misuse::no_token_choices &&
              misuse_v<SftOnly, user::ReadsTails> == Misuse::no_token_choices &&
              is_valid_v<SftOnly, user::Entropic>);
static_assert(misuse_v<SftOnly, OnAllTokens<Dpo<>>> == Misuse::supervised_misfit &&
              misuse_v<SftOnly, OnAllTokens<int>> == Misuse::supervised_misfit &&
              misuse_v<SftOnly, OnAllTokens<OnAllTokens<Dft>>> == Misuse::supervised_misfit &&
              misuse_v<SftOnly, OnAllTokens<user::ReadsTails>> == Misuse::supervised_misfit &&
              is_valid_v<SftOnly, OnAllTokens<Dft>>);
static_assert(misuse_v<SftOnly, OnAllTokens<LabelSmoothed<1>>> == Misuse::loss_out_of_range &&
              misuse_v<SftOnly, LabelSmoothed<-0.1>> == Misuse::loss_out_of_range &&
              is_valid_v<SftOnly, LabelSmoothed<0>>);

CATCH_TEST_CASE("Dft weighs each token's cross-entropy with its probability") {
  check(Dft{}(targets_alone), golden::dft);
  // Safe where a token is as good as impossible.
  CATCH_CHECK(Dft{}(TokenLogProbs<double>{.target = -1000}) == 0);
  CATCH_CHECK(Dft{}(TokenLogProbs<double>{.target = 0}) == 0);
}

CATCH_TEST_CASE("LabelSmoothed is the cross-entropy with targets that are spread over the vocabulary") {
  check(LabelSmoothed<0.1>{}(tokens), golden::label_smoothed);
  check(LabelSmoothed<dynamic>{.epsilon = 0.1}(tokens), golden::label_smoothed);
  CATCH_CHECK(LabelSmoothed<0>{}(tokens) == CrossEntropy{}(tokens));
}

CATCH_TEST_CASE("OnAllTokens has the formula of what it holds") {
  CATCH_CHECK(OnAllTokens<CrossEntropy>{}(targets_alone) == CrossEntropy{}(targets_alone));
  check(OnAllTokens<LabelSmoothed<0.1>>{}(tokens), golden::label_smoothed);
  check(OnAllTokens<LabelSmoothed<dynamic>>{.loss = {.epsilon = 0.1}}(tokens), golden::label_smoothed);
}

CATCH_TEST_CASE("a loss that does not ask for the vocabulary's mean never reads it") {
  // It is NaN there, and would show.
  for (const Column& losses : {CrossEntropy{}(targets_alone), Dft{}(targets_alone)}) {
    for (const double loss : losses.values()) CATCH_CHECK(std::isfinite(loss));
  }
  CATCH_CHECK(std::isnan(LabelSmoothed<0.1>{}(targets_alone)[0]));
}

CATCH_TEST_CASE("names and ranges of supervised losses") {
  CATCH_CHECK(Dft{}.name() == "Dft");
  CATCH_CHECK(LabelSmoothed<0.1>{}.name() == "LabelSmoothed<0.1>");
  CATCH_CHECK(OnAllTokens<CrossEntropy>{}.name() == "OnAllTokens<CrossEntropy>");
  CATCH_CHECK(OnAllTokens<LabelSmoothed<dynamic>>{{0.2}}.name() == "OnAllTokens<LabelSmoothed<0.2>>");
  CATCH_CHECK(Composition<SftOnly, OnAllTokens<Dft>>{}.name() == "Pipeline<SftOnly, OnAllTokens<Dft>>");

  static_assert(LabelSmoothed<0>{}.broken_requirement().empty() &&
                OnAllTokens<Dft>{}.broken_requirement().empty());
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double epsilon : {-0.1, 1.0, nan}) {
    const LabelSmoothed<dynamic> smoothed{epsilon};
    CATCH_CHECK(smoothed.broken_requirement() == "an epsilon of 0 or more and below 1");
    CATCH_CHECK(OnAllTokens<LabelSmoothed<dynamic>>{smoothed}.broken_requirement() ==
                smoothed.broken_requirement());
  }
}

}  // namespace
