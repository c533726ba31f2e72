// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <string>

namespace tithe::detail {

/// What is wrong with a file, in one clause: the first 20 findings, and how many more. A configuration may ask for 10,000
/// layers and a file hold a million stray tensors: what is not said is not kept.
class Findings {
 public:
  void add(const std::string& finding) {
    if (count_++ < most) said_ += (said_.empty() ? "" : "; ") + finding;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] std::string text() const {
    return count_ <= most ? said_ : said_ + "; and " + std::to_string(count_ - most) + " more";
  }

 private:
  static constexpr std::size_t most = 20;
  std::size_t count_ = 0;
  std::string said_{};
};

}  // namespace tithe::detail
