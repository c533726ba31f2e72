// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/record.hpp"
#include "tithe/data/autograd.hpp"
#include "tithe/evaluate/probes/probed.hpp"
#include "tithe/logprob/logprobs.hpp"

/// How hard the gold answers pull at a model's weights.
namespace tithe::probes {

namespace detail {

/// A group of the gold answers' tokens, or all of them, and the gradient of their Σ −log p.
struct GroupGradient {
  std::string name;
  std::optional<TokenGroup> group{};
  std::vector<at::Tensor> sum{};  ///< of each parameter, float32 or wider
  double tokens = 0;

  /// ∂ Σ −log p / ∂ log p of one row's tokens, put behind those of others: −1 at the group's tokens, 0 elsewhere.
  void add_weights(std::vector<double>& weights, const TokenGroups& groups, std::int64_t length) {
    for (std::int64_t token = 0; token < length; ++token) {
      const bool counts = !group || groups.at(static_cast<std::size_t>(token)) == *group;
      weights.push_back(counts ? -1 : 0);
      tokens += counts ? 1 : 0;
    }
  }
  /// ‖∇ Σ −log p / tokens‖₂; NaN without tokens.
  [[nodiscard]] double norm() const {
    double squares = 0;
    for (const at::Tensor& gradient : sum) {
      squares += gradient.square().sum(at::kDouble).item<double>();
    }
    return std::sqrt(squares) / tokens;
  }
};

}  // namespace detail

/// "grad_norm/format" and "grad_norm/content": the Euclidean norm, over all parameters that are trained, of the gradient of
/// the mean −log p of the gold answers' tokens of one group; without a grouping "grad_norm", of all. Each is the gradient
/// of the supervised loss on these prompts, restricted to a group's tokens: how much of what a demonstration teaches is
/// still to be learnt, in its form and in what it says.
///
/// It is one vector's length and no mean over prompts: its interval has no width. `.grad` of the parameters stays as it is.
/// It takes three vectors of the size of what is trained. Throws OptionError for a model of which nothing is.
struct GradientNorm {
  template <LanguageModel M, LanguageModel Base>
  [[nodiscard]] std::vector<Estimate> operator()(const ProbedModel<M, Base>& probed) const {
    std::vector<at::Tensor> leaves;
    for (const NamedTensor& leaf : probed.model().parameters()) leaves.push_back(leaf.tensor);
    if (leaves.empty()) {
      throw OptionError{{.who = "probes::gradient_norm",
                         .required = "a model that is trained",
                         .found = "one without parameters",
                         .fix = "Probe a clone that is trained, or leave this probe out"}};
    }
    std::vector<detail::GroupGradient> wanted;
    if (probed.options().group) {
      wanted = {{"grad_norm/format", TokenGroup::format}, {"grad_norm/content", TokenGroup::content}};
    } else {
      wanted = {{"grad_norm"}};
    }
    for (detail::GroupGradient& gradient : wanted) {
      for (const at::Tensor& leaf : leaves) {
        const auto wide = at::promote_types(leaf.scalar_type(), at::kFloat);
        gradient.sum.push_back(at::zeros(leaf.sizes(), leaf.options().dtype(wide).requires_grad(false)));
      }
    }
    add_gradients(probed, leaves, wanted);
    std::vector<Estimate> norms;
    for (const detail::GroupGradient& gradient : wanted) {
      const double norm = gradient.norm();
      norms.push_back({gradient.name, norm, norm, norm, std::ssize(probed.gold())});
    }
    return norms;
  }

 private:
  template <LanguageModel M, LanguageModel Base>
  static void add_gradients(const ProbedModel<M, Base>& probed, const std::vector<at::Tensor>& leaves,
                            std::vector<detail::GroupGradient>& wanted) {
    const at::AutoGradMode with_gradients{true};
    tithe::detail::for_each_pass(
        probed.model(), probed.gold(), probed.options(), [&](const PackedRows& packed, const Indices& pass) {
          const at::Tensor logprobs = token_logprobs(probed.model(), packed, probed.options().head);
          for (detail::GroupGradient& gradient : wanted) {
            std::vector<double> weights;
            for (std::size_t i = 0; i < pass.size(); ++i) {
              gradient.add_weights(weights, probed.gold_groups()[pass[i]], packed.completion_lengths[i]);
            }
            const at::Tensor upstream = at::tensor(weights).to(logprobs.options().requires_grad(false));
            const bool is_last = &gradient == &wanted.back();
            const auto found = torch::autograd::grad({logprobs}, leaves, {upstream}, !is_last,
                                                     /*create_graph=*/false, /*allow_unused=*/true);
            for (std::size_t i = 0; i < found.size(); ++i) {
              if (found[i].defined()) gradient.sum[i].add_(found[i]);
            }
          }
        });
  }
};
inline constexpr GradientNorm gradient_norm{};

}  // namespace tithe::probes
