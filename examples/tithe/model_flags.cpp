// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "model_flags.hpp"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string>

namespace program {

void add_adapter_flag(CLI::App& command, ModelSettings& settings, const std::string& help,
                      const std::string& group) {
  command.add_option("--adapter", settings.adapter, help)->type_name("DIR")->group(group);
}

void add_dtype_flag(CLI::App& command, ModelSettings& settings, const std::string& group) {
  command
      .add_option("--dtype", settings.dtype,
                  "In which the model computes: float32, bfloat16, float16, or auto for that of its files")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16", "auto"}))
      ->capture_default_str()
      ->group(group);
}

void add_device_flag(CLI::App& command, ModelSettings& settings, const std::string& group) {
  const auto problem = [](const std::string& name) -> std::string {
    const bool numbered = name.starts_with("cuda:") && name.size() > 5 && name.size() < 8 &&
                          name.find_first_not_of("0123456789", 5) == name.npos;
    return name == "cpu" || name == "cuda" || numbered ? "" : "cpu, cuda or cuda:N, not " + name;
  };
  command
      .add_option("--device", settings.device,
                  "Where the model computes: cpu, cuda, or cuda:N for one of several GPUs")
      ->check(CLI::Validator{problem, ""})
      ->type_name("DEVICE")
      ->capture_default_str()
      ->group(group);
}

void add_chat_format_flag(CLI::App& command, ModelSettings& settings, const std::string& group) {
  command
      .add_option("--chat-format", settings.chat_format,
                  "How messages are written: chatml, llama3 or llama3.1, in place of the one that the "
                  "folder's chat template is recognised as")
      ->check(CLI::IsMember({"chatml", "llama3", "llama3.1"}))
      ->group(group);
}

void add_model_flags(CLI::App& command, ModelSettings& settings) {
  command.add_option("--model", settings.folder, "Folder of the model")->type_name("DIR")->required();
  add_adapter_flag(command, settings, "Folder of an adapter in PEFT's files, put over the model");
  add_dtype_flag(command, settings);
  add_device_flag(command, settings);
  add_chat_format_flag(command, settings);
}

}  // namespace program
