// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/gsm8k.hpp"
#include "tithe/data/json_object.hpp"

/// Data that hold a question and leave unsaid how it is put.
namespace program {

/// How questions are put, by the name that --prompt-template gives; nothing where data are taken as they stand.
struct PromptTemplate {
  std::string name{};

  [[nodiscard]] std::optional<tithe::Gsm8kPrompt> form() const {
    if (name.empty()) return std::nullopt;
    return name == "gsm8k" ? tithe::Gsm8kPrompt::chat : tithe::Gsm8kPrompt::text;
  }
};

void add_prompt_template_flag(CLI::App& command, PromptTemplate& prompt,
                              const std::string& group = "Options");

/// Reads files of JSON lines. With a template, {"question", "answer"} is a demonstration, "question" may stand for
/// "prompt", and prompts in text are put as the template says, their completions as answers to it. Throws what
/// `read_jsonl` and `read_gsm8k` throw.
tithe::Dataset read_data(const std::vector<std::filesystem::path>& paths, const PromptTemplate& prompt);

/// The prompt of a line: "question" where a template puts it, otherwise what `read_content` reads.
tithe::Content read_prompt_content(const tithe::JsonObject<tithe::DataError>& object,
                                   const PromptTemplate& prompt);

}  // namespace program
