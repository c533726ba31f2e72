// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "evaluate.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/gsm8k.hpp"
#include "tithe/data/question.hpp"

namespace program {
namespace {

tithe::Location place_of(const tithe::Origin& origin, std::string field = {}) {
  return {.file = origin.file, .line = static_cast<std::size_t>(origin.line), .field = std::move(field)};
}

/// A completion as a text to be compared with: of messages, the last.
std::string text_of(const tithe::Content& content, const tithe::Origin& origin) {
  if (const auto* text = std::get_if<std::string>(&content)) return *text;
  if (const auto* messages = std::get_if<tithe::Messages>(&content)) return messages->back().content;
  throw tithe::DataError{{evaluate_who, "references in text, which a judge can read", "token ids",
                          "Give the completion as text"},
                         place_of(origin)};
}

/// One line as a prompt with a reference, for exact match or a judge; nothing for a line that is scored.
std::optional<EvaluatedPrompt> prompt_of(const tithe::EvaluationExample& example,
                                         const EvaluateSettings& settings) {
  const bool judged = !settings.judge.empty();
  const auto form = settings.prompt.form();
  const auto put = [&](const tithe::Content& prompt) {
    const auto* text = std::get_if<std::string>(&prompt);
    return form && text != nullptr ? tithe::gsm8k_prompt(*text, *form) : prompt;
  };
  const auto answered = [&](tithe::Content prompt, const std::string& answer, const tithe::Origin& origin) {
    std::optional<std::string> right = tithe::known_answer(extractor_named(settings.extract), answer);
    if (!right) {
      throw tithe::DataError{{evaluate_who, "an answer that --extract " + settings.extract + " finds",
                              tithe::in_quotes(answer), "Correct the line, or extract otherwise"},
                             place_of(origin, "\"answer\"")};
    }
    return EvaluatedPrompt{std::move(prompt), *std::move(right), origin};
  };
  return std::visit(
      [&](const auto& one) -> std::optional<EvaluatedPrompt> {
        using Kind = std::remove_cvref_t<decltype(one)>;
        if constexpr (std::is_same_v<Kind, tithe::Gsm8kProblem>) {
          tithe::Content prompt = tithe::gsm8k_prompt(one.question, form.value_or(tithe::Gsm8kPrompt::chat));
          if (!judged) return answered(std::move(prompt), one.answer, one.origin);
          return EvaluatedPrompt{std::move(prompt), tithe::without_calculator_marks(one.answer), one.origin};
        } else if constexpr (std::is_same_v<Kind, tithe::Question>) {
          if (!judged) return answered(put(one.prompt), one.answer, one.origin);
          return EvaluatedPrompt{put(one.prompt), one.answer, one.origin};
        } else {
          if (!judged) return std::nullopt;
          if constexpr (std::is_same_v<Kind, tithe::PreferencePair>) {
            return EvaluatedPrompt{put(one.prompt), text_of(one.chosen, one.origin), one.origin};
          } else {
            return EvaluatedPrompt{put(one.prompt), text_of(one.completion, one.origin), one.origin};
          }
        }
      },
      example);
}

tithe::Origin origin_of(const tithe::EvaluationExample& example) {
  return std::visit([](const auto& one) { return one.origin; }, example);
}

/// A line without an id is named by the file's name and its number, wherever the file lies: two models may be evaluated on
/// two machines.
void shorten(tithe::Origin& origin, const std::filesystem::path& path) {
  if (origin.id != origin.file + ':' + std::to_string(origin.line)) return;
  origin.id = path.filename().string() + ':' + std::to_string(origin.line);
}

}  // namespace

tithe::AnswerExtractor extractor_named(const std::string& name) {
  if (name == "text") return tithe::whole_text;
  return name == "last-number" ? tithe::last_number : tithe::number_behind_hashes;
}

EvaluationData read_evaluation_data(const EvaluateSettings& settings) {
  std::ifstream file{settings.data, std::ios::binary};
  if (!file) {
    throw tithe::FileError{{evaluate_who, "a file that can be read",
                            tithe::in_quotes(settings.data.string(), 400),
                            "Check its path, kind and permissions"}};
  }
  EvaluationData data;
  std::optional<std::size_t> kind;
  std::set<std::string> ids;
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    std::string_view text{line};
    if (++number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    const tithe::Location where{.file = settings.data.string(), .line = number};
    const auto fail = [&](const char* required, std::string found, const char* fix) {
      throw tithe::DataError{{evaluate_who, required, std::move(found), fix}, where};
    };
    const tithe::EvaluationExample example = tithe::evaluation_example(text, where);
    if (kind.value_or(example.index()) != example.index()) {
      fail("lines of one kind", "another one than in the first line", "Evaluate each kind by itself");
    }
    kind = example.index();
    if (std::holds_alternative<tithe::Gsm8kProblem>(example)) data.prompt_template = "gsm8k";
    const std::string id = origin_of(example).id;
    if (!ids.insert(id).second)
      fail("each id once", tithe::in_quotes(id) + " twice", "Rename one of the two");
    if (std::optional<EvaluatedPrompt> prompt = prompt_of(example, settings)) {
      shorten(prompt->origin, settings.data);
      data.prompts.push_back(*std::move(prompt));
    }
  }
  if (file.bad() || !kind) {
    throw tithe::DataError{{evaluate_who, "a line of data at least", "none", {}},
                           {.file = settings.data.string()}};
  }
  if (!settings.prompt.name.empty()) data.prompt_template = settings.prompt.name;
  if (!data.prompts.empty()) return data;
  data.held_out = read_data({settings.data}, settings.prompt);
  for (auto& one : data.held_out.demonstrations) shorten(one.origin, settings.data);
  for (auto& one : data.held_out.preferences) shorten(one.origin, settings.data);
  for (auto& one : data.held_out.labeled) shorten(one.origin, settings.data);
  return data;
}

}  // namespace program
