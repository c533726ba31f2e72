// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "counted_allocations.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/tokenizer.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

/// The tokenizer with the given name that make_byte_level_cases.py wrote.
Json defined(const std::string& name) {
  std::ifstream stream{std::filesystem::path{__FILE__}.parent_path() / "byte_level_cases.jsonl"};
  Json model;
  for (std::string text; std::getline(stream, text);) {
    const Json line = parse_json<DataError>(text, {}, "test");
    if (line.contains("model")) model = line["model"];
    if (line.value("define", "") != name) continue;
    Json json = line["json"];
    json["model"] = model;
    return json;
  }
  CATCH_FAIL("no tokenizer " << name);
  return {};
}
std::string refusal(const std::string& content) {
  std::string text;
  const std::size_t peak = test::peak_of([&] {
    text = thrown<ModelFileError>([&] {
             (void)Tokenizer::from_json(content, {.file = "tokenizer.json"});
           }).what();
  });
  // The content's copy, four times as much, and what regular expressions and errors take.
  CATCH_CHECK(peak <= 5 * content.size() + (std::size_t{1} << 20));
  return text;
}

}  // namespace

CATCH_TEST_CASE("every kind of malformed or unsupported byte-level tokenizer.json is refused by name",
                "[model][tokenizer]") {
  struct Case {
    std::string name;
    std::function<void(Json&)> change;
    std::string text;
  };
  const Json good = defined("qwen");
  const auto top = [](const char* key, Json value) {
    return [key, value = std::move(value)](Json& json) { json[key] = value; };
  };
  const auto model = [](const char* key, Json value) {
    return [key, value = std::move(value)](Json& json) { json["model"][key] = value; };
  };
  const auto split = [](const char* key, Json value) {
    return [key, value = std::move(value)](Json& json) {
      json["pre_tokenizer"]["pretokenizers"][0][key] = value;
    };
  };
  const auto regex = [&](const char* pattern) { return split("pattern", {{"Regex", pattern}}); };
  const auto bytes = [](const char* key, Json value) {
    return [key, value = std::move(value)](Json& json) {
      json["pre_tokenizer"]["pretokenizers"][1][key] = value;
    };
  };
  const auto merge = [](Json value) {
    return [value = std::move(value)](Json& json) { json["model"]["merges"][0] = value; };
  };
  const auto added = [](const char* key, Json value) {
    return [key, value = std::move(value)](Json& json) { json["added_tokens"][0][key] = value; };
  };
  const std::string place = "\"pre_tokenizer\".\"pretokenizers\"[0]";
  const std::vector<Case> cases{
      {"pre-tokenizer is a string", top("pre_tokenizer", "ByteLevel"),
       "\"pre_tokenizer\": Tokenizer needs a JSON object"},
      {"pre-tokenizer without type", top("pre_tokenizer", Json::object()), "\"pre_tokenizer\".\"type\""},
      {"pre-tokenizer of another kind", top("pre_tokenizer", {{"type", "Whitespace"}}),
       "a pre-tokenizer among Sequence, Split, Digits, ByteLevel and Metaspace, but found \"Whitespace\""},
      {"no steps", [](Json& j) { j["pre_tokenizer"].erase("pretokenizers"); },
       "\"pretokenizers\": Tokenizer needs this field"},
      {"steps are an object", [](Json& j) { j["pre_tokenizer"]["pretokenizers"] = Json::object(); },
       "an array"},
      {"a step that is null", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0] = nullptr; },
       place + ": Tokenizer needs a JSON object"},
      {"a step of another kind", split("type", "Punctuation"), place + ".\"type\""},
      {"a step after ByteLevel",
       [](Json& j) {
         auto& steps = j["pre_tokenizer"]["pretokenizers"];
         std::swap(steps[0], steps[1]);
       },
       "ByteLevel as the last step"},
      {"too many steps",
       [](Json& j) {
         auto& steps = j["pre_tokenizer"]["pretokenizers"];
         for (int i = 0; i < 40; ++i) steps.insert(steps.begin(), steps[0]);
       },
       "at most 32 steps"},
      {"unknown field of a step", split("speed", 3),
       place + ".\"speed\": Tokenizer needs only fields that are known"},
      {"unknown field of ByteLevel", bytes("speed", 3), "\"speed\""},
      {"unknown field of a pattern", split("pattern", {{"Regex", "a"}, {"flags", "i"}}), "\"flags\""},
      {"no pattern", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0].erase("pattern"); },
       "\"pattern\": Tokenizer needs this field"},
      {"pattern is a string", split("pattern", "a+"), "a JSON object"},
      {"pattern is a number", split("pattern", {{"Regex", 5}}), "\"Regex\": Tokenizer needs a string"},
      {"pattern of no kind", split("pattern", Json::object()), "\"String\": Tokenizer needs this field"},
      {"empty string", split("pattern", {{"String", ""}}), "it matches where nothing is"},
      {"unbalanced", regex("(a"),
       place + ".\"pattern\".\"Regex\": Tokenizer needs a pattern that is supported, but found \"(a\": a "
               "parenthesis is not closed, at byte 2 of the pattern"},
      {"range out of order", regex("[z-a]"), "at byte 3"},
      {"matches nothing", regex("a*"), "it matches where nothing is"},
      {"catastrophic", regex("(a+)+$"), "repeats of repeats"},
      {"enormous", regex("(?:abcdefgh){60000}"), "too large"},
      {"another engine's", regex("\\w+"), "the escape \\w is not supported"},
      {"verbs", regex("(*LIMIT_MATCH=1)a"), "groups other than"},
      {"no behaviour", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0].erase("behavior"); },
       "\"behavior\""},
      {"unknown behaviour", split("behavior", "isolated"),
       "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous"},
      {"invert is a string", split("invert", "no"), "\"invert\": Tokenizer needs true or false"},
      {"add_prefix_space is missing",
       [](Json& j) { j["pre_tokenizer"]["pretokenizers"][1].erase("add_prefix_space"); },
       "\"add_prefix_space\": Tokenizer needs this field"},
      {"use_regex is a number", bytes("use_regex", 1), "\"use_regex\": Tokenizer needs true or false"},
      {"trim_offsets is a string", bytes("trim_offsets", "x"),
       "\"trim_offsets\": Tokenizer needs true or false"},
      {"decoder of the other kind", top("decoder", {{"type", "Fuse"}}),
       "ByteLevel in both the pre-tokenizer and the decoder"},
      {"only the decoder is of bytes",
       [](Json& j) {
         j["pre_tokenizer"] = nullptr;
         j["model"]["unk_token"] = "a";
       },
       "ByteLevel in both the pre-tokenizer and the decoder"},
      {"a byte without a token",
       [](Json& j) {
         const Json id = j["model"]["vocab"]["Ġ"];
         j["model"]["vocab"].erase("Ġ");
         j["model"]["vocab"]["Ġ Ġ"] = id;
       },
       "a token for each of the 256 bytes, since the pre-tokenizer is ByteLevel, but found none for byte 32, "
       "\"Ġ\""},
      {"a byte that is only added",
       [](Json& j) {
         const Json id = j["model"]["vocab"]["!"];
         j["model"]["vocab"].erase("!");
         j["model"]["vocab"]["! "] = id;
         Json token = j["added_tokens"][0];
         token["content"] = "!";
         token["id"] = token["id"].get<int>() + 2;
         j["added_tokens"].push_back(token);
       },
       "none for byte 33"},
      {"ignore_merges is a string", model("ignore_merges", "yes"),
       "\"ignore_merges\": Tokenizer needs true or false"},
      {"byte_fallback is a string", model("byte_fallback", "yes"),
       "\"byte_fallback\": Tokenizer needs true or false"},
      {"fuse_unk is a number", model("fuse_unk", 0), "\"fuse_unk\": Tokenizer needs true or false"},
      {"unk_token is a number", model("unk_token", 0), "\"unk_token\": Tokenizer needs a string"},
      {"no vocabulary", [](Json& j) { j["model"].erase("vocab"); },
       "\"model\".\"vocab\": Tokenizer needs this field"},
      {"vocabulary is null", model("vocab", nullptr), "\"model\".\"vocab\": Tokenizer needs a JSON object"},
      {"id is huge", [](Json& j) { j["model"]["vocab"]["!"] = std::uint64_t{1} << 63; },
       "an integer of at most 64 bits"},
      {"id is sparse", [](Json& j) { j["model"]["vocab"]["!"] = 2'000'000'000; },
       "\"!\": Tokenizer needs an id from 0 to"},
      {"id collides", [](Json& j) { j["model"]["vocab"]["!"] = 1; }, "an id of its own, but found 1"},
      {"merge with two spaces", merge("a b c"),
       "\"merges[0]\": Tokenizer needs two tokens with one space between"},
      {"merge of empty parts", merge(" "),
       "\"merges[0]\": Tokenizer needs tokens of the vocabulary, but found \"\""},
      {"merge of unknown parts", merge("ĠĠĠ a"), "tokens of the vocabulary, but found \"ĠĠĠ\""},
      {"merge into an unknown token", merge("a !"), "tokens of the vocabulary, but found \"a!\""},
      {"merge into a token that is only added",
       [](Json& j) {
         Json token = j["added_tokens"][0];
         token["content"] = "a!";
         token["id"] = token["id"].get<int>() + 2;
         j["added_tokens"].push_back(token);
         j["model"]["merges"][0] = "a !";
       },
       "\"merges[0]\": Tokenizer needs tokens of the vocabulary, but found \"a!\""},
      {"digits that are numbers", split("type", "Digits"), "only fields that are known"},
      {"no individual_digits", [](Json& j) { j["pre_tokenizer"]["pretokenizers"][0] = {{"type", "Digits"}}; },
       "\"individual_digits\": Tokenizer needs this field"},
      {"merge of an object", merge(Json::object()), "two tokens, as"},
      {"merges are a string", model("merges", "a b"), "\"merges\": Tokenizer needs an array"},
      {"added tokens are an object", top("added_tokens", Json::object()),
       "\"added_tokens\": Tokenizer needs an array"},
      {"added id is negative", added("id", -1), "\"added_tokens\"[0].\"id\""},
      {"added id is huge", added("id", std::int64_t{1} << 62), "the next free id"},
      {"added id collides", added("id", 0), "the next free id"},
      {"special is a string", added("special", "yes"), "\"special\": Tokenizer needs true or false"},
      {"added token of a lone surrogate's bytes", added("normalized", 1),
       "\"normalized\": Tokenizer needs true or false"},
      {"normalizer of another kind", top("normalizer", {{"type", "NFKD"}}),
       "a normalizer among Sequence, NFC, Prepend and Replace"},
      {"post-processor of another kind", top("post_processor", {{"type", "RobertaProcessing"}}),
       "\"RobertaProcessing\""},
      {"steps of a post-processor are missing", top("post_processor", {{"type", "Sequence"}}),
       "\"processors\""},
  };
  CATCH_CHECK(cases.size() >= 50);
  CATCH_CHECK_NOTHROW(Tokenizer::from_json(good.dump()));
  for (const Case& item : cases) {
    CATCH_INFO(item.name);
    Json json = good;
    item.change(json);
    const std::string text = refusal(json.dump());
    CATCH_INFO(text);
    CATCH_CHECK(contains(text, item.text));
    CATCH_CHECK(contains(text, "tokenizer.json: "));
  }
  const std::vector<std::function<void(Json&)>> twins{
      regex("a+"),
      split("pattern", {{"String", "(a"}}),
      split("behavior", "Contiguous"),
      split("invert", true),
      [](Json& j) { j["pre_tokenizer"]["pretokenizers"][1].erase("trim_offsets"); },
      model("byte_fallback", true),
      [](Json& j) { j["pre_tokenizer"] = j["pre_tokenizer"]["pretokenizers"][1]; },
      merge("Ġ a"),
      top("post_processor", nullptr)};
  for (const auto& change : twins) {
    Json json = good;
    change(json);
    CATCH_CHECK_NOTHROW(Tokenizer::from_json(json.dump()));
  }
}

CATCH_TEST_CASE("a tokenizer.json that is torn or altered anywhere is refused or read, and nothing else",
                "[model][tokenizer]") {
  const std::string good = defined("gpt2").dump();
  CATCH_CHECK(contains(refusal(good.substr(0, good.size() / 2)), "tokenizer.json:1:"));
  CATCH_CHECK(contains(refusal(good + "x"), "valid JSON"));
  CATCH_CHECK(contains(refusal("{\"a\":\"\xFF\"}"), "tokenizer.json:1:7: Tokenizer needs valid JSON"));
  CATCH_CHECK(contains(refusal("{\"a\":\"\\ud800\"}"), "valid JSON"));
  CATCH_CHECK(contains(refusal(good.substr(0, 50) + std::string(1, '\0') + good.substr(50)), "a zero byte"));
  std::string deep = "{\"pre_tokenizer\":";
  for (int i = 0; i < 100'000; ++i) deep += "{\"type\":\"Sequence\",\"pretokenizers\":[";
  CATCH_CHECK(contains(refusal(deep), "at most 64 levels of nesting"));

  // Bytes changed at random: whatever comes of it, it is a tokenizer or our error.
  SplitMix64 random{Seed{3}};
  int refused = 0;
  for (int round = 0; round < 150; ++round) {
    std::string altered = good;
    // Half of the time any byte, half of the time a letter or digit.
    const auto byte = random.below(2) == 0 ? random.below(256) : '0' + random.below(75);
    altered[random.below(altered.size())] = static_cast<char>(byte);
    try {
      (void)Tokenizer::from_json(altered).encode("Once upon a time, 12 é");
    } catch (const ModelFileError&) {
      ++refused;
    }
  }
  CATCH_CHECK(refused > 50);
  CATCH_CHECK(refused < 150);
}
