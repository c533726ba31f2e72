// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/pack.hpp"

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

/// Where the others' tokens are found: those of the prompts among the rows', which are fed, the rest among their own. A
/// number below the rows' fed tokens is one of these, others count on from there.
struct OtherCompletions {
  std::vector<std::int64_t> own;    ///< packed tokens behind the prompts
  std::vector<std::int64_t> place;  ///< of each packed token: a fed one, or its place in `own` behind them
  std::vector<std::int64_t>
      wanted_of_fed;                 ///< fed tokens that predict something, of the rows or of the others
  std::vector<std::int64_t> wanted;  ///< the same of `own`, as places in it
  std::vector<std::int64_t> states_of_fed;  ///< of each target of the rows, a place in `wanted_of_fed`
  std::vector<std::int64_t>
      states;  ///< of each target of the others, in `wanted_of_fed` and `wanted` behind it

  OtherCompletions(const PackedRows& rows, const PackedRows& others) {
    const std::int64_t fed = rows.fed_tokens();
    for (std::size_t row = 0; row < others.extents.size(); ++row) {
      const RowExtent& extent = others.extents[row];
      for (std::int64_t i = 0; i < extent.fed(); ++i) {
        const bool in_prompt = i < extent.prompt;
        place.push_back(in_prompt ? rows.extents[row].start + i : fed + std::ssize(own));
        if (!in_prompt) own.push_back(extent.start + i);
      }
    }
    DistinctTokens of_fed{fed}, of_own{std::ssize(own)};
    for (const std::int64_t token : predecessors_on_host(rows))
      states_of_fed.push_back(of_fed.place_of(token));
    const auto place_of = [&](std::int64_t token) { return place[static_cast<std::size_t>(token)]; };
    for (const std::int64_t token : predecessors_on_host(others)) {
      if (const std::int64_t at = place_of(token); at < fed) of_fed.place_of(at);
    }
    wanted_of_fed = of_fed.tokens();
    for (const std::int64_t token : predecessors_on_host(others)) {
      const std::int64_t at = place_of(token);
      states.push_back(at < fed ? of_fed.place_of(at)
                                : std::ssize(wanted_of_fed) + of_own.place_of(at - fed));
    }
    wanted = of_own.tokens();
  }
};

/// Hidden states that predict the rows' targets, [C, d], and without a gradient those that predict the others'. `plan` and
/// `other_plan` are the attention of each.
template <class Model, class Plan>
std::pair<at::Tensor, at::Tensor> states_of_both(const Model& model, const PackedRows& rows,
                                                 const PackedRows& others, const Plan& plan,
                                                 Plan other_plan) {
  const OtherCompletions of{rows, others};
  const Plan behind_prompts = std::move(other_plan).behind_prompts();
  const auto index = [&](const std::vector<std::int64_t>& places) {
    return on_device(rows.device(), places);
  };
  struct Seen {
    at::Tensor q, k, v;
  };
  std::vector<Seen> seen;  // in each layer, of the rows: autograd holds these anyway
  const at::Tensor fed = model.forward(
      rows.tokens, rows.positions,
      [&](std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
        seen.push_back({q.detach(), k.detach(), v.detach()});
        return plan(layer, q, k, v);
      },
      index(of.wanted_of_fed));
  at::Tensor all = fed.detach();
  if (!of.own.empty()) {
    const at::NoGradGuard no_grad;
    const at::Tensor own = index(of.own), place = index(of.place);
    const auto attend = [&](std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v) {
      const auto behind = [&](const at::Tensor& prompts, const at::Tensor& mine) {
        return at::cat({prompts, mine}).index_select(0, place);
      };
      const Seen& before = seen[static_cast<std::size_t>(layer)];
      return behind_prompts(layer, behind(before.q, q), behind(before.k, k), behind(before.v, v))
          .index_select(0, own);
    };
    all = at::cat({all, model.forward(others.tokens.index_select(0, own),
                                      others.positions.index_select(0, own), attend, index(of.wanted))});
  }
  return {fed.index_select(0, index(of.states_of_fed)), all.index_select(0, index(of.states))};
}

}  // namespace tithe::detail
