// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"

/// model.safetensors.index.json: which file holds which tensor of a model in several files.
namespace tithe {

/// A tensor's name and the file that holds it, as a place in `WeightIndex::files`.
struct IndexedTensor {
  std::string name;
  std::size_t file = 0;
};

struct WeightIndex {
  /// Names of files beside the index, sorted.
  std::vector<std::string> files{};
  /// Sorted by name, each name once.
  std::deque<IndexedTensor> tensors{};
};

namespace detail {

/// Builds an index from JSON events: a document of a long list would take ten times its text.
class WeightIndexReader {
 public:
  using Input = JsonInput<ModelFileError>;
  explicit WeightIndexReader(const Input& input) : input_{input} {}

  [[nodiscard]] WeightIndex take() {
    if (!has_map_) input_.fail("a \"weight_map\"", "none");
    if (tensors_.empty()) input_.fail("a tensor in the \"weight_map\"", "none");
    std::ranges::sort(tensors_, {}, &Entry::name);
    const auto twin = std::ranges::adjacent_find(tensors_, {}, &Entry::name);
    if (twin != tensors_.end()) {
      input_.fail("each key once in \"weight_map\"", "a second one", {}, in_quotes(twin->name));
    }
    WeightIndex index;
    index.files.assign(files_.begin(), files_.end());
    for (Entry& entry : tensors_) {
      const auto file = std::ranges::lower_bound(index.files, *entry.file);
      index.tensors.push_back({std::move(entry.name), static_cast<std::size_t>(file - index.files.begin())});
    }
    return index;
  }

  bool null() { return value("null"); }
  bool boolean(bool) { return value("a truth value"); }
  bool number_integer(std::int64_t) { return value("a number"); }
  bool number_unsigned(std::uint64_t) { return value("a number"); }
  bool number_float(double, const std::string&) { return value("a number"); }
  bool binary(Json::binary_t&) { return value("bytes"); }
  bool string(std::string& text) {
    if (!in_map()) return value("a string");
    require_plain(text);
    tensors_.push_back({std::move(key_), &*files_.insert(std::move(text)).first});
    if (files_.size() > max_files) input_.fail("at most " + std::to_string(max_files) + " files", "more");
    return true;
  }

  bool start_object(std::size_t) {
    if (depth_ == 1 && key_ == map_name) {
      is_map_ = true;
    } else if (depth_ > 0) {
      value("an object");
    }
    return descend();
  }
  bool end_object() { return ascend(); }
  bool start_array(std::size_t) {
    value("an array");
    return descend();
  }
  bool end_array() { return ascend(); }

  bool key(std::string& name) {
    if (depth_ == 1 && name == map_name && std::exchange(has_map_, true)) {
      input_.fail("each key once in an object", "a second one", {}, in_quotes(name));
    }
    key_ = std::move(name);
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& reason) {
    input_.fail_syntax(reason);
    return false;
  }

 private:
  static constexpr std::string_view map_name = "weight_map";
  static constexpr std::size_t max_files = 1024;  // the largest models have some hundreds
  struct Entry {
    std::string name;
    const std::string* file;  // in files_
  };

  [[nodiscard]] bool in_map() const { return is_map_ && depth_ == 2; }

  /// Other values may stand anywhere but in the map, in its place, and in that of the whole.
  bool value(const char* found) const {
    if (depth_ == 0) input_.fail("a JSON object", found);
    if (in_map()) input_.fail("the name of a file", found, {}, in_quotes(key_));
    if (depth_ == 1 && key_ == map_name) input_.fail("an object", found, {}, in_quotes(key_));
    return true;
  }
  /// A name from a stranger must not lead out of the folder. (A link of that name may: the hub's cache is made of them.)
  void require_plain(const std::string& name) const {
    constexpr std::string_view extension = ".safetensors";
    const bool is_plain = name.size() > extension.size() && name.ends_with(extension) &&
                          name.front() != '.' &&
                          name.find_first_of(std::string_view{"/\\\0", 3}) == name.npos;
    if (!is_plain) {
      input_.fail("the name of a .safetensors file in the same folder", in_quotes(name), {}, in_quotes(key_));
    }
  }
  bool descend() {
    if (++depth_ > Input::max_depth) {
      input_.fail("at most " + std::to_string(Input::max_depth) + " levels of nesting", "more");
    }
    return true;
  }
  bool ascend() {
    if (--depth_ == 1) is_map_ = false;
    return true;
  }

  const Input& input_;
  std::deque<Entry> tensors_{};  // no contiguous copy while it grows
  std::set<std::string> files_{};
  std::string key_{};
  std::size_t depth_ = 0;
  bool is_map_ = false, has_map_ = false;
};

}  // namespace detail

/// An index from its text. What it says of sizes (`metadata`) is not read: published ones are often wrong. Throws
/// ModelFileError, naming the tensor, for what is malformed, and for a file that is not a plain name.
inline WeightIndex parse_weight_index(std::string_view text, const Location& where) {
  JsonInput<ModelFileError> input{text, where, "WeightFiles"};
  input.refuse_long_tokens(std::size_t{1} << 16);
  detail::WeightIndexReader reader{input};
  input.parse(reader);
  return reader.take();
}

}  // namespace tithe
