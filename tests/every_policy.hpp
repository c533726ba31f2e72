// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_down.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/apo_zero_unpaired.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/combined.hpp"
#include "tithe/loss/conservative_dpo.hpp"
#include "tithe/loss/cpo.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/disco_pop.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/exo.hpp"
#include "tithe/loss/hinge.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/ipo_by_sum.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/length_desensitized.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/loss/orpo.hpp"
#include "tithe/loss/robust_dpo.hpp"
#include "tithe/loss/sft_term.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/loss/sppo_hard.hpp"
#include "tithe/loss/with_divergence.hpp"
#include "tithe/loss/wpo.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/reference/no_reference.hpp"
#include "tithe/schedule/by_budget.hpp"
#include "tithe/schedule/cold_start_floor.hpp"
#include "tithe/schedule/interleaved.hpp"
#include "tithe/schedule/planned_by.hpp"
#include "tithe/schedule/preference_only.hpp"
#include "tithe/schedule/sft_count.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/schedule/sft_only.hpp"
#include "tithe/schedule/staged.hpp"

/// Every policy of the library once, with numbers, for what must hold for all of them.
namespace tithe::test {

/// A list of types.
template <class... T>
struct Types {};

template <class... A, class... B>
constexpr Types<A..., B...> operator+(Types<A...>, Types<B...>) {
  return {};
}

/// Calls `use.template operator()<T>()` for each.
template <class... T, class Use>
constexpr void for_each_type(Types<T...>, Use use) {
  (use.template operator()<T>(), ...);
}

constexpr Plan thirds(const Budget& budget) { return budget.split(Share{1.0 / 3}); }

using EverySchedule =
    Types<SftFraction<0.1>, SftOnly, PreferenceOnly, SftCount<100>, ColdStartFloor<100, SftFraction<0.1>>,
          ByBudget<Below<1000, SftOnly>, SftFraction<0.25>>, Interleaved<SftFraction<0.2>, 3>,
          Staged<Demonstrations<0.1>, Preferences<0.4>, Demonstrations<0.1>, Preferences<0.4>>,
          PlannedBy<"thirds", thirds>>;

using PlainPairLosses =
    Types<Dpo<0.1>, ConservativeDpo<0.1, 0.1>, RobustDpo<0.1, 0.1>, Hinge<0.1>, IpoBySum<0.1>,
          IpoByLength<0.1>, Exo<0.1, 0.001>, Nca<0.1>, BcoPair<0.1>, SppoHard<0.1>, Aot<0.1>,
          AotUnpaired<0.1>, ApoZero<0.1>, ApoDown<0.1>, DiscoPop<0.1>, DpoByLength<0.1>>;
using ReferenceFreeLosses = Types<SimPo<2, 1>, Orpo<0.1>, Cpo<0.1>, SftTerm>;
using VerdictLosses = Types<Kto<0.1>, ApoZeroUnpaired<0.1>, Bco<0.1>>;
using ComposedLosses =
    Types<WithDivergence<Dpo<0.1>, ForwardKl>, WithDivergence<Hinge<0.1>, JensenShannon>,
          WithDivergence<IpoByLength<0.1>, AlphaDivergence<0.5>>, LengthDesensitized<Dpo<0.1>, 0.5>,
          PolicyLengthDesensitized<Dpo<0.1>, 0.5>, Wpo<Dpo<0.1>>, Wpo<LengthDesensitized<Dpo<0.1>, 0.5>>,
          Combined<Weighted<Dpo<0.1>, 0.8>, Weighted<BcoPair<0.1>, 0.2>, Weighted<SftTerm, 1>>,
          Combined<Weighted<Aot<0.1>, 1>, Weighted<SftTerm, 0.5>>>;
using EveryLoss = decltype(PlainPairLosses{} + ReferenceFreeLosses{} + VerdictLosses{} + ComposedLosses{});

using EveryReference = Types<FrozenSft, FrozenBase, AdapterOff, Cached<FrozenSft>, Cached<FrozenBase>,
                             Moving<0.6, 512>, NoReference>;

using EverySupervised =
    Types<CrossEntropy, Dft, LabelSmoothed<0.1>, OnAllTokens<CrossEntropy>, OnAllTokens<LabelSmoothed<0.1>>>;

}  // namespace tithe::test
