// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>

#include "tithe/core/error.hpp"
#include "tithe/core/policy.hpp"

/// What makes a type a reference strategy: where the log-probabilities come from that a loss compares with.
namespace tithe {

namespace detail {

struct NamesGivesReference {
  int gives_reference;
};
struct NamesSnapshot {
  int snapshot;
};
struct NamesFollow {
  int follow;
};

/// A model, as far as a reference strategy needs one: it can be copied into one that does not learn, and its adapter, if
/// it has one, can be left off.
struct AnyModel {
  [[nodiscard]] AnyModel frozen_copy() const { return {}; }
  [[nodiscard]] AnyModel without_adapter() const { return {}; }
  [[nodiscard]] bool adapted() const { return true; }
};

}  // namespace detail

/// A model that may carry an adapter, as Decoder does: `adapted()` says whether it does, `without_adapter()` gives a handle
/// of the same weights without it.
template <class M>
concept AdaptableModel = requires(const M& model) {
  { model.adapted() } -> std::same_as<bool>;
  { model.without_adapter() } -> std::same_as<M>;
};

/// A type that names `gives_reference` or `snapshot`, and is checked as a reference strategy.
template <class R>
concept ReferenceLike =
    Joinable<R> && (!requires { &Joined<R, detail::NamesGivesReference>::gives_reference; } ||
                    !requires { &Joined<R, detail::NamesSnapshot>::snapshot; });

/// `static constexpr bool gives_reference`.
template <class R>
concept DeclaresGiving = std::same_as<decltype(R::gives_reference), const bool> &&
                         requires { std::bool_constant<R::gives_reference>{}; };

/// The strategy gives log-probabilities to compare with.
template <class R>
concept GivesReference = DeclaresGiving<R> && bool{R::gives_reference};

/// `template <class Model> auto snapshot(const Model&) const`, called when a preference stage begins. What it
/// returns is the caller's, and is asked for log-probabilities as a model is; the strategy keeps nothing.
///
/// Its `weights()` go into checkpoints. A snapshot that shares the model's own weights has none to save, and
/// no such member.
template <class R>
concept HasSnapshot = requires(const R& reference, const detail::AnyModel& model) {
  requires !std::is_void_v<decltype(reference.snapshot(model))>;
};

/// The snapshot is of the model as it came to the run, before any stage, and serves every preference stage:
/// `snapshots_base = true`.
template <class R>
concept SnapshotsBase = requires { requires R::snapshots_base; };

/// The strategy serves models with an adapter alone, whose weights it shares: `needs_adapter = true`.
template <class R>
concept NeedsAdapter = requires { requires R::needs_adapter; };

/// The reference moves with the model that is trained: the strategy names `follow`.
template <class R>
concept Moves = Joinable<R> && !requires { &Joined<R, detail::NamesFollow>::follow; };

/// `template <class Snapshot, class Model> void follow(const Snapshot&, const Model&, std::int64_t step)
/// const`, called after each optimizer step of a preference stage, the first of which is 1, with the snapshot
/// and the model as it is by then. It writes into the snapshot's `weights()`, so a checkpoint holds all of
/// its state.
template <class R>
concept HasFollow = requires(const R& reference, const detail::AnyModel& model) {
  reference.follow(reference.snapshot(model), model, std::int64_t{});
};

/// `template <class Model> auto peek(const Model&) const`: what `snapshot` would give, without a copy, so good
/// only until the model is trained on. For whoever asks at once and keeps the answers: `Cached`.
template <class R>
concept HasPeek = requires(const R& reference, const detail::AnyModel& model) {
  requires !std::is_void_v<decltype(reference.peek(model))>;
};

/// Another strategy's log-probabilities are computed once, when a preference stage begins: `using
/// CachedReference =` that strategy.
template <class R>
concept CachesReference = requires { typename R::CachedReference; };

/// Whether a reference moves; a strategy that is one of several at run time says it with `bool moves() const`.
template <class R>
bool moves(const R& reference) {
  if constexpr (requires { reference.moves(); }) return reference.moves();
  return Moves<R>;
}

/// Throws OptionError for a model with an adapter: the mean of two adapters' A and B is not the mean of what they add, so
/// that a strategy which mixes weights cannot serve it.
template <class Model>
void refuse_adapter(const std::string& strategy, const Model& model) {
  if constexpr (AdaptableModel<Model>) {
    if (!model.adapted()) return;
    throw OptionError{{.who = strategy,
                       .required = "a model that is trained without an adapter",
                       .found = "one with an adapter",
                       .fix = "Use AdapterOff, or train all weights"}};
  }
}

/// An aggregate of hyperparameters that says whether it gives a reference, and if so makes one.
template <class R>
concept ReferenceStrategy = Hyperparameters<R> && Named<R> && DeclaresGiving<R> &&
                            (!GivesReference<R> || HasSnapshot<R>) && (!Moves<R> || HasFollow<R>);

}  // namespace tithe
