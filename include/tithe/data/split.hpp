// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <type_traits>
#include <utility>

#include "tithe/core/content_hash.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/dataset.hpp"

/// Held-out data, chosen by what a prompt says: the same prompt never stands on both sides.
namespace tithe {

/// Two parts of a dataset, each in the order of the whole.
struct Split {
  Dataset train{};
  Dataset held_out{};
};

/// Whether a prompt is held out: a function of its content, the share and the seed, and of nothing else. So
/// all examples of a prompt go to one side, whatever their kind and file; a prompt keeps its side when the
/// data grow; and with one seed, a larger share holds out all that a smaller one does.
///
/// Text and token ids are different contents: write a prompt one way throughout.
inline bool is_held_out(const Content& prompt, Share held_out, Seed seed) {
  return SplitMix64{derive(seed, {content_hash(prompt).prefix()})}.uniform() < held_out.value();
}

/// Splits all kinds at once. `held_out` is the chance of each prompt; the share of the examples is near it,
/// not equal.
inline Split split_held_out(Dataset dataset, Share held_out, Seed seed) {
  Split split;
  const auto divide = [&](auto& examples) {
    for (auto& example : examples) {
      (is_held_out(example.prompt, held_out, seed) ? split.held_out : split.train).add(std::move(example));
    }
  };
  divide(dataset.demonstrations);
  divide(dataset.preferences);
  divide(dataset.labeled);
  return split;
}

}  // namespace tithe
