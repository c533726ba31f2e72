// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <concepts>
#include <numbers>
#include <string>
#include <string_view>

#include "tithe/core/policy.hpp"
#include "tithe/core/real.hpp"
#include "tithe/loss/column.hpp"
#include "tithe/loss/math.hpp"

/// Which divergence from the reference a preference loss holds the policy model to (f-DPO, Wang et al. 2023).
///
/// Under an f-divergence the reward that a policy model implies is β f′(π/ρ), up to what depends on the prompt
/// alone. A divergence is its score S(x) = f′(eˣ) − f′(1) of the log-ratio x = log π − log ρ of a completion; the
/// derivatives are in the paper's Table 1. S never falls as x grows, and is 0 at x = 0: so a loss has the value
/// where policy and reference agree that it has without WithDivergence, also if it divides by length or scores
/// one completion alone. (TRL left the constants out until 1.16; in differences of two scores they cancel.)
///
/// Scores that grow exponentially are held within ±e⁴⁰ ≈ 2·10¹⁷, so that their squares, which IpoBySum and
/// SppoHard take, stay below float32's largest number. Beyond, a score is flat and has no gradient. TRL bounds
/// the forward KL divergence not at all and α-divergences at e⁸⁰ ≈ 6·10³⁴, so values differ from its only there.
namespace tithe {

/// A divergence's score, one number for each log-ratio.
template <class D>
concept DivergenceScore =
    Hyperparameters<D> && Named<D> && requires(const D& divergence, const Column& log_ratio) {
      { divergence.score(log_ratio) } -> std::same_as<Column>;
    };

/// S(x) = x: the reverse KL divergence, which every loss has without WithDivergence (f′(u) = log u + 1).
struct ReverseKl {
  template <class T>
  [[nodiscard]] T score(const T& log_ratio) const {
    return log_ratio;
  }

  [[nodiscard]] std::string name() const { return policy_name("ReverseKl"); }
};

/// S(x) = 1 − e⁻ˣ: the forward KL divergence (f′(u) = −1/u), the same as AlphaDivergence<0>.
///
/// It hardly rewards a completion for becoming likelier than under the reference and punishes steeply where it
/// becomes less likely: choose it to keep all that the reference says.
struct ForwardKl {
  template <class T>
  [[nodiscard]] T score(const T& log_ratio) const {
    return -expm1(clamp_max(-log_ratio, 40));
  }

  [[nodiscard]] std::string name() const { return policy_name("ForwardKl"); }
};

/// S(x) = ln 2 + log σ(x): the Jensen–Shannon divergence (f′(u) = log(2u/(1 + u))).
///
/// It rewards as ReverseKl does below the reference's probability, and no longer above it.
struct JensenShannon {
  template <class T>
  [[nodiscard]] T score(const T& log_ratio) const {
    return std::numbers::ln2 + log_sigmoid(log_ratio);
  }

  [[nodiscard]] std::string name() const { return policy_name("JensenShannon"); }
};

/// S(x) = (e⁽ᵃ⁻¹⁾ˣ − 1)/(a − 1), and its limit x where |a − 1| < 10⁻⁶: α-divergences, from ForwardKl (a = 0) to
/// ReverseKl (a = 1).
///
/// `a` is TRL's `f_alpha_divergence_coef` since 2026. The paper's α, and that of TRL's older `alpha_divergence`,
/// is 1 − a: f′(u) = (1 − u^−α)/α.
template <Real A = 0.5>
struct AlphaDivergence {
  [[no_unique_address]] Knob<A> a{};

  template <class T>
  [[nodiscard]] T score(const T& log_ratio) const {
    const double power = a.value() - 1;
    if (std::abs(power) < 1e-6) return log_ratio;
    return expm1(clamp_max(power * log_ratio, 40 + std::log(std::abs(power)))) / power;
  }

  [[nodiscard]] std::string name() const { return policy_name("AlphaDivergence", {a}); }
  [[nodiscard]] constexpr std::string_view broken_requirement() const {
    // Beyond, single precision has no gradient left between the two ends of the score.
    return a >= -100 && a <= 100 ? "" : "an a in [-100, 100]";
  }
};

}  // namespace tithe
