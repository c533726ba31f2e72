// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <ranges>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/model/attention.hpp"

/// Other completions behind prompts that are fed anyway: what the layers made of a prompt is read, not made again.
namespace tithe::detail {

/// Throws ShapeError unless others have the prompts of the rows, one for one.
inline void require_same_prompts(const PackedRows& rows, const PackedRows& others) {
  const auto require = [](bool met, const std::string& found) {
    if (met) return;
    throw ShapeError{{.who = "Decoder::predicting_hidden",
                      .required = "others with the prompts of the rows, one for one",
                      .found = found,
                      .fix = "Pack a row of other completions for each of the rows, in their order"}};
  };
  const auto count = [](const PackedRows& of) { return std::to_string(of.extents.size()); };
  require(others.extents.size() == rows.extents.size(),
          count(others) + " others for " + count(rows) + " rows");
  const auto prompt = [](const PackedRows& of, std::size_t row) {
    const RowExtent& extent = of.extents[row];
    return std::span{of.on_host().tokens.const_data_ptr<std::int64_t>() + extent.start,
                     static_cast<std::size_t>(extent.prompt)};
  };
  for (std::size_t row = 0; row < rows.extents.size(); ++row) {
    require(std::ranges::equal(prompt(others, row), prompt(rows, row)),
            "another prompt at place " + std::to_string(row));
  }
}

/// Others' own tokens, those behind the prompts, and where the rest of what these read is found: among the tokens of the
/// rows, which are fed. Indices are int64 on the rows' device.
class OtherCompletions {
 public:
  OtherCompletions(const PackedRows& rows, const PackedRows& others) : device_{rows.device()} {
    require_same_prompts(rows, others);
    const std::int64_t fed = rows.fed_tokens();
    std::vector<std::int64_t> own, places;
    for (std::size_t row = 0; row < others.extents.size(); ++row) {
      const RowExtent& extent = others.extents[row];
      for (std::int64_t i = 0; i < extent.fed(); ++i) {
        const bool in_prompt = i < extent.prompt;
        places.push_back(in_prompt ? rows.extents[row].start + i : fed + std::ssize(own));
        if (!in_prompt) own.push_back(extent.start + i);
      }
    }
    DistinctTokens of_rows{fed}, of_own{std::ssize(own)};
    for (const std::int64_t token : predecessors_on_host(rows)) {
      row_states_.push_back(of_rows.place_of(token));
    }
    std::vector<std::int64_t> asked;
    for (const std::int64_t token : predecessors_on_host(others)) {
      asked.push_back(places[static_cast<std::size_t>(token)]);
      if (asked.back() < fed) of_rows.place_of(asked.back());
    }
    const std::int64_t row_states = std::ssize(of_rows.tokens());
    for (const std::int64_t place : asked) {
      other_states_.push_back(place < fed ? of_rows.place_of(place)
                                          : row_states + of_own.place_of(place - fed));
    }
    own_ = on_device(device_, own);
    places_ = on_device(device_, places);
    predicting_of_rows_ = on_device(device_, of_rows.tokens());
    predicting_ = on_device(device_, of_own.tokens());
  }

  [[nodiscard]] bool empty() const { return own_.size(0) == 0; }
  /// [O]: of the others' packed tokens, those that are their own.
  [[nodiscard]] const at::Tensor& own() const { return own_; }
  /// [T of the others]: of each packed token, its place among the rows' tokens and, behind these, its own.
  [[nodiscard]] const at::Tensor& places() const { return places_; }
  /// Of the rows' tokens and of its own, those that predict a target of either.
  [[nodiscard]] const at::Tensor& predicting_of_rows() const { return predicting_of_rows_; }
  [[nodiscard]] const at::Tensor& predicting() const { return predicting_; }

  /// The states of both's targets, [C, d] each, from those of `predicting_of_rows` and of `predicting`.
  [[nodiscard]] std::pair<at::Tensor, at::Tensor> of_targets(const at::Tensor& rows,
                                                             const at::Tensor& others) const {
    const at::Tensor all = empty() ? rows.detach() : at::cat({rows.detach(), others});
    return {selected(rows, row_states_), selected(all, other_states_)};
  }

 private:
  [[nodiscard]] at::Tensor selected(const at::Tensor& states, const std::vector<std::int64_t>& places) const {
    const bool are_all = std::ranges::equal(places, std::views::iota(std::int64_t{0}, states.size(0)));
    return are_all ? states : states.index_select(0, on_device(device_, places));
  }

  at::Device device_;
  at::Tensor own_, places_, predicting_of_rows_, predicting_;
  std::vector<std::int64_t> row_states_, other_states_;  ///< of each target
};

/// What a layer's attention is asked with.
struct AttentionInputs {
  at::Tensor q, k, v;
};

/// Attention of the rows, which leaves what it was asked with for whoever waits for it.
struct ObservedAttention {
  std::shared_ptr<const AttentionPlan> plan;
  std::weak_ptr<AttentionInputs> observer{};

  at::Tensor operator()(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v) const {
    if (const auto seen = observer.lock()) *seen = {q.detach(), k.detach(), v.detach()};
    return (*plan)(layer, q, k, v);
  }
};

/// Attention of the others' own tokens, to what the same layer just made of the rows.
struct AttentionBehindPrompts {
  AttentionPlan plan;  ///< of the others, without prompts
  const OtherCompletions& others;
  std::shared_ptr<const AttentionInputs> rows;

  at::Tensor operator()(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                        const at::Tensor& v) const {
    const auto whole = [&](const at::Tensor& of_rows, const at::Tensor& own) {
      return at::cat({of_rows, own}).index_select(0, others.places());
    };
    return plan(layer, whole(rows->q, q), whole(rows->k, k), whole(rows->v, v)).index_select(0, others.own());
  }
};

}  // namespace tithe::detail
