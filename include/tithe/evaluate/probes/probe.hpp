// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <concepts>
#include <iterator>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/probes/answers.hpp"
#include "tithe/evaluate/probes/gradient_norm.hpp"
#include "tithe/evaluate/probes/probe_set.hpp"
#include "tithe/evaluate/probes/probed.hpp"
#include "tithe/evaluate/probes/tokens.hpp"
#include "tithe/model/concept.hpp"

/// Why a model answers as it does: probes on fixed held-out prompts, asked at the end of each stage.
namespace tithe {

/// A probe is anything that is called with a `const Probed&`, or with a `const ProbedModel<M, Base>&` if it asks the model
/// itself, and returns an Estimate or several.
template <class P, class M, class Base>
concept Probe = requires(const P& probe, const ProbedModel<M, Base>& probed) {
  { probe(probed) } -> std::same_as<Estimate>;
} || requires(const P& probe, const ProbedModel<M, Base>& probed) {
  { probe(probed) } -> std::same_as<std::vector<Estimate>>;
};

namespace probes {

/// All probes of the library that a set has what they need for: "format", "length", "length/cut_off", "repetition", "kl",
/// "kl/format", "kl/content", "grad_norm/format", "grad_norm/content", "entropy", "logprob/gold" and "logprob/own".
struct Standard {
  template <LanguageModel M, LanguageModel Base>
  [[nodiscard]] std::vector<Estimate> operator()(const ProbedModel<M, Base>& probed) const {
    std::vector<Estimate> found;
    const auto add = [&](std::vector<Estimate> estimates) {
      found.insert(found.end(), estimates.begin(), estimates.end());
    };
    if (probed.options().in_format) found.push_back(format(probed));
    add(length(probed));
    found.push_back(repetition(probed));
    add(divergence(probed));
    add(gradient_norm(probed));
    found.push_back(entropy(probed));
    add(logprob(probed));
    return found;
  }
};
inline constexpr Standard standard{};

}  // namespace probes

namespace detail {

/// What probes find of a model, in their order; nothing if they were cancelled.
template <LanguageModel M, LanguageModel Base, class... Probes>
std::vector<Estimate> asked(const ProbedModel<M, Base>& probed, const Probes&... probes) {
  std::vector<Estimate> found;
  const auto add = [&](auto estimates) {
    if constexpr (std::same_as<decltype(estimates), Estimate>) {
      found.push_back(std::move(estimates));
    } else {
      std::ranges::move(estimates, std::back_inserter(found));
    }
  };
  try {
    (add(probes(probed)), ...);
  } catch (const ProbesCancelled&) {
    return {};
  }
  for (auto one = found.begin(); one != found.end(); ++one) {
    const auto same = std::ranges::find(one + 1, found.end(), one->name, &Estimate::name);
    if (same == found.end()) continue;
    throw OptionError{{.who = "probe",
                       .required = "a name of its own for each figure",
                       .found = '"' + one->name + "\" twice",
                       .fix = "Name a probe's figures after it"}};
  }
  return found;
}

}  // namespace detail

/// What probes find of a model, in their order. Answers are sampled once and shared, and so is whatever else several
/// probes read; model and gradients stay as they are. The same model and set always give the same figures.
///
/// Nothing where the stop of the set's sampling was requested: not all figures would be of all prompts. Throws OptionError
/// for a base that changes with the model, and for two figures of one name; and what `generate` does.
template <class M, class Base, class... Probes>
[[nodiscard]] std::vector<Estimate> probe(const M& model, const ProbeSet<Base>& set,
                                          const Probes&... probes) {
  constexpr bool is_model = LanguageModel<M>;
  constexpr bool are_probes = (Probe<Probes, M, Base> && ...);
  static_assert(
      is_model,
      "probe: the model is no LanguageModel, so it cannot be sampled from. Wrap it in a PaddedModel.");
  static_assert(
      !is_model || are_probes,
      "probe: a probe is called with `const Probed&`, or with `const auto&` to ask the model itself, "
      "and returns an Estimate or a std::vector<Estimate>. Return mean_estimate(name, values).");
  if constexpr (is_model && are_probes) {
    return detail::asked(ProbedModel<M, Base>{model, set}, probes...);
  } else {
    return {};
  }
}

/// The same with the library's own probes, `probes::standard`.
template <class M, class Base>
[[nodiscard]] std::vector<Estimate> probe(const M& model, const ProbeSet<Base>& set) {
  return probe(model, set, probes::standard);
}

}  // namespace tithe
