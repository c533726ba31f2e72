// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// A libFuzzer program for what a stranger's model folder holds: the header of a safetensors file, an index of several, a
// config.json. Built with -DTITHE_BUILD_FUZZERS=ON and clang; a folder of such files makes a corpus:
//
//     fuzz_model_files -max_len=4096 corpus tests/model/families/mistral
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "tithe/core/error.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/safetensors_header.hpp"
#include "tithe/model/weight_index.hpp"

namespace {

/// Reads, and takes a refusal for an answer; any other exception, and what the sanitizers see, is a finding.
template <class Read>
void try_to(Read read) {
  try {
    read();
  } catch (const tithe::ModelFileError& error) {
    if (error.complaint().found.empty() || error.where().file.empty()) std::abort();
  }
}
void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  try_to([&] {
    std::size_t claimed = 0;
    for (const auto& [name, info] : tithe::read_safetensors_header(bytes, {.file = "f"}).tensors) {
      require(info.begin <= info.end && info.end <= size);
      require(tithe::byte_size(info) == info.end - info.begin);
      claimed += info.end - info.begin;
    }
    require(claimed <= size);
  });
  try_to([&] {
    const tithe::WeightIndex index = tithe::parse_weight_index(bytes, {.file = "f"});
    for (const tithe::IndexedTensor& tensor : index.tensors) require(tensor.file < index.files.size());
    for (const std::string& file : index.files) require(file.find('/') == file.npos && file != "..");
  });
  try_to([&] {
    const tithe::DecoderConfig config = tithe::parse_config(bytes, {.file = "f"});
    require(!tithe::problem_of(config) && config.positions() > 0);
    // What was read can be said again, and means the same.
    require(tithe::parse_config(tithe::to_json(config).dump(), {.file = "f"}) == config);
  });
  return 0;
}
