// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/model/tokenizer/aho_corasick.hpp"
#include "tithe/model/tokenizer/merge_table.hpp"
#include "tithe/model/tokenizer/unicode.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

std::vector<Json> read_lines(const std::filesystem::path& path) {
  std::ifstream stream{path};
  CATCH_REQUIRE(stream.good());
  std::vector<Json> lines;
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(parse_json<DataError>(line, {}, "test"));
  }
  return lines;
}
Tokenizer tokenizer_of(const Json& json) {
  return Tokenizer::from_json(json.dump(), {.file = "tokenizer.json"});
}

/// Made by make_byte_level_cases.py, beside it.
struct Generated {
  std::map<std::string, Json> files{};
  std::map<std::string, std::vector<Json>> cases{};

  Generated() {
    Json model;
    for (const Json& line :
         read_lines(std::filesystem::path{__FILE__}.parent_path() / "byte_level_cases.jsonl")) {
      if (line.contains("model")) model = line["model"];
      if (line.contains("tokenizer")) cases[line["tokenizer"].get<std::string>()].push_back(line);
      if (!line.contains("define")) continue;
      Json& file = files[line["define"].get<std::string>()] = line["json"];
      file["model"] = model;
      file["model"]["ignore_merges"] = line["ignore_merges"];
    }
  }
};

/// How many cases a tokenizer gets wrong. `ids` are those with special tokens recognised.
std::size_t count_wrong(const Tokenizer& tokenizer, const std::vector<Json>& cases, const char* ids = "ids",
                        SpecialTokens added = SpecialTokens::add,
                        SpelledTokens spelled = SpelledTokens::recognize) {
  std::size_t wrong = 0;
  for (const Json& line : cases) {
    if (!line.contains("text") || !line.contains(ids)) continue;
    const TokenIds found = tokenizer.encode(line["text"].get<std::string>(), added, spelled);
    if (found != line[ids].get<TokenIds>()) ++wrong;
  }
  return wrong;
}

std::string with(std::string text, std::string_view part, std::string_view other) {
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += other.size()) {
    text.replace(at, part.size(), other);
  }
  return text;
}

}  // namespace

CATCH_TEST_CASE("small byte-level tokenizers agree with the tokenizers library", "[model][tokenizer]") {
  const Generated generated;
  CATCH_CHECK(generated.files.size() == 23);
  std::size_t decoded = 0;
  for (const auto& [name, cases] : generated.cases) {
    CATCH_INFO(name);
    const Tokenizer tokenizer = tokenizer_of(generated.files.at(name));
    CATCH_CHECK(cases.size() >= 61);
    CATCH_CHECK(count_wrong(tokenizer, cases) == 0);
    CATCH_CHECK(count_wrong(tokenizer, cases, "as_text", SpecialTokens::none, SpelledTokens::keep_as_text) ==
                0);
    for (const Json& line : cases) {
      if (!line.contains("decode")) continue;
      const auto ids = line["decode"].get<TokenIds>();
      CATCH_CHECK(tokenizer.decode(ids) == line["text"].get<std::string>());
      CATCH_CHECK(tokenizer.decode(ids, DecodedTokens::all) == line["text_all"].get<std::string>());
      ++decoded;
    }
  }
  CATCH_CHECK(decoded == 60);
}

CATCH_TEST_CASE("a mistake in any part of a byte-level tokenizer is noticed by its cases",
                "[model][tokenizer]") {
  const Generated generated;
  const auto wrong = [&](const char* name, const std::function<void(Json&)>& mistake) {
    Json json = generated.files.at(name);
    mistake(json);
    return count_wrong(tokenizer_of(json), generated.cases.at(name));
  };
  const auto pattern = [](Json& json) -> Json& {
    return json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
  };
  CATCH_CHECK(wrong("tekken", [](Json& json) { json["model"]["ignore_merges"] = false; }) > 0);
  CATCH_CHECK(wrong("tekken", [](Json& json) { json["post_processor"] = nullptr; }) > 0);
  CATCH_CHECK(wrong("qwen", [](Json& json) { json["normalizer"] = nullptr; }) > 0);
  CATCH_CHECK(wrong("qwen", [](Json& json) { json["model"]["ignore_merges"] = true; }) > 0);
  CATCH_CHECK(wrong("prefix", [](Json& json) { json["pre_tokenizer"]["add_prefix_space"] = false; }) > 0);
  CATCH_CHECK(wrong("gpt2", [](Json& json) { json["pre_tokenizer"]["use_regex"] = false; }) > 0);
  CATCH_CHECK(wrong("each digit", [](Json& json) {
                json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = false;
              }) > 0);
  CATCH_CHECK(wrong("runs of digits", [](Json& json) {
                json["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = true;
              }) > 0);
  CATCH_CHECK(wrong("white space", [](Json& json) { json["added_tokens"][0]["rstrip"] = false; }) > 0);
  CATCH_CHECK(wrong("whole words", [](Json& json) { json["added_tokens"][0]["single_word"] = false; }) > 0);
  // PCRE2's own \s, which takes U+180E along.
  CATCH_CHECK(wrong("qwen", [&](Json& json) {
                const auto text = pattern(json).get<std::string>();
                pattern(json) = with(with(with(text, "[^\\s", "[^\\x{180E}\\s"), "\\s+", "[\\s\\x{180E}]+"),
                                     "\\s*", "[\\s\\x{180E}]*");
              }) > 0);
  const Tokenizer tokenizer = tokenizer_of(generated.files.at("qwen"));
  CATCH_CHECK(count_wrong(tokenizer, generated.cases.at("qwen"), "ids", SpecialTokens::none,
                          SpelledTokens::keep_as_text) > 0);
}

CATCH_TEST_CASE("a byte-level tokenizer of 1262 tokens agrees with the tokenizers library",
                "[model][tokenizer][third-party]") {
  const auto folder = test::third_party_data("hf");
  if (!folder) return;
  const Tokenizer tokenizer = Tokenizer::from_file(*folder / "tokenizer/tokenizer.json");
  const std::vector<Json> cases = read_lines(*folder / "tokenizer_cases.jsonl");
  CATCH_CHECK(cases.size() == 135);
  for (const Json& line : cases) {
    CATCH_INFO(line.dump());  // those tagged unicode_version too, whatever tables PCRE2 has
    const auto text = line["text"].get<std::string>();
    CATCH_CHECK(tokenizer.encode(text, SpecialTokens::none, SpelledTokens::recognize) ==
                line["ids"].get<TokenIds>());
    if (line.contains("ids_with_special_tokens")) {
      CATCH_CHECK(tokenizer.encode(text, SpecialTokens::add, SpelledTokens::recognize) ==
                  line["ids_with_special_tokens"].get<TokenIds>());
    }
    for (const std::int64_t id : tokenizer.encode(text, SpecialTokens::none)) {
      CATCH_CHECK_FALSE(tokenizer.is_special(id));
    }
    CATCH_CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  }
  const std::vector<Json> decoded = read_lines(*folder / "decode_cases.jsonl");
  CATCH_CHECK(decoded.size() == 40);
  for (const Json& line : decoded) {
    const auto ids = line["ids"].get<TokenIds>();
    CATCH_CHECK(tokenizer.decode(ids, DecodedTokens::all) == line["text"].get<std::string>());
    CATCH_CHECK(tokenizer.decode(ids) == line["text_without_special"].get<std::string>());
  }
  CATCH_CHECK(tokenizer.vocab_size() == 1262);
  CATCH_CHECK(tokenizer.bos() == 1256);
  CATCH_CHECK_FALSE(tokenizer.eos());
  CATCH_CHECK(tokenizer.id_of("<|eot_id|>") == 1257);

  CATCH_CHECK(count_wrong(tokenizer, cases, "ids_with_special_tokens", SpecialTokens::none) > 0);
  CATCH_CHECK(count_wrong(tokenizer, cases, "ids", SpecialTokens::none, SpelledTokens::keep_as_text) > 0);
}

CATCH_TEST_CASE("a long run of anything becomes tokens that spell it", "[model][tokenizer]") {
  const Generated generated;
  for (const char* name : {"qwen", "gpt2"}) {
    const Tokenizer tokenizer = tokenizer_of(generated.files.at(name));
    for (const std::string unit : {"a", " ", "7", "\n", "🙂", "\u0301"}) {
      std::string text;
      while (text.size() < 100'000) text += unit;
      CATCH_CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
    }
  }
}

CATCH_TEST_CASE("strings are found where they start, the longest at each place", "[model][tokenizer]") {
  SplitMix64 random{Seed{31}};
  const auto any = [&](std::size_t longest) {
    std::string text(1 + random.below(longest), 'a');
    for (char& c : text) c = static_cast<char>('a' + random.below(3));
    return text;
  };
  std::size_t found = 0;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::string> strings;
    for (int i = 0; i < 6; ++i) {
      if (std::string text = any(5); std::ranges::find(strings, text) == strings.end())
        strings.push_back(text);
    }
    const std::string text = any(60);
    std::vector<std::pair<std::size_t, std::string>> expected;
    for (std::size_t at = text.size(); at-- > 0;) {
      std::string longest;
      for (const std::string& s : strings) {
        if (text.compare(at, s.size(), s) == 0 && s.size() > longest.size()) longest = s;
      }
      if (!longest.empty()) expected.emplace_back(at, longest);
    }
    std::vector<std::pair<std::size_t, std::string>> matches;
    for (const auto& match : detail::AhoCorasick{strings}.find(text)) {
      matches.emplace_back(match.begin, strings[match.string]);
    }
    CATCH_REQUIRE(matches == expected);
    found += matches.size();
  }
  CATCH_CHECK(found > 1000);
  CATCH_CHECK(detail::AhoCorasick{}.find("abc").empty());
}

CATCH_TEST_CASE("no added token makes a text take more than its length", "[model][tokenizer]") {
  // Each of these would take minutes if a place were compared with every token, or a run walked through at every place.
  const Generated generated;
  Json json = generated.files.at("white space");
  Json token = json["added_tokens"].back();
  const std::string letters(30'000, 'a');
  for (const std::string& content : {letters, std::string(" "), std::string("\n")}) {
    token["content"] = content;
    token["lstrip"] = token["rstrip"] = true;
    token["normalized"] = false;
    if (const Json& vocab = json["model"]["vocab"]; vocab.contains(content)) {
      token["id"] = vocab[content];
    } else {
      token["id"] = json["added_tokens"].back()["id"].get<int>() + 1;
    }
    json["added_tokens"].push_back(token);
  }
  const Tokenizer tokenizer = tokenizer_of(json);
  const std::string nearly = std::string(29'999, 'a') + 'b';
  std::string text;
  for (int i = 0; i < 30; ++i) text += nearly;
  CATCH_CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
  CATCH_CHECK(tokenizer.encode(letters).size() == 1);
  CATCH_CHECK(tokenizer.encode(std::string(500'000, '\n')).size() <= 500'000);
  CATCH_CHECK(tokenizer.encode(std::string(500'000, ' ')).size() <= 500'000);
  for (const char letter : {'b', 'c'}) {
    token["content"] = std::string(60'000, letter);
    token["id"] = tokenizer.vocab_size() + letter - 'b';
    json["added_tokens"].push_back(token);
  }
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)tokenizer_of(json); }).what(),
                       "added tokens of together at most "));
}

namespace {

using detail::MergeMemory;
using detail::MergeTable;

/// The definition: of all pairs the one of lowest rank, leftmost first, over the whole piece.
TokenIds merged_plainly(std::vector<std::uint32_t> ids, const std::vector<MergeTable::Merge>& merges) {
  for (;;) {
    std::size_t best = ids.size();
    std::size_t lowest = merges.size();
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      for (std::size_t rank = 0; rank < lowest; ++rank) {
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1])
          std::tie(best, lowest) = std::pair{i, rank};
      }
    }
    if (best == ids.size()) return {ids.begin(), ids.end()};
    ids[best] = merges[lowest].result;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}
TokenIds merged(const std::vector<std::uint32_t>& ids, const MergeTable& table, std::size_t* work = nullptr) {
  MergeMemory memory;
  TokenIds out;
  table.merge(
      ids.size(), [&](std::size_t i) { return ids[i]; }, [](std::uint32_t) { return true; }, memory, out);
  if (work != nullptr) *work = memory.lookups;
  return out;
}

}  // namespace

CATCH_TEST_CASE("merging gives what the definition gives, in pieces of every length", "[model][tokenizer]") {
  // Tokens 0, 1 and 2, and merges of whatever is there; shuffled, a merge may come before what it is made of.
  for (const bool is_shuffled : {false, true}) {
    SplitMix64 random{Seed{11}};
    for (int round = 0; round < 60; ++round) {
      std::vector<MergeTable::Merge> merges;
      for (std::uint32_t next = 3; next < 20; ++next) {
        const auto any = [&] { return static_cast<std::uint32_t>(random.below(next)); };
        const MergeTable::Merge merge{any(), any(), next};
        const auto same = [&](const auto& m) { return m.left == merge.left && m.right == merge.right; };
        if (std::none_of(merges.begin(), merges.end(), same)) merges.push_back(merge);
      }
      if (is_shuffled) {
        for (std::size_t i = merges.size(); i > 1; --i) std::swap(merges[i - 1], merges[random.below(i)]);
      }
      const MergeTable table{merges};
      for (const std::size_t length : {2u, 17u, 64u, 65u, 200u}) {
        std::vector<std::uint32_t> ids(length);
        const std::uint64_t letters = 1 + random.below(3);
        for (std::uint32_t& id : ids) id = static_cast<std::uint32_t>(random.below(letters));
        CATCH_REQUIRE(merged(ids, table) == merged_plainly(ids, merges));
      }
    }
  }
}

CATCH_TEST_CASE("merging a long piece window by window gives what merging it at once gives",
                "[model][tokenizer]") {
  SplitMix64 random{Seed{12}};
  for (int round = 0; round < 24; ++round) {
    std::vector<MergeTable::Merge> merges;
    // In every third round tokens of up to 4096 symbols, which no window holds sixteen of.
    for (std::uint32_t next = 3; next < 15; ++next) {
      const auto any = [&] { return static_cast<std::uint32_t>(random.below(next)); };
      merges.push_back(round % 3 == 0
                           ? MergeTable::Merge{next == 3 ? 0 : next - 1, next == 3 ? 0 : next - 1, next}
                           : MergeTable::Merge{any(), any(), next});
      for (std::size_t i = 0; i + 1 < merges.size(); ++i) {
        if (merges[i].left != merges.back().left || merges[i].right != merges.back().right) continue;
        merges.pop_back();
        break;
      }
    }
    std::vector<std::uint32_t> ids(4097 + random.below(9000));
    const std::uint64_t letters = 1 + random.below(3);
    for (std::uint32_t& id : ids) id = static_cast<std::uint32_t>(random.below(letters));
    // No merge here makes what an earlier one takes, so that one sweep a rank is all there is.
    std::vector<std::uint32_t> expected = ids;
    for (const MergeTable::Merge& merge : merges) {
      std::vector<std::uint32_t> swept;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const bool joins =
            expected[i] == merge.left && i + 1 < expected.size() && expected[i + 1] == merge.right;
        swept.push_back(joins ? merge.result : expected[i]);
        if (joins) ++i;
      }
      expected.swap(swept);
    }
    CATCH_REQUIRE(merged(ids, MergeTable{merges}) == TokenIds(expected.begin(), expected.end()));
  }
}

CATCH_TEST_CASE("merging a piece ten times as long takes ten times the work", "[model][tokenizer]") {
  // 0 is a letter, and merges double: 0 0 → 1, 1 1 → 2, … In the other order only the heap can merge them.
  std::vector<MergeTable::Merge> merges;
  for (std::uint32_t i = 0; i < 12; ++i) merges.push_back({i, i, i + 1});
  for (const bool is_reversed : {false, true}) {
    if (is_reversed) std::reverse(merges.begin(), merges.end());
    const MergeTable table{merges};
    std::array<std::size_t, 2> work{};
    (void)merged(std::vector<std::uint32_t>(10'000), table, &work[0]);
    (void)merged(std::vector<std::uint32_t>(100'000), table, &work[1]);
    CATCH_CHECK(work[0] > 10'000);
    CATCH_CHECK(work[1] < 12 * work[0]);
  }
}

CATCH_TEST_CASE("canonical composition, also of long runs of marks", "[model][tokenizer]") {
  const detail::Nfc nfc;
  CATCH_CHECK(nfc("e\u0301") == "é");
  CATCH_CHECK(nfc("plain é") == "plain é");
  CATCH_CHECK(nfc("\u1112\u1161\u11ab") == "한");
  CATCH_CHECK(nfc("\u212b") == "Å");
  CATCH_CHECK(nfc("a\u0301\u0327") ==
              "á\u0327");  // the cedilla, of a lower class, goes first, and hinders nothing
  CATCH_CHECK(nfc("\u0958") == "\u0915\u093c");  // excluded from composition
  CATCH_CHECK(nfc(std::string("\0e\u0301", 4)) == std::string("\0é", 3));
  // Sorting marks by swapping neighbours would take 10¹⁰ steps.
  std::string marks = "a";
  std::string sorted = "a";
  for (int i = 0; i < 100'000; ++i) marks += i % 2 == 0 ? "\u0315" : "\u0323";
  for (int i = 0; i < 100'000; ++i) sorted += i < 50'000 ? "\u0323" : "\u0315";
  CATCH_CHECK(nfc(marks) == nfc(sorted));
  CATCH_CHECK(nfc(marks).starts_with("ạ\u0323"));
}
