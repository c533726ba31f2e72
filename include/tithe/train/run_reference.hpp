// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "tithe/budget/plan.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/reference/concept.hpp"
#include "tithe/train/cached_reference.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/progress.hpp"
#include "tithe/train/reference_cache.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/stage.hpp"

/// When a run's reference is taken, brought back, moved and let go.
namespace tithe {

namespace detail {

/// What a strategy's snapshot of a model is; NoSnapshot where it gives no reference.
template <class Strategy, class M>
struct SnapshotOf {
  using type = NoSnapshot;
};
template <GivesReference Strategy, class M>
struct SnapshotOf<Strategy, M> {
  using type = decltype(std::declval<const Strategy&>().snapshot(std::declval<const M&>()));
};

/// The weights that are a reference's own, and so belong into checkpoints.
template <class Reference>
NamedTensors weights_of(const Reference& reference) {
  if constexpr (requires { reference.weights(); }) {
    return reference.weights();
  } else {
    return {};
  }
}

}  // namespace detail

/// The reference of a run, of whatever strategy. It is made before the model's weights are brought back from a checkpoint:
/// by then the model is as it came, and a strategy that compares with that takes its snapshot.
template <class Strategy, LanguageModel M>
class RunReference {
 public:
  /// What it holds must outlive it. Throws OptionError for a model that the strategy cannot serve, or that cannot be cached
  /// on disk, and FileError for a cache folder that cannot be made.
  RunReference(const Strategy& strategy, const M& model, const Plan& plan, const RunOptions& options,
               const Progress& progress)
      : strategy_{strategy}, model_{model}, plan_{plan}, options_{options}, progress_{progress} {
    if (compares_from(0)) {  // otherwise whether the model suits the strategy makes no difference
      if constexpr (NeedsAdapter<Strategy>) static_cast<void>(strategy.snapshot(model));
      if (moves(strategy)) refuse_adapter(strategy.name(), model);
    }
    if constexpr (CachesReference<Strategy>) {
      if (!options.reference_cache.empty()) {
        require_identity(model);
        static_cast<void>(ReferenceCacheFolder{options.reference_cache});
      }
    }
    if constexpr (SnapshotsBase<Strategy>) {
      if (!compares_from(progress.slice() + 1) && !asks_in(progress.slice())) return;
      base_ = std::make_shared<const Snapshot>(strategy.snapshot(model));
      if (!options.shared_stages.empty()) require_identity(*base_, "RunOptions::shared_stages");
      seen_ = base_;
      progress.restore_base(detail::weights_of(*base_));
    }
  }

  /// The reference of a preference slice that begins or goes on, for its objective. `more` are rows that it will be asked
  /// for besides the slice's.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): moved from where the strategy caches
  [[nodiscard]] auto begin(std::size_t slice, Rows more = {}) {
    if constexpr (CachesReference<Strategy>) {
      return CachedReference<Snapshot>{
          {.model = source(slice),
           .more = std::move(more),
           .saved = progress_.saved_reference(slice, CachedReference<Snapshot>::saved_name),
           .folder = options_.reference_cache,
           .strategy = strategy_.name(),
           .machine = fingerprint(model_.weights().front().tensor)}};
    } else if constexpr (SnapshotsBase<Strategy>) {
      return Snapshot{*base_};
    } else {
      Snapshot snapshot = strategy_.snapshot(model_);
      progress_.restore_reference(slice, detail::weights_of(snapshot));
      return snapshot;
    }
  }

  /// What tells the model as it came from others, while a slice is still to compare with it.
  [[nodiscard]] std::string base_digest() const { return digest_of_model(*base_).hex(); }

  /// Lets the model as it came go once no slice after this one compares with it.
  void end(std::size_t slice) {
    if (!compares_from(slice + 1)) base_.reset();
  }

  /// A stage's hooks, with the objective's reference following the model after each step, before that step is saved.
  template <class Objective>
  [[nodiscard]] StageHooks following(StageHooks hooks, const Objective& objective) const {
    if constexpr (Moves<Strategy> && requires { objective.reference(); }) {
      hooks.on_progress = [this, &objective, then = std::move(hooks.on_progress)](
                              const StageState& state, const AdamW& optimizer, StageMoment moment) {
        const bool has_stepped = moment == StageMoment::stepped || moment == StageMoment::ends;
        if (has_stepped && state.step > 0) strategy_.follow(objective.reference(), model_, state.step);
        then(state, optimizer, moment);
      };
    }
    return hooks;
  }

  /// What a checkpoint holds of the objective's reference as it is by now, and of the model as it came while anybody holds
  /// it. A reference that is the model as it came is saved as that alone.
  template <class Objective>
  [[nodiscard]] NamedTensors saved(const Objective& objective) const {
    NamedTensors all;
    const auto add = [&](const char* prefix, NamedTensors weights) {
      for (NamedTensor& weight : weights) all.push_back({prefix + weight.name, std::move(weight.tensor)});
    };
    if constexpr (requires { objective.reference(); } &&
                  (CachesReference<Strategy> || !SnapshotsBase<Strategy>)) {
      add(Progress::reference_prefix, detail::weights_of(objective.reference()));
    }
    if (const auto base = seen_.lock()) add(Progress::base_prefix, detail::weights_of(*base));
    return all;
  }

 private:
  using Snapshot = typename detail::SnapshotOf<Strategy, M>::type;

  /// Whether a slice is still to ask the model as it came: none that trains on demonstrations, and none whose answers the
  /// checkpoint holds.
  [[nodiscard]] bool asks_in(std::size_t slice) const {
    if (slice >= plan_.size() || plan_[slice].stage != Stage::preference) return false;
    if constexpr (CachesReference<Strategy>) {
      return !progress_.saved_reference(slice, CachedReference<Snapshot>::saved_name);
    }
    return true;
  }

  [[nodiscard]] bool compares_from(std::size_t slice) const {
    for (std::size_t i = slice; i < plan_.size(); ++i) {
      if (plan_[i].stage == Stage::preference) return true;
    }
    return false;
  }

  /// What a slice's cache is filled from. The last one to need the model as it came is left alone with it.
  [[nodiscard]] std::shared_ptr<const Snapshot> source(std::size_t slice) {
    if constexpr (SnapshotsBase<Strategy>) {
      return compares_from(slice + 1) ? base_ : std::exchange(base_, nullptr);
    } else {
      return std::make_shared<const Snapshot>(strategy_.snapshot(model_));
    }
  }

  const Strategy& strategy_;
  const M& model_;
  const Plan& plan_;
  const RunOptions& options_;
  const Progress& progress_;
  std::shared_ptr<const Snapshot> base_;
  std::weak_ptr<const Snapshot> seen_;
};

}  // namespace tithe
