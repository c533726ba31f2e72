// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <charconv>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/study/cell_point.hpp"

namespace tithe {

/// A part of a study for one of several machines, each with a folder of its own, whose records are joined by `cat`.
struct Shard {
  std::size_t number = 1;  ///< from 1
  std::size_t count = 1;

  /// "2/8" as the second of eight. Throws OptionError for anything else.
  [[nodiscard]] static Shard parse(std::string_view text) {
    Shard shard;
    const auto read = [&](std::string_view digits, std::size_t& number) {
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
      if (error != std::errc{} || end != digits.data() + digits.size()) fail(in_quotes(text));
    };
    const std::size_t slash = text.find('/');
    if (slash == text.npos) fail(in_quotes(text));
    read(text.substr(0, slash), shard.number);
    read(text.substr(slash + 1), shard.count);
    shard.validate();
    return shard;
  }

  /// Throws OptionError for a number that is not among the shards.
  void validate() const {
    if (number < 1 || number > count) fail(std::to_string(number) + '/' + std::to_string(count));
  }

  /// Its cells: they are dealt out in their order, so that every shard gets its part of each budget.
  [[nodiscard]] std::vector<CellPoint> of(std::span<const CellPoint> cells) const {
    validate();
    std::vector<CellPoint> mine;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (i % count == number - 1) mine.push_back(cells[i]);
    }
    return mine;
  }

 private:
  [[noreturn]] static void fail(const std::string& found) {
    throw OptionError{{.who = "Shard",
                       .required = "a number and a count, the number from 1 to the count",
                       .found = found,
                       .fix = "Write 2/8 for the second of eight"}};
  }
};

}  // namespace tithe
