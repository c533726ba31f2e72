// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "presets.hpp"

#include <algorithm>

namespace program {
namespace {

/// The protocol of Raghavendra, Kang and Ritter (2025): https://arxiv.org/abs/2502.11284. Each example is a sequence of
/// its own there ("no packing"); rows that are packed here never see each other, which is the same mathematics.
Preset study(std::string_view name, std::string beta) {
  return {name,
          {{"dtype", "bfloat16"},
           {"chat-format", "chatml"},
           {"lora-rank", "32"},
           {"lora-alpha", "32"},
           {"lora-targets", "all-linear"},
           {"max-length", "1024"},
           {"sft-lr", "5e-5"},
           {"preference-lr", "5e-6"},
           {"epochs", "2"},
           {"batch-size", "16"},
           {"lr-decay", "cosine"},
           {"warmup", "0.1"},
           {"weight-decay", "0.01"},
           {"beta", std::move(beta)}}};
}

std::vector<Preset> presets() {
  // The paper says 0.1; the configuration that its authors released passes 1.
  return {study("paper", "0.1"), study("paper-released-code", "1")};
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const Preset& preset : presets()) names.emplace_back(preset.name);
  return names;
}

Preset preset_named(std::string_view name) {
  const std::vector<Preset> all = presets();
  return *std::ranges::find(all, name, &Preset::name);
}

}  // namespace program
