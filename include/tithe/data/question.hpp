// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "tithe/core/example.hpp"
#include "tithe/data/gsm8k.hpp"
#include "tithe/data/jsonl_fields.hpp"
#include "tithe/data/jsonl_line.hpp"

/// What models are evaluated on, from JSON lines.
namespace tithe {

/// A prompt and the answer that is known to be right, or good.
struct Question {
  Content prompt;
  std::string answer;
  Origin origin{};
};

/// One line of evaluation data:
///
/// | fields                                   | kind                       |
/// |------------------------------------------|----------------------------|
/// | `question`, `answer`                     | Gsm8kProblem               |
/// | `prompt` or `messages`, `answer`         | Question; a number will do |
/// | what `JsonlReader` reads                 | that example               |
using EvaluationExample =
    std::variant<Gsm8kProblem, Question, Demonstration, PreferencePair, LabeledCompletion>;

/// The example of one line. Throws DataError, with file, line, column and field, for a line that is none.
[[nodiscard]] inline EvaluationExample evaluation_example(std::string_view line, const Location& where) {
  const detail::JsonlFields fields{line, where};
  if (fields.find("question") != nullptr) return gsm8k_problem(line, where);
  const Json* answer = fields.find("answer");
  if (answer == nullptr) {
    return std::visit([](auto one) -> EvaluationExample { return one; }, detail::example_of(fields));
  }
  for (const char* other : {"completion", "chosen", "rejected"}) {
    if (fields.find(fields.given(other)) != nullptr) fields.fail_conflict(fields.given(other), "answer");
  }
  if (!answer->is_string() && !answer->is_number()) {
    fields.fail({"answer"}, "a string or a number", describe(*answer), "Put it in quotes");
  }
  Question question{.prompt = {}, .answer = {}, .origin = fields.origin()};
  question.answer = answer->is_string() ? answer->get<std::string>() : answer->dump();
  std::optional<Content> prompt = fields.content("prompt");
  if (std::optional<Messages> messages = fields.messages("messages")) {
    if (prompt) fields.fail_conflict("messages", fields.given("prompt"));
    prompt = *std::move(messages);
  }
  if (!prompt) fields.fail_absent("prompt", "a \"prompt\", \"prompt_ids\" or \"messages\" beside \"answer\"");
  question.prompt = *std::move(prompt);
  const auto* messages = std::get_if<Messages>(&question.prompt);
  if (messages != nullptr && messages->back().role == assistant_role) {
    const std::string field = fields.find("messages") != nullptr ? "messages" : "prompt";
    fields.fail({field, messages->size() - 1, "role"}, "messages that wait for an answer",
                in_quotes(messages->back().role), "Leave the last answer out; \"answer\" says what is right");
  }
  return question;
}

}  // namespace tithe
