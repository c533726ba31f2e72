// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

namespace tithe::detail {

/// Finds strings in a text in time proportional to its length, whatever the strings are (Aho and Corasick 1975).
///
/// Both are read from the back: where a string ends in the reversed text, it starts in the text, so that of all
/// that start at one place the longest is known there, and none has to be looked for twice.
class AhoCorasick {
 public:
  /// A string, by its number, and where it starts.
  struct Match {
    std::uint32_t begin;
    std::uint32_t string;
  };

  AhoCorasick() = default;
  /// Of strings that differ from each other and are not empty. Takes 13 bytes for each of their bytes.
  explicit AhoCorasick(const std::vector<std::string>& strings) {
    std::vector<std::uint32_t> order(strings.size());
    std::iota(order.begin(), order.end(), std::uint32_t{0});
    std::ranges::sort(order, [&](std::uint32_t a, std::uint32_t b) {
      return std::ranges::lexicographical_compare(strings[a].rbegin(), strings[a].rend(), strings[b].rbegin(),
                                                  strings[b].rend());
    });
    // Level by level: the strings of a node, which end alike, stand side by side.
    struct Strings {
      std::size_t begin;
      std::size_t end;
    };
    std::vector<Strings> level{{0, order.size()}};
    std::vector<Strings> next;
    std::uint32_t node = 0;
    for (std::size_t depth = 0; !level.empty(); ++depth, level.swap(next), next.clear()) {
      const auto byte_of = [&](std::size_t at) {
        const std::string& text = strings[order[at]];
        return static_cast<std::uint8_t>(text[text.size() - 1 - depth]);
      };
      for (const Strings& here : level) {
        children_[node] = static_cast<std::uint32_t>(bytes_.size());
        std::size_t begin = here.begin;
        if (begin < here.end && strings[order[begin]].size() == depth) ++begin;
        while (begin < here.end) {
          const std::uint8_t byte = byte_of(begin);
          std::size_t end = begin + 1;
          while (end < here.end && byte_of(end) == byte) ++end;
          const std::uint32_t fallback = node == 0 ? 0 : step(fallbacks_[node], byte);
          if (node == 0) first_[byte] = static_cast<std::uint32_t>(bytes_.size());
          bytes_.push_back(byte);
          children_.push_back(0);
          fallbacks_.push_back(fallback);
          const bool ends = strings[order[begin]].size() == depth + 1;
          longest_.push_back(ends ? order[begin] : longest_[fallback]);
          next.push_back({begin, end});
          begin = end;
        }
        ++node;
      }
    }
    children_.push_back(static_cast<std::uint32_t>(bytes_.size()));
  }

  /// The longest string at every place where one starts, from the back of the text, of less than 2³² bytes, to
  /// its front.
  [[nodiscard]] std::vector<Match> find(std::string_view text) const {
    std::vector<Match> matches;
    std::uint32_t node = 0;
    for (std::size_t at = text.size(); at-- > 0;) {
      node = step(node, static_cast<std::uint8_t>(text[at]));
      if (longest_[node] != none) matches.push_back({static_cast<std::uint32_t>(at), longest_[node]});
    }
    return matches;
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  /// Where a byte leads; every fallback is nearer to the root, so a text takes at most two steps a byte.
  [[nodiscard]] std::uint32_t step(std::uint32_t node, std::uint8_t byte) const {
    for (; node != 0; node = fallbacks_[node]) {
      const auto begin = bytes_.begin() + children_[node];
      const auto end = bytes_.begin() + children_[node + 1];
      const auto child = std::lower_bound(begin, end, byte);
      if (child != end && *child == byte) return static_cast<std::uint32_t>(child - bytes_.begin());
    }
    return first_[byte];
  }

  // By node, of which 0 is the root: nodes are numbered level by level, children in the order of their bytes.
  std::vector<std::uint8_t> bytes_ = std::vector<std::uint8_t>(1);  // that leads to it
  std::vector<std::uint32_t> children_ =
      std::vector<std::uint32_t>(1);  // the first; the last is before that of the next node
  std::vector<std::uint32_t> fallbacks_ = std::vector<std::uint32_t>(1);      // the longest other node whose
                                                                              // bytes this one's end with
  std::vector<std::uint32_t> longest_ = std::vector<std::uint32_t>(1, none);  // string that ends there
  std::array<std::uint32_t, 256> first_{};  // the root's children by byte; 0 if none
};

}  // namespace tithe::detail
