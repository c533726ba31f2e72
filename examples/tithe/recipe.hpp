// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "any_loss.hpp"
#include "choices.hpp"
#include "losses.hpp"
#include "recipe_settings.hpp"
#include "tithe/composition.hpp"
#include "tithe/loss/combined.hpp"
#include "tithe/loss/length_desensitized.hpp"
#include "tithe/loss/with_divergence.hpp"
#include "tithe/loss/wpo.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_base.hpp"
#include "tithe/reference/no_reference.hpp"

/// Losses that are chosen at run time, gathered into the few types that pipelines are compiled for. What is in one type
/// reads the same, so that no run pays for a statistic that its loss does not read.
namespace program {

using namespace tithe;  // the vocabulary of the types below

/// Functions of log-ratios of sums, so with any divergence; and losses that are not.
using BySum = AnyLoss<Dpo<dynamic>, ConservativeDpo<dynamic, dynamic>, RobustDpo<dynamic, dynamic>,
                      Hinge<dynamic>, IpoBySum<dynamic>, Exo<dynamic, dynamic>, Nca<dynamic>,
                      BcoPair<dynamic>, SppoHard<dynamic>, DiscoPop<dynamic, dynamic>>;
using ByLength = AnyLoss<IpoByLength<dynamic>, DpoByLength<dynamic>>;
using Anchored = AnyLoss<ApoZero<dynamic>, ApoDown<dynamic>>;
using OnSums = AnyLoss<BySum, WithDivergence<BySum, DivergenceChoice>, Anchored>;

/// Reads sums and lengths alone.
using Plain = AnyLoss<OnSums, ByLength, WithDivergence<ByLength, DivergenceChoice>>;

/// Reads sums of parts of completions too, and how long chosen ones are: cheap beside the passes.
using Lengths =
    AnyLoss<Plain, LengthDesensitized<OnSums, dynamic>, PolicyLengthDesensitized<OnSums, dynamic>>;
template <class L>
using WithSft = Combined<Weighted<L, 1>, Weighted<SftTerm, dynamic>>;
using Modified = AnyLoss<Lengths, WithSft<Lengths>>;

/// Reads the whole vocabulary's distribution at each token.
using Reweighted = AnyLoss<Wpo<Lengths>, WithSft<Wpo<Lengths>>>;

/// Without a reference, and weighed.
using WithoutReference =
    AnyLoss<SimPo<dynamic, dynamic>, Orpo<dynamic>, Cpo<dynamic, dynamic, dynamic>, SftTerm>;
using Free = AnyLoss<WithoutReference, WithSft<WithoutReference>>;
using ReweightedFree = AnyLoss<Wpo<WithoutReference>, WithSft<Wpo<WithoutReference>>>;

/// NeMo-Aligner's baseline has a share of the batch a rank, and its number in the type: those of one machine.
using AnyKto = AnyLoss<KtoWith<MeanThenClamp>, KtoWith<NonZeroMeanThenClamp>, KtoWith<ClampThenMean<2>>,
                       KtoWith<ClampThenMean<4>>, KtoWith<ClampThenMean<8>>>;

/// A loss for which every kind of reference is compiled; the others have one that is copied, still or moving.
template <class L>
inline constexpr bool has_all_references = std::same_as<L, Plain> || std::same_as<L, AnyKto>;

/// The loss with its divergence, if one is given. `check` has seen to it that all modifiers fit.
template <class L>
Plain plain_of(const L& loss, const RecipeSettings& settings) {
  const auto with_divergence = [&]<class Group>(const Group& group) {
    WithDivergence<Group, DivergenceChoice> with{.loss = group};
    if (settings.divergence == "forward_kl") {
      with.divergence.policy = ForwardKl{};
    } else if (settings.divergence == "jensen_shannon") {
      with.divergence.policy = JensenShannon{};
    } else {
      with.divergence.policy =
          AlphaDivergence<dynamic>{settings.divergence_alpha.value_or(AlphaDivergence<>{}.a)};
    }
    return with;
  };
  const bool has_divergence = settings.divergence != "reverse_kl";
  if constexpr (BySum::holds<L>) {
    const BySum group{.loss = loss};
    return {.loss = has_divergence ? OnSums{.loss = with_divergence(group)} : OnSums{.loss = group}};
  } else if constexpr (ByLength::holds<L>) {
    const ByLength group{.loss = loss};
    return has_divergence ? Plain{.loss = with_divergence(group)} : Plain{.loss = group};
  } else {
    return {.loss = OnSums{.loss = Anchored{.loss = loss}}};
  }
}

/// With the fine-tuning term beside it, as one of the two alternatives of `Any`.
template <class Any, class L>
Any any_with_sft(const L& loss, const std::optional<double>& weight) {
  if (!weight) return {.loss = loss};
  return {.loss =
              WithSft<L>{.parts = {Weighted<L, 1>{.loss = loss}, Weighted<SftTerm, dynamic>{{}, *weight}}}};
}

template <class Use>
void with_reference_free(const WithoutReference& loss, const RecipeSettings& settings, const Use& use) {
  if (settings.wpo) {
    use(any_with_sft<ReweightedFree>(Wpo<WithoutReference>{loss}, settings.sft_weight));
  } else {
    use(any_with_sft<Free>(loss, settings.sft_weight));
  }
}

template <class Use>
void with_modifiers(const Plain& plain, const RecipeSettings& settings, const Use& use) {
  Lengths lengths{.loss = plain};
  if (const OnSums* sums = std::get_if<OnSums>(&plain.loss)) {
    if (settings.ld_alpha) lengths.loss = LengthDesensitized<OnSums, dynamic>{*sums, *settings.ld_alpha};
    if (settings.policy_ld_alpha) {
      lengths.loss = PolicyLengthDesensitized<OnSums, dynamic>{*sums, *settings.policy_ld_alpha};
    }
  }
  if (settings.wpo) {
    use(any_with_sft<Reweighted>(Wpo<Lengths>{lengths}, settings.sft_weight));
  } else if (settings.sft_weight || lengths.loss.index() != 0) {
    use(any_with_sft<Modified>(lengths, settings.sft_weight));
  } else {
    use(plain);
  }
}

template <class Use>
void with_kto(const KtoWith<MeanThenClamp>& kto, const RecipeSettings& settings, const Use& use) {
  AnyKto any{.loss = kto};
  const auto take = [&]<class Baseline>(const Baseline& baseline, const std::string& name) {
    if (settings.kto_baseline != name) return;
    any.loss = KtoWith<Baseline>{kto.beta, kto.desirable_weight, kto.undesirable_weight, baseline};
  };
  take(NonZeroMeanThenClamp{}, "non_zero_mean_then_clamp");
  take(ClampThenMean<2>{}, "clamp_then_mean_2");
  take(ClampThenMean<4>{}, "clamp_then_mean_4");
  take(ClampThenMean<8>{}, "clamp_then_mean_8");
  use(any);
}

/// Calls `use` with the loss that the settings say, all modifiers with it, as one of the types above or, where it
/// couples rows or keeps a mean, as itself.
template <class Use>
void with_whole_loss(const RecipeSettings& settings, const Use& use) {
  with_loss(settings, [&]<class L>(const L& loss) {
    if constexpr (WithoutReference::holds<L>) {
      with_reference_free({.loss = loss}, settings, use);
    } else if constexpr (AnyKto::holds<L>) {
      with_kto(loss, settings, use);
    } else if constexpr (BySum::holds<L> || ByLength::holds<L> || Anchored::holds<L>) {
      with_modifiers(plain_of(loss, settings), settings, use);
    } else {
      use(loss);
    }
  });
}

inline StillReference still_reference_of(const RecipeSettings& settings) {
  StillReference still;
  const std::string name = settings.reference.value_or(settings.adapted ? "adapter_off" : "sft");
  if (name == "adapter_off") still.policy = AdapterOff{};
  return still;
}
inline StageReference stage_reference_of(const RecipeSettings& settings) {
  StageReference reference{{still_reference_of(settings)}};
  if (settings.reference == "moving") {
    reference.policy = Moving<dynamic, dynamic>{settings.reference_weight.value_or(Moving<>{}.weight),
                                                settings.reference_every.value_or(Moving<>{}.every)};
  }
  return reference;
}

/// Calls `use` with the reference that a loss is compared with; NoReference where it is with none.
template <class L, class Use>
void with_reference(const RecipeSettings& settings, const Use& use) {
  if constexpr (!NeedsReference<L>) {
    use(NoReference{});
  } else {
    if constexpr (has_all_references<L>) {
      const bool is_base = settings.reference == "base";
      if (settings.cache_reference && is_base) return use(Cached<FrozenBase>{});
      if (settings.cache_reference) return use(Cached<StillReference>{still_reference_of(settings)});
      if (is_base) return use(FrozenBase{});
    }
    use(stage_reference_of(settings));
  }
}

/// A pipeline's policies by the library's rules, under the name that they have in a type: supervised tuning by
/// CrossEntropy is not named there.
template <class L, class R>
struct Recipe : Policies<ScheduleChoice, SupervisedChoice, L, R> {
  [[nodiscard]] std::string name() const {
    using Composed = Policies<ScheduleChoice, SupervisedChoice, L, R>;
    if (!std::holds_alternative<CrossEntropy>(this->supervised.policy)) return Composed::name();
    return Policies<ScheduleChoice, CrossEntropy, L, R>{
        .schedule = this->schedule, .supervised = {}, .loss = this->loss, .reference = this->reference}
        .name();
  }
};

/// Calls `use` with the whole recipe. Throws OptionError for a number out of its range.
template <class Use>
void with_recipe(const RecipeSettings& settings, const Use& use) {
  with_whole_loss(settings, [&]<class L>(const L& loss) {
    with_reference<L>(settings, [&]<class R>(const R& reference) {
      use(Recipe<L, R>{compose(schedule_of(settings), supervised_of(settings), loss, reference)});
    });
  });
}

}  // namespace program
