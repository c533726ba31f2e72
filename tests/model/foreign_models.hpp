// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/matmul.h>

#include <cstdint>

#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/padded_model.hpp"

/// A decoder as other models would be: the numbers are its own, and less is known of it.
namespace tithe::test {

/// One of which only hidden states and head are known, so that generation cannot keep keys and values.
struct Uncached {
  Decoder model;
  [[nodiscard]] NamedTensors parameters() const { return model.parameters(); }
  [[nodiscard]] NamedTensors weights() const { return model.weights(); }
  [[nodiscard]] at::Tensor hidden(const PackedRows& rows) const { return model.hidden(rows); }
  [[nodiscard]] at::Tensor head() const { return model.head(); }
};

/// One behind the interface of a foreign module: it sees padded ids alone, every row a sequence to its end.
inline PaddedModelParts hidden_behind_padding(const Decoder& model) {
  return {.logits =
              [model](const at::Tensor& ids) {
                Rows rows;
                for (std::int64_t i = 0; i < ids.size(0); ++i) {
                  const at::Tensor row = ids.select(0, i).contiguous();
                  const auto* first = row.const_data_ptr<std::int64_t>();
                  rows.push_back({.prompt = TokenIds(first, first + row.numel()), .completions = {}});
                }
                return model.hidden(pack(rows)).matmul(model.head().t()).view({ids.size(0), ids.size(1), -1});
              },
          .weights = model.parameters(),
          .copy = [model] { return hidden_behind_padding(model.clone()); },
          .padding_id = 7};
}

}  // namespace tithe::test
