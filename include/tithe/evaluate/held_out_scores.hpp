// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/row.hpp"
#include "tithe/evaluate/held_out.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/model/concept.hpp"

/// The figures of held-out rows, with each row's part of them.
namespace tithe {

namespace detail {

/// A figure of data that the model gives no probability is no figure.
inline void require_finite_logprobs(const std::vector<std::vector<double>>& sums, std::span<const Row> rows) {
  std::vector<std::string> odd;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto is_finite = [](double sum) { return std::isfinite(sum); };
    if (!std::ranges::all_of(sums[i], is_finite)) odd.push_back(rows[i].id);
  }
  if (odd.empty()) return;
  const std::string found = "NaN or infinity in " + std::to_string(odd.size()) + " of " +
                            std::to_string(rows.size()) + " rows, first \"" + odd.front() + "\"";
  throw NonFiniteError{{.who = "score_held_out",
                        .required = "finite log-probabilities",
                        .found = found,
                        .fix = "Check the model's weights, or compute in float32"},
                       std::move(odd)};
}

template <LanguageModel M>
Scored score_likelihood(const M& model, std::string name, const Rows& rows,
                        const EvaluationOptions& options) {
  const auto sums = completion_logprobs(model, rows, options);
  require_finite_logprobs(sums, rows);
  Scored scored;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const auto tokens = static_cast<double>(rows[i].scored_tokens(0));
    scored.scores.push_back({rows[i].id, tokens == 0 ? 0 : -sums[i].front() / tokens, tokens});
  }
  scored.figures.push_back(mean_estimate(std::move(name), scored.scores, options.bootstrap));
  return scored;
}

}  // namespace detail

/// What `evaluate_held_out` gives, in groups of figures: "nll" with −log p per token, weighted by tokens, of each
/// demonstration; "preference/accuracy" and "preference/margin" with 1 for each pair that is told apart and 0 for others;
/// "nll/desirable" and "nll/undesirable". Nothing where the options' stop was requested. Throws NonFiniteError.
template <LanguageModel M>
std::vector<Scored> score_held_out(const M& model, const HeldOut& held_out,
                                   const EvaluationOptions& options = {}) {
  std::vector<Scored> all;
  if (!held_out.demonstrations.empty())
    all.push_back(detail::score_likelihood(model, "nll", held_out.demonstrations, options));
  if (!held_out.pairs.empty()) {
    const auto sums = completion_logprobs(model, held_out.pairs, options);
    detail::require_finite_logprobs(sums, held_out.pairs);
    std::vector<double> margins;
    Scored scored;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      margins.push_back(sums[i][0] - sums[i][1]);
      scored.scores.push_back({held_out.pairs[i].id, margins.back() > 0 ? 1.0 : 0.0});
    }
    const PreferenceEstimates found =
        detail::preference_estimates(margins, "preference/accuracy", "preference/margin", options);
    scored.figures = {found.accuracy, found.margin};
    all.push_back(std::move(scored));
  }
  for (const bool verdict : {true, false}) {
    Rows rows;
    std::ranges::copy_if(held_out.labeled, std::back_inserter(rows),
                         [&](const Row& row) { return row.desirable == verdict; });
    if (rows.empty()) continue;
    const char* name = verdict ? "nll/desirable" : "nll/undesirable";
    all.push_back(detail::score_likelihood(model, name, rows, options));
  }
  if (options.stop.stop_requested()) return {};
  return all;
}

}  // namespace tithe
