// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <concepts>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/content_hash.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/model/adapter_config.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/train/options.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/run_state.hpp"

/// Every setting that decides a run's bits, for checkpoints and records.
namespace tithe {

/// The settings of a stage by the names that people know.
inline nlohmann::json to_json(const StageOptions& options) {
  constexpr const char* decays[] = {"constant", "linear", "cosine"};
  return {{"learning_rate", options.learning_rate.peak},
          {"lr_decay", decays[static_cast<int>(options.learning_rate.decay)]},
          {"warmup", options.learning_rate.warmup},
          {"hold", options.learning_rate.hold},
          {"final_ratio", options.learning_rate.final_ratio},
          {"epochs", options.epochs},
          {"batch_size", options.batch_size},
          {"accumulate", options.accumulate},
          {"max_tokens_per_pass", options.max_tokens_per_pass.value()},
          {"weight_decay", options.weight_decay},
          {"adam_beta1", options.adam_beta1},
          {"adam_beta2", options.adam_beta2},
          {"adam_epsilon", options.adam_epsilon},
          {"max_grad_norm", options.max_grad_norm}};
}

/// A plan as a list of slices.
inline nlohmann::json to_json(const Plan& plan) {
  nlohmann::json slices = nlohmann::json::array();
  for (const Slice& slice : plan)
    slices.push_back({{"stage", name(slice.stage)}, {"count", slice.count.value()}});
  return slices;
}

/// A budget: its limits, and what a label costs. Under "compute" stand the operations of a label, the limit on them, and
/// the device whose time the money pays for, each where the budget has it.
inline nlohmann::json to_json(const Budget& budget) {
  const auto units = [](Money money) { return money.units(); };
  nlohmann::json json = nlohmann::json::object();
  if (budget.unit() == BudgetUnit::examples) json["examples"] = budget.amount();
  if (budget.is_money()) {
    json["money"] = units(Money::from_parts(budget.amount()));
    json["demonstration_price"] = units(budget.annotation().demonstration);
    json["preference_price"] = units(budget.annotation().preference);
  }
  if (const auto& prices = budget.by_tokens()) {
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      const TokenPrice price = prices->of(stage);
      json["per_thousand_tokens"][std::string{name(stage)}] = {units(price.per_thousand_prompt),
                                                               units(price.per_thousand_completion)};
    }
  }
  if (const auto& compute = budget.label_compute()) {
    json["compute"] = {{"demonstration", compute->demonstration.operations()},
                       {"preference", compute->preference.operations()}};
    const BudgetLimit& last = budget.limits().back();
    if (last.unit == BudgetUnit::compute)
      json["compute"]["limit"] = Compute::from_parts(last.amount).operations();
    if (const auto& device = budget.device()) {
      json["compute"]["device"] = {{"operations_per_second", device->peak.per_second()},
                                   {"utilisation", device->utilisation.value()},
                                   {"per_hour", units(device->per_hour)}};
    }
  }
  return json;
}

/// What decides a model's numbers besides its weights: the configuration of one that has a DecoderConfig, the text of one
/// that has `std::string settings() const`, and null of any other.
template <class M>
nlohmann::json configuration_of(const M& model) {
  if constexpr (requires {
                  { model.config() } -> std::convertible_to<const DecoderConfig&>;
                }) {
    return to_json(static_cast<const DecoderConfig&>(model.config()));
  } else if constexpr (requires {
                         { model.settings() } -> std::convertible_to<std::string>;
                       }) {
    const std::string settings = model.settings();
    return settings.empty() ? nlohmann::json{} : nlohmann::json(settings);
  } else {
    return nullptr;
  }
}

/// What an adapter adds to a configuration: its settings and a digest of the names of the maps that it changes. Null for a
/// model without one.
template <class M>
nlohmann::json adapter_identity_of(const M& model) {
  if constexpr (requires { model.lora(); }) {
    if (model.lora()) {
      Sha256 maps;
      for (const NamedTensor& weight : model.adapter_weights()) {
        maps.update(std::uint64_t{weight.name.size()}).update(std::string_view{weight.name});
      }
      return {{"settings", to_json(*model.lora(), {})}, {"maps", maps.finish().hex()}};
    }
  }
  return nullptr;
}

/// What of a model decides a run's bits and is not in its checkpoints: its configuration, and under an adapter what that is
/// and, where the run has checkpoints, what frozen weights it stands on. Throws OptionError for checkpoints of a model into
/// whose weights a run merged adapters already: nobody could make those weights again to resume on.
template <LanguageModel M>
nlohmann::json identity_of(const M& model, const RunOptions& options) {
  nlohmann::json identity = configuration_of(model);
  if (nlohmann::json adapter = adapter_identity_of(model); !adapter.is_null()) {
    identity["lora"] = std::move(adapter);
    if (!options.checkpoint.folder.empty()) {
      require_as_loaded(model);
      identity["frozen_weights"] = frozen_digest(model);
    }
  }
  return identity;
}

/// The digest of a dataset's contents, in their order.
[[nodiscard]] inline Digest digest_of(const Dataset& data) {
  Sha256 hash;
  const auto take_in = [&](const auto& examples) {
    for (const auto& example : examples) {
      const Digest digest = content_hash(example);
      hash.update(std::span{digest.bytes});
    }
  };
  take_in(data.demonstrations);
  take_in(data.preferences);
  take_in(data.labeled);
  return hash.finish();
}

/// The identity of a run: two runs with equal identities, fingerprints, weights and data give equal bits. `model` is its
/// own identity.
inline nlohmann::json identity_of(const std::string& pipeline, const Budget& budget, const Plan& plan,
                                  const nlohmann::json& model, const RunOptions& options) {
  return {{"pipeline", pipeline},
          {"model", model},
          {"budget", to_json(budget)},
          {"plan", to_json(plan)},
          {"seed", options.seed.value},
          {"order", options.order == Order::shuffled ? "shuffled" : "file"},
          {"max_length", options.max_length.value()},
          {"too_long", static_cast<int>(options.too_long)},
          {"keep_degenerate", options.keep_degenerate},
          {"head_workspace", options.head.workspace.value()},
          {"held_out", digest_of(options.held_out).hex()},
          {"sft", to_json(options.sft)},
          {"preference", to_json(options.preference)}};
}

}  // namespace tithe
