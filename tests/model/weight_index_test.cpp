// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/weight_index.hpp"

#include <cstddef>
#include <string>
#include <vector>

#include "counted_allocations.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/model/findings.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::peak_of;
using test::thrown;

WeightIndex parsed(const std::string& text) { return parse_weight_index(text, {.file = "x.index.json"}); }
/// An index of one tensor in a file of that name.
std::string in_file(const std::string& name) { return R"({"weight_map":{"a":")" + name + "\"}}"; }

}  // namespace

CATCH_TEST_CASE("of a million findings twenty are kept", "[model][weights]") {
  detail::Findings findings;
  CATCH_CHECK(findings.empty());
  findings.add("a");
  findings.add("b");
  CATCH_CHECK_FALSE(findings.empty());
  CATCH_CHECK(findings.text() == "a; b");
  for (int i = 2; i < 20; ++i) findings.add("c");
  CATCH_CHECK(findings.text().ends_with("; c"));
  const std::string finding(1000, 'd');
  const std::size_t more = peak_of([&] {
    for (int i = 20; i < 1'000'000; ++i) findings.add(finding);
  });
  CATCH_CHECK(findings.text().ends_with("; c; and 999980 more"));
  CATCH_CHECK(more < 10'000);
  detail::Findings first;  // the control
  CATCH_CHECK(peak_of([&] { first.add(std::string(20'000, 'd')); }) > 20'000);
}

CATCH_TEST_CASE("an index of weights is read, sorted", "[model][weights]") {
  const WeightIndex index = parsed(R"({
    "metadata": {"total_size": 12.0, "more": [{"weight_map": {"z": 1}}]},
    "weight_map": {"b": "m-2.safetensors", "a": "m-1.safetensors", "c": "m-1.safetensors"},
    "other": null})");
  CATCH_CHECK(index.files == std::vector<std::string>{"m-1.safetensors", "m-2.safetensors"});
  CATCH_REQUIRE(index.tensors.size() == 3);
  CATCH_CHECK(index.tensors[0].name == "a");
  CATCH_CHECK(index.tensors[0].file == 0);
  CATCH_CHECK(index.tensors[1].name == "b");
  CATCH_CHECK(index.tensors[1].file == 1);
  CATCH_CHECK(index.tensors[2].file == 0);
  CATCH_CHECK_NOTHROW(parsed(in_file("é.safetensors")));
  CATCH_CHECK_NOTHROW(parsed(in_file("a..b.safetensors")));
}

CATCH_TEST_CASE("every kind of malformed index is refused by name", "[model][weights]") {
  struct Case {
    std::string content;
    std::string text;
  };
  const std::string plain = "\"a\": WeightFiles needs the name of a .safetensors file in the same folder";
  std::string many = R"({"weight_map":{)";
  for (int i = 0; i < 1025; ++i) {
    many += '"' + std::to_string(i) + "\":\"" + std::to_string(i) + ".safetensors\",";
  }
  many.back() = '}';
  const std::vector<Case> cases{
      {"", "valid JSON"},
      {"[]", "a JSON object, but found an array"},
      {"null", "a JSON object, but found null"},
      {"3", "a JSON object, but found a number"},
      {"\"weight_map\"", "a JSON object, but found a string"},
      {"{", "valid JSON"},
      {"{}", "a \"weight_map\", but found none"},
      {"{\"metadata\":{\"weight_map\":{}}}", "a \"weight_map\", but found none"},
      {R"({"weight_map":{}})", "a tensor in the \"weight_map\", but found none"},
      {R"({"weight_map":null})", "\"weight_map\": WeightFiles needs an object, but found null"},
      {R"({"weight_map":[]})", "an object, but found an array"},
      {R"({"weight_map":"a.safetensors"})", "an object, but found a string"},
      {R"({"weight_map":true})", "an object, but found a truth value"},
      {R"({"weight_map":{"a":1}})", "\"a\": WeightFiles needs the name of a file, but found a number"},
      {R"({"weight_map":{"a":-1}})", "the name of a file, but found a number"},
      {R"({"weight_map":{"a":1.5}})", "the name of a file, but found a number"},
      {R"({"weight_map":{"a":null}})", "the name of a file, but found null"},
      {R"({"weight_map":{"a":false}})", "the name of a file, but found a truth value"},
      {R"({"weight_map":{"a":["a.safetensors"]}})", "the name of a file, but found an array"},
      {R"({"weight_map":{"a":{"b":"a.safetensors"}}})", "the name of a file, but found an object"},
      {R"({"weight_map":{"a":"x.safetensors","a":"y.safetensors"}})", "each key once in \"weight_map\""},
      {R"({"weight_map":{"a":"x.safetensors","\u0061":"x.safetensors"}})", "each key once in \"weight_map\""},
      {R"({"weight_map":{"a":"x.safetensors"},"weight_map":{"b":"x.safetensors"}})", "each key once"},
      {in_file("../model.safetensors"), plain},
      {in_file("sub/model.safetensors"), plain},
      {in_file("/etc/model.safetensors"), plain},
      {in_file("..\\\\model.safetensors"), plain},
      {in_file("./model.safetensors"), plain},
      {in_file(".model.safetensors"), plain},
      {in_file("model.safetensors/"), plain},
      {in_file("a\\u0000.safetensors"), plain},
      {in_file("\\u002e\\u002e\\u002fmodel.safetensors"), plain},
      {in_file(".."), plain},
      {in_file("."), plain},
      {in_file(""), plain},
      {in_file(".safetensors"), plain},
      {in_file("model.bin"), plain},
      {in_file("model.SAFETENSORS"), plain},
      {in_file("model.safetensors.index.json"), plain},
      {in_file("https://example.org/model.safetensors"), plain},
      {in_file("model.safetensors") + "x", "valid JSON"},
      {in_file("model.safetensors").substr(0, 20), "valid JSON"},
      {in_file("\xFF.safetensors"), "valid JSON"},
      {std::string{"{\"weight_map\"\0:{}}", 18}, "a zero byte"},
      {R"({"metadata":)" + std::string(70, '[') + std::string(70, ']') + "}", "at most 64 levels of nesting"},
      {std::string(100'000, '['), "a JSON object, but found an array"},
      {in_file(std::string(70'000, 'a')), "strings and numbers of at most 65536 bytes"},
      {many + '}', "at most 1024 files"},
  };
  for (const Case& item : cases) {
    CATCH_CAPTURE(item.content.substr(0, 100));
    const std::string text = thrown<ModelFileError>([&] { (void)parsed(item.content); }).what();
    CATCH_CAPTURE(text);
    CATCH_CHECK(contains(text, item.text));
    CATCH_CHECK(contains(text, "x.index.json:"));
  }
}
