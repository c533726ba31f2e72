// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <torch/version.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
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

/// The names of the machine's graphics processors, as NVIDIA's driver tells them; empty where there is none of it.
inline std::string gpu_names() {
  std::set<std::string> names;
  std::error_code absent;
  for (const auto& gpu : std::filesystem::directory_iterator{"/proc/driver/nvidia/gpus", absent}) {
    std::ifstream file{gpu.path() / "information"};
    for (std::string line; std::getline(file, line);) {
      if (!line.starts_with("Model:")) continue;
      const std::size_t begin = line.find_first_not_of(" \t", 6);
      if (begin != line.npos) names.insert(line.substr(begin));
    }
  }
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

/// How float32 matrix products are rounded: "ieee", "tf32", "bf16", or "none" for the build's default.
inline std::string matmul_precision(at::Float32Backend backend) {
  return at::precision2str(at::globalContext().float32Precision(backend, at::Float32Op::MATMUL));
}

/// The kind of device, whichever of its kind it is, and its name where it is another than the processor.
inline std::string device_name(const at::Device& device) {
  const std::string type = c10::DeviceTypeName(device.type(), true);
  const std::string names = device.is_cuda() ? gpu_names() : std::string{};
  return names.empty() ? type : type + ' ' + names;
}

}  // namespace detail

/// The build and the machine as they are now. `dtype` and `device` are the model's.
inline Fingerprint fingerprint(at::ScalarType dtype, const at::Device& device = at::kCPU) {
  const at::Context& context = at::globalContext();
  return {{"libtorch", TORCH_VERSION},
          {"compiler", __VERSION__},
          {"processor", detail::processor_name()},
          {"instructions", at::get_cpu_capability()},
          {"mkl", at::hasMKL() ? "yes" : "no"},
          {"onednn", context.userEnabledMkldnn() ? "yes" : "no"},
          {"onednn_matmul", detail::matmul_precision(at::Float32Backend::MKLDNN)},
          {"cuda_matmul", detail::matmul_precision(at::Float32Backend::CUDA)},
          {"deterministic", context.deterministicAlgorithms() ? "yes" : "no"},
          {"device", detail::device_name(device)},
          {"threads", std::to_string(at::get_num_threads())},
          {"dtype", at::toString(dtype)}};
}

/// The same for a model of which this is a weight.
inline Fingerprint fingerprint(const at::Tensor& weight) {
  return fingerprint(weight.scalar_type(), weight.device());
}

}  // namespace tithe
