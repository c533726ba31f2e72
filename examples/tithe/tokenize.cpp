// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <filesystem>
#include <memory>
#include <variant>
#include <vector>

#include "commands.hpp"
#include "loading.hpp"
#include "model_flags.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/model/tokenizer.hpp"

namespace program {
namespace {

struct Settings {
  ModelSettings model;
  bool generation_prompt = false;
  bool no_special = false;
  bool special_as_text = false;
  LineOptions lines;
};

constexpr const char* footer =
    R"({"text"} is answered with {"ids"}, and {"ids"} with {"text"}. {"messages": [{"role", "content"}, …]} is answered
with {"ids", "answers"}: the ids in the model's chat format, and of each answer of the assistant where it begins and ends
among them, which is what training learns. An "id" is copied to the answer.

Example
  $ echo '{"text": "Once upon a time"}' | tithe tokenize --model stories260k
  {"ids":[1,403,407,261,378]}

The name of a special token in a text, such as </s>, is that token here, as in the tokenizers library. In
training, scoring and generation texts and messages never contain special tokens; --special-as-text shows those ids.)";

/// Text to encode, ids to decode, or a conversation that is rendered already.
using Item = std::variant<std::string, tithe::TokenIds, tithe::RenderedChat>;

Item read_line(const InputLine& line, const tithe::ChatEncoder& chat, tithe::GenerationPrompt generate) {
  const auto object = line.object("tithe tokenize");
  if (object.has("messages")) {
    const tithe::Messages messages = read_messages(object, "messages");
    return at_place_of(line, [&] { return Item{chat(messages, generate)}; });
  }
  const bool has_text = object.has("text");
  if (has_text == object.has("ids")) {
    object.fail_here("\"text\", \"ids\" or \"messages\"", has_text ? "two of them" : "none of them",
                     has_text ? "Remove one of the two" : "Give one of them");
  }
  if (has_text) return object.require<std::string>("text");
  return object.require<tithe::TokenIds>("ids");
}

int tokenize(const Settings& settings, const Session& session) {
  const tithe::Tokenizer tokenizer = tithe::Tokenizer::from_file(settings.model.folder / "tokenizer.json");
  const auto special = settings.no_special ? tithe::SpecialTokens::none : tithe::SpecialTokens::add;
  const auto spelled =
      settings.special_as_text ? tithe::SpelledTokens::keep_as_text : tithe::SpelledTokens::recognize;
  const tithe::ChatEncoder chat = chat_of(settings.model, tokenizer, spelled);
  const auto generate =
      settings.generation_prompt ? tithe::GenerationPrompt::add : tithe::GenerationPrompt::none;
  const auto answer = [&](const Item& item) -> OutputJson {
    if (const auto* rendered = std::get_if<tithe::RenderedChat>(&item)) {
      OutputJson answers = OutputJson::array();
      for (const tithe::TokenSpan& span : rendered->answers) answers.push_back({span.begin, span.end});
      return {{"ids", rendered->ids}, {"answers", std::move(answers)}};
    }
    if (const auto* text = std::get_if<std::string>(&item))
      return {{"ids", tokenizer.encode(*text, special, spelled)}};
    return {{"text", tokenizer.decode(std::get<tithe::TokenIds>(item))}};
  };
  const LineCommand<Item> command{.who = "tithe tokenize",
                                  .read =
                                      [&](const InputLine& line) {
                                        Item item = read_line(line, chat, generate);
                                        if (const auto* ids = std::get_if<tithe::TokenIds>(&item)) {
                                          require_ids(*ids, tokenizer.vocab_size(), "ids", line.where,
                                                      "tithe tokenize");
                                        }
                                        return item;
                                      },
                                  .size = [](const Item&) { return std::size_t{1}; },
                                  .answer =
                                      [&](const std::vector<Item>& items) {
                                        std::vector<OutputJson> answers;
                                        for (const Item& item : items) answers.push_back(answer(item));
                                        return answers;
                                      },
                                  .batch_size = 64};
  return answer_lines(command, settings.lines, session);
}

}  // namespace

Command add_tokenize(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("tokenize", "Text to token ids, and back");
  command->footer(footer);
  command->add_option("--model", settings->model.folder, "Folder with tokenizer.json")
      ->type_name("DIR")
      ->required();
  add_chat_format_flag(*command, settings->model);
  command->add_flag("--generation-prompt", settings->generation_prompt,
                    "Open an answer behind messages, as generation does");
  command->add_flag("--no-special", settings->no_special,
                    "Add no special token, such as a beginning of sequence");
  command->add_flag("--special-as-text", settings->special_as_text,
                    "Take the names of special tokens in a text as text");
  add_line_flags(*command, settings->lines);
  return {command, [settings](const Session& session) { return tokenize(*settings, session); }};
}

}  // namespace program
