// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The gradients of all losses, and of losses whose gradients are wrong.
#include <array>
#include <cmath>
#include <concepts>
#include <string>

#include "every_policy.hpp"
#include "test.hpp"
#include "tithe/testing/gradient_laws.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;
using testing::gradient_laws;
using testing::Replayed;

template <class Loss>
inline constexpr bool stops_gradients = Stateful<Loss> || std::same_as<Loss, Dft>;
template <class Loss>
inline constexpr bool stops_gradients<Wpo<Loss>> = true;

CATCH_TEST_CASE("every loss keeps the laws of gradients", "[laws]") {
  for_each_type(EveryLoss{} + EverySupervised{}, []<class Loss>() {
    CATCH_CHECK(gradient_laws(Loss{}, {.stops_gradients = stops_gradients<Loss>}).text() == "");
    // An exemption that nothing needs is none.
    CATCH_CHECK(stops_gradients<Loss> ==
                gradient_laws(Loss{}).names("the gradient is that of the batch's loss"));
  });
}

CATCH_TEST_CASE("numbers at run time and other estimators keep them too", "[laws]") {
  CATCH_CHECK(gradient_laws(Dpo<dynamic>{2.5}).text() == "");
  CATCH_CHECK(gradient_laws(DiscoPop<0.1, 1>{}).text() == "");
  CATCH_CHECK(gradient_laws(Aot<0.1, 0.1>{}).text() == "");
  CATCH_CHECK(gradient_laws(Kto<0.1, 1.33, 1, NonZeroMeanThenClamp>{}).text() == "");
  CATCH_CHECK(gradient_laws(Kto<0.1, 1, 1, ClampThenMean<4>>{}).text() == "");
}

// What the laws are for: each of these breaks one.

template <class Formula>
struct OnMargin {
  using Example = PreferencePair;
  static constexpr bool needs_reference = true;
  Formula formula{};

  template <class T>
  T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    const auto [chosen, rejected] = rewards(policy, reference);
    return formula(T{chosen - rejected});
  }
  template <class T>
  PairRewards<T> rewards(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference) const {
    return log_ratio_rewards(Knob<0.1>{}, policy, reference);
  }
  std::string name() const { return "Broken"; }
};
template <class Formula>
testing::Violations laws_of(Formula formula) {
  return gradient_laws(OnMargin<Formula>{formula});
}

/// A logistic loss whose gradient is off by a factor, on tensors.
template <Real Factor>
struct GradientTimes {
  template <class T>
  T operator()(const T& margin) const {
    const T loss = -log_sigmoid(margin);
    if constexpr (std::same_as<T, at::Tensor>) return detach(loss) + Factor.value * (loss - detach(loss));
    return loss;
  }
};

/// The right value with the gradient's sign turned: AotUnpaired with a minus where its plus belongs.
struct TurnedAotUnpaired : AotUnpaired<0.1> {
  template <class T>
  T operator()(const PairLogProbs<T>& policy, const PairLogProbs<T>& reference,
               const std::array<T, 2>& partners) const {
    const T of_chosen = -log_sigmoid(0.1 * (policy.chosen - reference.chosen - partners[0]));
    const T of_rejected = -log_sigmoid(0.1 * (partners[1] - (policy.rejected - reference.rejected)));
    return of_chosen - (of_rejected - detach(of_rejected));
  }
};

/// Reads what nobody computes for it.
struct Undeclared : LabelSmoothed<0.1> {
  static constexpr Statistics reads{};
};

CATCH_TEST_CASE("each law of gradients finds the loss that breaks it", "[laws]") {
  const auto logistic = [](const auto& margin) { return -log_sigmoid(margin); };
  CATCH_CHECK(laws_of(logistic).text() == "");

  // As a kernel of one's own would be wrong: by a sign, by a part in a hundred thousand, and by too few digits.
  CATCH_CHECK(laws_of(GradientTimes<1>{}).text() == "");
  CATCH_CHECK(laws_of(GradientTimes<-1>{}).names("the gradient is the formula's"));
  CATCH_CHECK(laws_of(GradientTimes<1.00001>{}).names("the gradient is the formula's"));
  CATCH_CHECK(laws_of([]<class T>(const T& margin) -> T {
                if constexpr (std::same_as<T, at::Tensor>) {
                  return log_sigmoid(margin.to(at::kFloat)).to(margin.scalar_type()).neg();
                } else {
                  return -log_sigmoid(margin);
                }
              }).names("the gradient is the formula's"));
  CATCH_CHECK(laws_of([]<class T>(const T& margin) -> T {
                return -detach(log_sigmoid(margin));
              }).names("the loss has a gradient"));

  CATCH_CHECK(gradient_laws(TurnedAotUnpaired{}).names("the gradient is that of the batch's loss"));
  CATCH_CHECK_FALSE(gradient_laws(TurnedAotUnpaired{}).names("the gradient is the formula's"));

  // Rows that see each other without a coupling.
  const auto centred =
      laws_of([]<class T>(const T& margin) -> T { return -log_sigmoid(margin - mean(margin)); });
  CATCH_CHECK(centred.names("the gradient is the formula's"));
  CATCH_CHECK(centred.names("tensors give the formula's loss"));

  // Numbers out of range: in double precision, in single precision alone, in the gradient alone.
  CATCH_CHECK(laws_of([]<class T>(const T& margin) -> T {
                return log(1 + exp(-(10 * margin)));
              }).names("the loss is finite"));
  CATCH_CHECK(laws_of([]<class T>(const T& margin) -> T {
                return clamp_max(exp(-(10 * margin)), 1e6);
              }).names("the gradient is finite"));
  const auto printed_disco_pop =
      laws_of([]<class T>(const T& margin) -> T { return sigmoid(margin / 0.05) * exp(-margin); });
  CATCH_CHECK(printed_disco_pop.names("single precision gives the same loss"));
  CATCH_CHECK(printed_disco_pop.names("single precision gives the same gradient"));
  CATCH_CHECK_FALSE(printed_disco_pop.names("the loss is finite"));

  CATCH_CHECK(gradient_laws(Undeclared{}).names("the loss reads what it declares alone"));
}

CATCH_TEST_CASE("differences: a derivative to six digits, both sides of a kink, a flat end", "[laws]") {
  const auto at = [](double x, auto f) {
    testing::Detached detached;
    (void)f(Replayed{x, detached});
    return testing::detail::difference_of([&](double shift) {
      detached.replay();
      return f(Replayed{x + shift, detached});
    });
  };
  for (const double steepness : {0.1, 1.0, 100.0, 2000.0}) {
    const auto smooth = at(0.5, [&](const Replayed& x) { return -log_sigmoid(steepness * (x - 0.5)); });
    CATCH_CHECK(smooth.agrees(-steepness / 2));
    CATCH_CHECK_FALSE(smooth.agrees(-steepness / 2 * (1 + 1e-5)));
  }
  const auto kink = at(0, [](const Replayed& x) { return clamp_min(x, 0); });
  CATCH_CHECK((kink.agrees(0) && kink.agrees(0.5) && kink.agrees(1)));
  CATCH_CHECK_FALSE((kink.agrees(-0.1) || kink.agrees(1.1)));
  const auto beside_a_kink = at(0, [](const Replayed& x) { return clamp_min(x - 0x1p-15, 0); });
  CATCH_CHECK(beside_a_kink.agrees(0));
  CATCH_CHECK_FALSE(beside_a_kink.agrees(1e-3));
  const auto flat = at(100, [](const Replayed& x) { return -log_sigmoid(x); });
  CATCH_CHECK(flat.agrees(-std::exp(-100.0)));
  CATCH_CHECK_FALSE(flat.agrees(-2 * std::exp(-100.0)));
  const auto held = at(3, [](const Replayed& x) { return detach(x) * x; });
  CATCH_CHECK(held.agrees(3));
  CATCH_CHECK_FALSE(held.agrees(6));
}

}  // namespace
