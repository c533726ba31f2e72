// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "tithe/model/key_values.hpp"

/// Which prompts are kept for the sequences that share them, and where.
namespace tithe::detail {

/// Prompts in groups of like length, each group padded to its longest, and how many sequences of each still grow. It knows
/// rows; the keys in them are its owner's.
class PromptGroups {
 public:
  /// Adds a prompt of so many tokens and sequences, and gives its number: to the last group, or if it would be padded too
  /// much to a new one.
  std::size_t add(std::int64_t length, std::int64_t sequences) {
    const auto fits = [&](const Group& group) {
      const std::int64_t shortest = std::min(group.shortest, length);
      return std::max(group.longest, length) <= shortest + shortest / 4 + slack;
    };
    if (groups_.empty() || !fits(groups_.back())) groups_.push_back({.shortest = length});
    Group& group = groups_.back();
    group.shortest = std::min(group.shortest, length);
    group.longest = std::max(group.longest, length);
    prompts_.push_back(
        {{.group = std::ssize(groups_) - 1, .row = std::ssize(group.prompts), .length = length}, sequences});
    group.prompts.push_back(prompts_.size() - 1);
    return prompts_.size() - 1;
  }

  /// Its group, row and length; its sequences are not listed.
  [[nodiscard]] const Family& operator[](std::size_t prompt) const { return prompts_[prompt].place; }
  /// Groups that ever were.
  [[nodiscard]] std::size_t size() const { return groups_.size(); }
  [[nodiscard]] std::int64_t count(std::size_t group) const { return std::ssize(groups_[group].prompts); }
  [[nodiscard]] std::int64_t longest(std::size_t group) const { return groups_[group].longest; }

  /// One sequence of a prompt has ended. If it was the last, the prompt goes and the last of its group takes its row: then
  /// this gives that one's place, with the row that it comes from, unless the prompt was the last itself.
  std::optional<std::pair<Family, std::int64_t>> release(std::size_t prompt) {
    if (--prompts_[prompt].sequences > 0) return std::nullopt;
    const Family place = prompts_[prompt].place;
    std::vector<std::size_t>& rows = groups_[static_cast<std::size_t>(place.group)].prompts;
    const std::size_t last = rows.back();
    rows.pop_back();
    if (last == prompt) return std::nullopt;
    rows[static_cast<std::size_t>(place.row)] = last;
    const std::int64_t from = std::exchange(prompts_[last].place.row, place.row);
    return std::pair{prompts_[last].place, from};
  }

  /// The families of sequences [n], each of a prompt.
  [[nodiscard]] std::vector<Family> families(std::span<const std::size_t> prompt_of) const {
    std::vector<std::int64_t> family_of(prompts_.size(), -1);
    std::vector<Family> families;
    for (std::size_t i = 0; i < prompt_of.size(); ++i) {
      std::int64_t& family = family_of[prompt_of[i]];
      if (family < 0) {
        family = std::ssize(families);
        families.push_back(prompts_[prompt_of[i]].place);
      }
      families[static_cast<std::size_t>(family)].sequences.push_back(static_cast<std::int64_t>(i));
    }
    return families;
  }

 private:
  /// By which the longest of a group may exceed the shortest, beside a quarter: a group more costs some operators.
  static constexpr std::int64_t slack = 16;

  struct Group {
    std::int64_t shortest = 0, longest = 0;
    std::vector<std::size_t> prompts{};  ///< by row
  };
  struct Prompt {
    Family place;
    std::int64_t sequences;  ///< that still grow
  };

  std::vector<Group> groups_;
  std::vector<Prompt> prompts_;
};

}  // namespace tithe::detail
