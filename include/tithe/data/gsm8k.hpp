// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/jsonl_fields.hpp"

/// Grade-school mathematics (GSM8K, Cobbe et al. 2021) as the study asks it: "Step 1: …", and "#### answer" at the end.
namespace tithe {

/// A problem as its own files have it: {"question", "answer"}. The answer is a solution, a step a line, and "#### 18".
struct Gsm8kProblem {
  std::string question;
  std::string answer;
  Origin origin{};
};

/// How a problem is put.
enum class Gsm8kPrompt : std::uint8_t {
  chat,  ///< one message of the user, for a model with a chat format
  text,  ///< text that ends with "Answer:", for one without
};

/// How a problem's answer becomes a demonstration.
struct Gsm8kDemonstrations {
  Gsm8kPrompt prompt = Gsm8kPrompt::chat;
  /// The marks of a calculator, "<<48/2=24>>", which stand before each result: a model that learns them writes them.
  bool keep_calculator_marks = false;
  /// Whether each line before the last begins with "Step 1: ", as the prompt asks.
  bool number_steps = true;
};

namespace detail {

inline constexpr std::string_view gsm8k_instruction =
    "Solve this problem. Write one step a line, as \"Step 1: ...\", and the final number alone in the last "
    "line, "
    "as \"#### number\".";

}  // namespace detail

/// The prompt of a question: messages or text.
[[nodiscard]] inline Content gsm8k_prompt(std::string_view question, Gsm8kPrompt form = Gsm8kPrompt::chat) {
  std::string text = std::string{detail::gsm8k_instruction} + "\n\n";
  if (form == Gsm8kPrompt::chat) return Messages{{"user", text += question}};
  return (text += "Question: ").append(question) + "\nAnswer:";
}

/// A solution without its calculator's marks: every "<<…>>" on one line goes. What is not closed stays.
[[nodiscard]] inline std::string without_calculator_marks(std::string_view solution) {
  std::string text;
  while (true) {
    const std::size_t begin = solution.find("<<");
    const std::size_t end = begin == solution.npos ? begin : solution.find_first_of(">\n", begin);
    if (end == solution.npos) return text += solution;
    const bool closed = solution.substr(end, 2) == ">>";
    text += solution.substr(0, closed ? begin : end);
    solution.remove_prefix(closed ? end + 2 : end);
    if (closed) continue;
    text += solution.front();
    solution.remove_prefix(1);
  }
}

/// The problem's own solution as an answer to `gsm8k_prompt`.
[[nodiscard]] inline Demonstration gsm8k_demonstration(const Gsm8kProblem& problem,
                                                       const Gsm8kDemonstrations& options = {}) {
  const std::string answer =
      options.keep_calculator_marks ? problem.answer : without_calculator_marks(problem.answer);
  std::string text;
  std::size_t step = 0;
  for (std::string_view rest{answer}; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + (line.size() < rest.size() ? 1 : 0));
    const bool is_step = line.find_first_not_of(" \t\r") != line.npos && !line.starts_with("####");
    if (!text.empty()) text += '\n';
    if (is_step && options.number_steps) text += "Step " + std::to_string(++step) + ": ";
    text += line;
  }
  Demonstration demonstration{gsm8k_prompt(problem.question, options.prompt), {}, problem.origin};
  if (options.prompt == Gsm8kPrompt::chat) {
    demonstration.completion = Messages{{"assistant", std::move(text)}};
  } else {
    demonstration.completion = ' ' + text;
  }
  return demonstration;
}

/// The problem of one JSON line. Throws DataError, with file, line, column and field, for a line that is none.
[[nodiscard]] inline Gsm8kProblem gsm8k_problem(std::string_view line, Location where) {
  const detail::JsonlFields fields{line, std::move(where)};
  const auto text = [&](const std::string& key) {
    const Json* value = fields.find(key);
    if (value == nullptr) fields.fail_absent(key, "a \"question\" and an \"answer\"");
    if (!value->is_string()) fields.fail({key}, "a string", describe(*value), "Put it in quotes");
    return value->get<std::string>();
  };
  std::string question = text("question");
  return {std::move(question), text("answer"), fields.origin()};
}

/// All problems of a file. Throws FileError if it cannot be read, and DataError for the first line that is no problem.
[[nodiscard]] inline std::vector<Gsm8kProblem> read_gsm8k(const std::filesystem::path& path) {
  const auto fail = [&] {
    throw FileError{{"read_gsm8k", "a file that can be read", in_quotes(path.string(), 400),
                     "Check its path, kind and permissions"}};
  };
  std::ifstream file{path, std::ios::binary};
  if (!file) fail();
  std::vector<Gsm8kProblem> problems;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    std::string_view text{line};
    if (++number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(detail::JsonlFields::blank) == text.npos) continue;
    problems.push_back(gsm8k_problem(text, {.file = path.string(), .line = number}));
  }
  if (file.bad()) fail();
  return problems;
}

}  // namespace tithe
