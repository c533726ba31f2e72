// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "tithe/loss/column.hpp"
#include "tithe/loss/records.hpp"

/// The way from tensors to Columns, numbers on the host.
namespace tithe {

namespace detail {

/// The fields of a record of log-probabilities, in their order.
template <class LogProbs>
inline constexpr auto fields = nullptr;
template <class T>
inline constexpr std::array<T PairLogProbs<T>::*, 9> fields<PairLogProbs<T>>{
    &PairLogProbs<T>::chosen,
    &PairLogProbs<T>::rejected,
    &PairLogProbs<T>::chosen_tokens,
    &PairLogProbs<T>::rejected_tokens,
    &PairLogProbs<T>::mean_chosen_tokens,
    &PairLogProbs<T>::chosen_tail,
    &PairLogProbs<T>::rejected_tail,
    &PairLogProbs<T>::chosen_collision,
    &PairLogProbs<T>::rejected_collision};
template <class T>
inline constexpr std::array<T LabeledLogProbs<T>::*, 3> fields<LabeledLogProbs<T>>{
    &LabeledLogProbs<T>::completion, &LabeledLogProbs<T>::tokens, &LabeledLogProbs<T>::desirable};

/// What tensors, or records of them, are on the host.
inline Column on_host(const at::Tensor&);
template <template <class> class LogProbs>
LogProbs<Column> on_host(const LogProbs<at::Tensor>&);
template <class T>
using OnHost = decltype(on_host(std::declval<const T&>()));

/// The numbers of a tensor that lies on the host, one column whatever its shape.
inline Column read(const at::Tensor& values) {
  const at::ScalarType dtype = values.scalar_type();
  if (values.dim() > 1 || (dtype != at::kFloat && dtype != at::kDouble)) {
    return read(values.detach().to(at::kDouble).reshape({-1}));
  }
  std::vector<double> numbers(static_cast<std::size_t>(values.numel()));
  const std::int64_t stride = values.dim() == 0 ? 1 : values.stride(0);
  const auto copy = [&](const auto* from) {
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = static_cast<double>(from[static_cast<std::int64_t>(i) * stride]);
    }
  };
  dtype == at::kFloat ? copy(values.const_data_ptr<float>()) : copy(values.const_data_ptr<double>());
  return Column{std::move(numbers)};
}

/// The same of several, in one copy of all that lie elsewhere.
inline std::vector<Column> read(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  const auto is_elsewhere = [](const at::Tensor& tensor) {
    return tensor.defined() && !tensor.device().is_cpu();
  };
  std::vector<at::Tensor> elsewhere;
  for (const at::Tensor& tensor : tensors) {
    if (is_elsewhere(tensor)) elsewhere.push_back(tensor.reshape({-1}));
  }
  const Column all = elsewhere.empty() ? Column{} : read(at::cat(elsewhere).cpu());
  auto next = all.values().begin();
  std::vector<Column> columns;
  for (const at::Tensor& tensor : tensors) {
    if (is_elsewhere(tensor)) {
      const auto begin = std::exchange(next, next + tensor.numel());
      columns.emplace_back(std::vector<double>(begin, next));
    } else {
      columns.push_back(tensor.defined() ? read(tensor) : Column{});
    }
  }
  return columns;
}

}  // namespace detail

/// Tensors, and records of log-probabilities, as Columns; what was not computed is the column that says so.
///
/// What lies on a device comes in one copy, since each makes the host wait for it; what lies on the host is read where it
/// is, without an operator.
template <class... T>
[[nodiscard]] std::tuple<detail::OnHost<T>...> fetched_together(const T&... values) {
  std::vector<at::Tensor> tensors;
  const auto list = [&]<class One>(const One& one) {
    if constexpr (std::same_as<One, at::Tensor>) {
      tensors.push_back(one);
    } else {
      for (const auto field : detail::fields<One>) tensors.push_back(one.*field);
    }
  };
  (list(values), ...);
  std::vector<Column> columns = detail::read(tensors);
  auto next = columns.begin();
  const auto take = [&]<class One>(const One&) {
    detail::OnHost<One> taken;
    if constexpr (std::same_as<One, at::Tensor>) {
      taken = std::move(*next++);
    } else {
      for (const auto field : detail::fields<detail::OnHost<One>>) taken.*field = std::move(*next++);
    }
    return taken;
  };
  return std::tuple<detail::OnHost<T>...>{take(values)...};
}

/// The same of one.
template <class T>
[[nodiscard]] detail::OnHost<T> fetched(const T& values) {
  return std::get<0>(fetched_together(values));
}

}  // namespace tithe
