// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

/// Laws that any policy can be held to, in any test framework or none: a suite returns what it found.
namespace tithe::testing {

/// The laws that a policy breaks, each with the first case that showed it. Empty if it keeps them all.
///
/// In a test: `CHECK(laws == Violations{})`, or print `text()` if not `empty()`.
class Violations {
 public:
  Violations() = default;
  explicit Violations(std::string policy) : policy_{std::move(policy)} {}

  [[nodiscard]] bool empty() const { return broken_.empty(); }
  [[nodiscard]] std::size_t size() const { return broken_.size(); }
  [[nodiscard]] auto begin() const { return broken_.begin(); }
  [[nodiscard]] auto end() const { return broken_.end(); }

  /// Whether a law, by its words, is among the broken ones.
  [[nodiscard]] bool names(const std::string& law) const {
    return std::any_of(begin(), end(), [&](const std::string& line) { return line.find(law) != line.npos; });
  }

  /// One line a law.
  [[nodiscard]] std::string text() const {
    std::string lines;
    for (const std::string& line : broken_) lines += line + '\n';
    return lines;
  }

  /// Notes a law that does not hold, once, with the case: a function that returns its description.
  template <class Case>
  void expect(bool holds, const std::string& law, Case describe) {
    const std::string start = policy_ + ": " + law + ": not so for ";
    if (holds || names(start)) return;
    broken_.push_back(start + describe() + '.');
  }

 private:
  std::string policy_;
  std::vector<std::string> broken_;
};

}  // namespace tithe::testing
