// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Chat formats against what transformers makes of published templates; templates recognised, or refused by name.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/chat_encoder.hpp"
#include "tithe/model/chat_format.hpp"
#include "tithe/model/chat_template.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr std::array<std::string_view, 6> special_names{"<|begin_of_text|>",   "<|eot_id|>",
                                                        "<|start_header_id|>", "<|end_header_id|>",
                                                        "<|im_start|>",        "<|im_end|>"};

/// A byte is its own id; the special tokens follow. No text becomes a special token.
ChatVocabulary bytes() {
  return {.text =
              [](std::string_view text) {
                TokenIds ids;
                for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
                return ids;
              },
          .special = [](std::string_view name) -> std::optional<std::int64_t> {
            const auto at = std::ranges::find(special_names, name);
            return at == special_names.end() ? std::nullopt
                                             : std::optional{256 + (at - special_names.begin())};
          }};
}
std::string text_of(std::span<const std::int64_t> ids) {
  std::string text;
  for (const std::int64_t id : ids) {
    text += id < 256 ? std::string(1, static_cast<char>(id))
                     : std::string{special_names.at(static_cast<std::size_t>(id - 256))};
  }
  return text;
}

std::vector<Json> lines_of(const std::filesystem::path& path) {
  std::ifstream file{path};
  std::vector<Json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(parse_json<DataError>(line, {}, "test"));
  return lines;
}
Messages messages_of(const Json& json) {
  Messages messages;
  for (const Json& one : json) messages.push_back({one.at("role"), one.at("content")});
  return messages;
}
GenerationPrompt generate_of(const Json& json) {
  return json.at("add_generation_prompt").get<bool>() ? GenerationPrompt::add : GenerationPrompt::none;
}

/// How many of the golden renderings of a published template a format gives; chat_templates.py made them.
std::size_t renderings_met(const std::string& name, const ChatFormat& format) {
  const ChatEncoder chat = chat_encoder(format, bytes());
  std::size_t met = 0;
  for (const Json& line : lines_of(std::filesystem::path{__FILE__}.parent_path() / "chat_templates.jsonl")) {
    if (line.at("name") != name) continue;
    CATCH_REQUIRE(line.at("cases").size() == 4);
    for (const Json& one : line.at("cases")) {
      met += text_of(chat(messages_of(one.at("messages")), generate_of(one)).ids) ==
             one.at("text").get<std::string>();
    }
  }
  return met;
}

const std::string qwen_says = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
const Messages chat{
    {"system", "s"}, {"user", "hi "}, {"assistant", " hey"}, {"user", "go"}, {"assistant", "ok"}};

}  // namespace

CATCH_TEST_CASE("formats write what published templates do", "[model][chat]") {
  CATCH_CHECK(renderings_met("qwen2_5", chat_ml(qwen_says)) == 4);
  CATCH_CHECK(renderings_met("qwen3_instruct_2507", chat_ml()) == 4);
  CATCH_CHECK(renderings_met("llama3", llama3_chat()) == 4);
  CATCH_CHECK(renderings_met("llama3_1", llama3_1_chat()) == 4);

  // The controls: each mistake is seen.
  CATCH_CHECK(renderings_met("qwen2_5", chat_ml()) == 1);  // only where a message of the system is given
  ChatFormat format = chat_ml();
  format.trims = true;
  CATCH_CHECK(renderings_met("qwen3_instruct_2507", format) == 0);
  format = llama3_chat();
  format.trims = false;
  CATCH_CHECK(renderings_met("llama3", format) == 0);
  format = llama3_chat();
  format.begin.push_back(SpecialToken{"<|begin_of_text|>"});
  CATCH_CHECK(renderings_met("llama3", format) == 0);
  CATCH_CHECK(renderings_met("llama3_1", llama3_chat()) == 0);
  CATCH_CHECK(renderings_met("llama3_1", llama3_1_chat("27 Jul 2024")) == 0);
}

CATCH_TEST_CASE("digests of published templates are those of the script", "[model][chat]") {
  std::map<std::string, std::string> digests;
  for (const Json& line : lines_of(std::filesystem::path{__FILE__}.parent_path() / "chat_templates.jsonl")) {
    digests[line.at("name")] = line.at("digest");
  }
  CATCH_CHECK(digests.at("qwen2_5") == detail::qwen2_5_digest);
  CATCH_CHECK(digests.at("qwen3_instruct_2507") == detail::qwen3_2507_digest);
  CATCH_CHECK(digests.at("llama3_1") == detail::llama3_1_digest);

  // The kind of line ends, the file's last one and the system's message of a model make no difference; all else does.
  const std::string text =
      "{{- 'x' }}\n{{- '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}\n{{- 'Be kind.' }}";
  const std::string crlf =
      "{{- 'x' }}\r\n{{- '<|im_start|>system\\nBe brave.<|im_end|>\\n' }}\r\n{{- 'Be brave.' }}\r\n";
  CATCH_CHECK(detail::published(text).digest == detail::published(crlf).digest);
  CATCH_CHECK(detail::published(text).default_system == "Be kind.");
  CATCH_CHECK(detail::published(crlf).default_system == "Be brave.");
  // Jinja takes one newline off a file's end, and one behind a block; what more there is, it writes.
  for (const char* more : {"x", " ", "\t", "\n\n", " \n", "\n ", "\r\n\r\n"}) {
    CATCH_INFO(Json(more).dump());
    CATCH_CHECK(detail::published(text + more).digest != detail::published(text).digest);
  }
  const std::string block = text + "{%- endif %}";
  for (const char* more : {"\n", "\n\n", "\r\n\r\n"})
    CATCH_CHECK(detail::published(block + more).digest == detail::published(block).digest);
  for (const char* more : {" ", "\n\n\n", "\n \n", " \n\n"})
    CATCH_CHECK(detail::published(block + more).digest != detail::published(block).digest);
  CATCH_CHECK_FALSE(detail::published("{{ '<|im_start|>system\\n' }}{{ 'x<|im_end|>\\n' }}").default_system);
}

CATCH_TEST_CASE("an answer is its content and the token that ends it", "[model][chat]") {
  const auto answers_of = [](const ChatFormat& format) {
    const RenderedChat rendered = chat_encoder(format, bytes())(chat, GenerationPrompt::none);
    std::vector<std::string> answers;
    for (const TokenSpan& one : rendered.answers) {
      answers.push_back(text_of(std::span{rendered.ids}.subspan(
          static_cast<std::size_t>(one.begin), static_cast<std::size_t>(one.end - one.begin))));
    }
    return answers;
  };
  CATCH_CHECK(answers_of(chat_ml()) == std::vector<std::string>{" hey<|im_end|>", "ok<|im_end|>"});
  CATCH_CHECK(answers_of(llama3_chat()) == std::vector<std::string>{"hey<|eot_id|>", "ok<|eot_id|>"});
}

CATCH_TEST_CASE("a row scores the answers and no one else's turn", "[model][chat]") {
  const auto [prompt, completion] =
      std::pair{Messages(chat.begin(), chat.begin() + 2), Messages(chat.begin() + 2, chat.end())};
  const Encoding encoding{.vocabulary_size = 300, .chat = chat_encoder(chat_ml(), bytes())};
  const Row row = encode(Demonstration{prompt, completion}, encoding, {.max_length = Tokens{500}}).rows.at(0);
  CATCH_CHECK(text_of(row.prompt) ==
              "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nhi <|im_end|>\n<|im_start|>assistant\n");
  // The last newline, which nothing follows, is left out.
  CATCH_CHECK(text_of(row.completions.at(0)) ==
              " hey<|im_end|>\n<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\nok<|im_end|>");
  const auto scored_of = [](const Row& one) {
    TokenIds scored;
    for (std::int64_t i = 0; i < std::ssize(one.completions[0]); ++i) {
      const bool unscored = std::ranges::any_of(
          one.unscored_of(0), [&](const TokenSpan& span) { return span.begin <= i && i < span.end; });
      if (!unscored) scored.push_back(one.completions[0][static_cast<std::size_t>(i)]);
    }
    return text_of(scored);
  };
  CATCH_CHECK(scored_of(row) == " hey<|im_end|>ok<|im_end|>");
  Row all = row;  // the control
  all.unscored.clear();
  CATCH_CHECK(scored_of(all) != scored_of(row));

  CATCH_CHECK(text_of(generation_prompt(prompt, encoding.chat)) == text_of(row.prompt));
  CATCH_CHECK(text_of(end_of_answer(encoding.chat)) == "<|im_end|>");
}

CATCH_TEST_CASE("text between special tokens is encoded as one, and never across an answer's ends",
                "[model][chat]") {
  std::vector<std::string> pieces;
  ChatVocabulary vocabulary = bytes();
  vocabulary.text = [&pieces](std::string_view text) {
    pieces.emplace_back(text);
    return TokenIds{1};
  };
  (void)chat_encoder(chat_ml(), vocabulary)(chat, GenerationPrompt::add);
  CATCH_CHECK(pieces == std::vector<std::string>{"system\ns", "\n", "user\nhi ", "\n", "assistant\n", " hey",
                                                 "\n", "user\ngo", "\n", "assistant\n", "ok", "\n",
                                                 "assistant\n"});
}

CATCH_TEST_CASE("strip takes what Python's str.strip takes", "[model][chat]") {
  // [c for c in range(0x110000) if chr(c).isspace()] of Python 3.11, as ranges
  const std::vector<std::pair<char32_t, char32_t>> spaces{
      {0x09, 0x0D},     {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},     {0x1680, 0x1680},
      {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
  std::size_t count = 0;
  for (char32_t c = 1; c < 0x3100; ++c) {
    std::string one;
    if (c < 0x80) {
      one = {static_cast<char>(c)};
    } else if (c < 0x800) {
      one = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      one = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
             static_cast<char>(0x80 | (c & 0x3F))};
    }
    const bool is_space =
        std::ranges::any_of(spaces, [&](auto range) { return range.first <= c && c <= range.second; });
    count += is_space;
    if ((strip(one + "a b" + one) == "a b") != is_space)
      CATCH_FAIL_CHECK("U+" << std::hex << std::uint32_t{c});
  }
  CATCH_CHECK(count == 29);
  CATCH_CHECK(strip(" \xC2\xA0\n") == "");
  CATCH_CHECK(strip("") == "");
  CATCH_CHECK(strip("\xFF \xFF") == "\xFF \xFF");
}

CATCH_TEST_CASE("a format is refused for what it lacks", "[model][chat]") {
  const auto refused = [](ChatFormat format, const ChatVocabulary& vocabulary) {
    return std::string{
        thrown<OptionError>([&] { (void)chat_encoder(std::move(format), vocabulary); }).what()};
  };
  CATCH_CHECK_NOTHROW(chat_encoder(chat_ml(), bytes()));
  ChatFormat format = chat_ml();
  format.user.header = {SpecialToken{"<|user|>"}};
  CATCH_CHECK(
      contains(refused(format, bytes()), "The chat format \"ChatML\" needs the special token \"<|user|>\""));
  format = chat_ml();
  format.assistant.end = {};
  CATCH_CHECK(contains(refused(format, bytes()), "a token that ends an answer"));
  CATCH_CHECK(contains(refused(chat_ml(), {}), "a tokenizer"));
  format = chat_ml();
  format.system = {};
  const auto no_turn =
      thrown<DataError>([&] { (void)chat_encoder(format, bytes())(chat, GenerationPrompt::none); });
  CATCH_CHECK(contains(no_turn.what(), "messages of a role that it has a turn for, but found \"system\""));
  const Messages tool{{"user", "x"}, {"tool", "y"}};
  CATCH_CHECK_THROWS_AS(chat_encoder(chat_ml(), bytes())(tool, GenerationPrompt::none), DataError);
}

namespace {

const std::string for_all = "{% for message in messages %}";
const std::string chat_ml_turn =
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}";
const std::string chat_ml_end =
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const std::string llama_turn =
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + "
    "'<|eot_id|>' }}";
const std::string llama_end =
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% "
    "endif %}";

}  // namespace

CATCH_TEST_CASE("templates are recognised however they are spelt", "[model][chat]") {
  const std::string plain = for_all + chat_ml_turn + chat_ml_end;
  const std::vector<std::string> chat_mls{
      plain,
      plain + "\n",
      "{%- for message in messages -%}\n  {{- \"<|im_start|>\" + message.role + \"\\n\" + message.content + "
      "\"<|im_end|>\\n\" -}}\n{%- endfor -%}\n{%- if add_generation_prompt -%}\n  {{- "
      "'<|im_start|>assistant\\n' "
      "-}}\n{%- endif -%}",
      // Lines of their own: Jinja takes the newline behind a block and the blanks before it.
      "{% for message in messages %}\n" + chat_ml_turn + "{% endfor %}\n  {% if add_generation_prompt %}\n" +
          "{{ '<|im_start|>assistant\\n' }}{% endif %}",
      "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}" +
          plain,
      "{# ChatML #}\n" + for_all +
          "<|im_start|>{{ message['role'] }}\n{{ message.content }}<|im_end|>{{ \"\\n\" }}" + chat_ml_end,
  };
  for (const std::string& text : chat_mls) {
    CATCH_INFO(text);
    const ChatFormat format = recognize_chat_template({text});
    CATCH_CHECK(format.name == "ChatML");
    CATCH_CHECK_FALSE(format.default_system);
  }
  for (const std::string& text :
       {for_all + "{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nBe " +
            "good.<|im_end|>\\n' }}{% endif %}" + chat_ml_turn + chat_ml_end,
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nBe good.<|im_end|>\\n' }}{% endif %}" +
            plain}) {
    CATCH_CHECK(recognize_chat_template({text}).default_system == "Be good.");
  }
  for (const std::string& text :
       {"{{ bos_token }}" + for_all + llama_turn + llama_end,
        "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = " +
            llama_turn.substr(3, llama_turn.size() - 6) +
            " %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}" +
            llama_end}) {
    CATCH_INFO(text);
    CATCH_CHECK(recognize_chat_template({text}).name == "Llama 3");
    CATCH_CHECK(recognize_chat_template({text, "", "<|begin_of_text|>"}).name == "Llama 3");
    const auto other =
        thrown<ModelFileError>([&] { (void)recognize_chat_template({text, "a.json", "<s>"}); });
    CATCH_CHECK(contains(other.what(),
                         "a.json: chat_template: The chat template's reader needs <|begin_of_text|> as "
                         "bos_token of Llama 3's template, but found \"<s>\""));
    // With none, transformers writes no beginning, or fails.
    const auto none = thrown<ModelFileError>([&] { (void)recognize_chat_template({text, "a.json", ""}); });
    CATCH_CHECK(contains(none.what(), "bos_token of Llama 3's template, but found none, with which "));
  }
  // Who spells it out needs none.
  const std::string spelt = "{{ '<|begin_of_text|>' }}" + for_all + llama_turn + llama_end;
  for (const std::optional<std::string>& bos : {std::optional<std::string>{}, {""}, {"<s>"}})
    CATCH_CHECK(recognize_chat_template({spelt, "", bos}).name == "Llama 3");
}

CATCH_TEST_CASE("a template that is none of ours is refused, with the way to a format of one's own",
                "[model][chat]") {
  const std::string plain = for_all + chat_ml_turn + chat_ml_end;
  const auto with = [&](std::string_view part, std::string_view instead) {
    std::string text = plain;
    const std::size_t at = text.find(part);
    CATCH_REQUIRE(at != text.npos);
    return text.replace(at, part.size(), instead);
  };
  const std::vector<std::pair<std::string, std::string>> table{
      {"", "found another one"},
      {"{{", "found another one"},
      {"{% for", "found another one"},
      {"{{ 'x", "found another one"},
      {"{{ '\\x41' }}", "found another one"},
      {"{#", "found another one"},
      {std::string(100'000, '{'), "found another one"},
      {plain + "x", "found another one"},
      {"x" + plain, "found another one"},
      {plain + plain, "found another one"},
      {for_all + chat_ml_turn + "{% endfor %}", "found another one"},
      {with("message['content']", "message['content'] | trim"), "found another one"},
      {with("message['content']", "message['text']"), "found another one"},
      {with("'<|im_end|>'", "'<|im_end|> '"), "found another one"},
      {with("in messages", "in messages[1:]"), "found another one"},
      {with("{% for", "\n {% if tools %}{{ tools }}{% endif %}{% for"), "found another one"},
      {with("'<|im_start|>assistant\\n'", "'<|im_start|>assistant\\n<think>\\n'"),
       "one that sets thinking apart from answers, as Qwen3's. Set Encoding::chat to chat_encoder with "
       "chat_ml()"},
      {plain + "{% set today = strftime_now('%d') %}", "one that writes the date of the day, as Llama 3.2's"},
      {for_all + llama_turn + llama_end, "found another one"},  // without a beginning
      {"{{ bos_token }}{{ bos_token }}" + for_all + llama_turn + llama_end, "found another one"},
      // What Jinja refuses.
      {with("+ '<|im_end|>'", "++ '<|im_end|>'"), "found another one"},
      {with("'\\n' }}", "'\\n' + }}"), "found another one"},
      {with("'<|im_start|>' +", "+ '<|im_start|>' +"), "found another one"},
      {with("{{ '<|im_start|>assistant", "{{ }}{{ '<|im_start|>assistant"), "found another one"},
      // Between tags a newline counts where Jinja leaves it.
      {for_all + chat_ml_turn + "\n" + chat_ml_end, "found another one"},
  };
  CATCH_CHECK(recognize_chat_template({plain}).name == "ChatML");  // the accepting twin
  for (const auto& [text, expected] : table) {
    CATCH_INFO(text.substr(0, 400));
    const auto error =
        thrown<ModelFileError>([&, &given = text] { (void)recognize_chat_template({given, "t.jinja"}); });
    CATCH_INFO(error.what());
    CATCH_CHECK(contains(error.what(), expected));
    CATCH_CHECK(contains(error.what(), "t.jinja: chat_template: "));
    CATCH_CHECK(contains(error.what(), "Set Encoding::chat to chat_encoder with"));
  }
}

CATCH_TEST_CASE("a template is found where transformers of any age writes it", "[model][chat]") {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, const std::string& text) { (void)folder.file(name, text); };
  const auto refused = [&] {
    return std::string{thrown<ModelFileError>([&] { (void)find_chat_template(folder.path()); }).what()};
  };
  CATCH_CHECK_FALSE(find_chat_template(folder.path()));
  write("tokenizer_config.json", R"({"bos_token": null, "model_max_length": 1e30})");
  CATCH_CHECK_FALSE(find_chat_template(folder.path()));
  write("tokenizer_config.json", R"({"chat_template": "one", "bos_token": "<s>"})");
  CATCH_CHECK(find_chat_template(folder.path()).value().text == "one");
  CATCH_CHECK(find_chat_template(folder.path()).value().bos_token == "<s>");
  write("tokenizer_config.json",
        R"({"bos_token": {"content": "<b>"}, "chat_template": [)"
        R"({"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]})");
  CATCH_CHECK(find_chat_template(folder.path()).value().text == "two");
  CATCH_CHECK(find_chat_template(folder.path()).value().bos_token == "<b>");
  write("chat_template.jinja", "three");  // transformers 5, where both are
  CATCH_CHECK(find_chat_template(folder.path()).value().text == "three");
  CATCH_CHECK(find_chat_template(folder.path()).value().bos_token == "<b>");
  CATCH_CHECK(contains(find_chat_template(folder.path()).value().file, "chat_template.jinja"));
  // A configuration that names no beginning of sequence is not a folder that says nothing of it.
  for (const char* none : {"{}", R"({"bos_token": null})", R"({"bos_token": {"content": null}})"}) {
    write("tokenizer_config.json", none);
    CATCH_CHECK(find_chat_template(folder.path()).value().bos_token == "");
  }
  std::filesystem::remove(folder.path() / "tokenizer_config.json");
  CATCH_CHECK(find_chat_template(folder.path()).value().text == "three");
  CATCH_CHECK_FALSE(find_chat_template(folder.path()).value().bos_token);

  write("tokenizer_config.json", R"({"chat_template": 3})");
  CATCH_CHECK(contains(
      refused(), "tokenizer_config.json: \"chat_template\": The chat template's reader needs a string"));
  write("tokenizer_config.json", R"({"chat_template": [{"name": "default"}]})");
  CATCH_CHECK(contains(refused(), "\"template\": The chat template's reader needs this field"));
  write("tokenizer_config.json", R"({"chat_template": "a", "chat_template": "b"})");
  CATCH_CHECK(contains(refused(), "each key once"));
  write("tokenizer_config.json", "[]");
  CATCH_CHECK(contains(refused(), "a JSON object, but found an array"));
}

CATCH_TEST_CASE("a template that cannot be read is not taken for none", "[model][chat]") {
  for (const char* name : {"tokenizer_config.json", "chat_template.jinja"}) {
    const TemporaryFolder folder;  // a hub's cache, and a download that broke off
    std::filesystem::create_symlink("../blobs/of-" + std::string{name}, folder.path() / name);
    const auto error = thrown<ModelFileError>([&] { (void)find_chat_template(folder.path()); });
    CATCH_CHECK(contains(error.what(), std::string{name} + ": The chat template's reader needs a file that "
                                                           "can be read, but found No such file"));
    (void)folder.file("blob", "{}");
    std::filesystem::remove(folder.path() / name);
    std::filesystem::create_symlink("blob", folder.path() / name);
    CATCH_CHECK_NOTHROW(find_chat_template(folder.path()));
  }
  const TemporaryFolder folder;  // that cannot be asked, whoever asks: a link to itself
  std::filesystem::create_symlink("loop", folder.path() / "loop");
  const auto error = thrown<ModelFileError>([&] { (void)find_chat_template(folder.path() / "loop"); });
  CATCH_CHECK(
      contains(error.what(), "The chat template's reader needs a folder that can be read, but found "));
  CATCH_CHECK_FALSE(find_chat_template(folder.path() / "none"));
}

CATCH_TEST_CASE("ids of chats are those of transformers", "[model][chat][third-party]") {
  const auto folder = third_party_data("hf");
  if (!folder) return;
  const Tokenizer tokenizer = Tokenizer::from_file(*folder / "tokenizer" / "tokenizer.json");
  const std::vector<Json> cases = lines_of(*folder / "chat_cases.jsonl");
  CATCH_REQUIRE(cases.size() == 10);
  for (const auto& [name, format] : {std::pair{"chatml", chat_ml()}, {"llama3", llama3_chat()}}) {
    std::size_t as_text = 0;
    for (const Json& one : cases) {
      CATCH_INFO(name << ": " << one.at("note").get<std::string>());
      const Messages messages = messages_of(one.at("messages"));
      const TokenIds expected = one.at(name).at("ids");
      const auto rendered = [&](SpelledTokens spelled) {
        return chat_encoder(format, tokenizer, spelled)(messages, generate_of(one));
      };
      const RenderedChat recognized = rendered(SpelledTokens::recognize);
      CATCH_CHECK(recognized.ids == expected);
      if (one.at(name).contains("prompt_length")) {
        CATCH_CHECK(recognized.answers.back().begin == one.at(name).at("prompt_length").get<std::int64_t>());
      }
      // By default what a user spells stays text: the same in all chats but the one that tries.
      const RenderedChat kept = rendered(SpelledTokens::keep_as_text);
      const bool tries = messages.front().content.find("<|im_end|>") != std::string::npos;
      CATCH_CHECK((kept.ids != expected) == tries);
      as_text += tries;
      const auto specials = [&](const RenderedChat& chat_ids) {
        return std::ranges::count_if(chat_ids.ids, [&](std::int64_t id) { return tokenizer.is_special(id); });
      };
      // Each message has its turn's special tokens, and no more.
      const auto turns = std::ssize(messages) + (generate_of(one) == GenerationPrompt::add);
      const auto open = generate_of(one) == GenerationPrompt::add;
      CATCH_CHECK(specials(kept) ==
                  (name == std::string_view{"chatml"} ? 2 * turns - open : 3 * turns - open + 1));
    }
    CATCH_CHECK(as_text == 1);
  }
  // The folder says ChatML.
  const auto found = find_chat_template(*folder / "tokenizer");
  const Messages hi{{"user", "Hi"}};
  CATCH_CHECK(chat_encoder(found, tokenizer)(hi, GenerationPrompt::add).ids ==
              chat_encoder(chat_ml(), tokenizer)(hi, GenerationPrompt::add).ids);
}

CATCH_TEST_CASE("a folder's template is looked at when a conversation comes", "[model][chat][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const Tokenizer tokenizer = Tokenizer::from_file(*folder / "tokenizer.json");
  const Messages hi{{"user", "Hi"}};
  CATCH_CHECK_FALSE(chat_encoder(std::optional<ChatTemplate>{}, tokenizer));
  const ChatEncoder unknown = chat_encoder(ChatTemplate{.text = "x", .file = "x.jinja"}, tokenizer);
  CATCH_CHECK_THROWS_AS(unknown(hi, GenerationPrompt::add), ModelFileError);
  CATCH_CHECK_THROWS_AS(unknown(hi, GenerationPrompt::add), ModelFileError);  // and again
  const ChatEncoder lacking =
      chat_encoder(ChatTemplate{.text = for_all + chat_ml_turn + chat_ml_end}, tokenizer);
  const auto error = thrown<OptionError>([&] { (void)lacking(hi, GenerationPrompt::add); });
  CATCH_CHECK(
      contains(error.what(), "needs the special token \"<|im_start|>\", but found a vocabulary without it"));

  // A format of one's own, of text and the tokens that there are.
  const auto turn = [](std::string role) {
    return ChatTurn{.header = {std::move(role) + ": "}, .end = {SpecialToken{"</s>"}}};
  };
  const ChatEncoder own = chat_encoder(
      {.name = "own", .begin = {SpecialToken{"<s>"}}, .user = turn("Q"), .assistant = turn("A")}, tokenizer);
  const Messages both{{"user", "Hi </s>"}, {"assistant", "Ho"}};
  const RenderedChat rendered = own(both, GenerationPrompt::none);
  CATCH_CHECK(std::ranges::count(rendered.ids, *tokenizer.id_of("</s>")) == 2);  // the user's stays text
  CATCH_CHECK(rendered.ids.front() == *tokenizer.id_of("<s>"));
  CATCH_CHECK(rendered.answers.front().end == std::ssize(rendered.ids));
}
