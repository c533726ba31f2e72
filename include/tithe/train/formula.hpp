// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/abs.h>
#include <ATen/ops/argsort.h>
#include <ATen/ops/chunk.h>
#include <ATen/ops/clamp_max.h>
#include <ATen/ops/clamp_min.h>
#include <ATen/ops/detach.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/log.h>
#include <ATen/ops/log_sigmoid.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/ne.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/take.h>

#include <vector>

#include "tithe/loss/column.hpp"
#include "tithe/loss/records.hpp"

/// Formulas on tensors: the functions that loss/math.hpp lists, and the way from tensors to Columns.
namespace tithe {

/// The numbers of a tensor; of one that was not computed, the column that says so.
inline Column column_of(const at::Tensor& values) {
  if (!values.defined()) return {};
  const at::Tensor wide = values.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* const first = wide.const_data_ptr<double>();
  return Column{std::vector<double>(first, first + wide.numel())};
}

inline PairLogProbs<Column> columns_of(const PairLogProbs<at::Tensor>& batch) {
  return {.chosen = column_of(batch.chosen),
          .rejected = column_of(batch.rejected),
          .chosen_tokens = column_of(batch.chosen_tokens),
          .rejected_tokens = column_of(batch.rejected_tokens),
          .mean_chosen_tokens = column_of(batch.mean_chosen_tokens),
          .chosen_tail = column_of(batch.chosen_tail),
          .rejected_tail = column_of(batch.rejected_tail),
          .chosen_collision = column_of(batch.chosen_collision),
          .rejected_collision = column_of(batch.rejected_collision)};
}
inline LabeledLogProbs<Column> columns_of(const LabeledLogProbs<at::Tensor>& batch) {
  return {.completion = column_of(batch.completion),
          .tokens = column_of(batch.tokens),
          .desirable = column_of(batch.desirable)};
}

}  // namespace tithe
