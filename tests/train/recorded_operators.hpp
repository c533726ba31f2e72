// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/record_function.h>

#include <memory>
#include <string>
#include <vector>

/// What LibTorch is asked to do, by name.
namespace tithe::test {

using Names = std::vector<std::string>;
inline Names* recorded = nullptr;  // a recording callback is a plain function: it can capture nothing

inline std::unique_ptr<at::ObserverContext> record(const at::RecordFunction& function) {
  if (recorded != nullptr) recorded->emplace_back(function.name());
  return nullptr;
}

/// Every operator and backward node that runs in `work`, nested ones too, in their order.
template <class Work>
Names operators_of(Work work) {
  Names names;
  recorded = &names;
  const auto handle = at::addThreadLocalCallback(at::RecordFunctionCallback{record}.scopes(
      {at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
  work();
  at::removeCallback(handle);
  recorded = nullptr;
  return names;
}

}  // namespace tithe::test
