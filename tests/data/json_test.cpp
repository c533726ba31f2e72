// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/json.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/json_object.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::thrown;

Json parse(const std::string& text, const Location& where = {}) {
  return parse_json<DataError>(text, where, "test");
}

}  // namespace

CATCH_TEST_CASE("JSON: what is refused, and where", "[data][json]") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "f:1:1: test needs valid JSON"},
      {"{", "unexpected end of input"},
      {"nul", "f:1:3"},
      {"[1,]", "f:1:4"},
      {"[1] x", "f:1:5"},
      {"NaN", "invalid literal"},
      {"[Infinity]", "invalid literal"},
      {"[-]", "invalid number"},
      {"[01]", "valid JSON"},
      {"[1e999]", "number overflow"},
      {"// comment\n1", "valid JSON"},
      {std::string{"{}\0x", 4}, "f:1:3: test needs valid JSON, but found a zero byte"},
      {"\"\xFF\"", "ill-formed UTF-8"},
      {"\"\xC0\x80\"", "ill-formed UTF-8"},
      {"[\"\\ud800\"]", "surrogate"},
      {"\"a\tb\"", "control character"},
      {"\n\n {\"é\": bad}", "f:3:8"},
      {"{\"a\":1,\n\"a\":2}", "f:2:3: \"a\": test needs each key once in an object"},
      {"{\"a\":{\"b\":[{\"c\":0,\"c\":1}]}}", "\"c\": test needs each key once"},
      {"{\"a\":1,\"\\u0061\":2}", "each key once"},
      {std::string(65, '[') + std::string(65, ']'), "f:1:65: test needs at most 64 levels of nesting"},
      {std::string(1'000'000, '['), "at most 64 levels"},
      {"[\x1B[2J]", "<U+001B>"},
  };
  for (const auto& [text, expected] : cases) {
    const std::string found = thrown<DataError>([&] { (void)parse(text, {.file = "f"}); }).what();
    CATCH_INFO(found);
    CATCH_CHECK(contains(found, expected));
  }
  CATCH_CHECK(parse(std::string(64, '[') + std::string(64, ']')).is_array());
  CATCH_CHECK(parse(R"({"a":[{"a":1},{"a":null}],"b":-0.5e-3,"c":"\ud83d\ude42"})") ==
              Json::parse(R"({"a":[{"a":1},{"a":null}],"b":-0.5e-3,"c":"🙂"})"));
  // A line of a larger file reports the file's line.
  CATCH_CHECK(thrown<DataError>([] { (void)parse("{]", {.file = "f", .line = 7}); }).where().line == 7);
}

CATCH_TEST_CASE("JSON: fields with types", "[data][json]") {
  const Json json = parse(R"({"i":3,"d":2.5,"s":"x","b":true,"n":null,"ids":[1,2],"mixed":[1,"x"],
                              "u":18446744073709551615,"o":{"k":[{"z":1},2]}})");
  const JsonObject<DataError> object{json, {.file = "f", .line = 3}, "test"};
  CATCH_CHECK(object.require<std::int64_t>("i") == 3);
  CATCH_CHECK(object.require<double>("i") == 3.0);
  CATCH_CHECK(object.require<std::string>("s") == "x");
  CATCH_CHECK(object.require<bool>("b"));
  CATCH_CHECK(object.require<TokenIds>("ids") == TokenIds{1, 2});
  CATCH_CHECK_FALSE(object.get<bool>("n"));
  CATCH_CHECK_FALSE(object.has("n"));
  CATCH_CHECK(object.get_or("absent", std::int64_t{5}) == 5);

  const auto text = [](auto&& read) { return std::string{thrown<DataError>(read).what()}; };
  CATCH_CHECK(text([&] { (void)object.require<std::string>("i"); }) ==
              "f:3: \"i\": test needs a string, but found the number 3.");
  CATCH_CHECK(contains(text([&] { (void)object.require<std::int64_t>("d"); }),
                       "an integer of at most 64 bits, but found the number 2.5"));
  CATCH_CHECK(contains(text([&] { (void)object.require<std::int64_t>("u"); }), "18446744073709551615"));
  CATCH_CHECK(contains(text([&] { (void)object.require<bool>("n"); }), "true or false, but found null"));
  CATCH_CHECK(
      contains(text([&] { (void)object.get<bool>("s"); }), "true or false, but found the string \"x\""));
  CATCH_CHECK(contains(text([&] { (void)object.require<TokenIds>("mixed"); }),
                       "\"mixed[1]\": test needs an integer"));
  CATCH_CHECK(contains(text([&] { (void)object.require<bool>("absent"); }),
                       "\"absent\": test needs this field, but found no such field"));
  CATCH_CHECK(contains(text([&] { (void)object.object("s"); }), "\"s\": test needs a JSON object"));
  CATCH_CHECK(contains(text([&] { (void)object.object("o").objects("k"); }),
                       "\"o\".\"k\"[1]: test needs a JSON object, but found the number 2"));
  CATCH_CHECK(contains(text([&] { (void)JsonObject<DataError>{json["ids"], {}, "test"}; }),
                       "a JSON object, but found an array"));
}
