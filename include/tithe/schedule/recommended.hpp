// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/allocation/observation.hpp"
#include "tithe/allocation/observed.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/schedule/concept.hpp"

namespace tithe {

/// The share that `recommend` gives for the budget, from the published studies and this task's runs.
///
/// Use it where no share is known: `Recommended<MetricKind::verified>` knows nothing but that a program checks the
/// answers, and improves with the base model's score and with finished runs. A budget of examples is one where labels
/// cost the same. `Budget::split` rounds the share, so that a plan of demonstrations alone buys nothing else. Where one
/// kind of label cannot be paid for, the other is bought alone. A plan takes a few milliseconds and is not constexpr.
/// Whether the share grows or falls with the budget depends on the runs.
template <MetricKind kind = MetricKind::unknown>
struct Recommended {
  std::optional<double> base_score{};  ///< of the model before any label
  std::vector<Observation> runs{};     ///< of this task and model

  [[nodiscard]] Plan plan(const Budget& budget) const {
    detail::require_in_range(*this);
    const AllocationQuestion question{
        .prices = {.demonstration = Money::from_parts(budget.price(Stage::sft)),
                   .preference = Money::from_parts(budget.price(Stage::preference))},
        .money = Money::from_parts(budget.amount()),
        .kind = kind,
        .base_score = base_score,
        .runs = runs};
    // Of two limits the second may pay for no label of a kind that the first pays for.
    if (budget.affordable(Stage::sft) == Examples{}) return budget.split(Share{0});
    if (budget.affordable(Stage::preference) == Examples{}) return budget.split(Share{1});
    return budget.split(recommended_share(published_prior(), question));
  }

  /// With all that it knows, which decides its plans: "Recommended<verified, base 0.2, 500+0 0.43>".
  [[nodiscard]] std::string name() const {
    std::string known{kind_name(kind)};
    if (base_score) known += ", base " + detail::number_text(*base_score);
    for (const Observation& run : runs) {
      known += ", " + std::to_string(run.demonstrations.value()) + '+' +
               std::to_string(run.preferences.value()) + ' ' + detail::number_text(run.score);
      if (run.seeds != 1) known += " of " + std::to_string(run.seeds);
      if (run.standard_error) known += " within " + detail::number_text(*run.standard_error);
    }
    return policy_name("Recommended", {known});
  }
  [[nodiscard]] std::string_view broken_requirement() const {
    const auto is_base = [](const Observation& run) { return detail::labels_of(run) == 0; };
    if (base_score && std::ranges::any_of(runs, is_base)) return "the base model's score once";
    try {
      if (base_score) detail::require_score("Recommended", *base_score, "the base model");
      for (const Observation& run : runs) detail::require_usable("Recommended", run, "a run");
    } catch (const DataError&) {
      return "scores in (0, 1), of labels that are not negative and of at least one seed";
    }
    return "";
  }
};

}  // namespace tithe
