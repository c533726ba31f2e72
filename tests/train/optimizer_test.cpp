// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/train/optimizer.hpp"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "../counted_allocations.hpp"
#include "../counted_memory.hpp"
#include "small_run.hpp"
#include "test.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/train/stage.hpp"

using namespace tithe;
using namespace tithe::test;

namespace {

/// Leaves of odd sizes, two of them without decay.
NamedTensors leaves(at::ScalarType dtype) {
  NamedTensors all;
  for (const std::vector<std::int64_t>& sizes :
       std::vector<std::vector<std::int64_t>>{{37, 5}, {3}, {129, 64}, {70}}) {
    const std::string name = "leaf" + std::to_string(all.size());
    all.push_back({name, at::randn(sizes).to(dtype).requires_grad_(true)});
  }
  return all;
}
NamedTensors copies(const NamedTensors& of) {
  NamedTensors all;
  for (const auto& [name, tensor] : of) all.push_back({name, tensor.detach().clone().requires_grad_(true)});
  return all;
}

/// The field's own kernel, one parameter at a time: what `AdamW` is held equal to.
class Fused {
 public:
  explicit Fused(const NamedTensors& parameters) {
    for (const NamedTensor& parameter : parameters) {
      first_.push_back(at::zeros_like(parameter.tensor));
      second_.push_back(at::zeros_like(parameter.tensor));
      steps_.push_back(at::zeros({}, at::kFloat));
    }
  }
  void step(const NamedTensors& parameters, double rate, double divisor, const AdamW::Options& options) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor& value = parameters[i].tensor;
      if (!value.grad().defined()) continue;
      steps_[i].add_(1);
      at::_fused_adamw_({value}, {value.grad() / divisor}, {first_[i]}, {second_[i]}, {}, {steps_[i]}, rate,
                        options.beta1, options.beta2, value.dim() > 1 ? options.weight_decay : 0.0,
                        options.epsilon, false, false, {}, {});
      value.mutable_grad() = at::Tensor{};
    }
  }

 private:
  std::vector<at::Tensor> first_, second_, steps_;
};

/// Gives both the same gradients; every third time none to the second parameter.
void give_gradients(const NamedTensors& a, const NamedTensors& b, int step) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (i == 1 && step % 3 == 1) continue;
    // Of many sizes: moments are squares, and float32 ends early.
    const at::Tensor gradient =
        at::randn(a[i].tensor.sizes()).to(a[i].tensor.scalar_type()) * std::pow(10.0, i) * 1e-3;
    a[i].tensor.mutable_grad() = gradient;
    b[i].tensor.mutable_grad() = gradient.clone();
  }
}

double largest_distance(const NamedTensors& a, const NamedTensors& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const at::Tensor difference = (a[i].tensor.detach() - b[i].tensor.detach()).abs();
    largest = std::max(largest, difference.max().item<double>());
  }
  return largest;
}

}  // namespace

CATCH_TEST_CASE("AdamW by plain loops equals the field's kernel", "[train]") {
  const AdamW::Options options{.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6, .weight_decay = 0.1};
  const auto check = [&](at::ScalarType dtype, double tolerance) {
    const NamedTensors ours = leaves(dtype), theirs = copies(ours), undecayed = copies(ours);
    AdamW adamw{ours, options};
    Fused fused{theirs}, other{undecayed};
    for (int step = 0; step < 10; ++step) {
      give_gradients(ours, theirs, step);
      for (std::size_t i = 0; i < ours.size(); ++i) {
        undecayed[i].tensor.mutable_grad() = ours[i].tensor.grad();
      }
      const double divisor = step % 2 == 0 ? 1.0 : 1.75;
      adamw.step(ours, 1e-2, divisor);
      fused.step(theirs, 1e-2, divisor, options);
      other.step(undecayed, 1e-2, divisor, {.beta1 = 0.8, .beta2 = 0.95, .epsilon = 1e-6});
      CATCH_CHECK_FALSE(ours.front().tensor.grad().defined());
    }
    CATCH_CHECK(largest_distance(ours, theirs) < tolerance);
    CATCH_CHECK(largest_distance(ours, undecayed) > 1e-3);  // the control: without decay it is another result
  };
  // Weights of up to 4 and steps of about 1e-2: some units in the last place of a weight, in ten steps.
  CATCH_SECTION("float32") { check(at::kFloat, 3e-6); }
  CATCH_SECTION("float64") { check(at::kDouble, 1e-14); }
}

CATCH_TEST_CASE("bfloat16 takes the field's kernel, with moments in one tensor", "[train]") {
  const NamedTensors ours = leaves(at::kBFloat16), theirs = copies(ours);
  AdamW adamw{ours, {.weight_decay = 0.1}};
  Fused fused{theirs};
  for (int step = 0; step < 4; ++step) {
    give_gradients(ours, theirs, step);
    adamw.step(ours, 1e-2);
    fused.step(theirs, 1e-2, 1, {.weight_decay = 0.1});
  }
  CATCH_CHECK(largest_distance(ours, theirs) == 0);
}

CATCH_TEST_CASE("a step that failed leaves nothing for the next to do again", "[train]") {
  const NamedTensors ours{{"leaf", at::randn({5, 3}).to(at::kBFloat16).requires_grad_(true)}};
  const NamedTensors theirs = copies(ours);
  AdamW adamw{ours, {}}, other{theirs, {}};
  const at::Tensor gradient = at::randn({5, 3});
  ours[0].tensor.mutable_grad() = gradient;  // of another dtype, which the kernel refuses
  CATCH_CHECK_THROWS(adamw.step(ours, 1e-2));
  CATCH_CHECK(largest_distance(ours, theirs) == 0);
  other.state(theirs)[2].tensor.add_(1);  // the step was counted
  for (const NamedTensors& parameters : {ours, theirs}) {
    parameters[0].tensor.mutable_grad() = gradient.to(at::kBFloat16);
  }
  adamw.step(ours, 1e-2);
  other.step(theirs, 1e-2);
  CATCH_CHECK(largest_distance(ours, theirs) == 0);
  CATCH_CHECK(adamw.state(ours)[2].tensor.item<double>() == 2);
}

CATCH_TEST_CASE("the optimizer's root is a unit in the last place off at most", "[train]") {
  constexpr float none = 0, infinity = std::numeric_limits<float>::infinity();
  CATCH_CHECK(detail::root(none) == none);
  CATCH_CHECK(detail::root(infinity) == infinity);
  CATCH_CHECK(std::isnan(detail::root(std::nanf(""))));
  double worst = 0;
  using Limits = std::numeric_limits<float>;
  for (float x = Limits::min(); x < 3e38F; x *= 1.00037F) {
    const double exact = std::sqrt(static_cast<double>(x));
    worst = std::max(worst, std::abs(static_cast<double>(detail::root(x)) - exact) / exact);
  }
  CATCH_CHECK(worst < 1.5 * Limits::epsilon());
  CATCH_CHECK(worst > 0);
  bool is_between = true;
  for (float x = Limits::denorm_min(); x < Limits::min(); x += x / 1000 + Limits::denorm_min()) {
    const float found = detail::root(x);
    is_between = is_between && found >= 0 && found <= std::sqrt(x) * (1 + 2 * Limits::epsilon());
  }
  CATCH_CHECK(is_between);
}

CATCH_TEST_CASE("the gradient's norm is that of all of it", "[train]") {
  at::ScalarType dtype = at::kFloat;
  CATCH_SECTION("float64") { dtype = at::kDouble; }
  NamedTensors parameters;
  double squares = 0;
  for (const std::int64_t n : {1, 63, 64, 4097, 600'000}) {
    const at::Tensor leaf = at::zeros({n}, at::TensorOptions{}.dtype(dtype)).requires_grad_(true);
    leaf.mutable_grad() = at::randn({n}).to(dtype);
    squares += leaf.grad().to(at::kDouble).square().sum().item<double>();
    parameters.push_back({"leaf", leaf});
  }
  parameters.push_back({"without", at::zeros({3}).requires_grad_(true)});
  // 64 lanes of at most 64 squares each, added up in float32; then float64.
  CATCH_CHECK(gradient_norm(parameters) ==
              Approx(std::sqrt(squares)).epsilon(dtype == at::kFloat ? 1e-6 : 1e-14));
  CATCH_SECTION("some of it in bfloat16") {
    const at::Tensor leaf = at::zeros({4}, at::TensorOptions{}.dtype(at::kBFloat16)).requires_grad_(true);
    leaf.mutable_grad() = at::full({4}, 256, leaf.options().requires_grad(false));  // a norm of 512, exactly
    parameters.push_back({"narrow", leaf});
    CATCH_CHECK(gradient_norm(parameters) == Approx(std::sqrt(squares + 512.0 * 512)).epsilon(1e-6));
  }
  CATCH_SECTION("narrow numbers, whose squares add up in float32") {
    const auto norm_of = [](at::ScalarType narrow, std::int64_t n, double value) {
      const at::Tensor leaf = at::zeros({n}, at::TensorOptions{}.dtype(narrow)).requires_grad_(true);
      leaf.mutable_grad() = at::full({n}, value, leaf.options().requires_grad(false));
      return gradient_norm({{"narrow", leaf}});
    };
    CATCH_CHECK(norm_of(at::kBFloat16, 3, 1) == Approx(std::sqrt(3)).epsilon(1e-6));  // 1.734 in bfloat16
    CATCH_CHECK(norm_of(at::kHalf, 5, 60'000) ==
                Approx(60'000 * std::sqrt(5)).epsilon(1e-6));  // beyond float16
  }
  CATCH_SECTION("NaN") {
    parameters[3].tensor.grad()[4096].fill_(std::numeric_limits<double>::quiet_NaN());
    CATCH_CHECK(std::isnan(gradient_norm(parameters)));
  }
  CATCH_CHECK(gradient_norm({}) == 0);
}

CATCH_TEST_CASE("the number of threads changes no bit of a step", "[train]") {
  const at::Tensor start = at::randn({700'001}), gradient = at::randn({700'001});
  const auto stepped = [&](int threads) {
    const int before = at::get_num_threads();
    at::set_num_threads(threads);
    const NamedTensors parameters{{"leaf", start.clone().requires_grad_(true)}};
    parameters.front().tensor.mutable_grad() = gradient.clone();
    const double norm = gradient_norm(parameters);
    AdamW{parameters, {}}.step(parameters, 1e-2, clipping_divisor(norm, 1));
    at::set_num_threads(before);
    return std::pair{norm, parameters.front().tensor.detach()};
  };
  const auto [one_norm, one] = stepped(1);
  const auto [two_norm, two] = stepped(2);
  CATCH_CHECK(one_norm == two_norm);
  CATCH_CHECK(at::equal(one, two));
  CATCH_CHECK_FALSE(at::equal(one, start));
}

CATCH_TEST_CASE("checkpoints see each parameter's moments; the optimizer holds two tensors of them",
                "[train]") {
  const NamedTensors parameters = leaves(at::kFloat);
  AdamW adamw{parameters, {}};
  give_gradients(parameters, copies(parameters), 0);
  adamw.step(parameters, 1e-2);
  const NamedTensors state = adamw.state(parameters);
  CATCH_REQUIRE(state.size() == 12);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::string& name = parameters[i].name;
    CATCH_CHECK(state[3 * i].name == "first_moment." + name);
    CATCH_CHECK(state[3 * i + 1].name == "second_moment." + name);
    CATCH_CHECK(state[3 * i + 2].name == "steps." + name);
    CATCH_CHECK(state[3 * i].tensor.sizes() == parameters[i].tensor.sizes());
    CATCH_CHECK(state[3 * i + 1].tensor.sizes() == parameters[i].tensor.sizes());
    CATCH_CHECK(state[3 * i + 2].tensor.dim() == 0);
    CATCH_CHECK(state[3 * i + 2].tensor.item<double>() == 1);
  }
  CATCH_CHECK(state[0].tensor.storage().is_alias_of(state[6].tensor.storage()));  // both matrices
  CATCH_CHECK_FALSE(
      state[0].tensor.storage().is_alias_of(state[3].tensor.storage()));  // a vector is not decayed
}

CATCH_TEST_CASE("autograd refuses what it had kept of a weight that a step changed", "[train]") {
  const NamedTensors parameters = leaves(at::kFloat);
  const at::Tensor& leaf = parameters.front().tensor;
  const at::Tensor kept = (leaf * leaf).sum(), spent = (leaf * leaf).sum();
  spent.backward();
  AdamW{parameters, {}}.step(parameters, 1e-2);
  CATCH_CHECK_THROWS(kept.backward());
}

CATCH_TEST_CASE("a step of the optimizer allocates nothing", "[train]") {
  struct Taken {
    std::int64_t tensors = 0;  ///< bytes, by LibTorch's allocator
    std::size_t heap = 0;      ///< bytes, by operator new
  };
  const auto taken = [](at::ScalarType dtype) {
    const NamedTensors parameters = leaves(dtype);
    AdamW adamw{parameters, {.weight_decay = 0.1}};
    const auto step = [&] { adamw.step(parameters, 1e-2, clipping_divisor(gradient_norm(parameters), 1)); };
    const auto give = [&] { give_gradients(parameters, copies(parameters), 0); };
    give();
    step();
    give();
    Taken most{.heap = peak_of(step)};
    give();
    const CountedMemory memory;  // which allocates itself
    step();
    most.tensors = memory.peak();
    return most;
  };
  const Taken ours = taken(at::kFloat);
  CATCH_CHECK(ours.tensors == 0);
  CATCH_CHECK(ours.heap == 0);
  const Taken narrow = taken(at::kBFloat16);  // the control: the field's kernel is given lists and a scale
  CATCH_CHECK(narrow.tensors > 0);
  CATCH_CHECK(narrow.heap > 0);
}

namespace {

/// What is held after each step of a stage whose steps are alike, and the most that was held at a time by then.
template <class Objective>
std::vector<std::pair<std::int64_t, std::int64_t>> held_by_step(const Decoder& model,
                                                                const Objective& objective,
                                                                std::size_t completions,
                                                                bool keep_some = false) {
  const Rows four = small_rows(4, completions);
  Rows rows;
  for (int step = 0; step < 24; ++step) rows.insert(rows.end(), four.begin(), four.end());
  StageOptions options;
  options.batch_size = 2;
  options.accumulate = 2;
  options.order = Order::file;
  std::vector<std::pair<std::int64_t, std::int64_t>> held;
  std::vector<at::Tensor> kept;
  const CountedMemory memory;
  const StageHooks hooks{.on_step = [&](const StepRecord& record) {
    held.emplace_back(memory.held(), memory.peak());
    if (keep_some) kept.push_back(at::full({1}, record.at("loss")));
  }};
  train_stage(model, objective, rows, options, hooks);
  return held;
}

}  // namespace

CATCH_TEST_CASE("a stage holds no more after a step than after the one before", "[train]") {
  const Decoder model = small_decoder();
  const auto check = [](const auto& held) {
    CATCH_REQUIRE(held.size() == 24);
    for (std::size_t step = 4; step < held.size(); ++step) CATCH_CHECK(held[step] == held[3]);
  };
  CATCH_SECTION("supervised") { check(held_by_step(model, SupervisedObjective<CrossEntropy>{}, 1)); }
  CATCH_SECTION("pairs") { check(held_by_step(model, PreferenceObjective{Dpo<>{}, model.frozen_copy()}, 2)); }
  CATCH_SECTION("the control: a hook that keeps a number of every step") {
    const auto held = held_by_step(model, SupervisedObjective<CrossEntropy>{}, 1, /*keep_some=*/true);
    for (std::size_t step = 4; step < held.size(); ++step)
      CATCH_CHECK(held[step].first > held[step - 1].first);
  }
}
