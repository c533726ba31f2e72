// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <optional>
#include <string>

/// Which model a command takes, and how; nothing here sees LibTorch.
namespace program {

/// A model's folder, and what is done to it when it is loaded.
struct ModelSettings {
  std::filesystem::path folder;
  std::filesystem::path adapter;             ///< a folder in PEFT's files; empty for none
  std::string dtype = "float32";             ///< or bfloat16, float16, auto: the files' own
  std::string device = "cpu";                ///< or cuda, cuda:1, …
  std::optional<std::string> chat_format{};  ///< nothing: the one that the folder's template is recognised as
};

/// --model, which is required, --adapter, --dtype, --device and --chat-format.
void add_model_flags(CLI::App& command, ModelSettings& settings);
/// The last four, one by one, for commands that need fewer. `group` is that of --help.
void add_adapter_flag(CLI::App& command, ModelSettings& settings, const std::string& help,
                      const std::string& group = "Options");
void add_dtype_flag(CLI::App& command, ModelSettings& settings, const std::string& group = "Options");
void add_device_flag(CLI::App& command, ModelSettings& settings, const std::string& group = "Options");
void add_chat_format_flag(CLI::App& command, ModelSettings& settings, const std::string& group = "Options");

}  // namespace program
