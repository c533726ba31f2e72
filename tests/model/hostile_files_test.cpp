// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What reading a stranger's file costs, whether it is accepted or refused.
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "counted_allocations.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/safetensors_header.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/model/weight_index.hpp"

namespace {

using namespace tithe;

constexpr std::size_t mebibyte = 1 << 20;

/// The most memory that reading takes at a time, besides the text; errors of ours are caught and count too.
std::size_t peak_of(const std::function<void()>& read) {
  return test::peak_of([&] {
    try {
      read();
    } catch (const ModelFileError&) {  // refused: as good as read
    }
  });
}

struct Hostile {
  std::string name;
  std::string text;
};

std::string repeated(std::string_view before, std::size_t count,
                     const std::function<std::string(std::size_t)>& item, std::string_view after) {
  std::string text{before};
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ",") + item(i);
  return text += after;
}

/// Texts of about a megabyte, as unkind to a parser as they come.
std::vector<Hostile> hostile_texts() {
  constexpr std::size_t mega = 1 << 20;
  const auto quoted = [](std::size_t i) { return '"' + std::to_string(i) + '"'; };
  const std::string ones = repeated("[", 32, [](std::size_t) { return "1"; }, "]");
  return {
      {"many small tensors",
       repeated(
           "{", 20'000,
           [&](std::size_t i) { return quoted(i) + R"(:{"dtype":"U8","shape":[0],"data_offsets":[0,0]})"; },
           "}")},
      {"many dimensions", repeated(
                              "{", 8'000,
                              [&](std::size_t i) {
                                return quoted(i) + R"(:{"dtype":"U8","shape":)" + ones +
                                       R"(,"data_offsets":[0,0]})";
                              },
                              "}")},
      {"many entries of metadata",
       repeated(
           R"({"__metadata__":{)", 90'000, [&](std::size_t i) { return quoted(i) + ":\"\""; }, "}}")},
      {"a long name",
       "{\"" + std::string(mega, 'a') + R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})"},
      {"a long name that does not end", "{\"" + std::string(mega, 'a')},
      {"the longest name that breaks off", "{\"" + std::string(65'000, 'a')},
      {"a long name of escapes", "{\"" + repeated(
                                             "", mega / 6, [](std::size_t) { return "\\u0001"; }, "")},
      {"a long dtype", R"({"a":{"dtype":")" + std::string(mega, 'a') + "\"}}"},
      {"a long metadata text", R"({"__metadata__":{"a":")" + std::string(mega, 'a') + "\"}}"},
      {"a long number", R"({"a":{"dtype":"U8","shape":[)" + std::string(mega, '1') + "]}}"},
      {"a long shape",
       repeated(
           R"({"a":{"dtype":"U8","shape":[)", mega / 2, [](std::size_t) { return "1"; }, "]}}")},
      {"deep arrays", std::string(mega, '[')},
      {"deep objects", repeated(
                           "", mega / 6, [](std::size_t) { return "{\"a\":"; }, "")},
      {"an array of numbers", repeated(
                                  "{\"a\":[", mega / 2, [](std::size_t) { return "0"; }, "]}")},
      {"an array of arrays", repeated(
                                 "{\"a\":[", mega / 3, [](std::size_t) { return "[]"; }, "]}")},
      {"many keys", repeated(
                        "{", 90'000, [&](std::size_t i) { return quoted(i) + ":0"; }, "}")},
      {"spaces", "{" + std::string(mega, ' ') + "}"},
      {"a long index", repeated(
                           R"({"weight_map":{)", 40'000,
                           [&](std::size_t i) { return quoted(i) + ":\"a.safetensors\""; }, "}}")},
      {"an index of many files",
       repeated(
           R"({"weight_map":{)", 30'000,
           [&](std::size_t i) { return quoted(i) + ":\"" + std::to_string(i) + ".safetensors\""; }, "}}")},
      {"an index of one tensor",
       repeated(
           R"({"weight_map":{)", 40'000, [&](std::size_t) { return "\"a\":\"a.safetensors\""; }, "}}")},
      {"an index with much metadata",
       repeated(
           R"({"metadata":{)", 90'000, [&](std::size_t i) { return quoted(i) + ":[]"; }, "}}")},
  };
}

}  // namespace

CATCH_TEST_CASE("hostile headers and indexes take no more than four times their size", "[model][hostile]") {
  for (const Hostile& item : hostile_texts()) {
    std::string file;
    for (std::size_t i = 0; i < 8; ++i) file += static_cast<char>(item.text.size() >> (8 * i));
    file += item.text;
    const std::size_t header = peak_of([&] { (void)read_safetensors_header(file, {.file = "f"}); });
    const std::size_t index = peak_of([&] { (void)parse_weight_index(item.text, {.file = "f"}); });
    CATCH_CAPTURE(item.name, item.text.size(), header, index);
    // A token of 64 KiB that breaks off costs ten times that in the parser's own complaint.
    constexpr std::size_t complaint = 11 << 16;
    CATCH_CHECK(header <= 4 * item.text.size() + complaint);
    CATCH_CHECK(index <= 4 * item.text.size() + complaint);
  }
}

CATCH_TEST_CASE("a hostile configuration is a small one", "[model][hostile]") {
  const test::TemporaryFolder folder;
  const auto large = folder.file("config.json", std::string((1 << 18) + 1, ' '));
  std::string text;
  const std::size_t refused = peak_of([&] {
    try {
      (void)read_config(large);
    } catch (const ModelFileError& error) {
      text = error.what();
    }
  });
  CATCH_CHECK(test::contains(text, "at most 262144 bytes, but found 262145"));
  CATCH_CHECK(refused < 10'000);  // it is not even read
  for (const Hostile& item : hostile_texts()) {
    const std::size_t config = peak_of([&] { (void)parse_config(item.text, {.file = "f"}); });
    CATCH_CAPTURE(item.name, item.text.size(), config);
    // Four times as a document, and once more the lists that its destructor makes of it.
    CATCH_CHECK(config <= 6 * item.text.size() + mebibyte);
  }
}

namespace {

/// A byte-level tokenizer whose parts are what is given, and nothing else.
std::string tokenizer_of(const std::string& vocab, const std::string& merges, const std::string& added = "[]",
                         const std::string& others = "") {
  return R"({"added_tokens":)" + added + others + R"(,"decoder":{"type":"ByteLevel"},)" +
         R"("pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)" +
         R"("model":{"type":"BPE","vocab":)" + vocab + R"(,"merges":)" + merges + "}}";
}

std::vector<Hostile> hostile_tokenizers() {
  constexpr std::size_t many = 100'000;
  const auto name = [](std::size_t i) { return '"' + std::to_string(i) + '"'; };
  const auto list = [](std::size_t count, const std::string& item) {
    return repeated("[", count, [&](std::size_t) { return item; }, "]");
  };
  const auto tokens = [&](std::size_t step) {
    return repeated("{", many, [&](std::size_t i) { return name(i) + ':' + std::to_string(step * i); }, "}");
  };
  const std::string sequence = R"(,"normalizer":{"type":"Sequence","normalizers":)";
  const std::string long_text(60'000, 'a');
  return {
      {"an empty vocabulary and empty merges of arrays", tokenizer_of("{}", list(many, "[]"))},
      {"a vocabulary", tokenizer_of(tokens(1), "[]")},
      {"a vocabulary with gaps", tokenizer_of(tokens(2), "[]")},
      {"a vocabulary with large gaps", tokenizer_of(tokens(1000), "[]")},
      {"a vocabulary of lists", tokenizer_of(list(many, "[\"a\",0.5]"), "[]")},
      {"a vocabulary of empty lists", tokenizer_of(list(3 * many, "[]"), "[]")},
      {"merges of one character", tokenizer_of(R"({"a":0,"aa":1})", list(many, R"("a a")"))},
      {"merges in pairs", tokenizer_of(R"({"a":0,"aa":1})", list(many, R"(["a","a"])"))},
      {"merges of numbers", tokenizer_of(R"({"a":0,"aa":1})", list(many, "1"))},
      {"merges as an object", tokenizer_of(R"({"a":0,"aa":1})", tokens(1))},
      {"empty added tokens", tokenizer_of("{}", "[]", list(many, "{}"))},
      {"a few empty added tokens", tokenizer_of("{}", "[]", list(9'000, "{}"))},
      {"added tokens", tokenizer_of("{}", "[]",
                                    repeated(
                                        "[", 3'000,
                                        [&](std::size_t i) {
                                          return R"({"special":true,"id":)" + std::to_string(i) +
                                                 R"(,"content":)" + name(i) + '}';
                                        },
                                        "]"))},
      {"a long added token",
       tokenizer_of("{}", "[]", R"([{"id":0,"special":true,"content":")" + long_text + "\"}]")},
      {"a long added token that grows",
       tokenizer_of("{}", "[]", R"([{"id":0,"content":")" + long_text + "\"}]",
                    R"(,"normalizer":{"type":"Replace","pattern":{"String":"a"},"content":")" +
                        std::string(1000, 'b') + "\"}")},
      {"many steps", tokenizer_of("{}", "[]", "[]", sequence + list(many, R"({"type":"NFC"})") + '}')},
      {"a few steps", tokenizer_of("{}", "[]", "[]",
                                   sequence +
                                       list(4'000, R"({"type":"Replace","pattern":{"String":"a"},)"
                                                   R"("content":"b"})") +
                                       '}')},
      {"a long token", tokenizer_of("{\"" + std::string(mebibyte, 'a') + "\":0}", "[]")},
      {"a long token that breaks off", R"({"model":{"vocab":{")" + std::string(mebibyte, 'a')},
      {"a vocabulary that breaks off", R"({"model":{"vocab":)" + tokens(1).substr(0, many)},
      {"empty arrays", list(3 * many, "[]")},
  };
}

}  // namespace

CATCH_TEST_CASE("hostile tokenizers take no more than five times their size", "[model][tokenizer][hostile]") {
  std::vector<Hostile> all = hostile_texts();
  for (Hostile& item : hostile_tokenizers()) all.push_back(std::move(item));
  for (const Hostile& item : all) {
    const std::size_t tokenizer = peak_of([&] { (void)Tokenizer::from_json(item.text); });
    CATCH_CAPTURE(item.name, item.text.size(), tokenizer);
    CATCH_CHECK(tokenizer <= 5 * item.text.size() + mebibyte);
  }
}

CATCH_TEST_CASE("documents of hostile JSON are refused before they are large", "[data][json][hostile]") {
  const std::string empty = repeated("[", 300'000, [](std::size_t) { return "[]"; }, "]");
  // The control: what would be taken without the limit.
  CATCH_CHECK(peak_of([&] { const Json whole = Json::parse(empty); }) > 12 * empty.size());
  CATCH_CHECK(peak_of([&] { (void)parse_json<ModelFileError>(empty, {}, "test", 64); }) > 12 * empty.size());
  CATCH_CHECK(peak_of([&] { (void)parse_json<ModelFileError>(empty, {}, "test"); }) <=
              5 * empty.size() + mebibyte);
  const auto refusal =
      test::thrown<DataError>([&] { (void)parse_json<DataError>(empty, {.file = "f"}, "test"); });
  CATCH_CHECK(
      test::contains(refusal.what(), "test needs a document that takes at most 4583044 bytes of memory"));
  CATCH_INFO(refusal.what());
  CATCH_CHECK(refusal.where().line == 1);
  CATCH_CHECK(refusal.where().column > 100'000);

  // What is not hostile: a line of 100,000 ids, and a mebibyte of objects as files of tokens have them.
  const std::string ids =
      repeated(R"({"prompt_ids":[)", 100'000, [](std::size_t i) { return std::to_string(i % 1000); }, "]}");
  CATCH_CHECK(parse_json<DataError>(ids, {}, "test")["prompt_ids"].size() == 100'000);
  const std::string tokens = repeated(
      "{", 8'000,
      [](std::size_t i) {
        return '"' + std::to_string(i) + R"(": {
      "content": "<pad>",
      "lstrip": false,
      "normalized": false,
      "rstrip": false,
      "single_word": false,
      "special": true
    })";
      },
      "}");
  CATCH_CHECK(parse_json<DataError>(tokens, {}, "test").size() == 8'000);
}

CATCH_TEST_CASE("long strings that are wrong are refused without copies", "[data][json][hostile]") {
  const std::string many(1'000'000, 'a');
  const auto quoted = [&](const std::string& end) { return "[\"" + many + end + "\"]"; };
  const std::vector<std::pair<std::string, std::string>> cases{
      {quoted("\n"), "a control character"},      {quoted("\xFF"), "ill-formed UTF-8"},
      {quoted("\\x"), "an escape that is wrong"}, {quoted("\\u12G4"), "an escape that is wrong"},
      {quoted("\\ud800"), "half a pair"},         {quoted("\\ud800a"), "half a pair"},
      {quoted("\\udc00"), "half a pair"},         {quoted("").substr(0, many.size()), "does not end"},
      {"[\"\"" + many, "a number or name"},       {"[" + std::string(1'000'000, '1'), "a number or name"},
  };
  for (const auto& [text, expected] : cases) {
    std::string found;
    const std::size_t peak = test::peak_of([&] {
      found =
          test::thrown<DataError>([&] { (void)parse_json<DataError>(text, {.file = "f"}, "test"); }).what();
    });
    CATCH_INFO(expected << ": " << found);
    CATCH_CHECK(test::contains(found, expected));
    CATCH_CHECK(test::contains(found, "f:1:"));
    CATCH_CHECK(peak < 10'000);
  }
  for (const char* end : {"", "\\n\\\\\\\"", "é\\u00e9\\ud83d\\ude42"}) {
    CATCH_CHECK(parse_json<DataError>(quoted(end), {}, "test") == Json::parse(quoted(end)));
  }
}
