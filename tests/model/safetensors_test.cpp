// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/safetensors.hpp"

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/model/safetensors_header.hpp"
#include "tithe/model/safetensors_writer.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::TemporaryFolder;
using test::thrown;

std::string length_prefix(std::uint64_t length) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> (8 * i));
  return bytes;
}
std::string file_of(std::string_view header, std::size_t data) {
  return length_prefix(header.size()) + std::string{header} + std::string(data, '\0');
}

/// What reading a file's bytes complains about; empty if it is accepted.
std::string complaint(std::string_view bytes) {
  try {
    (void)read_safetensors_header(bytes, {.file = "f.safetensors"});
    return {};
  } catch (const ModelFileError& error) {
    return error.what();
  }
}

struct Case {
  std::string name;
  std::string header;
  std::size_t data;
  std::string text;
};

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return '"' + std::string{name} + R"(":{"dtype":)" + std::string{dtype} + R"(,"shape":)" +
         std::string{shape} + R"(,"data_offsets":)" + std::string{offsets} + '}';
}
std::string one(std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return '{' + entry("a", dtype, shape, offsets) + '}';
}

}  // namespace

CATCH_TEST_CASE("safetensors: every kind of malformed header is refused by name", "[model][safetensors]") {
  const std::string f32 = R"("F32")";
  const std::string deep_metadata =
      R"({"__metadata__":{"a":)" + std::string(70, '[') + std::string(70, ']') + "}}";
  std::string many = "{\"__metadata__\":{";
  for (int i = 0; i < 1025; ++i) many += '"' + std::to_string(i) + "\":\"\",";
  many.back() = '}';
  many += '}';
  std::string long_shape = "[1";
  for (int i = 0; i < 32; ++i) long_shape += ",1";
  const std::vector<Case> cases{
      // The JSON.
      {"not an object", "[]", 0, "a header that starts with {"},
      {"spaces before the object", " {}", 0, "a header that starts with {"},
      {"byte order mark", "\xEF\xBB\xBF{}", 0, "a header that starts with {"},
      {"empty header", "", 0, "a header that starts with {"},
      {"object that does not end", "{", 0, "valid JSON"},
      {"trailing text", "{}x", 0, "only spaces after"},
      {"trailing newline", "{}\n", 0, "only spaces after"},
      {"trailing zero byte", std::string{"{}\0", 3}, 0, "a zero byte, at byte 10"},
      {"second object", "{}{}", 0, "only spaces after"},
      {"comment", "{/**/}", 0, "valid JSON"},
      {"single quotes", "{'a':1}", 0, "valid JSON"},
      {"trailing comma", one(f32, "[1]", "[0,4]").insert(one(f32, "[1]", "[0,4]").size() - 1, ","), 4,
       "valid JSON"},
      {"invalid UTF-8 in a name", "{\"\xFF\":{}}", 0, "ill-formed UTF-8"},
      {"half a surrogate", R"({"\ud800":{}})", 0, "surrogate"},
      {"duplicate tensor",
       '{' + entry("a", f32, "[1]", "[0,4]") + ',' + entry("a", f32, "[1]", "[4,8]") + '}', 8,
       "\"a\": SafetensorsFile needs each key once in an object"},
      {"duplicate by escape",
       '{' + entry("a", f32, "[1]", "[0,4]") + ',' + entry(R"(\u0061)", f32, "[1]", "[4,8]") + '}', 8,
       "each key once"},
      {"duplicate dtype", R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
       "each key once"},
      {"duplicate shape", R"({"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}})", 4,
       "each key once"},
      {"duplicate offsets", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}})",
       4, "each key once"},
      {"duplicate metadata", R"({"__metadata__":{},"__metadata__":{}})", 0, "each key once"},
      {"duplicate key in metadata", R"({"__metadata__":{"a":"1","a":"1"}})", 0, "each key once"},
      // The metadata.
      {"metadata is an array", R"({"__metadata__":[]})", 0, "an object as __metadata__, but found an array"},
      {"metadata is null", R"({"__metadata__":null})", 0, "an object as __metadata__, but found null"},
      {"number in metadata", R"({"__metadata__":{"a":1}})", 0, "a string for every key of __metadata__"},
      {"object in metadata", R"({"__metadata__":{"a":{}}})", 0, "a string for every key of __metadata__"},
      {"deep metadata", deep_metadata, 0, "a string for every key of __metadata__"},
      {"a name of 70 kB", "{\"" + std::string(70'000, 'a') + "\":{}}", 0,
       "strings and numbers of at most 65536 bytes, but found a longer one, at byte 9"},
      {"a number of 70 kB", one(f32, '[' + std::string(70'000, '1') + ']', "[0,4]"), 4,
       "strings and numbers of at most 65536 bytes"},
      {"too much metadata", many, 0, "at most 1024 entries of metadata"},
      // The parts of a tensor.
      {"tensor is null", R"({"a":null})", 0, "an object for every tensor, but found null"},
      {"tensor is an array", R"({"a":[]})", 0, "an object for every tensor"},
      {"tensor is a string", R"({"a":"F32"})", 0, "an object for every tensor"},
      {"empty tensor object", R"({"a":{}})", 0, "but found no dtype"},
      {"no dtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "but found no dtype"},
      {"no shape", R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, "but found no shape"},
      {"no offsets", R"({"a":{"dtype":"F32","shape":[1]}})", 4, "but found no data_offsets"},
      {"unknown key", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"stride":[1]}})", 4,
       "\"stride\""},
      {"unknown dtype", one(R"("F31")", "[1]", "[0,4]"), 4, "a dtype among"},
      {"lower-case dtype", one(R"("f32")", "[1]", "[0,4]"), 4, "\"f32\""},
      {"quantised dtype", one(R"("F8_E4M3")", "[4]", "[0,4]"), 4, "not quantised"},
      {"dtype is a number", one("32", "[1]", "[0,4]"), 4, "a string as dtype"},
      {"dtype is an array", one("[]", "[1]", "[0,4]"), 4, "a string as dtype"},
      {"shape is a number", one(f32, "1", "[0,4]"), 4, "an array as shape"},
      {"shape is an object", one(f32, "{}", "[0,4]"), 4, "an array as shape"},
      {"negative dimension", one(f32, "[-1]", "[0,4]"), 4,
       "non-negative integers in shape, but found a negative number"},
      {"fraction", one(f32, "[1.0]", "[0,4]"), 4, "found a number that is not an integer"},
      {"exponent", one(f32, "[1e0]", "[0,4]"), 4, "found a number that is not an integer"},
      {"string as dimension", one(f32, "[\"1\"]", "[0,4]"), 4,
       "non-negative integers in shape, but found a string"},
      {"null as dimension", one(f32, "[null]", "[0,4]"), 4, "non-negative integers in shape, but found null"},
      {"nested shape", one(f32, "[[1]]", "[0,4]"), 4, "non-negative integers in shape, but found an array"},
      {"dimension of 2^63", one(f32, "[9223372036854775808]", "[0,4]"), 4, "numbers under 2⁶³"},
      {"dimension of 2^64", one(f32, "[18446744073709551616]", "[0,4]"), 4, "not an integer"},
      {"33 dimensions", one(f32, long_shape + ']', "[0,4]"), 4, "at most 32 numbers"},
      {"no offset", one(f32, "[1]", "[]"), 4, "two numbers in \"data_offsets\", but found 0"},
      {"one offset", one(f32, "[1]", "[4]"), 4, "two numbers in \"data_offsets\", but found 1"},
      {"three offsets", one(f32, "[1]", "[0,4,4]"), 4, "two numbers in \"data_offsets\", but found 3"},
      {"negative offset", one(f32, "[1]", "[-4,0]"), 4, "non-negative integers in data_offsets"},
      // The numbers against each other and the file.
      {"offsets turned around", one(f32, "[1]", "[4,0]"), 4, "data_offsets in order"},
      {"past the end", one(f32, "[2]", "[0,8]"), 4,
       "data inside the file, but found data_offsets [0, 8] of 4 bytes"},
      {"far past the end", one(f32, "[1]", "[9223372036854775804,9223372036854775807]"), 4,
       "data inside the file"},
      {"fewer bytes than the shape", one(f32, "[2]", "[0,4]"), 4,
       "as many bytes as its shape and dtype take, 8"},
      {"more bytes than the shape", one(f32, "[1]", "[0,8]"), 8,
       "as many bytes as its shape and dtype take, 4"},
      {"product of 2^64", one(f32, "[4294967296,4294967296]", "[0,0]"), 0, "can be counted in 63 bits"},
      {"bytes of 2^64", one(f32, "[4611686018427387904]", "[0,0]"), 0, "can be counted in 63 bits"},
      {"overflow beside a zero", one(f32, "[0,4294967296,4294967296]", "[0,0]"), 0,
       "can be counted in 63 bits"},
      {"overlap", '{' + entry("a", f32, "[2]", "[0,8]") + ',' + entry("b", f32, "[2]", "[4,12]") + '}', 12,
       "\"b\": SafetensorsFile needs tensors that follow one another"},
      {"the same bytes twice",
       '{' + entry("a", f32, "[1]", "[0,4]") + ',' + entry("b", f32, "[1]", "[0,4]") + '}', 4,
       "tensors that follow one another"},
      {"hole at the front", one(f32, "[1]", "[4,8]"), 8, "tensors that follow one another"},
      {"hole between", '{' + entry("a", f32, "[1]", "[0,4]") + ',' + entry("b", f32, "[1]", "[8,12]") + '}',
       12, "\"b\": SafetensorsFile needs tensors that follow one another"},
      {"hole at the end", one(f32, "[1]", "[0,4]"), 5,
       "a tensor for every byte, but found 1 that no tensor claims"},
      {"data without tensors", "{}", 1, "a tensor for every byte"},
      {"empty tensor in a hole",
       '{' + entry("a", f32, "[0]", "[2,2]") + ',' + entry("b", f32, "[1]", "[0,4]") + '}', 4,
       "tensors that follow one another"},
  };
  CATCH_CHECK(cases.size() >= 60);
  for (const Case& item : cases) {
    CATCH_INFO(item.name);
    const std::string text = complaint(file_of(item.header, item.data));
    CATCH_INFO(text);
    CATCH_CHECK(contains(text, item.text));
    CATCH_CHECK(contains(text, "f.safetensors: "));
  }
}

CATCH_TEST_CASE("safetensors: lengths that lie are refused", "[model][safetensors]") {
  CATCH_CHECK(contains(complaint(""), "a header's length in the first 8 bytes, but found 0 bytes"));
  CATCH_CHECK(contains(complaint("1234567"), "found 7 bytes"));
  CATCH_CHECK(contains(complaint(length_prefix(3) + "{}"), "a header that ends inside the file"));
  CATCH_CHECK(contains(complaint(length_prefix(100'000'001) + "{}"), "at most 100 MB"));
  CATCH_CHECK(contains(complaint(length_prefix(~std::uint64_t{0}) + "{}"), "at most 100 MB"));
  CATCH_CHECK(contains(complaint(length_prefix(1) + "{}"), "valid JSON"));
  CATCH_CHECK(complaint(length_prefix(2) + "{}").empty());
}

CATCH_TEST_CASE("safetensors: what the format allows is accepted", "[model][safetensors]") {
  const std::string f32 = R"("F32")";
  const std::vector<Case> twins{
      {"nothing", "{}", 0, {}},
      {"padding", "{}      ", 0, {}},
      {"white space inside", "{ \n\t}", 0, {}},
      {"metadata alone", R"({"__metadata__":{"format":"pt","":"é"}})", 0, {}},
      {"one tensor", one(f32, "[1]", "[0,4]"), 4, {}},
      {"a number alone", one(f32, "[]", "[0,4]"), 4, {}},
      {"no elements", one(f32, "[0]", "[0,0]"), 0, {}},
      {"no elements, wide", one(f32, "[0,2147483648]", "[0,0]"), 0, {}},
      {"32 dimensions",
       one(f32, "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,4]"),
       4,
       {}},
      {"keys in another order", R"({"a":{"data_offsets":[0,4],"shape":[1],"dtype":"F32"}})", 4, {}},
      {"tensors in another order",
       '{' + entry("a", f32, "[1]", "[4,8]") + ',' + entry("b", f32, "[1]", "[0,4]") + '}',
       8,
       {}},
      {"an empty one between",
       '{' + entry("a", f32, "[1]", "[0,4]") + ',' + entry("e", f32, "[0]", "[4,4]") + ',' +
           entry("b", f32, "[1]", "[4,8]") + '}',
       8,
       {}},
      {"not aligned",
       '{' + entry("a", R"("U8")", "[1]", "[0,1]") + ',' + entry("b", f32, "[1]", "[1,5]") + '}',
       5,
       {}},
      {"a name with an escape", R"({"\"\u00e9":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1, {}},
  };
  for (const Case& item : twins) {
    CATCH_INFO(item.name);
    CATCH_CHECK(complaint(file_of(item.header, item.data)) == "");
  }
}

CATCH_TEST_CASE("safetensors: no change of one byte is read out of range", "[model][safetensors]") {
  const std::string f32 = R"("F32")";
  std::string header = R"({"__metadata__":{"format":"pt"},)" + entry("a", f32, "[2,3]", "[0,24]") + ',' +
                       entry("b", R"("I64")", "[2]", "[24,40]") + ',' +
                       entry("c", R"("BOOL")", "[3]", "[40,43]") + '}';
  header.append((8 - header.size() % 8) % 8, ' ');
  const std::string good = file_of(header, 43);
  CATCH_REQUIRE(complaint(good).empty());
  int accepted = 0;
  int refused = 0;
  const auto look = [&](const std::string& bytes) {
    try {
      std::size_t claimed = 0;
      const SafetensorsHeader read = read_safetensors_header(bytes, {});
      for (const auto& [name, info] : read.tensors) {
        CATCH_REQUIRE(info.begin <= info.end);
        CATCH_REQUIRE(info.end <= bytes.size());
        CATCH_REQUIRE(byte_size(info) == info.end - info.begin);
        claimed += info.end - info.begin;
      }
      CATCH_REQUIRE(claimed <= bytes.size() - 10);  // eight bytes of length and at least {}
      ++accepted;
    } catch (const ModelFileError&) {
      ++refused;
    }
  };
  for (std::size_t at = 0; at < 8 + header.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      std::string bytes = good;
      bytes[at] = static_cast<char>(value);
      look(bytes);
    }
    look(good.substr(0, at));              // cut short
    look(good.substr(0, at) + good);       // something in between
    look(std::string{good}.erase(at, 1));  // a byte lost
  }
  // Most changes break the file; those inside names and metadata do not.
  CATCH_CHECK(refused > 10 * 256);
  CATCH_CHECK(accepted > 256);
}

CATCH_TEST_CASE("safetensors: tensors come back as they were written", "[model][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  const at::Tensor base = at::arange(24, at::kFloat).view({2, 3, 4}) - 7.5;
  NamedTensors tensors{{"odd", at::arange(3, at::kByte)},
                       {"transposed", base.transpose(0, 2)},
                       {"scalar", at::full({}, 2.5, at::kDouble)},
                       {"none", at::empty({0, 5}, at::kLong)},
                       {"trained \"é\"\n", base.clone().requires_grad_()}};
  for (const at::ScalarType type : {at::kBool, at::kByte, at::kChar, at::kShort, at::kInt, at::kLong,
                                    at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    tensors.push_back({std::string{"of "} + toString(type), base.to(type)});
  }
  write_safetensors(path, tensors, {{"format", "pt"}, {"é", "\""}});

  std::optional<SafetensorsFile> file = SafetensorsFile::open(path);
  CATCH_CHECK(file->names().size() == tensors.size());
  CATCH_CHECK(file->metadata().at("é") == "\"");
  for (const auto& [name, tensor] : tensors) {
    CATCH_INFO(name);
    CATCH_REQUIRE(file->contains(name));
    const at::Tensor read = file->tensor(name);
    CATCH_CHECK(read.scalar_type() == tensor.scalar_type());
    CATCH_CHECK(at::equal(read, tensor.detach()));
    CATCH_CHECK(file->info(name).begin % static_cast<std::size_t>(tensor.element_size()) == 0);
    CATCH_CHECK_NOTHROW(file->require_finite(name));
  }
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)file->tensor("x"); }).what(), "\"x\""));

  // A tensor outlives the file object, and what is written into it stays in memory.
  at::Tensor kept = file->tensor("of Float");
  file.reset();
  kept.fill_(1);
  CATCH_CHECK(at::equal(SafetensorsFile::open(path).tensor("of Float"), base));
}

CATCH_TEST_CASE("safetensors: a tensor that is not aligned is copied", "[model][safetensors]") {
  const TemporaryFolder folder;
  std::string bytes = file_of(
      '{' + entry("a", R"("U8")", "[1]", "[0,1]") + ',' + entry("b", R"("F32")", "[2]", "[1,9]") + "}   ", 0);
  const float values[] = {1.5F, -2.0F};
  bytes += '\7';
  bytes.append(reinterpret_cast<const char*>(values), sizeof(values));
  const SafetensorsFile file = SafetensorsFile::open(folder.file("t.safetensors", bytes));
  CATCH_CHECK(at::equal(file.tensor("b"), at::tensor({1.5F, -2.0F})));
  CATCH_CHECK(reinterpret_cast<std::uintptr_t>(file.tensor("b").data_ptr()) % sizeof(float) == 0);
}

CATCH_TEST_CASE("safetensors: NaN, infinities and broken truth values are found", "[model][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "t.safetensors";
  for (const at::ScalarType type : {at::kHalf, at::kBFloat16, at::kFloat, at::kDouble}) {
    for (const double bad :
         {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
          -std::numeric_limits<double>::infinity()}) {
      at::Tensor tensor = at::full({5000}, 65504.0, at::kDouble).to(type);  // the largest Half
      tensor[0] = -0.0;
      write_safetensors(path, {{"w", tensor}});
      CATCH_CHECK_NOTHROW(SafetensorsFile::open(path).require_finite("w"));
      tensor[4999] = bad;
      write_safetensors(path, {{"w", tensor}});
      const auto error = thrown<ModelFileError>([&] { SafetensorsFile::open(path).require_finite("w"); });
      CATCH_CHECK(
          contains(error.what(),
                   "\"w\": SafetensorsFile needs finite values, but found NaN or infinity as element 4999"));
    }
  }
  const std::string header = one(R"("BOOL")", "[2]", "[0,2]");
  const auto broken = SafetensorsFile::open(folder.file("b.safetensors", file_of(header, 0) + "\1\2"));
  CATCH_CHECK(
      contains(thrown<ModelFileError>([&] { (void)broken.tensor("a"); }).what(), "truth values of 0 or 1"));
  const auto whole =
      SafetensorsFile::open(folder.file("w.safetensors", file_of(header, 0) + std::string{"\1\0", 2}));
  CATCH_CHECK(at::equal(whole.tensor("a"), at::tensor({1, 0}).to(at::kBool)));
}

CATCH_TEST_CASE("safetensors: what cannot be written is refused, and the old file stays",
                "[model][safetensors]") {
  const TemporaryFolder folder;
  const auto path = folder.file("t.safetensors", "old");
  const at::Tensor good = at::ones({2});
  const auto refusal = [&](const NamedTensors& tensors) {
    return std::string{thrown<ShapeError>([&] { write_safetensors(path, tensors); }).what()};
  };
  CATCH_CHECK(contains(refusal({{"a", good}, {"a", good}}), "\"a\": write_safetensors needs each name once"));
  CATCH_CHECK(contains(refusal({{"__metadata__", good}}), "the one that the format keeps for itself"));
  CATCH_CHECK(contains(refusal({{"\xFF", good}}), "a name in UTF-8"));
  CATCH_CHECK(contains(refusal({{"a", at::Tensor{}}}), "a defined tensor"));
  CATCH_CHECK(contains(refusal({{"a", at::ones({1}, at::kComplexFloat)}}), "ComplexFloat"));
  CATCH_CHECK(read_file(path, "test") == "old");
  CATCH_CHECK(contains(
      thrown<FileError>([&] { write_safetensors(folder.path() / "no" / "t", {{"a", good}}); }).what(),
      "No such file or directory"));
  write_safetensors(path, {{"a", good}});
  CATCH_CHECK(at::equal(SafetensorsFile::open(path).tensor("a"), good));
}

CATCH_TEST_CASE("safetensors: files that cannot be read are refused", "[model][safetensors]") {
  const TemporaryFolder folder;
  const auto text = [](const std::filesystem::path& path) {
    return std::string{thrown<ModelFileError>([&] { (void)SafetensorsFile::open(path); }).what()};
  };
  CATCH_CHECK(
      contains(text(folder.path() / "missing"), "missing: SafetensorsFile needs a file that can be read"));
  CATCH_CHECK(contains(text(folder.path()), "a folder"));
  CATCH_CHECK(contains(text("/dev/zero"), "something that is not a file"));
  CATCH_CHECK(contains(text(folder.file("empty", "")), "found 0 bytes"));
}

CATCH_TEST_CASE("safetensors: a file of Python's library", "[model][safetensors][third-party]") {
  const auto folder = test::third_party_data("stories260k");
  if (!folder) return;
  const SafetensorsFile file = SafetensorsFile::open(*folder / "model.safetensors");
  CATCH_CHECK(file.metadata().at("format") == "pt");
  CATCH_CHECK(file.names().size() == 47);  // 5 layers of 9 tensors, embeddings, norm
  std::int64_t parameters = 0;
  for (const std::string& name : file.names()) {
    CATCH_CHECK_NOTHROW(file.require_finite(name));
    parameters += file.tensor(name).numel();
  }
  CATCH_CHECK(parameters == 260'032);
}
