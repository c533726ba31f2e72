// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "recipe.hpp"

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
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

/// What the flags' rules ask of a loss. Collected once, so that the rules are plain code and no templates.
struct LossFacts {
  std::string_view name;
  std::array<bool, std::tuple_size_v<decltype(loss_numbers)>> has_number;
  bool on_pairs;
  bool compares;
  bool needs_mismatched;
  bool reads_log_ratios;
  bool on_sums;          ///< with a reference
  bool takes_modifiers;  ///< `Wpo` and a fine-tuning term
};

constexpr auto all_facts = std::apply(
    [](const auto&... entry) {
      const auto facts_of = []<class L, class Default>(const NamedLoss<L, Default>& loss) {
        const auto has = []<class... Of>(const std::tuple<LossNumber<Of>...>&) {
          return std::array{HasNumber<L, Of>...};
        };
        constexpr bool on_sums = BySum::holds<L> || Anchored::holds<L>;
        return LossFacts{.name = loss.name,
                         .has_number = has(loss_numbers),
                         .on_pairs = std::same_as<typename L::Example, PreferencePair>,
                         .compares = NeedsReference<L>,
                         .needs_mismatched = NeedsMismatched<L>,
                         .reads_log_ratios = ReadsLogRatios<L>,
                         .on_sums = on_sums,
                         .takes_modifiers = on_sums || ByLength::holds<L> || WithoutReference::holds<L>};
      };
      return std::array{facts_of(entry)...};
    },
    losses);

const LossFacts& facts_of(const RecipeSettings& settings) {
  return *std::ranges::find(all_facts, loss_named(settings.loss), &LossFacts::name);
}

/// The reference that is asked for, or the one that goes without saying.
std::string reference_of(const RecipeSettings& settings) {
  if (settings.reference) return *settings.reference;
  if (!facts_of(settings).compares) return "none";
  return settings.adapted ? "adapter_off" : "sft";
}

void require(bool holds, const std::string& otherwise) {
  if (!holds) throw UsageError{otherwise};
}

/// The names of the losses of which something holds, as a list.
template <class Holds>
std::string list_of(const Holds& holds) {
  std::string list;
  for (const LossFacts& loss : all_facts) {
    if (std::invoke(holds, loss)) list.append(list.empty() ? "" : ", ").append(loss.name);
  }
  return list;
}

/// Throws UsageError for a number out of its policy's range.
template <class Policy>
void check_range(const std::string& flag, const Policy& policy) {
  const std::string_view broken = broken_requirement_of(policy);
  require(broken.empty(), flag + " needs " + std::string{broken} + ", but is " + policy.name());
}

/// Every number that is given is one that the loss has.
void check_numbers(const RecipeSettings& settings, const LossFacts& loss) {
  std::size_t place = 0;
  const auto check_number = [&](std::string_view flag, const std::optional<double>& given) {
    const std::size_t number = place++;
    require(!given || loss.has_number[number],
            "--" + std::string{flag} + " is no number of --loss " + std::string{loss.name} + ", but of " +
                list_of([&](const LossFacts& other) { return other.has_number[number]; }));
  };
  std::apply([&](const auto&... number) { (check_number(number.flag, settings.*number.given), ...); },
             loss_numbers);
  require(!settings.kto_baseline || loss.name == "kto",
          "--kto-baseline is for --loss kto, and the loss is " + std::string{loss.name});
}

void check_modifiers(const RecipeSettings& settings, const LossFacts& loss) {
  const auto fits = [&](bool is_given, const std::string& flag, bool LossFacts::* fact,
                        const std::string& what) {
    require(!is_given || loss.*fact, flag + " does not fit --loss " + std::string{loss.name} +
                                         ": it needs a loss " + what + ", one of " + list_of(fact));
  };
  fits(settings.divergence != "reverse_kl", "--divergence", &LossFacts::reads_log_ratios,
       "that reads log-ratios alone");
  const std::string on_sums = "of sums that are not divided by length, against a reference";
  fits(settings.ld_alpha.has_value(), "--ld-alpha", &LossFacts::on_sums, on_sums);
  fits(settings.policy_ld_alpha.has_value(), "--policy-ld-alpha", &LossFacts::on_sums, on_sums);
  fits(settings.wpo, "--wpo", &LossFacts::takes_modifiers, "of each pair for itself");
  fits(settings.sft_weight.has_value(), "--sft-weight", &LossFacts::takes_modifiers,
       "of each pair for itself");
  require(
      !settings.divergence_alpha || settings.divergence == "alpha",
      "--divergence-alpha is the number of --divergence alpha, and the divergence is " + settings.divergence);
  require(!settings.ld_alpha || !settings.policy_ld_alpha,
          "--ld-alpha and --policy-ld-alpha exclude each other: one formula of LD-DPO or the other");
}

/// `has_all`: the whole loss, modifiers and all, is compiled for every kind of reference.
void check_reference(const RecipeSettings& settings, const LossFacts& loss, bool has_all) {
  const std::string name{loss.name};
  const std::string reference = reference_of(settings);
  require(loss.compares || (reference == "none" && !settings.cache_reference),
          "--loss " + name + " compares with no reference: drop --reference and --cache-reference");
  require(
      !loss.compares || reference != "none",
      "--loss " + name +
          " compares with a reference, so --reference is sft, base, moving or adapter_off; without one are " +
          list_of([](const LossFacts& other) { return !other.compares; }));
  require(
      reference != "adapter_off" || settings.adapted,
      "--reference adapter_off leaves the adapter off, and there is none: give --lora-rank or --adapter, or "
      "--reference sft");
  const bool moves = reference == "moving";
  require(!moves || !settings.adapted,
          "--reference moving is for a model whose weights are trained, and an adapter is: use adapter_off "
          "or sft");
  require(moves || (!settings.reference_weight && !settings.reference_every),
          "--reference-weight and --reference-every are for --reference moving, and it is " + reference);
  require(!moves || !settings.cache_reference,
          "--cache-reference keeps what --reference moving would soon make wrong: cache sft or base");
  require(
      has_all || (reference != "base" && !settings.cache_reference),
      "--reference base and --cache-reference are for kto, and for losses on pairs but aot and aot_unpaired "
      "without --ld-alpha, --policy-ld-alpha, --wpo and --sft-weight");
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
  return list_of([](const LossFacts&) { return true; });
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
  return std::ranges::find(all_facts, ours, &LossFacts::name) != all_facts.end()
             ? ""
             : name + " is no loss; the losses are " + loss_list();
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
  const LossFacts& loss = facts_of(settings);
  check_numbers(settings, loss);
  check_modifiers(settings, loss);
  check_range("the schedule", schedule_of(settings));
  check_range("--sft-loss " + settings.sft_loss, supervised_of(settings));
  with_whole_loss(settings, [&]<class Whole>(const Whole& whole) {
    check_reference(settings, loss, has_all_references<Whole>);
    check_range("--loss " + std::string{loss.name}, whole);
    with_reference<Whole>(settings,
                          [](const auto& strategy) { check_range("--reference moving", strategy); });
  });
}

bool needs_pairs(const RecipeSettings& settings) { return facts_of(settings).on_pairs; }

bool has_number(const RecipeSettings& settings, std::string_view flag) {
  std::size_t place = 0;
  bool has = false;
  const auto look = [&](std::string_view name) {
    if (name == flag) has = facts_of(settings).has_number[place];
    ++place;
  };
  std::apply([&](const auto&... number) { (look(number.flag), ...); }, loss_numbers);
  return has;
}

RecipeCosts costs_of(const RecipeSettings& settings) {
  const std::string reference = reference_of(settings);
  const bool compares = facts_of(settings).compares;
  // A cached one is computed from the model itself, but for that of the model as it came.
  const bool copies =
      compares && reference != "adapter_off" && (!settings.cache_reference || reference == "base");
  return {.compares = compares,
          .copies_reference = copies,
          .caches_reference = settings.cache_reference,
          .needs_mismatched = facts_of(settings).needs_mismatched};
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
  json["reference"] = reference_of(settings);
  if (loss_named(settings.loss) == "kto")
    json["kto_baseline"] = settings.kto_baseline.value_or("mean_then_clamp");
  if (settings.reference == "moving") {
    json["reference_weight"] = settings.reference_weight.value_or(Moving<>{}.weight);
    json["reference_every"] = settings.reference_every.value_or(Moving<>{}.every);
  }
  json["cache_reference"] = settings.cache_reference;
  return json;
}

}  // namespace program
