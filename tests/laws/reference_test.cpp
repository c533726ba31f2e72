// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The reference strategies, and some that compare with something else than they should.
#include <cstdint>
#include <string>

#include "every_policy.hpp"
#include "test.hpp"
#include "tithe/testing/reference_laws.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;
using testing::reference_laws;

/// TR-DPO's rule, written out.
auto mixed_in(double weight, std::int64_t every) {
  return [=](const at::Tensor& reference, const at::Tensor& model, std::int64_t step) {
    return step % every == 0 ? weight * model + (1 - weight) * reference : reference;
  };
}

CATCH_TEST_CASE("every reference keeps the laws of references", "[laws]") {
  for_each_type(EveryReference{}, []<class Reference>() {
    if constexpr (GivesReference<Reference>) CATCH_CHECK(reference_laws(Reference{}).text() == "");
  });
  CATCH_CHECK(reference_laws(Moving<0.6, 512>{}, {.rule = mixed_in(0.6, 512)}).text() == "");
  CATCH_CHECK(reference_laws(MovingSoftly<0.25>{}, {.rule = mixed_in(0.25, 1)}).text() == "");
  CATCH_CHECK(reference_laws(MovingHard<100>{}, {.rule = mixed_in(1, 100)}).text() == "");
  CATCH_CHECK(reference_laws(Moving<dynamic, dynamic>{0.5, 7}, {.rule = mixed_in(0.5, 7)}).text() == "");
}

// What the laws are for: each of these breaks one.

/// What all of them have; the member that is wrong comes with each.
struct Broken {
  static constexpr bool gives_reference = true;
  std::string name() const { return "Broken"; }
};

struct TheModelItself : Broken {
  template <class Model>
  Model snapshot(const Model& model) const {
    return model;
  }
};
struct Trainable : Broken {
  template <class Model>
  Model snapshot(const Model& model) const {
    if constexpr (requires { model.clone(); }) return model.clone();
    return model;
  }
};
struct Stale : Broken {
  template <class Model>
  Model snapshot(const Model& model) const {
    const Model copy = model.frozen_copy();
    if constexpr (requires { model.weights(); }) testing::change_weights(copy, Seed{9});
    return copy;
  }
};
struct HalfPrecision : Broken {
  template <class Model>
  Model snapshot(const Model& model) const {
    if constexpr (requires { model.frozen_copy(at::kBFloat16); }) return model.frozen_copy(at::kBFloat16);
    return model.frozen_copy();
  }
};
/// The weights of one copy, the log-probabilities of another.
struct TellsOthers : Broken {
  struct Snapshot {
    Decoder own, asked;
    at::Tensor token_logprobs(const PackedRows& rows) const { return tithe::token_logprobs(asked, rows); }
    NamedTensors weights() const { return own.weights(); }
  };
  template <class Model>
  auto snapshot(const Model& model) const {
    if constexpr (requires { model.weights(); })
      return Snapshot{model.frozen_copy(), model.frozen_copy()};
    else
      return model.frozen_copy();
  }
  template <class S, class Model>
  void follow(const S& reference, const Model& model, std::int64_t step) const {
    Moving<0.5, 1>{}.follow(reference, model, step);
  }
};
struct MovesAway : Moving<0.5, 1> {
  template <class Snapshot, class Model>
  void follow(const Snapshot& reference, const Model& model, std::int64_t /*step*/) const {
    const auto leading = model.weights();
    auto leader = leading.begin();
    for (const auto& follower : reference.weights()) follower.tensor.lerp_((leader++)->tensor, -0.01);
  }
};
struct PullsTheModel : Moving<0.5, 1> {
  template <class Snapshot, class Model>
  void follow(const Snapshot& reference, const Model& model, std::int64_t /*step*/) const {
    model.weights().front().tensor.copy_(reference.weights().front().tensor);
  }
};
struct StaleCache : Cached<FrozenSft> {
  template <class Model>
  auto snapshot(const Model& model) const {
    return Stale{}.snapshot(model);
  }
};
CATCH_TEST_CASE("each law of references finds the strategy that breaks it", "[laws]") {
  constexpr const char* same = "it gives the log-probabilities of the model it was made of";
  constexpr const char* shares = "it shares no memory with the model in training";
  constexpr const char* gradient = "it requires no gradient";
  constexpr const char* changes = "it does not change when the model is trained";

  const auto itself = reference_laws(TheModelItself{});
  CATCH_CHECK((itself.names(shares) && itself.names(gradient) && itself.names(changes)));
  CATCH_CHECK_FALSE(itself.names(same));
  const auto trainable = reference_laws(Trainable{});
  CATCH_CHECK((trainable.names(gradient) && trainable.size() == 1));
  CATCH_CHECK(reference_laws(Stale{}).names(same));
  CATCH_CHECK(reference_laws(StaleCache{}).names(same));
  CATCH_CHECK(reference_laws(HalfPrecision{}).names(same));
  // bfloat16 keeps 8 bits of every weight and of every sum.
  CATCH_CHECK(reference_laws(HalfPrecision{}, {.tolerance = 0.1}).text() == "");

  CATCH_CHECK(reference_laws(Moving<0.6, 4>{}, {.rule = mixed_in(0.5, 4)}).names("it follows its rule"));
  CATCH_CHECK(reference_laws(Moving<0.6, 4>{}, {.rule = mixed_in(0.6, 8)}).names("it follows its rule"));
  CATCH_CHECK(reference_laws(Moving<0.6, 4000>{}).names("it moves with the model"));
  CATCH_CHECK(reference_laws(TellsOthers{}).names("it moves with the model"));
  CATCH_CHECK(reference_laws(MovesAway{}).names("it goes towards the model"));
  CATCH_CHECK(reference_laws(PullsTheModel{}).names("following leaves the model as it is"));
}

CATCH_TEST_CASE("a frozen base and a frozen fine-tuned model are told apart", "[laws]") {
  const Decoder model = testing::trial_model(Seed{1});
  const Decoder base = FrozenBase{}.snapshot(model);
  testing::change_weights(model, Seed{2});
  const Decoder tuned = FrozenSft{}.snapshot(model);
  const PackedRows rows = pack(testing::trial_rows(1));
  CATCH_CHECK(testing::detail::largest_distance(token_logprobs(base, rows), token_logprobs(tuned, rows)) >
              1e-3);
}

}  // namespace
