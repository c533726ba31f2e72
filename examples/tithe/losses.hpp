// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "any_loss.hpp"
#include "recipe_settings.hpp"
#include "session.hpp"
#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_down.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/apo_zero_unpaired.hpp"
#include "tithe/loss/bco.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/conservative_dpo.hpp"
#include "tithe/loss/cpo.hpp"
#include "tithe/loss/disco_pop.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/exo.hpp"
#include "tithe/loss/hinge.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/ipo_by_sum.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/orpo.hpp"
#include "tithe/loss/robust_dpo.hpp"
#include "tithe/loss/sft_term.hpp"
#include "tithe/loss/sim_po.hpp"
#include "tithe/loss/sppo_hard.hpp"

/// Every loss of the library on preferences, under the name and with the numbers that the command line gives it.
namespace program {

/// A loss whose numbers are chosen at run time, and the one that has the defaults.
template <class Dynamic, class Default>
struct NamedLoss {
  std::string_view name;
};

template <class Dynamic, class Default>
constexpr NamedLoss<Dynamic, Default> named(std::string_view name) {
  return {name};
}

/// A flag that gives a number of losses, where it is kept, and which number that is.
template <class Of>
struct LossNumber {
  std::string_view flag;
  std::optional<double> RecipeSettings::* given;
  Of of;
};
template <class Of>
LossNumber(const char*, std::optional<double> RecipeSettings::*, Of) -> LossNumber<Of>;

template <class L, class Of>
concept HasNumber = std::invocable<const Of&, L&>;

inline constexpr std::tuple loss_numbers{
    LossNumber{"beta", &RecipeSettings::beta, [](auto& loss) -> decltype((loss.beta)) { return loss.beta; }},
    LossNumber{"epsilon", &RecipeSettings::epsilon,
               [](auto& loss) -> decltype((loss.epsilon)) { return loss.epsilon; }},
    LossNumber{"gamma", &RecipeSettings::gamma,
               [](auto& loss) -> decltype((loss.gamma)) { return loss.gamma; }},
    LossNumber{"tau", &RecipeSettings::tau, [](auto& loss) -> decltype((loss.tau)) { return loss.tau; }},
    LossNumber{"nll-weight", &RecipeSettings::nll_weight,
               [](auto& loss) -> decltype((loss.alpha)) { return loss.alpha; }},
    LossNumber{"desirable-weight", &RecipeSettings::desirable_weight,
               [](auto& loss) -> decltype((loss.desirable_weight)) { return loss.desirable_weight; }},
    LossNumber{"undesirable-weight", &RecipeSettings::undesirable_weight,
               [](auto& loss) -> decltype((loss.undesirable_weight)) { return loss.undesirable_weight; }}};

using tithe::dynamic;

template <class Baseline>
using KtoWith = tithe::Kto<dynamic, dynamic, dynamic, Baseline>;

inline constexpr std::tuple losses{
    named<tithe::Dpo<dynamic>, tithe::Dpo<>>("dpo"),
    named<tithe::ConservativeDpo<dynamic, dynamic>, tithe::ConservativeDpo<>>("conservative_dpo"),
    named<tithe::RobustDpo<dynamic, dynamic>, tithe::RobustDpo<>>("robust_dpo"),
    named<tithe::Hinge<dynamic>, tithe::Hinge<>>("hinge"),
    named<tithe::IpoBySum<dynamic>, tithe::IpoBySum<>>("ipo_by_sum"),
    named<tithe::IpoByLength<dynamic>, tithe::IpoByLength<>>("ipo_by_length"),
    named<tithe::Exo<dynamic, dynamic>, tithe::Exo<>>("exo"),
    named<tithe::Nca<dynamic>, tithe::Nca<>>("nca"),
    named<tithe::BcoPair<dynamic>, tithe::BcoPair<>>("bco_pair"),
    named<tithe::SppoHard<dynamic>, tithe::SppoHard<>>("sppo_hard"),
    named<tithe::Aot<dynamic, dynamic>, tithe::Aot<>>("aot"),
    named<tithe::AotUnpaired<dynamic, dynamic>, tithe::AotUnpaired<>>("aot_unpaired"),
    named<tithe::ApoZero<dynamic>, tithe::ApoZero<>>("apo_zero"),
    named<tithe::ApoDown<dynamic>, tithe::ApoDown<>>("apo_down"),
    named<tithe::DiscoPop<dynamic, dynamic>, tithe::DiscoPop<>>("disco_pop"),
    named<tithe::DpoByLength<dynamic>, tithe::DpoByLength<>>("dpo_by_length"),
    named<tithe::SimPo<dynamic, dynamic>, tithe::SimPo<>>("sim_po"),
    named<tithe::Orpo<dynamic>, tithe::Orpo<>>("orpo"),
    named<tithe::Cpo<dynamic, dynamic, dynamic>, tithe::Cpo<>>("cpo"),
    named<tithe::SftTerm, tithe::SftTerm>("sft_term"),
    named<KtoWith<tithe::MeanThenClamp>, tithe::Kto<>>("kto"),
    named<tithe::ApoZeroUnpaired<dynamic>, tithe::ApoZeroUnpaired<>>("apo_zero_unpaired"),
    named<tithe::Bco<dynamic>, tithe::Bco<>>("bco")};

/// Calls `use(loss)` with the loss that is named, its numbers those that are given or its own defaults; numbers that it
/// does not have are none of its business. The name is one of the list.
template <class Use>
void with_loss(const RecipeSettings& settings, const Use& use) {
  const auto visit = [&]<class Dynamic, class Default>(const NamedLoss<Dynamic, Default>& entry) {
    if (entry.name != loss_named(settings.loss)) return;
    Dynamic loss{};
    [[maybe_unused]] const Default standard{};
    const auto set = [&]<class Of>(const LossNumber<Of>& number) {
      if constexpr (HasNumber<Dynamic, Of>) {
        number.of(loss) = (settings.*number.given).value_or(number.of(standard));
      }
    };
    std::apply([&](const auto&... number) { (set(number), ...); }, loss_numbers);
    use(std::as_const(loss));
  };
  std::apply([&](const auto&... entry) { (visit(entry), ...); }, losses);
}

}  // namespace program
