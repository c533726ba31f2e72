// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "recipe.hpp"

#include <array>
#include <initializer_list>
#include <string>
#include <utility>

#include "recipe_settings.hpp"
#include "session.hpp"

namespace program {
namespace {

/// What TRL calls losses that it has the same formula of as we have.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> trl_names{
    {{"sigmoid", "dpo"},
     {"robust", "robust_dpo"},
     {"exo_pair", "exo"},
     {"nca_pair", "nca"},
     {"discopop", "disco_pop"},
     {"sigmoid_norm", "dpo_by_length"},
     {"simpo", "sim_po"},
     {"sft", "sft_term"}}};

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw UsageError{otherwise};
}

/// The names of the losses of which something holds, as a list.
template <class Holds>
std::string list_of(const Holds& holds) {
  std::string list;
  const auto add = [&]<class Dynamic, class Default>(const NamedLoss<Dynamic, Default>& entry) {
    if (holds(Dynamic{})) list.append(list.empty() ? "" : ", ").append(entry.name);
  };
  std::apply([&](const auto&... entry) { (add(entry), ...); }, losses);
  return list;
}

template <class L>
constexpr bool takes_modifiers =
    BySum::holds<L> || ByLength::holds<L> || Anchored::holds<L> || WithoutReference::holds<L>;

/// Throws UsageError for a number out of its policy's range.
template <class Policy>
void check_range(const std::string& flag, const Policy& policy) {
  const std::string_view broken = broken_requirement_of(policy);
  require(broken.empty(), flag + " needs " + std::string{broken} + ", but is " + policy.name());
}

/// Every number that is given is one that the loss has.
template <class L>
void check_numbers(const RecipeSettings& settings, const std::string& loss) {
  const auto check_number = [&]<class Of>(const LossNumber<Of>& number) {
    if (HasNumber<L, Of> || !(settings.*number.given)) return;
    throw UsageError{"--" + std::string{number.flag} + " is no number of --loss " + loss + ", but of " +
                     list_of([]<class Other>(const Other&) { return HasNumber<Other, Of>; })};
  };
  std::apply([&](const auto&... number) { (check_number(number), ...); }, loss_numbers);
  require(!settings.kto_baseline || loss == "kto",
          "--kto-baseline is for --loss kto, and the loss is " + loss);
}

template <class L>
void check_modifiers(const RecipeSettings& settings, const std::string& loss) {
  const auto fits = [&](bool is_given, const std::string& flag, bool fitting, const std::string& needs,
                        const std::string& list) {
    require(!is_given || fitting,
            flag + " does not fit --loss " + loss + ": it needs a loss " + needs + ", one of " + list);
  };
  fits(settings.divergence != "reverse_kl", "--divergence", ReadsLogRatios<L>, "that reads log-ratios alone",
       list_of([]<class Other>(const Other&) { return ReadsLogRatios<Other>; }));
  const std::string on_sums =
      list_of([]<class Other>(const Other&) { return BySum::holds<Other> || Anchored::holds<Other>; });
  for (const auto& [is_given, flag] : {std::pair{settings.ld_alpha.has_value(), "--ld-alpha"},
                                       {settings.policy_ld_alpha.has_value(), "--policy-ld-alpha"}}) {
    fits(is_given, flag, BySum::holds<L> || Anchored::holds<L>, "of sums that are not divided by length",
         on_sums);
  }
  const std::string modified = list_of([]<class Other>(const Other&) { return takes_modifiers<Other>; });
  fits(settings.wpo, "--wpo", takes_modifiers<L>, "of each pair for itself", modified);
  fits(settings.sft_weight.has_value(), "--sft-weight", takes_modifiers<L>, "of each pair for itself",
       modified);
  require(
      !settings.divergence_alpha || settings.divergence == "alpha",
      "--divergence-alpha is the number of --divergence alpha, and the divergence is " + settings.divergence);
  require(!settings.ld_alpha || !settings.policy_ld_alpha,
          "--ld-alpha and --policy-ld-alpha exclude each other: one formula of LD-DPO or the other");
}

/// `has_all` is whether the whole loss, modifiers and all, is compiled for every kind of reference.
template <class L>
void check_reference(const RecipeSettings& settings, const std::string& loss, bool has_all) {
  const std::string reference = settings.reference.value_or(NeedsReference<L> ? "sft" : "none");
  if (!NeedsReference<L>) {
    require(reference == "none" && !settings.cache_reference,
            "--loss " + loss + " compares with no reference: drop --reference and --cache-reference");
  }
  require(reference != "none" || !NeedsReference<L>,
          "--loss " + loss +
              " compares with a reference, so --reference is sft, base or moving; without one are " +
              list_of([]<class Other>(const Other&) { return !NeedsReference<Other>; }));
  const bool moves = reference == "moving";
  require(moves || (!settings.reference_weight && !settings.reference_every),
          "--reference-weight and --reference-every are for --reference moving, and it is " + reference);
  require(!moves || !settings.cache_reference,
          "--cache-reference keeps what --reference moving would soon make wrong: cache sft or base");
  require(
      has_all || (reference != "base" && !settings.cache_reference),
      "--reference base and --cache-reference are for kto and for the losses of one pair without --ld-alpha, "
      "--policy-ld-alpha, --wpo and --sft-weight; the library has them for " +
          loss + " too");
}

tithe::Json numbers_of(const RecipeSettings& settings) {
  tithe::Json numbers = tithe::Json::object();
  with_loss(settings, [&](const auto& loss) {
    const auto add = [&]<class Of>(const LossNumber<Of>& number) {
      if constexpr (HasNumber<decltype(loss), Of>) {
        std::string key{number.flag};
        for (char& c : key) c = c == '-' ? '_' : c;
        numbers[key] = static_cast<double>(number.of(loss));
      }
    };
    std::apply([&](const auto&... number) { (add(number), ...); }, loss_numbers);
  });
  return numbers;
}

}  // namespace

std::string loss_list() {
  return list_of([](const auto&) { return true; });
}

std::string loss_named(const std::string& name) {
  for (const auto& [theirs, ours] : trl_names) {
    if (name == theirs) return std::string{ours};
  }
  return name;
}

std::string complaint_about_loss(const std::string& name) {
  if (name == "ipo") {
    return "ipo names two formulas: choose ipo_by_sum (the paper's and OpenRLHF's, on sums of "
           "log-probabilities) or "
           "ipo_by_length (TRL's and LLaMA-Factory's, on means over tokens)";
  }
  const std::string ours = loss_named(name);
  bool is_known = false;
  std::apply([&](const auto&... entry) { is_known = ((entry.name == ours) || ...); }, losses);
  return is_known ? "" : name + " is no loss; the losses are " + loss_list();
}

ScheduleChoice schedule_of(const RecipeSettings& settings) {
  require(!settings.sft_fraction || !settings.sft_count,
          "--sft-fraction and --sft-count exclude each other: a share of the budget or a number");
  Split split{{SftFraction<dynamic>{settings.sft_fraction.value_or(SftFraction<>{}.fraction)}}};
  if (settings.sft_count) split.policy = SftCount<dynamic>{*settings.sft_count};
  InOrder in_order{{split}};
  if (settings.cold_start) in_order.policy = Floored{*settings.cold_start, split};
  if (!settings.interleave) return {{in_order}};
  return {{Interleaved<InOrder, dynamic>{in_order, *settings.interleave}}};
}

SupervisedChoice supervised_of(const RecipeSettings& settings) {
  require(!settings.label_smoothing || settings.sft_loss == "cross_entropy",
          "--label-smoothing is of --sft-loss cross_entropy, and the loss is " + settings.sft_loss);
  const auto on_tokens = [&](const auto& loss) -> SupervisedChoice {
    if (settings.train_on_prompt) return {{OnAllTokens<std::remove_cvref_t<decltype(loss)>>{loss}}};
    return {{loss}};
  };
  if (settings.label_smoothing) return on_tokens(LabelSmoothed<dynamic>{*settings.label_smoothing});
  return settings.sft_loss == "dft" ? on_tokens(Dft{}) : on_tokens(CrossEntropy{});
}

void check(const RecipeSettings& settings) {
  const std::string name = loss_named(settings.loss);
  with_loss(settings, [&]<class L>(const L&) {
    check_numbers<L>(settings, name);
    check_modifiers<L>(settings, name);
    bool has_all = false;
    with_whole_loss(settings, [&]<class Whole>(const Whole&) { has_all = has_all_references<Whole>; });
    check_reference<L>(settings, name, has_all);
  });
  check_range("the schedule", schedule_of(settings));
  check_range("--sft-loss " + settings.sft_loss, supervised_of(settings));
  with_whole_loss(settings, [&]<class Whole>(const Whole& whole) {
    check_range("--loss " + name, whole);
    with_reference<Whole>(settings,
                          [](const auto& strategy) { check_range("--reference moving", strategy); });
  });
}

bool needs_pairs(const RecipeSettings& settings) {
  bool pairs = false;
  with_loss(settings, [&]<class L>(const L&) { pairs = std::same_as<typename L::Example, PreferencePair>; });
  return pairs;
}

tithe::Json to_json(const RecipeSettings& settings) {
  tithe::Json json = numbers_of(settings);
  const auto add = [&](const char* key, const auto& value) {
    if (value) json[key] = *value;
  };
  if (!settings.sft_count) json["sft_fraction"] = settings.sft_fraction.value_or(SftFraction<>{}.fraction);
  add("sft_count", settings.sft_count);
  add("cold_start", settings.cold_start);
  add("interleave", settings.interleave);
  json["sft_loss"] = settings.sft_loss;
  add("label_smoothing", settings.label_smoothing);
  json["train_on_prompt"] = settings.train_on_prompt;
  json["loss"] = loss_named(settings.loss);
  json["divergence"] = settings.divergence;
  if (settings.divergence == "alpha") {
    json["divergence_alpha"] = settings.divergence_alpha.value_or(AlphaDivergence<>{}.a);
  }
  add("ld_alpha", settings.ld_alpha);
  add("policy_ld_alpha", settings.policy_ld_alpha);
  json["wpo"] = settings.wpo;
  add("sft_weight", settings.sft_weight);
  with_loss(settings, [&]<class L>(const L&) {
    json["reference"] = settings.reference.value_or(NeedsReference<L> ? "sft" : "none");
    if (AnyKto::holds<L>) json["kto_baseline"] = settings.kto_baseline.value_or("mean_then_clamp");
  });
  if (settings.reference == "moving") {
    json["reference_weight"] = settings.reference_weight.value_or(Moving<>{}.weight);
    json["reference_every"] = settings.reference_every.value_or(Moving<>{}.every);
  }
  json["cache_reference"] = settings.cache_reference;
  return json;
}

}  // namespace program
