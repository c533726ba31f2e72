// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>

#include "tithe/core/error.hpp"
#include "tithe/reference/concept.hpp"

namespace tithe {

/// An adapted model with its adapter off: the very weights that are trained over, asked for log-probabilities. It has no
/// weights of its own, so a checkpoint has none to save.
template <class Model>
class WithoutAdapter {
 public:
  explicit WithoutAdapter(const Model& model) : base_{model} {
    if constexpr (AdaptableModel<Model>) base_ = model.without_adapter();
  }

  // What the model can be asked for, it can: a member that the model lacks is not there.
  template <class Rows>
    requires requires(const Model& model, const Rows& rows) { model.hidden(rows); }
  [[nodiscard]] auto hidden(const Rows& rows) const {
    return base_.hidden(rows);
  }
  template <class Rows>
    requires requires(const Model& model, const Rows& rows) { model.predicting_hidden(rows); }
  [[nodiscard]] auto predicting_hidden(const Rows& rows) const {
    return base_.predicting_hidden(rows);
  }
  template <class Rows>
    requires requires(const Model& model, const Rows& rows) { model.completion_logits(rows); }
  [[nodiscard]] auto completion_logits(const Rows& rows) const {
    return base_.completion_logits(rows);
  }
  [[nodiscard]] decltype(auto) head() const
    requires requires(const Model& model) { model.head(); }
  {
    return base_.head();
  }
  /// The model that is asked, for whoever must tell it from others.
  [[nodiscard]] const Model& base() const { return base_; }

 private:
  Model base_;
};

/// The model with its adapter off: no second copy of the weights, and one forward pass more for each row.
///
/// Use it for models with an adapter (LoRA). Each preference stage begins with a fresh adapter over weights into which
/// those of the stages before were merged, so this gives what FrozenSft does, without its copy. A model without an
/// adapter is an OptionError.
///
/// TRL: a `peft_config` and no reference model.
struct AdapterOff {
  static constexpr bool gives_reference = true;
  static constexpr bool needs_adapter = true;

  template <class Model>
  [[nodiscard]] auto snapshot(const Model& model) const {
    static_assert(
        AdaptableModel<Model>,
        "AdapterOff: this model can have no adapter to leave off. Train a Decoder with lora options, declare "
        "`bool adapted() const` and `Model without_adapter() const`, or use FrozenSft.");
    if constexpr (AdaptableModel<Model>) {
      if (!model.adapted()) {
        throw OptionError{{.who = "AdapterOff",
                           .required = "a model with an adapter",
                           .found = "one without",
                           .fix = "Load the model with lora options, or use FrozenSft"}};
      }
    }
    return WithoutAdapter<Model>{model};
  }

  [[nodiscard]] std::string name() const { return policy_name("AdapterOff"); }
};

}  // namespace tithe
