// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/weight_files.hpp"

#include <ATen/ATen.h>

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "counted_memory.hpp"
#include "random_model.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/model/weight_writer.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::distance;
using test::TemporaryFolder;
using test::thrown;

constexpr const char* index_name = "model.safetensors.index.json";

void write_shard(const TemporaryFolder& folder, const std::string& name,
                 const std::vector<std::string>& tensors) {
  NamedTensors all;
  for (const std::string& tensor : tensors) all.push_back({tensor, at::ones({2})});
  write_safetensors(folder.path() / name, all);
}
void write_index(const TemporaryFolder& folder, const Json& map) {
  (void)folder.file(index_name, Json{{"weight_map", map}}.dump());
}
/// A folder of two files: a and b in 1, c in 2.
void write_parts(const TemporaryFolder& folder) {
  write_shard(folder, "1.safetensors", {"a", "b"});
  write_shard(folder, "2.safetensors", {"c"});
  write_index(folder, {{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}});
}
std::string refusal(const TemporaryFolder& folder) {
  return thrown<ModelFileError>([&] { (void)WeightFiles::open(folder.path()); }).what();
}
std::vector<std::string> files_of(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator{folder})
    names.push_back(entry.path().filename());
  std::ranges::sort(names);
  return names;
}

/// Megabytes of mapped files that are in memory.
double resident_files() {
  std::ifstream status{"/proc/self/status"};
  double sum = 0;
  for (std::string word; status >> word;) {
    if (word != "RssFile:" && word != "RssShmem:")
      continue;  // the second where the folder is in memory itself
    double kilobytes = 0;
    status >> kilobytes;
    sum += kilobytes / 1024;
  }
  return sum;
}

}  // namespace

CATCH_TEST_CASE("weights in several files are one set", "[model][weights]") {
  const TemporaryFolder folder;
  write_parts(folder);
  const WeightFiles files = WeightFiles::open(folder.path());
  CATCH_CHECK(files.names() == std::vector<std::string>{"a", "b", "c"});
  CATCH_CHECK(files.path().filename() == index_name);
  CATCH_CHECK(files.holding("c").path().filename() == "2.safetensors");
  CATCH_CHECK(files.contains("b"));
  CATCH_CHECK_FALSE(files.contains("d"));
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)files.holding("d"); }).what(),
                       "\"d\": WeightFiles needs this tensor"));
}

CATCH_TEST_CASE("links out of the folder are followed, as the hub's cache has them", "[model][weights]") {
  const TemporaryFolder folder;
  const std::filesystem::path blobs = folder.path() / "blobs";
  const std::filesystem::path snapshot = folder.path() / "snapshots" / "1";
  std::filesystem::create_directories(blobs);
  std::filesystem::create_directories(snapshot);
  write_parts(folder);
  for (const std::string& name :
       {std::string{"1.safetensors"}, std::string{"2.safetensors"}, std::string{index_name}}) {
    std::filesystem::rename(folder.path() / name, blobs / ("of-" + name));
    std::filesystem::create_symlink("../../blobs/of-" + name, snapshot / name);
  }
  CATCH_CHECK(WeightFiles::open(snapshot).names().size() == 3);
  std::filesystem::remove(blobs / "of-2.safetensors");
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)WeightFiles::open(snapshot); }).what(),
                       "2.safetensors: SafetensorsFile needs a file that can be read"));
}

CATCH_TEST_CASE("an index that is not that of its files is refused, tensor by tensor", "[model][weights]") {
  const TemporaryFolder folder;
  CATCH_CHECK(contains(refusal(folder), "model.safetensors: SafetensorsFile needs a file that can be read"));
  write_parts(folder);
  CATCH_CHECK_NOTHROW(WeightFiles::open(folder.path()));

  write_index(
      folder,
      {{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}, {"d", "2.safetensors"}});
  CATCH_CHECK(contains(refusal(folder), "found no \"d\" in 2.safetensors."));
  write_index(folder, {{"a", "1.safetensors"}, {"c", "2.safetensors"}});
  CATCH_CHECK(contains(refusal(folder), "found \"b\" in 1.safetensors, which the index does not say."));
  write_index(folder, {{"a", "2.safetensors"}, {"b", "1.safetensors"}, {"c", "1.safetensors"}});
  const std::string swapped = refusal(folder);
  for (const char* part : {"no \"a\" in 2.safetensors; no \"c\" in 1.safetensors",
                           "\"a\" in 1.safetensors, which", "\"c\" in 2.safetensors, which", index_name}) {
    CATCH_CHECK(contains(swapped, part));
  }
  write_index(folder, {{"a", "3.safetensors"}});
  CATCH_CHECK(contains(refusal(folder), "3.safetensors: SafetensorsFile needs a file that can be read"));
  write_index(folder, {{"a", "../1.safetensors"}});
  CATCH_CHECK(contains(refusal(folder),
                       "\"a\": WeightFiles needs the name of a .safetensors file in the same folder"));

  // The same tensor in two files.
  write_parts(folder);
  write_shard(folder, "2.safetensors", {"a", "c"});
  CATCH_CHECK(contains(refusal(folder), "found \"a\" in 2.safetensors, which the index does not say."));
  // A broken part is named itself.
  write_parts(folder);
  (void)folder.file("2.safetensors", "12345678");
  CATCH_CHECK(contains(refusal(folder), "2.safetensors: SafetensorsFile needs a header of at most 100 MB"));
  // A folder of both kinds.
  write_parts(folder);
  write_shard(folder, "model.safetensors", {"a"});
  CATCH_CHECK(
      contains(refusal(folder), "needs either model.safetensors or an index of several, but found both"));
  std::filesystem::remove(folder.path() / index_name);
  CATCH_CHECK(WeightFiles::open(folder.path()).names().size() == 1);
  // Many findings are counted.
  Json many;
  for (int i = 0; i < 50; ++i) many["t" + std::to_string(i)] = "2.safetensors";
  std::filesystem::remove(folder.path() / "model.safetensors");
  write_index(folder, many);
  CATCH_CHECK(contains(refusal(folder), "; and 31 more."));
}

CATCH_TEST_CASE("weights are split where they are too large for a file", "[model][weights]") {
  const TemporaryFolder folder;
  const auto path = folder.path();
  NamedTensors tensors;  // of 40, 80, … 200 bytes
  for (const int i : {1, 2, 3, 4, 5})
    tensors.push_back({std::string(1, static_cast<char>('a' + i)), at::full({10 * i}, i)});
  const auto check = [&] {
    const WeightFiles files = WeightFiles::open(path);
    for (const auto& [name, tensor] : tensors) {
      CATCH_CHECK(at::equal(files.holding(name).tensor(name),
                            tensor.to(files.holding(name).tensor(name).scalar_type())));
    }
  };
  for (NamedTensor& named : tensors) named.tensor = named.tensor.to(at::kFloat);
  write_weights(path, tensors, {.max_file_bytes = 160});
  const std::vector<std::string> four{"model-00001-of-00004.safetensors", "model-00002-of-00004.safetensors",
                                      "model-00003-of-00004.safetensors", "model-00004-of-00004.safetensors",
                                      index_name};
  CATCH_CHECK(files_of(path) == four);  // 40 + 80, 120, 160, and 200 alone although it is larger
  const Json index = Json::parse(std::ifstream{path / index_name});
  CATCH_CHECK(index["metadata"]["total_size"] == 600);
  CATCH_CHECK(index["weight_map"]["c"] == four[0]);
  CATCH_CHECK(index["weight_map"]["f"] == four[3]);
  check();

  // What an earlier save left would be taken for part of this one. Other files are left alone.
  (void)folder.file("model-of-mine.safetensors", "mine");
  write_weights(path, tensors, {.dtype = at::kBFloat16, .max_file_bytes = 200});
  CATCH_CHECK(files_of(path) == std::vector<std::string>{"model-00001-of-00002.safetensors",
                                                         "model-00002-of-00002.safetensors",
                                                         "model-of-mine.safetensors", index_name});
  check();
  write_weights(path, tensors);
  CATCH_CHECK(files_of(path) == std::vector<std::string>{"model-of-mine.safetensors", "model.safetensors"});
  check();
  write_weights(path, tensors, {.max_file_bytes = 599});
  CATCH_CHECK_FALSE(std::filesystem::exists(path / "model.safetensors"));
  check();

  CATCH_CHECK(
      contains(thrown<OptionError>([&] { write_weights(path, tensors, {.dtype = at::kLong}); }).what(),
               "dtype: write_safetensors needs float16, bfloat16, float32 or float64, but found Long"));
  check();  // as it was

  // Integers keep their dtype whatever is wished of the others.
  write_weights(path, {{"i", at::full({2}, 7, at::kLong)}, {"x", at::full({2}, 0.5)}}, {.dtype = at::kHalf});
  const WeightFiles files = WeightFiles::open(path);
  CATCH_CHECK(files.holding("i").tensor("i").scalar_type() == at::kLong);
  CATCH_CHECK(files.holding("x").tensor("x").scalar_type() == at::kHalf);
}

CATCH_TEST_CASE("a number that the wished dtype lacks is found before anything is written",
                "[model][weights]") {
  const TemporaryFolder folder;
  const at::Tensor fits = at::full({10}, 65504.0, at::kFloat);  // the largest float16
  at::Tensor large = fits.clone();
  NamedTensors tensors{{"a", fits}, {"b", large}};
  const auto refused = [&](const WeightOptions& options) {
    return std::string{thrown<OptionError>([&] { write_weights(folder.path(), tensors, options); }).what()};
  };
  for (const std::size_t most : {std::size_t{20}, std::size_t{1000}}) {  // two files, and one
    large[7] = 65504;
    write_weights(folder.path(), tensors, {.dtype = at::kHalf, .max_file_bytes = most});
    const std::vector<std::string> files = files_of(folder.path());
    large[7] = -1e6;
    for (const std::size_t other : {std::size_t{20}, std::size_t{1000}}) {
      CATCH_CHECK(contains(refused({.dtype = at::kHalf, .max_file_bytes = other}),
                           "dtype: write_safetensors needs numbers that float16 has, but found -1e+06 as "
                           "element 7 of \"b\"."));
      CATCH_CHECK(files_of(folder.path()) == files);  // as it was
      const WeightFiles kept = WeightFiles::open(folder.path());
      CATCH_CHECK(at::equal(kept.holding("b").tensor("b").to(at::kFloat), fits));
    }
  }
  CATCH_CHECK_NOTHROW(write_weights(folder.path(), tensors, {.dtype = at::kBFloat16}));
  CATCH_CHECK_NOTHROW(write_weights(folder.path(), tensors));
  // What rounds up to infinity, and what is as large in double.
  large[7] = 65519.9;
  CATCH_CHECK_NOTHROW(write_weights(folder.path(), tensors, {.dtype = at::kHalf}));
  large[7] = 65520;
  CATCH_CHECK(contains(refused({.dtype = at::kHalf}), "found 65520 as element 7"));
  large[7] = 3.4e38;
  CATCH_CHECK(
      contains(refused({.dtype = at::kBFloat16}), "that bfloat16 has, but found 3.4e+38 as element 7"));
  tensors[1].tensor = at::ones({10}, at::kBFloat16);
  tensors[1].tensor[7] = 0x1p127;
  CATCH_CHECK(contains(refused({.dtype = at::kHalf}), "1.70141e+38 as element 7"));
  tensors[1].tensor = at::full({2, 3}, -1e300, at::kDouble).t();
  CATCH_CHECK(contains(refused({.dtype = at::kFloat}), "that float32 has, but found -1e+300 as element 0"));
  // NaN hides nothing, and is not made by the dtype.
  large[2] = std::numeric_limits<float>::quiet_NaN();
  tensors[1].tensor = large;
  CATCH_CHECK(contains(refused({.dtype = at::kHalf}), "as element 7"));
  large[7] = std::numeric_limits<float>::infinity();
  CATCH_CHECK_NOTHROW(write_weights(folder.path(), tensors, {.dtype = at::kHalf}));
}

CATCH_TEST_CASE("a model is read without a second copy of it in memory", "[model][weights]") {
  const TemporaryFolder folder;
  DecoderConfig config = test::small_config();
  config.qkv_bias = false;
  config.vocab_size = 20'000;
  config.hidden_size = 256;
  config.intermediate_size = 2'000;
  config.num_hidden_layers = 4;
  const std::size_t bytes = [&] {
    const Decoder model = Decoder::empty(config, at::kBFloat16);
    save_decoder(folder.path(), model);
    std::size_t sum = 0;
    for (const NamedTensor& weight : model.weights()) sum += weight.tensor.nbytes();
    return sum;
  }();
  const double mega = static_cast<double>(bytes) / (1 << 20);
  CATCH_REQUIRE(mega > 30);

  const double before = resident_files();
  const test::CountedMemory counted;
  const Decoder model = load_decoder(folder.path());  // float32: twice the file
  const double left = resident_files() - before;
  // Nothing but the model is made of tensors, and what was read of the file has been given back.
  CATCH_CHECK(static_cast<double>(counted.peak()) < 2.02 * static_cast<double>(bytes));
  CATCH_CAPTURE(mega, left);
  CATCH_CHECK(left < 0.1 * mega);

  // It is what would stay otherwise.
  const SafetensorsFile file = SafetensorsFile::open(folder.path() / "model.safetensors");
  const double start = resident_files();
  for (const std::string& name : file.names()) file.require_finite(name);
  CATCH_CHECK(resident_files() - start > 0.9 * mega);
  for (const std::string& name : file.names()) file.forget(name);
  CATCH_CHECK(resident_files() - start < 0.1 * mega);
  for (const std::string& name : file.names())
    CATCH_CHECK(file.tensor(name).numel() > 0);  // and it can be read again
}
