// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/version.h>

#include <fstream>
#include <string>
#include <utility>
#include <vector>

/// What decides a run's bits besides its settings.
namespace tithe {

/// Names and values, in a fixed order. Runs of equal settings and equal fingerprints give equal bits.
using Fingerprint = std::vector<std::pair<std::string, std::string>>;

namespace detail {

/// The processor's name where the system tells it.
inline std::string processor_name() {
  std::ifstream file{"/proc/cpuinfo"};
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

}  // namespace detail

/// The build and the machine as they are now. `dtype` is the model's.
inline Fingerprint fingerprint(at::ScalarType dtype) {
  return {{"libtorch", TORCH_VERSION},
          {"compiler", __VERSION__},
          {"processor", detail::processor_name()},
          {"instructions", at::get_cpu_capability()},
          {"mkl", at::hasMKL() ? "yes" : "no"},
          {"onednn", at::globalContext().userEnabledMkldnn() ? "yes" : "no"},
          {"threads", std::to_string(at::get_num_threads())},
          {"dtype", at::toString(dtype)}};
}

}  // namespace tithe
