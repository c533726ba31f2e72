// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <filesystem>
#include <initializer_list>
#include <istream>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/example.hpp"
#include "tithe/data/jsonl.hpp"

/// All annotated examples of an experiment, in memory, by kind and in the order in which they were read.
namespace tithe {

/// Examples of the three kinds. It is plain: fill it by hand where the examples do not come from files.
struct Dataset {
  std::vector<Demonstration> demonstrations{};
  std::vector<PreferencePair> preferences{};
  std::vector<LabeledCompletion> labeled{};

  [[nodiscard]] std::size_t size() const {
    return demonstrations.size() + preferences.size() + labeled.size();
  }

  /// The examples of one kind.
  template <class Kind>
  [[nodiscard]] std::vector<Kind>& of() {
    if constexpr (std::is_same_v<Kind, Demonstration>) {
      return demonstrations;
    } else if constexpr (std::is_same_v<Kind, PreferencePair>) {
      return preferences;
    } else {
      static_assert(std::is_same_v<Kind, LabeledCompletion>,
                    "Dataset: the kinds are Demonstration, PreferencePair and LabeledCompletion.");
      return labeled;
    }
  }

  template <class Kind>
  void add(Kind example) {
    of<Kind>().push_back(std::move(example));
  }
  void add(Example example) {
    std::visit([this](auto& one) { add(std::move(one)); }, example);
  }
};

/// Reads files one after another; kinds may be mixed within a file. Throws FileError for a file that cannot
/// be read, and DataError, with file, line, column and field, for the first line that is no example.
inline Dataset read_jsonl(std::span<const std::filesystem::path> paths) {
  Dataset dataset;
  for (const std::filesystem::path& path : paths) {
    JsonlReader reader{path};
    while (std::optional<Example> example = reader.next()) dataset.add(*std::move(example));
  }
  return dataset;
}
inline Dataset read_jsonl(std::initializer_list<std::filesystem::path> paths) {
  return read_jsonl(std::span{paths.begin(), paths.size()});
}
inline Dataset read_jsonl(const std::filesystem::path& path) { return read_jsonl(std::span{&path, 1}); }

/// Reads a stream to its end; `name` stands for the file's name.
inline Dataset read_jsonl(std::istream& stream, std::string name = "<stream>") {
  Dataset dataset;
  JsonlReader reader{stream, std::move(name)};
  while (std::optional<Example> example = reader.next()) dataset.add(*std::move(example));
  return dataset;
}

}  // namespace tithe
