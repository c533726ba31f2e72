// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "prompt_template.hpp"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>

#include "json_lines.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/jsonl.hpp"

namespace program {
namespace {

using tithe::Gsm8kPrompt;

/// A question in text becomes the template's prompt, and the text that answers it an answer; the rest is left.
void put(tithe::Content& prompt, std::initializer_list<tithe::Content*> completions, Gsm8kPrompt form) {
  const auto* question = std::get_if<std::string>(&prompt);
  if (question == nullptr) return;
  prompt = tithe::gsm8k_prompt(*question, form);
  if (form != Gsm8kPrompt::chat) return;
  for (tithe::Content* completion : completions) {
    if (auto* text = std::get_if<std::string>(completion)) {
      *completion = tithe::Messages{{std::string{tithe::assistant_role}, std::move(*text)}};
    }
  }
}

/// A file's problems go into `problems`; what is left is given as lines that read_jsonl reads, each in its place.
std::string split_file(const std::filesystem::path& path, std::vector<tithe::Gsm8kProblem>& problems) {
  std::ifstream file{path, std::ios::binary};
  if (!file) {
    throw tithe::FileError{{"tithe", "a file that can be opened", tithe::in_quotes(path.string(), 400),
                            "Check its path, kind and permissions"}};
  }
  std::string rest;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line); rest += '\n') {
    const tithe::Location where{.file = path.string(), .line = ++number};
    // What cannot be parsed is left to the reader of the other lines, which says so.
    tithe::Json json = tithe::Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool asks = json.is_object() && json.contains("question") && !json.contains("prompt");
    if (asks && json.contains("answer")) {
      problems.push_back(tithe::gsm8k_problem(line, where));
    } else if (asks) {
      json["prompt"] = json["question"];
      rest += json.dump();
    } else {
      rest += line;
    }
  }
  return rest;
}

}  // namespace

void add_prompt_template_flag(CLI::App& command, PromptTemplate& prompt, const std::string& group) {
  command
      .add_option(
          "--prompt-template", prompt.name,
          "How a \"question\" is put: gsm8k asks, in a message, for \"Step 1: …\" and \"#### answer\"; "
          "gsm8k_text the same in text")
      ->check(CLI::IsMember({"gsm8k", "gsm8k_text"}))
      ->group(group);
}

tithe::Dataset read_data(const std::vector<std::filesystem::path>& paths, const PromptTemplate& prompt) {
  const std::optional<Gsm8kPrompt> form = prompt.form();
  if (!form) return tithe::read_jsonl(paths);
  tithe::Dataset data;
  for (const std::filesystem::path& path : paths) {
    std::vector<tithe::Gsm8kProblem> problems;
    std::istringstream rest{split_file(path, problems)};
    for (const tithe::Gsm8kProblem& problem : problems) {
      data.add(tithe::gsm8k_demonstration(problem, {.prompt = *form}));
    }
    tithe::Dataset others = tithe::read_jsonl(rest, path.string());
    for (auto& one : others.demonstrations)
      put(one.prompt, {&one.completion}, *form), data.add(std::move(one));
    for (auto& one : others.preferences) {
      put(one.prompt, {&one.chosen, &one.rejected}, *form);
      data.add(std::move(one));
    }
    for (auto& one : others.labeled) put(one.prompt, {&one.completion}, *form), data.add(std::move(one));
  }
  return data;
}

tithe::Content read_prompt_content(const tithe::JsonObject<tithe::DataError>& object,
                                   const PromptTemplate& prompt) {
  if (const auto form = prompt.form(); form && object.has("question")) {
    return tithe::gsm8k_prompt(object.require<std::string>("question"), *form);
  }
  return read_content(object, "prompt");
}

}  // namespace program
