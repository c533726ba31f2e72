// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/model/chat_encoder.hpp"
#include "tithe/model/chat_format.hpp"
#include "tithe/model/chat_template_text.hpp"

/// Which of our formats a model's chat template writes. Templates are recognised and never run: prompts and answers need
/// the borders of tokens, which a rendered text no longer has.
namespace tithe {

/// A template as it stands in a tokenizer's folder.
struct ChatTemplate {
  std::string text{};
  /// The file that it was read from.
  std::string file{};
  /// The beginning of sequence that the template is given: empty where tokenizer_config.json names none, and nothing where
  /// there is no such file to ask.
  std::optional<std::string> bos_token{};
};

namespace detail {

inline constexpr const char* chat_template_name = "chat_template.jinja";
inline constexpr const char* template_reader = "The chat template's reader";

/// The first message of the system that a template spells out in ChatML, in a string of its own between such quotes; one
/// with quotes, braces or escapes inside is not seen.
inline std::optional<std::string> spelt_system_message(std::string_view text, char quote) {
  const std::string before = quote + std::string{"<|im_start|>system\\n"};
  const std::string after = std::string{"\\n"} + quote;
  constexpr std::string_view end_token = "<|im_end|>";
  for (std::size_t at = text.find(before); at != text.npos; at = text.find(before)) {
    text.remove_prefix(at + before.size());
    std::string_view said = text.substr(0, text.find_first_of("'\"{}\\"));
    if (!text.substr(said.size()).starts_with(after) || !said.ends_with(end_token)) continue;
    said.remove_suffix(end_token.size());
    if (!said.empty()) return std::string{said};
  }
  return std::nullopt;
}

/// A template's text as it was published, and the system message that it has for want of one, which models change.
struct PublishedTemplate {
  std::string digest;
  std::optional<std::string> default_system{};
};
/// The digest leaves out that message, and of line ends what Jinja does: a carriage return, the last newline, and the one
/// behind a block (trim_blocks).
inline PublishedTemplate published(std::string_view given) {
  std::string text;
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given.substr(i, 2) != "\r\n") text += given[i];
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with("%}\n")) text.pop_back();
  std::optional<std::string> system = spelt_system_message(text, '\'');
  if (system) {
    std::string without;
    std::string_view rest = text;
    for (std::size_t at = rest.find(*system); at != rest.npos; at = rest.find(*system)) {
      without += rest.substr(0, at);
      rest.remove_prefix(at + system->size());
    }
    text = without += rest;
  }
  return {sha256(text).hex(), std::move(system)};
}

/// The long templates, which hold tools that we never pass: Qwen2.5's, Qwen3 Instruct 2507's and Llama 3.1's.
/// tests/model/chat_templates.py prints their digests.
inline constexpr std::string_view qwen2_5_digest =
    "6c14865bcd87b706f964dd5e43851d194ec7bd8f1a1cfc688ff8dff3fcc271aa";
inline constexpr std::string_view qwen3_2507_digest =
    "64f85b198065d0fba2a81f37e10ed68161ce2c19a754c7100e67e0ca2ee9c326";
inline constexpr std::string_view llama3_1_digest =
    "93c0e9aa3629bbd77e68dbc0f5621f6e6b23aa8d74b932595cdb8d64684526d7";

inline std::optional<ChatFormat> published_format(std::string_view text) {
  PublishedTemplate one = published(text);
  if (one.digest == qwen2_5_digest) return chat_ml(std::move(one.default_system));
  if (one.digest == qwen3_2507_digest) return chat_ml();
  if (one.digest == llama3_1_digest) return llama3_1_chat();
  return std::nullopt;
}

using TemplateStatements = std::span<const std::string>;

/// Takes statements off the front if they stand there.
inline bool take(TemplateStatements& rest, std::initializer_list<std::string_view> statements) {
  if (!std::ranges::equal(rest.first(std::min(rest.size(), statements.size())), statements)) return false;
  rest = rest.subspan(statements.size());
  return true;
}

/// A default system message, if the template writes one under a condition.
inline std::optional<std::string> take_default_system(TemplateStatements& rest, std::string_view condition) {
  if (rest.size() < 3 || rest[0] != condition || rest[2] != "endif") return std::nullopt;
  std::optional<std::string> system = spelt_system_message(rest[1], '"');
  if (!system || rest[1] != "write \"<|im_start|>system\\n" + *system + "<|im_end|>\\n\"")
    return std::nullopt;
  rest = rest.subspan(3);
  return system;
}

/// The short templates, by their statements.
inline std::optional<ChatFormat> plain_format(TemplateStatements rest) {
  for (const char* unset :
       {"if not add_generation_prompt is defined", "if add_generation_prompt is not defined"}) {
    if (take(rest, {unset, "set add_generation_prompt = false", "endif"})) break;
  }
  const TemplateStatements begin = rest;
  std::optional<std::string> system = take_default_system(rest, "if messages [ 0 ].role != \"system\"");
  if (take(rest, {"for message in messages"})) {
    if (!system) system = take_default_system(rest, "if loop.first and messages [ 0 ].role != \"system\"");
    if (take(rest, {R"(write "<|im_start|>" + message.role + "\n" + message.content + "<|im_end|>\n")",
                    "endfor", "if add_generation_prompt", R"(write "<|im_start|>assistant\n")", "endif"}) &&
        rest.empty()) {
      return chat_ml(std::move(system));
    }
  }
  const auto open_llama_answer = [&] {
    return take(rest, {"endfor", "if add_generation_prompt",
                       R"(write "<|start_header_id|>assistant<|end_header_id|>\n\n")", "endif"}) &&
           rest.empty();
  };
  rest = begin;
  if (take(rest, {"set loop_messages = messages", "for message in loop_messages",
                  R"(set content = "<|start_header_id|>" + message.role + "<|end_header_id|>\n\n" + )"
                  R"(message.content | trim + "<|eot_id|>")",
                  "if loop.index0 == 0", "set content = bos_token + content", "endif", "write content"}) &&
      open_llama_answer()) {
    return llama3_chat();
  }
  rest = begin;
  if ((take(rest, {"write bos_token"}) || take(rest, {R"(write "<|begin_of_text|>")"})) &&
      take(rest, {"for message in messages",
                  R"(write "<|start_header_id|>" + message.role + "<|end_header_id|>\n\n" + )"
                  R"(message.content | trim + "<|eot_id|>")"}) &&
      open_llama_answer()) {
    return llama3_chat();
  }
  return std::nullopt;
}

}  // namespace detail

/// The format of a template: ChatML or Llama 3's however they are spelt, ChatML with a system message of its own where
/// there is none, and the published templates of Qwen2.5, Qwen3 Instruct 2507 and Llama 3.1. Throws ModelFileError, saying
/// how to choose a format, for every other one: nothing is taken for what it only resembles.
[[nodiscard]] inline ChatFormat recognize_chat_template(const ChatTemplate& found) {
  std::optional<ChatFormat> format = detail::published_format(found.text);
  if (!format) {
    if (const auto statements = detail::TemplateReader::statements(found.text)) {
      format = detail::plain_format(*statements);
    }
  }
  const Location where{.file = found.file, .field = "chat_template"};
  constexpr const char* llama3_begin = "<|begin_of_text|>";
  if (!format) {
    const auto has = [&](std::string_view part) { return found.text.find(part) != std::string::npos; };
    const char* what = "another one";
    const char* choose = "a ChatFormat of your own";
    if (has("strftime_now")) {
      what = "one that writes the date of the day, as Llama 3.2's";
      choose = "llama3_1_chat(\"the date\")";
    } else if (has("<think>") || has("reasoning_content")) {
      what = "one that sets thinking apart from answers, as Qwen3's";
      choose = "chat_ml(), which leaves it where it is,";
    }
    throw ModelFileError{{.who = detail::template_reader,
                          .required = "the template of ChatML, Llama 3, Llama 3.1 or Qwen2.5",
                          .found = what,
                          .fix = std::string{"Set Encoding::chat to chat_encoder with "} + choose +
                                 " and the tokenizer (docs/data.md, \"Conversations\")"},
                         where};
  }
  const bool writes_bos = found.text.find("bos_token") != std::string::npos;
  if (writes_bos && !format->begin.empty() && found.bos_token.value_or(llama3_begin) != llama3_begin) {
    const bool none = found.bos_token->empty();
    throw ModelFileError{
        {.who = detail::template_reader,
         .required = "<|begin_of_text|> as bos_token of Llama 3's template",
         .found = none ? "none, with which transformers writes no beginning" : in_quotes(*found.bos_token),
         .fix = none ? "Name it in tokenizer_config.json, or set Encoding::chat to chat_encoder with the "
                       "ChatFormat that is meant"
                     : "Set Encoding::chat to chat_encoder with a ChatFormat that begins with it"},
        where};
  }
  return *std::move(format);
}

/// The template of a tokenizer's folder: chat_template.jinja, as transformers 5 writes it, or else tokenizer_config.json's,
/// of several the one named "default"; nothing if there is none. Throws ModelFileError for files that are malformed or cannot be read, such as a link to nothing.
[[nodiscard]] inline std::optional<ChatTemplate> find_chat_template(const std::filesystem::path& folder) {
  constexpr std::size_t limit = std::size_t{1} << 20;
  ChatTemplate found;
  if (const auto file = folder / "tokenizer_config.json";
      is_there<ModelFileError>(file, detail::template_reader)) {
    const Location where{.file = file.string()};
    const Json json = parse_json<ModelFileError>(
        read_file<ModelFileError>(file, detail::template_reader, 16 * limit), where, detail::template_reader);
    const JsonObject<ModelFileError> object{json, where, detail::template_reader};
    const Json* bos = object.find("bos_token");
    if (bos != nullptr && bos->is_object()) bos = object.object("bos_token").find("content");
    found.bos_token = bos != nullptr && bos->is_string() ? bos->get<std::string>() : std::string{};
    const Json* value = object.find("chat_template");
    if (value != nullptr && value->is_array()) {
      for (const auto& one : object.objects("chat_template")) {
        if (one.require<std::string>("name") == "default") found.text = one.require<std::string>("template");
      }
    } else {
      found.text = object.get_or<std::string>("chat_template", {});
    }
    if (value != nullptr) found.file = file.string();
  }
  if (const auto file = folder / detail::chat_template_name;
      is_there<ModelFileError>(file, detail::template_reader)) {
    found.text = read_file<ModelFileError>(file, detail::template_reader, limit);
    found.file = file.string();
  }
  return found.file.empty() ? std::nullopt : std::optional{std::move(found)};
}

/// What a folder says of conversations, for `Encoding::chat`. It says so only when it is asked for a conversation: who
/// trains on text needs no template, and is not held up by one that is not recognised.
[[nodiscard]] inline ChatEncoder chat_encoder(const std::optional<ChatTemplate>& found,
                                              const Tokenizer& tokenizer,
                                              SpelledTokens spelled = SpelledTokens::keep_as_text) {
  if (!found) return {};
  try {
    return chat_encoder(recognize_chat_template(*found), tokenizer, spelled);
  } catch (const Error&) {
    return [reason = std::current_exception()](auto&&...) -> RenderedChat { std::rethrow_exception(reason); };
  }
}

}  // namespace tithe
