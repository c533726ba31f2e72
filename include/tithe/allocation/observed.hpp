// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

#include "tithe/allocation/kernel.hpp"
#include "tithe/allocation/normal.hpp"
#include "tithe/allocation/observation.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/policy.hpp"

/// What the allocator takes for an observation, and how noisy it holds it to be.
namespace tithe::detail {

inline std::string number_text(double number) {
  if (std::isnan(number)) return "NaN";
  return NameArgument{number}.text;
}

inline LabelCounts point_of(const Observation& run) {
  return {static_cast<double>(run.demonstrations.value()), static_cast<double>(run.preferences.value())};
}

inline double labels_of(const Observation& run) {
  return static_cast<double>(run.demonstrations.value()) + static_cast<double>(run.preferences.value());
}

inline std::vector<LabelCounts> points_of(const std::vector<Panel>& panels) {
  std::vector<LabelCounts> points;
  for (const Panel& panel : panels) {
    for (const Observation& run : panel.runs) points.push_back(point_of(run));
  }
  return points;
}

/// The variance of an observation's noise in logit: the model's, divided by the seeds averaged, or the square of the
/// standard error given, by the delta method. No error counts as smaller than 0.001: more is not known of any score.
inline double noise_variance(const SurfaceHyperparameters& numbers, const Observation& run) {
  const double error = run.standard_error.value_or(0) / score_slope(run.score);
  const double variance = run.standard_error
                              ? error * error
                              : run_variance(numbers, labels_of(run)) / static_cast<double>(run.seeds);
  return std::clamp(variance, 1e-6, 1e6);
}

inline void require_score(const char* who, double score, const std::string& what) {
  if (score >= 0 && score <= 1) return;
  throw DataError{{.who = who,
                   .required = "scores in (0, 1), higher ones better",
                   .found = number_text(score) + " as the score of " + what,
                   .fix = "Write 43% as 0.43; map any other measure to (0, 1) first"}};
}

/// Throws DataError for a score outside [0, 1], a negative count, no seed, or a standard error that is not positive.
inline void require_usable(const char* who, const Observation& run, const std::string& what) {
  require_score(who, run.score, what);
  if (run.demonstrations < Examples{} || run.preferences < Examples{}) {
    throw DataError{{.who = who,
                     .required = "counts of labels that are not negative",
                     .found = std::to_string(run.demonstrations.value()) + " demonstrations and " +
                              std::to_string(run.preferences.value()) + " preferences in " + what,
                     .fix = "Give the labels that the run was trained on"}};
  }
  if (run.seeds < 1) {
    throw DataError{{.who = who,
                     .required = "at least one seed behind a score",
                     .found = std::to_string(run.seeds) + " in " + what,
                     .fix = "Give how many runs the score is the mean of"}};
  }
  if (run.standard_error && !(*run.standard_error > 0 && *run.standard_error <= 1)) {
    throw DataError{{.who = who,
                     .required = "standard errors in (0, 1]",
                     .found = number_text(*run.standard_error) + " in " + what,
                     .fix = "Leave it out where it is not known; it then follows from labels and seeds"}};
  }
}

/// Checks all panels, and counts them. They are factored at once: more than 5,000 runs in all are refused.
inline std::size_t require_usable(const std::vector<Panel>& panels) {
  if (panels.size() < 2) {
    throw DataError{{.who = "Prior",
                     .required = "at least two panels, to see how tasks differ",
                     .found = std::to_string(panels.size()),
                     .fix = "Append yours to published_panels()"}};
  }
  constexpr std::size_t most = 5'000;  // of which a matrix takes 200 MB
  std::size_t scores = 0;
  for (const Panel& panel : panels) scores += panel.runs.size();
  if (scores > most) {
    throw DataError{
        {.who = "Prior",
         .required = "at most " + std::to_string(most) + " runs in all panels",
         .found = std::to_string(scores),
         .fix = "Average the seeds of equal counts, or leave out the panels least like the task"}};
  }
  for (const Panel& panel : panels) {
    if (panel.runs.empty()) {
      throw DataError{{.who = "Prior",
                       .required = "runs in every panel",
                       .found = "none in \"" + panel.name + '"',
                       .fix = "Leave the panel out"}};
    }
    for (std::size_t i = 0; i < panel.runs.size(); ++i) {
      require_usable("Prior", panel.runs[i],
                     "run " + std::to_string(i + 1) + " of panel \"" + panel.name + '"');
    }
  }
  return panels.size();
}

/// Throws OptionError for hyperparameters with which there is no surface.
inline void require_usable(const SurfaceHyperparameters& numbers) {
  const auto require = [](bool holds, const char* which, const char* what, double found) {
    if (holds) return;
    throw OptionError{{.who = std::string{"SurfaceHyperparameters::"} + which,
                       .required = what,
                       .found = number_text(found),
                       .fix = "Leave it at its default, or fit the logarithms"}};
  };
  const auto positive = [&](const char* which, double number) {
    require(is_positive(number), which, "a positive number", number);
  };
  const auto not_negative = [&](const char* which, double number) {
    require(number == 0 || is_positive(number), which, "a number that is not negative", number);
  };
  positive("sft_length", numbers.sft_length);
  positive("preference_length", numbers.preference_length);
  positive("offset", numbers.offset);
  positive("noise", numbers.noise);
  not_negative("level", numbers.level);
  not_negative("shared", numbers.shared);
  not_negative("by_kind", numbers.by_kind);
  not_negative("by_panel", numbers.by_panel);
  not_negative("noisy_labels", numbers.noisy_labels);
}

}  // namespace tithe::detail
