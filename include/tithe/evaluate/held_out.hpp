// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "tithe/core/finding.hpp"
#include "tithe/core/record.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"
#include "tithe/evaluate/log_probability.hpp"
#include "tithe/model/concept.hpp"

/// The figures that every run can report of data that were held out.
namespace tithe {

/// Held-out examples as rows, encoded once for all evaluations of a run.
struct HeldOut {
  Rows demonstrations{};
  Rows pairs{};
  Rows labeled{};
  /// The examples that no figure counts, in their order: demonstrations, pairs, completions with a verdict.
  std::vector<Finding> left_out{};

  /// Whether there is nothing to score.
  [[nodiscard]] bool empty() const { return demonstrations.empty() && pairs.empty() && labeled.empty(); }
};

/// Encodes what can be used of held-out data; what is too long for the model, empty or degenerate is left out and listed.
/// Throws DataError for ids outside the vocabulary.
inline HeldOut encode_held_out(const Dataset& data, const Encoding& encoding, Limits limits) {
  limits.too_long = TooLong::drop;
  HeldOut held_out;
  const auto take = [&](const auto& examples, Rows& rows) {
    for (const auto& example : examples) {
      Encoded encoded = encode(example, encoding, limits);
      if (encoded.rows.empty()) {
        held_out.left_out.push_back({example.origin, encoded.outcome, false, std::move(encoded.reason)});
      }
      std::ranges::move(encoded.rows, std::back_inserter(rows));
    }
  };
  take(data.demonstrations, held_out.demonstrations);
  take(data.preferences, held_out.pairs);
  take(data.labeled, held_out.labeled);
  return held_out;
}

/// Negative log-likelihood of held-out demonstrations, accuracy and margin on held-out pairs, and the negative
/// log-likelihoods of completions with a good and with a bad verdict, "nll/desirable" and "nll/undesirable"; each where
/// there are any. What rewards say of verdicts asks for a reference: see `verdict_accuracy`.
///
/// Nothing where the options' stop was requested: not all figures would be there.
template <LanguageModel M>
std::vector<Estimate> evaluate_held_out(const M& model, const HeldOut& held_out,
                                        const EvaluationOptions& options = {}) {
  std::vector<Estimate> estimates;
  if (!held_out.demonstrations.empty()) {
    estimates.push_back(negative_log_likelihood(model, held_out.demonstrations, options));
  }
  if (!held_out.pairs.empty()) {
    const PreferenceEstimates preferences = preference_accuracy(model, held_out.pairs, options);
    estimates.push_back(preferences.accuracy);
    estimates.push_back(preferences.margin);
  }
  for (const bool verdict : {true, false}) {
    Rows rows;
    std::ranges::copy_if(held_out.labeled, std::back_inserter(rows),
                         [&](const Row& row) { return row.desirable == verdict; });
    if (rows.empty()) continue;
    estimates.push_back(negative_log_likelihood(model, rows, options));
    estimates.back().name = verdict ? "nll/desirable" : "nll/undesirable";
  }
  if (options.stop.stop_requested()) return {};
  return estimates;
}

}  // namespace tithe
