// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/tokenizer.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::TemporaryFolder;
using test::thrown;

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::ifstream stream{path};
  CATCH_REQUIRE(stream.good());
  std::vector<Json> lines;
  for (std::string line; std::getline(stream, line);)
    lines.push_back(parse_json<DataError>(line, {}, "test"));
  return lines;
}
/// Made by make_tokenizer_cases.py, beside it.
std::vector<Json> generated_cases() {
  return read_lines(std::filesystem::path{__FILE__}.parent_path() / "tokenizer_cases.jsonl");
}
Json defined(const std::string& name) {
  for (const Json& line : generated_cases()) {
    if (line.value("define", "") == name) return line["json"];
  }
  CATCH_FAIL("no tokenizer " << name);
  return {};
}
Tokenizer tokenizer_of(const Json& json) {
  return Tokenizer::from_json(json.dump(), {.file = "tokenizer.json"});
}

void check_generated(const std::string& name, const Tokenizer& tokenizer) {
  int encoded = 0;
  int decoded = 0;
  for (const Json& line : generated_cases()) {
    if (line.value("tokenizer", "") != name) continue;
    CATCH_INFO(line.dump());
    if (line.contains("decode")) {
      const auto ids = line["decode"].get<TokenIds>();
      CATCH_CHECK(tokenizer.decode(ids) == line["text"].get<std::string>());
      CATCH_CHECK(tokenizer.decode(ids, DecodedTokens::all) == line["text_all"].get<std::string>());
      ++decoded;
      continue;
    }
    const auto text = line["text"].get<std::string>();
    CATCH_CHECK(tokenizer.encode(text, SpecialTokens::add, SpelledTokens::recognize) ==
                line["ids"].get<TokenIds>());
    const TokenIds as_text = tokenizer.encode(text, SpecialTokens::none, SpelledTokens::keep_as_text);
    if (!line["as_text"].is_null()) CATCH_CHECK(as_text == line["as_text"].get<TokenIds>());
    for (const std::int64_t id : as_text)
      CATCH_CHECK((!tokenizer.is_special(id) || tokenizer.token(id) == "<unk>"));
    ++encoded;
  }
  CATCH_CHECK(encoded == 130);
  CATCH_CHECK(decoded == 60);
}

}  // namespace

CATCH_TEST_CASE("small tokenizers agree with the tokenizers library on random texts and ids",
                "[model][tokenizer]") {
  for (const char* name : {"fallback", "unknown", "fused", "added", "added whole", "metaspace always True",
                           "metaspace first False", "metaspace first True", "metaspace never True"}) {
    CATCH_INFO(name);
    check_generated(name, tokenizer_of(defined(name)));
  }
}

CATCH_TEST_CASE("the tokenizer of stories260k agrees with the tokenizers library",
                "[model][tokenizer][third-party]") {
  const auto folder = test::third_party_data("stories260k");
  if (!folder) return;
  const Tokenizer tokenizer = Tokenizer::from_file(*folder / "tokenizer.json");
  check_generated("stories260k", tokenizer);
  const std::vector<Json> cases = read_lines(*folder / "tokenizer_cases.jsonl");
  CATCH_CHECK(cases.size() == 40);
  for (const Json& line : cases) {
    const auto text = line["text"].get<std::string>();
    const TokenIds ids = tokenizer.encode(text, SpecialTokens::add, SpelledTokens::recognize);
    CATCH_CHECK(ids == line["ids"].get<TokenIds>());
    CATCH_CHECK(tokenizer.encode(text, SpecialTokens::none, SpelledTokens::recognize) ==
                line["ids_no_special"].get<TokenIds>());
    CATCH_CHECK(tokenizer.decode(ids) == line["decoded"].get<std::string>());
  }
  CATCH_CHECK(tokenizer.vocab_size() == 512);
  CATCH_CHECK(tokenizer.bos() == 1);
  CATCH_CHECK(tokenizer.eos() == 2);
  CATCH_CHECK(tokenizer.id_of("▁the") == 265);
  CATCH_CHECK_FALSE(tokenizer.id_of("the cat"));

  const TemporaryFolder copy;
  tokenizer.to_file(copy.path() / "tokenizer.json");
  CATCH_CHECK(read_file(copy.path() / "tokenizer.json", "test") ==
              read_file(*folder / "tokenizer.json", "test"));
}

CATCH_TEST_CASE("a special token's name in a text is a token or text, as asked", "[model][tokenizer]") {
  const Tokenizer tokenizer = tokenizer_of(defined("fallback"));
  const std::int64_t end = tokenizer.id_of("</s>").value();
  const auto count = [&](const TokenIds& ids) { return std::count(ids.begin(), ids.end(), end); };
  CATCH_CHECK(tokenizer.ids_after() == TokenIds{end});
  // Here "</s>" is looked for in the normalised text, with ▁ in front: not in the middle of a word.
  CATCH_CHECK(count(tokenizer.encode("</s>", SpecialTokens::none, SpelledTokens::recognize)) == 1);
  CATCH_CHECK(count(tokenizer.encode("</s>", SpecialTokens::none, SpelledTokens::keep_as_text)) == 0);
  CATCH_CHECK(count(tokenizer.encode("</s>", SpecialTokens::none)) == 0);  // text, unless asked otherwise
  CATCH_CHECK(tokenizer.decode(
                  tokenizer.encode("a </s>", SpecialTokens::none, SpelledTokens::keep_as_text)) == "a </s>");
}

CATCH_TEST_CASE("ids without a token and bytes without a character become U+FFFD", "[model][tokenizer]") {
  const Tokenizer tokenizer = tokenizer_of(defined("fallback"));
  const std::int64_t e2 = tokenizer.id_of("<0xE2>").value();
  CATCH_CHECK(tokenizer.decode(TokenIds{-1, tokenizer.vocab_size()}) == "\uFFFD\uFFFD");
  CATCH_CHECK(tokenizer.decode(TokenIds{e2}) == "\uFFFD");
  CATCH_CHECK(is_valid_utf8(tokenizer.decode(TokenIds{e2, e2, 5})));
  CATCH_CHECK(tokenizer.decode(TokenIds{}) == "");
  const auto error = thrown<DataError>([&] { (void)tokenizer.encode("ab\xFF"); });
  CATCH_CHECK(contains(error.what(), "text in UTF-8, but found an invalid byte at offset 2"));
  CATCH_CHECK(tokenizer.encode(repair_utf8("ab\xFF")) == tokenizer.encode("ab\uFFFD"));
}

CATCH_TEST_CASE("merging parts apart gives what merging the whole gives", "[model][tokenizer]") {
  // The plain definition: of all pairs the one of lowest rank, leftmost first, over the whole text.
  Json json = defined("fallback");
  auto& added = json["added_tokens"].get_ref<Json::array_t&>();
  added.resize(3);  // without "b a", which is found in texts that have ▁ for the space
  const Tokenizer tokenizer = tokenizer_of(json);
  std::map<std::pair<std::string, std::string>, int> ranks;
  for (const Json& merge : json["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    const auto space = text.find(' ');
    ranks.emplace(std::pair{text.substr(0, space), text.substr(space + 1)}, static_cast<int>(ranks.size()));
  }
  SplitMix64 random{Seed{7}};
  const std::vector<std::string> letters{"a", "b", "é", "漢", "字", "▁"};
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> symbols{"▁"};  // prepended by the normaliser
    std::string text;
    for (std::uint64_t length = random.below(40) + 1; length > 0; --length) {
      symbols.push_back(letters[random.below(letters.size())]);
      text += symbols.back();
    }
    for (;;) {
      std::size_t best = symbols.size();
      int lowest = static_cast<int>(ranks.size());
      for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
        const auto at = ranks.find({symbols[i], symbols[i + 1]});
        if (at != ranks.end() && at->second < lowest) std::tie(best, lowest) = std::pair{i, at->second};
      }
      if (best == symbols.size()) break;
      symbols[best] += symbols[best + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    TokenIds expected;
    for (const std::string& symbol : symbols) {
      CATCH_REQUIRE(tokenizer.id_of(symbol));
      expected.push_back(*tokenizer.id_of(symbol));
    }
    CATCH_CHECK(tokenizer.encode(text, SpecialTokens::none, SpelledTokens::keep_as_text) == expected);
  }
}

CATCH_TEST_CASE("a merge of byte tokens works across characters", "[model][tokenizer]") {
  Json json = defined("fallback");
  const auto next = static_cast<std::int64_t>(json["model"]["vocab"].size() + 20);
  json["model"]["vocab"]["<0xC3><0xBC>"] = next;  // ü, of which the vocabulary has no character
  json["model"]["vocab"]["<0xC3><0xBC>a"] = next + 1;
  json["model"]["merges"].push_back("<0xC3> <0xBC>");
  json["model"]["merges"].push_back("<0xC3><0xBC> a");
  for (Json& token : json["added_tokens"]) {  // their ids follow the vocabulary
    if (!json["model"]["vocab"].contains(token["content"].get<std::string>())) {
      token["id"] = token["id"].get<std::int64_t>() + 2;
    }
  }
  const TokenIds ids = tokenizer_of(json).encode("üa", SpecialTokens::none);
  CATCH_CHECK(ids.back() == next + 1);
}

CATCH_TEST_CASE("a tokenizer serves many threads at once", "[model][tokenizer]") {
  const Tokenizer tokenizer = tokenizer_of(defined("fallback"));
  std::vector<TokenIds> found(4);
  std::vector<std::thread> threads;
  for (TokenIds& ids : found) {
    threads.emplace_back([&ids, tokenizer] {
      for (int i = 0; i < 100; ++i) ids = tokenizer.encode("aba é漢字 <s> abba");
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const TokenIds& ids : found) CATCH_CHECK(ids == tokenizer.encode("aba é漢字 <s> abba"));
}

CATCH_TEST_CASE("every kind of malformed or unsupported tokenizer.json is refused by name",
                "[model][tokenizer]") {
  struct Case {
    std::string name;
    std::function<void(Json&)> change;
    std::string text;
  };
  const Json good = defined("fallback");
  const auto model = [](const char* key, Json value) {
    return [key, value](Json& json) { json["model"][key] = value; };
  };
  const auto top = [](const char* key, Json value) {
    return [key, value](Json& json) { json[key] = value; };
  };
  const auto merge = [](Json value) { return [value](Json& json) { json["model"]["merges"][0] = value; }; };
  const auto token = [](const char* key, Json value) {
    return [key, value](Json& json) { json["added_tokens"][0][key] = value; };
  };
  const auto single = [](Json value) {
    return [value](Json& json) { json["post_processor"]["single"] = value; };
  };
  const Json text_part{{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json replace{{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", "x"}};
  const Json regex{{"type", "Replace"}, {"pattern", {{"Regex", "a+"}}}, {"content", "x"}};
  const std::vector<Case> cases{
      {"unknown field", top("extra", 1), "\"extra\": Tokenizer needs only fields that are known"},
      {"no model", [](Json& j) { j.erase("model"); }, "\"model\": Tokenizer needs this field"},
      {"model is null", top("model", nullptr), "a JSON object, but found null"},
      {"unigram", model("type", "Unigram"),
       "\"BPE\", but found \"Unigram\". Tokenizers with this part are not supported"},
      {"no type", [](Json& j) { j["model"].erase("type"); }, "\"model\".\"type\""},
      {"unknown field of the model", model("speed", 2), "\"speed\""},
      {"dropout", model("dropout", 0.1), "Random merges are not supported"},
      {"dropout is a string", model("dropout", "no"), "a number"},
      {"word prefix", model("continuing_subword_prefix", "##"), "Marked parts of words are not supported"},
      {"word suffix", model("end_of_word_suffix", "</w>"), "Marked parts of words are not supported"},
      {"unknown token that is none", model("unk_token", "<nope>"),
       "a token of the vocabulary, but found \"<nope>\""},
      {"unknown token is a number", model("unk_token", 0), "a string"},
      {"byte missing",
       [](Json& j) {
         j["model"]["vocab"]["<0x7f>"] = j["model"]["vocab"]["<0x7F>"];
         j["model"]["vocab"].erase("<0x7F>");
       },
       "a token for each of the 256 bytes, but found no <0x7F>"},
      {"byte_fallback is a number", model("byte_fallback", 1), "true or false"},
      {"nothing for unknown characters",
       [](Json& j) {
         j["model"]["byte_fallback"] = false;
         j["model"]["unk_token"] = nullptr;
       },
       "Otherwise they would vanish"},
      {"vocabulary is a list", model("vocab", Json::array({"a"})), "a JSON object, but found an array"},
      {"id is a string", [](Json& j) { j["model"]["vocab"]["a"] = "7"; },
       "\"a\": Tokenizer needs an integer"},
      {"id is a fraction", [](Json& j) { j["model"]["vocab"]["a"] = 7.5; }, "an integer"},
      {"id is negative", [](Json& j) { j["model"]["vocab"]["a"] = -1; }, "an id from 0"},
      {"id is huge", [](Json& j) { j["model"]["vocab"]["a"] = std::int64_t{1} << 40; }, "an id from 0"},
      {"id twice", [](Json& j) { j["model"]["vocab"]["a"] = 0; }, "an id of its own"},
      {"empty token", [](Json& j) { j["model"]["vocab"][""] = 900; }, "a token that is not empty"},
      {"merges are an object", model("merges", Json::object()), "\"merges\": Tokenizer needs an array"},
      {"no merges", [](Json& j) { j["model"].erase("merges"); }, "\"merges\": Tokenizer needs this field"},
      {"merge without a space", merge("ab"),
       "\"merges[0]\": Tokenizer needs two tokens with one space between"},
      {"merge with two spaces", merge("a b c"), "two tokens with one space between"},
      {"merge of one", merge(Json::array({"a"})), "two tokens, as"},
      {"merge of three", merge(Json::array({"a", "b", "c"})), "two tokens, as"},
      {"merge of numbers", merge(Json::array({1, 2})), "two tokens, as"},
      {"merge is null", merge(nullptr), "two tokens, as"},
      {"merge of an unknown token", merge("a q"), "tokens of the vocabulary, but found \"q\""},
      {"unknown token that is only added", model("unk_token", "b a"), "a token of the vocabulary"},
      {"byte that is only added",
       [](Json& j) {
         const Json id = j["model"]["vocab"]["<0x7F>"];
         j["model"]["vocab"].erase("<0x7F>");
         j["model"]["vocab"]["<0x7F"] = id;
         Json token = j["added_tokens"].back();
         token["content"] = "<0x7F>";
         token["id"] = token["id"].get<int>() + 1;
         j["added_tokens"].push_back(token);
       },
       "a token for each of the 256 bytes, but found no <0x7F>"},
      {"merge into an unknown token", merge("é b"), "tokens of the vocabulary, but found \"éb\""},
      {"no added tokens", [](Json& j) { j.erase("added_tokens"); },
       "\"added_tokens\": Tokenizer needs this field"},
      {"added token is a string", [](Json& j) { j["added_tokens"][0] = "<s>"; },
       "\"added_tokens\"[0]: Tokenizer needs a JSON object"},
      {"added token without content", [](Json& j) { j["added_tokens"][0].erase("content"); }, "\"content\""},
      {"empty added token", token("content", ""), "a token that is not empty"},
      {"another id than the vocabulary's", token("id", 2),
       "the id that the vocabulary gives the token, 0, but found 2"},
      {"a gap before an added token", [](Json& j) { j["added_tokens"].back()["id"] = 800; },
       "the next free id"},
      {"an added token on a taken id", [](Json& j) { j["added_tokens"].back()["id"] = 5; },
       "the next free id"},
      {"whole words as a string", token("single_word", "yes"),
       "\"single_word\": Tokenizer needs true or false"},
      {"normalizer NFKC", top("normalizer", {{"type", "NFKC"}}),
       "a normalizer among Sequence, NFC, Prepend and Replace, but found \"NFKC\""},
      {"normalizer without type", top("normalizer", Json::object()),
       "\"normalizer\".\"type\": Tokenizer needs this field"},
      {"normalizer is a string", top("normalizer", "NFC"), "a JSON object, but found the string \"NFC\""},
      {"normalizers inside",
       top("normalizer", {{"type", "Sequence"}, {"normalizers", Json::array({Json{{"type", "Strip"}}})}}),
       "\"normalizer\".\"normalizers\"[0].\"type\""},
      {"empty pattern", top("normalizer", replace), "a pattern that is not empty"},
      {"regular expression", top("normalizer", regex), "Regular expressions are not supported here"},
      {"pre-tokenizer", top("pre_tokenizer", {{"type", "Whitespace"}}),
       "a pre-tokenizer among Sequence, Split, Digits, ByteLevel and Metaspace, but found \"Whitespace\""},
      {"Metaspace of another mark", top("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "_"}}),
       "Other marks are not supported"},
      {"Metaspace of another scheme",
       top("pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", "last"}}),
       "always, first or never"},
      {"Metaspace that contradicts itself",
       top("pre_tokenizer", {{"type", "Metaspace"},
                             {"replacement", "▁"},
                             {"prepend_scheme", "first"},
                             {"add_prefix_space", false}}),
       "true, as prepend_scheme says"},
      {"post-processor", top("post_processor", {{"type", "BertProcessing"}}), "\"BertProcessing\""},
      {"template without text", single(Json::array()), "the text itself, as a Sequence, but found none"},
      {"template with the text twice", single(Json::array({text_part, text_part})), "a second time"},
      {"template with an unknown token",
       single(Json::array({Json{{"SpecialToken", {{"id", "<x>"}}}}, text_part})), "\"<x>\""},
      {"template with another part", single(Json::array({Json{{"Other", 1}}, text_part})),
       "\"SpecialToken\""},
      {"template with an id out of range",
       [](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"] = {5000}; },
       "ids of the vocabulary, but found 5000"},
      {"normalizer that explodes",
       [](Json& j) {
         const Json twice{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
         j["normalizer"] = {{"type", "Sequence"}, {"normalizers", std::vector<Json>(60, twice)}};
       },
       "at most 1024 times longer"},
      {"decoder that explodes",
       [](Json& j) {
         const Json twice{{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
         j["decoder"] = {{"type", "Sequence"}, {"decoders", std::vector<Json>(60, twice)}};
       },
       "at most 1024 times longer"},
      {"template that explodes",
       [](Json& j) { j["post_processor"]["special_tokens"]["<s>"]["ids"] = std::vector<int>(2000, 1); },
       "at most 1024 special tokens"},
      {"normalizer that swallows an added token",
       [](Json& j) {
         j["normalizer"] = {{"type", "Replace"}, {"pattern", {{"String", "b a"}}}, {"content", ""}};
       },
       "leaves something of, but found \"b a\""},
      {"no decoder", top("decoder", nullptr), "\"decoder\""},
      {"decoder WordPiece", top("decoder", {{"type", "WordPiece"}}), "a decoder among"},
      {"strip of two characters",
       top("decoder", {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}}), "one character"},
      {"negative strip", top("decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}),
       "a count from 0"},
  };
  CATCH_CHECK(cases.size() >= 50);
  CATCH_CHECK_NOTHROW(tokenizer_of(good));
  for (const Case& item : cases) {
    CATCH_INFO(item.name);
    Json json = good;
    item.change(json);
    const std::string text = thrown<ModelFileError>([&] { (void)tokenizer_of(json); }).what();
    CATCH_INFO(text);
    CATCH_CHECK(contains(text, item.text));
    CATCH_CHECK(contains(text, "tokenizer.json: "));
  }
  // What is allowed but not in the files above.
  const std::vector<std::function<void(Json&)>> twins{
      model("dropout", 0.0),
      token("single_word", true),
      top("normalizer", {{"type", "NFC"}}),
      model("continuing_subword_prefix", ""),
      top("normalizer", nullptr),
      top("truncation", {{"max_length", 5}}),
      top("post_processor", nullptr),
      merge(Json::array({"▁", "a"})),
      top("post_processor",
          {{"type", "Sequence"}, {"processors", {{{"type", "ByteLevel"}}, good["post_processor"]}}})};
  for (const auto& change : twins) {
    Json json = good;
    change(json);
    CATCH_CHECK_NOTHROW(tokenizer_of(json));
  }
  const auto raw = [](const std::string& content) {
    return std::string{
        thrown<ModelFileError>([&] { (void)Tokenizer::from_json(content, {.file = "t.json"}); }).what()};
  };
  CATCH_CHECK(contains(raw(""), "t.json:1:1: Tokenizer needs valid JSON"));
  CATCH_CHECK(contains(raw("[]"), "a JSON object"));
  CATCH_CHECK(contains(raw(R"({"model":{"vocab":{"a":1,"a":1}}})"), "\"a\": Tokenizer needs each key once"));
  CATCH_CHECK(contains(raw(std::string(1'000'000, '[')), "at most 64 levels of nesting"));
}
