// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/evaluate/interval.hpp"
#include "tithe/evaluate/probes/probed.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/model/generate.hpp"

/// Probes of what a model answers.
namespace tithe::probes {

/// "format": the share of answers that have the target's format, with Wilson's interval. Throws OptionError for a set
/// without `in_format`.
[[nodiscard]] inline Estimate format(const Probed& probed) {
  const ProbeOptions& options = probed.options();
  if (!options.in_format) {
    throw OptionError{{.who = "probes::format",
                       .required = "a function that knows the format",
                       .found = "none",
                       .fix = "Set ProbeOptions::in_format"}};
  }
  std::int64_t in_format = 0;
  for (std::size_t i = 0; i < probed.answers().size(); ++i) {
    in_format += options.in_format(probed.gold()[i], probed.answers()[i]) ? 1 : 0;
  }
  return share_estimate("format", in_format, std::ssize(probed.answers()));
}

/// "length": mean tokens of an answer, the one that ends it counted, with the interval of resampled prompts; and
/// "length/cut_off": the share that ended at the limit, with Wilson's.
[[nodiscard]] inline std::vector<Estimate> length(const Probed& probed) {
  std::vector<double> lengths;
  for (const Generation& answer : probed.answers()) lengths.push_back(static_cast<double>(answer.ids.size()));
  const auto cut_off = std::ranges::count(probed.answers(), FinishReason::length, &Generation::finish);
  return {mean_estimate("length", lengths, probed.options().bootstrap),
          share_estimate("length/cut_off", cut_off, std::ssize(lengths))};
}

/// seq-rep-n of one answer (Welleck et al. 2020): 1 − distinct n-grams / n-grams. An answer too short to have one repeats
/// none: 0.
[[nodiscard]] inline double repeated_ngrams(std::span<const std::int64_t> answer, std::int64_t n) {
  const std::int64_t count = std::ssize(answer) - n + 1;
  if (count < 1) return 0;
  const auto precedes = [](std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
    return std::ranges::lexicographical_compare(a, b);
  };
  std::set<std::span<const std::int64_t>, decltype(precedes)> distinct;
  for (std::int64_t i = 0; i < count; ++i) {
    distinct.insert(answer.subspan(static_cast<std::size_t>(i), static_cast<std::size_t>(n)));
  }
  return 1 - static_cast<double>(distinct.size()) / static_cast<double>(count);
}

/// "repetition": seq-rep-n, averaged over answers, with the interval of resampled prompts.
[[nodiscard]] inline Estimate repetition(const Probed& probed) {
  std::vector<double> shares;
  for (const Generation& answer : probed.answers()) {
    shares.push_back(repeated_ngrams(answer.ids, probed.options().ngram));
  }
  return share_estimate("repetition", shares, probed.options().bootstrap);
}

}  // namespace tithe::probes
