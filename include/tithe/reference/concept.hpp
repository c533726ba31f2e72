// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <type_traits>

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

/// A model, as far as a reference strategy needs one: it can be copied into one that does not learn.
struct AnyModel {
  [[nodiscard]] AnyModel frozen_copy() const { return {}; }
};

}  // namespace detail

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

/// `template <class Model> auto snapshot(const Model&) const`, called when the preference stage begins. What
/// it returns is the caller's, and is asked for log-probabilities as a model is; the strategy keeps nothing.
template <class R>
concept HasSnapshot = requires(const R& reference, const detail::AnyModel& model) {
  requires !std::is_void_v<decltype(reference.snapshot(model))>;
};

/// An aggregate of hyperparameters that says whether it gives a reference, and if so makes one.
template <class R>
concept ReferenceStrategy =
    Hyperparameters<R> && Named<R> && DeclaresGiving<R> && (!GivesReference<R> || HasSnapshot<R>);

}  // namespace tithe
