// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <filesystem>
#include <memory>
#include <variant>
#include <vector>

#include "commands.hpp"
#include "tithe/model/tokenizer.hpp"

namespace program {
namespace {

struct Settings {
  std::filesystem::path model;
  bool no_special = false;
  bool special_as_text = false;
  LineOptions lines;
};

constexpr const char* footer =
    R"({"text"} is answered with {"ids"}, and {"ids"} with {"text"}. An "id" is copied to the answer.

Example
  $ echo '{"text": "Once upon a time"}' | tithe tokenize --model stories260k
  {"ids":[1,403,407,261,378]}

The name of a special token in a text, such as </s>, is that token here, as in the tokenizers library. In
training, scoring and generation texts never contain special tokens; --special-as-text shows those ids.)";

/// Text to encode, or ids to decode.
using Item = std::variant<std::string, tithe::TokenIds>;

Item read_line(const InputLine& line) {
  const auto object = line.object("tithe tokenize");
  const bool has_text = object.has("text");
  if (has_text == object.has("ids")) {
    object.fail_here("\"text\" or \"ids\"", has_text ? "both" : "neither",
                     has_text ? "Remove one of the two" : "Give one of the two");
  }
  if (has_text) return object.require<std::string>("text");
  return object.require<tithe::TokenIds>("ids");
}

int tokenize(const Settings& settings, const Session& session) {
  const tithe::Tokenizer tokenizer = tithe::Tokenizer::from_file(settings.model / "tokenizer.json");
  const auto special = settings.no_special ? tithe::SpecialTokens::none : tithe::SpecialTokens::add;
  const auto spelled =
      settings.special_as_text ? tithe::SpelledTokens::keep_as_text : tithe::SpelledTokens::recognize;
  const auto answer = [&](const Item& item) -> OutputJson {
    if (const auto* text = std::get_if<std::string>(&item))
      return {{"ids", tokenizer.encode(*text, special, spelled)}};
    return {{"text", tokenizer.decode(std::get<tithe::TokenIds>(item))}};
  };
  const LineCommand<Item> command{.who = "tithe tokenize",
                                  .read =
                                      [&](const InputLine& line) {
                                        Item item = read_line(line);
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
  command->add_option("--model", settings->model, "Folder with tokenizer.json")->type_name("DIR")->required();
  command->add_flag("--no-special", settings->no_special,
                    "Add no special token, such as a beginning of sequence");
  command->add_flag("--special-as-text", settings->special_as_text,
                    "Take the names of special tokens in a text as text");
  add_line_flags(*command, settings->lines);
  return {command, [settings](const Session& session) { return tokenize(*settings, session); }};
}

}  // namespace program
