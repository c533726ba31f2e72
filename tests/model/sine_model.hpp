// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "temporary_folder.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/decoder.hpp"

namespace tithe::test {

/// adapter_cases.json, which adapter_cases.py made with PEFT.
inline const Json& adapter_cases() {
  static const Json cases =
      Json::parse(std::ifstream{std::filesystem::path{__FILE__}.parent_path() / "adapter_cases.json"});
  return cases;
}

/// The k-th weight, float64, as `numbers` of adapter_cases.py.
inline at::Tensor sines(at::IntArrayRef shape, double k) {
  const auto count = [](std::int64_t n) { return at::arange(n, at::TensorOptions{}.dtype(at::kDouble)); };
  const at::Tensor i = count(shape.size() == 2 ? shape[0] : 1).unsqueeze(1),
                   j = count(shape.back()).unsqueeze(0);
  const at::Tensor sines = at::sin(i * 0.3 + j * 0.7 + i * j * 0.11 + k).mul_(0.3);
  return shape.size() == 2 ? sines : sines.add(1).reshape(shape);
}
/// Gives the tensors, in the order of their names, the weights from the `first` one on.
inline void fill_with_sines(NamedTensors tensors, double first = 0) {
  std::ranges::sort(tensors, {}, &NamedTensor::name);
  for (const NamedTensor& named : tensors) named.tensor.copy_(sines(named.tensor.sizes(), first++));
}

/// The small Llama of adapter_cases.py; nothing requires a gradient.
inline Decoder sine_model(at::ScalarType dtype = at::kFloat) {
  const TemporaryFolder folder;
  Decoder model =
      Decoder::empty(read_config(folder.file("config.json", adapter_cases()["config"].dump())), dtype);
  fill_with_sines(model.weights());
  return model;
}

}  // namespace tithe::test
