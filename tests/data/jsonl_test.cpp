// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/jsonl.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/data/dataset.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

Dataset read(const std::string& text) {
  std::istringstream stream{text};
  return read_jsonl(stream, "train.jsonl");
}

const std::string& text_of(const Content& content) { return std::get<std::string>(content); }

/// A folder of its own, gone at the end of the case.
struct TemporaryFolder {
  std::filesystem::path path;
  explicit TemporaryFolder(std::string_view name)
      : path{std::filesystem::temp_directory_path() / ("tithe_" + std::string{name})} {
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }

  [[nodiscard]] std::filesystem::path write(std::string_view name, std::string_view text) const {
    std::ofstream{path / name, std::ios::binary} << text;
    return path / name;
  }
};

CATCH_TEST_CASE("the three formats are three kinds of example", "[data][jsonl]") {
  const Dataset data = read(R"({"prompt": "2 + 2 =", "completion": " 4", "source": {"page": [7]}})"
                            "\n"
                            R"({"id": "pair one", "prompt": "p", "chosen": "c", "rejected": "r"})"
                            "\n"
                            R"({"completion": "a", "label": false, "prompt": "q", "id": 12})"
                            "\n"
                            R"({"prompt": "q", "completion": "a", "label": true, "chosen": null, "id": null})"
                            "\n");

  CATCH_REQUIRE(data.demonstrations.size() == 1);
  const Demonstration& demonstration = data.demonstrations[0];
  CATCH_CHECK(text_of(demonstration.prompt) == "2 + 2 =");
  CATCH_CHECK(text_of(demonstration.completion) == " 4");
  CATCH_CHECK(demonstration.origin.id == "train.jsonl:1");
  CATCH_CHECK(demonstration.origin.file == "train.jsonl");
  CATCH_CHECK(demonstration.origin.line == 1);

  CATCH_REQUIRE(data.preferences.size() == 1);
  CATCH_CHECK(text_of(data.preferences[0].chosen) == "c");
  CATCH_CHECK(text_of(data.preferences[0].rejected) == "r");
  CATCH_CHECK(data.preferences[0].origin.id == "pair one");

  CATCH_REQUIRE(data.labeled.size() == 2);
  CATCH_CHECK_FALSE(data.labeled[0].desirable);
  CATCH_CHECK(data.labeled[0].origin.id == "12");
  CATCH_CHECK(data.labeled[1].desirable);
  CATCH_CHECK(data.labeled[1].origin.id == "train.jsonl:4");
  CATCH_CHECK(data.size() == 4);
}

CATCH_TEST_CASE("contents may be token ids, each on its own", "[data][jsonl]") {
  const Dataset data = read(R"({"prompt_ids": [1, 0, 9223372036854775807], "completion_ids": []})"
                            "\n"
                            R"({"prompt": "text", "chosen_ids": [5], "rejected": "text"})"
                            "\n");
  CATCH_CHECK(std::get<TokenIds>(data.demonstrations.at(0).prompt) == TokenIds{1, 0, 9223372036854775807});
  CATCH_CHECK(std::get<TokenIds>(data.demonstrations.at(0).completion).empty());
  CATCH_CHECK(std::get<TokenIds>(data.preferences.at(0).chosen) == TokenIds{5});
  CATCH_CHECK(text_of(data.preferences.at(0).rejected) == "text");
}

CATCH_TEST_CASE("lines end as they do on any system", "[data][jsonl]") {
  const std::string one = R"({"prompt": "p", "completion": "c"})";
  for (const std::string& text : {one, one + "\n", one + "\r\n", "\xEF\xBB\xBF" + one + "\r\n\r\n \t\n"}) {
    const Dataset data = read(text);
    CATCH_REQUIRE(data.size() == 1);
    CATCH_CHECK(data.demonstrations[0].origin.line == 1);
  }
  CATCH_CHECK(read("").size() == 0);
  CATCH_CHECK(read("\n\n" + one).demonstrations.at(0).origin.line == 3);  // blank lines count
}

CATCH_TEST_CASE("text comes through unchanged", "[data][jsonl]") {
  const Dataset data = read(R"({"prompt": "é\n\u20ac\ud83d\ude00\u0000.", "completion": "ß"})");
  CATCH_CHECK(text_of(data.demonstrations.at(0).prompt) == std::string{"é\n€😀\0.", 12});
  CATCH_CHECK(text_of(data.demonstrations.at(0).completion) == "ß");
}

CATCH_TEST_CASE("a reader stops where its caller stops", "[data][jsonl]") {
  std::istringstream stream{
      "{\"prompt\": \"p\", \"completion\": \"c\"}\n{\"prompt\": \"p\", \"completion\": \"c\", \"label\": "
      "true}\nnot read"};
  JsonlReader reader{stream};
  const std::optional<Example> first = reader.next();
  JsonlReader moved = std::move(reader);
  const std::optional<Example> second = moved.next();
  CATCH_CHECK(std::holds_alternative<Demonstration>(first.value()));
  CATCH_CHECK(std::get<LabeledCompletion>(second.value()).origin.id == "<stream>:2");
}

CATCH_TEST_CASE("several files are read one after another", "[data][jsonl]") {
  const TemporaryFolder folder{"several_files"};
  const auto a = folder.write("a.jsonl", R"({"prompt": "p", "completion": "a"})");
  const auto b = folder.write("b.jsonl", R"({"prompt": "p", "completion": "b"})");
  const Dataset both = read_jsonl({a, b});
  CATCH_REQUIRE(both.demonstrations.size() == 2);
  CATCH_CHECK(both.demonstrations[1].origin.id == b.string() + ":1");
  CATCH_CHECK(read_jsonl(std::vector{b, a}).demonstrations.at(0).origin.file == b.string());
  CATCH_CHECK(read_jsonl(a.string()).size() == 1);

  // Two literals are two files, and not the two ends of one path.
  const auto missing = thrown<FileError>([] { (void)read_jsonl({"no_such_a.jsonl", "no_such_b.jsonl"}); });
  CATCH_CHECK(contains(missing.what(), "needs a file that can be opened, but found \"no_such_a.jsonl\""));
  const auto not_a_file = thrown<FileError>([&] { (void)read_jsonl(folder.path); });
  CATCH_CHECK(contains(not_a_file.what(), "read_jsonl needs a file that can be"));
}

struct Malformed {
  std::string name;
  /// The third line of a file; ^ stands where the error is expected and is taken out.
  std::string line;
  std::string field;
  std::string text;
};

CATCH_TEST_CASE("a malformed line is an error with its address", "[data][jsonl]") {
  const std::string kinds = "prompt with completion, with completion and label, or with chosen and rejected";
  const std::vector<Malformed> table{
      // Not JSON.
      {"cut off", R"({"prompt": "p", "completion": "c^")", "", "valid JSON"},
      {"cut off in a string", R"({"prompt": "p", "completion": "^c)", "", "valid JSON"},
      {"text behind", R"({"prompt": "p", "completion": "c"} ^x)", "", "valid JSON"},
      {"two objects", R"({"prompt": "p", "completion": "c"} ^{})", "", "valid JSON"},
      {"single quotes", R"({^'prompt': 'p'})", "", "valid JSON"},
      {"trailing comma", R"({"prompt": "p",^})", "", "valid JSON"},
      {"not a number", R"({"prompt": "p", "completion": "c", "score": ^NaN})", "", "valid JSON"},
      {"a bad byte", "{\"prompt\": \"^\xFF\", \"completion\": \"c\"}", "", "valid JSON"},
      {"half a surrogate pair", R"({"prompt": "\ud83d^", "completion": "c"})", "", "valid JSON"},
      {"a raw control character", "{\"prompt\": \"a^\tb\", \"completion\": \"c\"}", "", "valid JSON"},
      {"a zero byte", std::string{"{\"prompt\": \"p\", \"completion\": \"c\"}^\0", 36}, "", "a zero byte"},
      {"a key twice", R"({"prompt": "p", "completion": "c", "prompt^": "q"})", "\"prompt\"", "each key once"},
      {"a key twice further in", R"({"prompt": "p", "x": {"a": 1, "a^": 2}})", "\"a\"", "each key once"},
      {"deep nesting", R"({"prompt": )" + std::string(63, '[') + '^' + std::string(2000, '['), "",
       "64 levels"},
      // Not an object.
      {"an array", R"(^[{"prompt": "p", "completion": "c"}])", "",
       "a JSON object in each line, but found an array"},
      {"a string", R"( ^"prompt")", "", "a JSON object in each line, but found the string \"prompt\""},
      {"null", "^null", "", "a JSON object in each line, but found null"},
      // Not one of the kinds.
      {"nothing", "^{}", "\"prompt\"", "a \"prompt\" or \"prompt_ids\", but found none"},
      {"no prompt", R"( ^{"completion": "c"})", "\"prompt\"",
       "a \"prompt\" or \"prompt_ids\", but found none"},
      {"a null prompt", R"(^{"prompt": null, "completion": "c"})", "\"prompt\"", "but found none"},
      {"no completion", R"(^{"prompt": "p"})", "\"completion\"", kinds},
      {"a verdict on nothing", R"(^{"prompt": "p", "label": true})", "\"completion\"", kinds},
      {"no rejected", R"(^{"prompt": "p", "chosen": "c"})", "\"rejected\"",
       "a \"rejected\" beside \"chosen\""},
      {"no chosen", R"(^{"prompt": "p", "rejected_ids": [1]})", "\"chosen\"",
       "a \"chosen\" beside \"rejected\""},
      {"two prompts", R"({"prompt_ids": ^[1], "prompt": "p", "completion": "c"})", "\"prompt_ids\"",
       "one kind of example in a line, but found \"prompt_ids\" beside \"prompt\""},
      {"a pair with a completion", R"({"prompt": "p", "chosen": "c", "rejected": "r", "completion": ^"c"})",
       "\"completion\"", "found \"completion\" beside \"chosen\". Remove one of the two"},
      {"a pair with ids of a completion",
       R"({"prompt": "p", "chosen_ids": [1], "rejected": "r", "completion_ids":^[]})", "\"completion_ids\"",
       "found \"completion_ids\" beside \"chosen_ids\""},
      {"a pair with a verdict", R"({"prompt": "p", "label": ^true, "chosen": "c", "rejected": "r"})",
       "\"label\"", "found \"label\" beside \"chosen\""},
      // Fields of another type.
      {"a number as prompt", R"({"prompt": ^12, "completion": "c"})", "\"prompt\"",
       "a string, but found the number 12. Put it in quotes"},
      {"after wide characters", R"({"é€😀": "é€😀", "prompt": ^{}, "completion": "c"})", "\"prompt\"",
       "an object"},
      {"behind quotes and braces",
       R"({"x": "\"}\\", "y": {"chosen": [1, "]"]}, "prompt": "p", "chosen" :  ^false})", "\"chosen\"",
       "a string, but found false"},
      {"an escaped key", R"({"\u0070rompt": ^1, "completion": "c"})", "\"prompt\"", "found the number 1"},
      {"a value that looks like a key", R"({"x": "prompt", "prompt": ^1})", "\"prompt\"",
       "found the number 1"},
      {"text as ids", R"({"prompt_ids": ^"1 2", "completion": "c"})", "\"prompt_ids\"",
       "an array of token ids, but found the string \"1 2\""},
      {"a negative id", R"({"prompt_ids": [1, ^-1, 2], "completion": "c"})", "\"prompt_ids[1]\"",
       "a token id, which is an integer from 0, but found the number -1"},
      {"a fractional id", R"({"prompt": "p", "completion_ids": [^1.0]})", "\"completion_ids[0]\"",
       "the number 1.0"},
      {"an id past 64 bits", R"({"prompt": "p", "completion_ids": [1,2, 3 , ^9223372036854775808]})",
       "\"completion_ids[3]\"", "the number 9223372036854775808"},
      {"ids in ids", R"({"prompt": "p", "chosen_ids": [^[1], 2], "rejected": "r"})", "\"chosen_ids[0]\"",
       "found an array"},
      {"null as an id", R"({"prompt": "p", "chosen": "c", "rejected_ids": [7, ^null]})",
       "\"rejected_ids[1]\"", "found null"},
      {"a number as verdict", R"({"prompt": "p", "completion": "c", "label": ^1})", "\"label\"",
       "true or false, but found the number 1. Write true for a desirable completion"},
      {"a null verdict", R"({"prompt": "p", "completion": "c", "label": ^null})", "\"label\"",
       "but found null"},
      {"an empty name", R"({"id": ^"", "prompt": "p", "completion": "c"})", "\"id\"",
       "an integer or a string that is not empty"},
      {"a fractional name", R"({"prompt": "p", "completion": "c", "id": ^1.5})", "\"id\"", "the number 1.5"},
  };
  CATCH_REQUIRE(table.size() >= 25);

  for (const Malformed& malformed : table) {
    CATCH_INFO(malformed.name << ": " << malformed.line);
    std::string line = malformed.line;
    const std::size_t place = line.find('^');
    CATCH_REQUIRE(place != line.npos);
    line.erase(place, 1);
    const auto starts_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
    const auto before = line.begin() + static_cast<std::ptrdiff_t>(place);
    const auto column = static_cast<std::size_t>(std::count_if(line.begin(), before, starts_character)) + 1;

    const std::string good = R"({"prompt": "p", "completion": "c"})";
    CATCH_CHECK_NOTHROW(read(good + "\n\n" + good));  // the accepting twin
    const auto error = thrown<DataError>([&] { read(good + "\n\n" + line + "\n" + good); });
    CATCH_CHECK(error.where().file == "train.jsonl");
    CATCH_CHECK(error.where().line == 3);
    CATCH_CHECK(error.where().column == column);
    CATCH_CHECK(error.where().field == malformed.field);
    CATCH_INFO(error.what());
    CATCH_CHECK(contains(error.what(), malformed.text));
    CATCH_CHECK(contains(error.what(), "train.jsonl:3:" + std::to_string(column) + ": "));
  }
}

CATCH_TEST_CASE("the files of GSM8K are read whole", "[data][jsonl][third-party]") {
  const auto folder = test::third_party_data("gsm8k");
  if (!folder) return;
  const Dataset data = read_jsonl(
      {*folder / "demonstrations.jsonl", *folder / "preferences.jsonl", *folder / "labeled.jsonl"});
  CATCH_CHECK(data.demonstrations.size() == 2000);
  CATCH_CHECK(data.preferences.size() == 731);
  CATCH_CHECK(data.labeled.size() == 1319);
  CATCH_CHECK(std::count_if(data.labeled.begin(), data.labeled.end(),
                            [](const auto& e) { return e.desirable; }) == 538);
  CATCH_CHECK(data.labeled.back().origin.line == 1319);

  // The raw problems have other fields, and the first line says so.
  const auto error = thrown<DataError>([&] { (void)read_jsonl(*folder / "train.jsonl"); });
  CATCH_CHECK(
      contains(error.what(), "train.jsonl:1:1: \"prompt\": read_jsonl needs a \"prompt\" or \"prompt_ids\""));
}

}  // namespace
