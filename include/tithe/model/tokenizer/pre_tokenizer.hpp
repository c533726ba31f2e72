// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/model/tokenizer/regex.hpp"

/// How a text is cut into the pieces that are encoded each on its own.
namespace tithe::detail {

/// What becomes of a delimiter, which is what a pattern matches.
enum class SplitBehavior : std::uint8_t {
  removed,
  isolated,
  merged_with_previous,
  merged_with_next,
  contiguous,  ///< delimiters that touch each other become one piece
};

/// Cuts at the matches of a pattern.
struct Split {
  Regex pattern;
  SplitBehavior behavior = SplitBehavior::isolated;
  bool is_inverted = false;  ///< what lies between matches is the delimiter

  /// Calls `sink` with every piece that is not empty.
  template <class Sink>
  void operator()(std::string_view text, RegexMemory& memory, Sink&& sink) const {
    if (behavior == SplitBehavior::isolated) {
      parts(text, memory,
            [&](std::size_t begin, std::size_t end, bool) { sink(text.substr(begin, end - begin)); });
      return;
    }
    std::vector<Part> all;
    parts(text, memory, [&](std::size_t begin, std::size_t end, bool is_delimiter) {
      if (!all.empty() && joins(all.back(), is_delimiter)) {
        all.back().end = end;
        all.back().ends_in_delimiter = is_delimiter;
      } else {
        all.push_back({begin, end, is_delimiter, is_delimiter});
      }
    });
    for (const Part& part : all) {
      if (behavior == SplitBehavior::removed && part.is_delimiter) continue;
      sink(text.substr(part.begin, part.end - part.begin));
    }
  }

 private:
  struct Part {
    std::size_t begin;
    std::size_t end;
    bool is_delimiter;       // at its front
    bool ends_in_delimiter;  // at its end
  };

  /// Calls `part(begin, end, is_delimiter)` for matches and what lies between, in order.
  template <class Function>
  void parts(std::string_view text, RegexMemory& memory, const Function& part) const {
    std::size_t done = 0;
    while (done < text.size()) {
      const auto match = pattern.find(text, done, memory);
      const std::size_t begin = match ? match->begin : text.size();
      if (done < begin) part(done, begin, is_inverted);
      if (!match) return;
      part(begin, match->end, !is_inverted);
      done = match->end;
    }
  }
  /// Whether the next part belongs to the one before.
  [[nodiscard]] bool joins(const Part& before, bool is_delimiter) const {
    switch (behavior) {
      case SplitBehavior::merged_with_previous:
        return is_delimiter && !before.ends_in_delimiter;
      case SplitBehavior::merged_with_next:
        return !is_delimiter && before.ends_in_delimiter && before.is_delimiter;
      case SplitBehavior::contiguous:
        return is_delimiter == before.is_delimiter;
      default:
        return false;
    }
  }
};

/// A space before a text that has none.
struct PrefixSpace {
  template <class Sink>
  void operator()(std::string_view text, RegexMemory&, Sink&& sink) const {
    if (text.starts_with(' ')) {
      sink(text);
    } else {
      sink(std::string_view{' ' + std::string{text}});
    }
  }
};

/// Spaces become ▁, one stands before the text, and words begin with theirs (SentencePiece's way of writing spaces).
struct Metaspace {
  enum class Prepend : std::uint8_t {
    always,
    first,  ///< only where the text begins, not behind an added token
    never
  };
  static constexpr std::string_view mark = "\xE2\x96\x81";  // ▁
  Prepend prepend = Prepend::always;
  bool splits = true;  ///< before every mark

  template <class Sink>
  void operator()(std::string_view text, bool at_start, Sink&& sink) const {
    std::string marked;
    marked.reserve(text.size() + text.size() / 4);
    for (const char c : text) c == ' ' ? marked.append(mark) : marked.append(1, c);
    const bool prepends = prepend == Prepend::always || (prepend == Prepend::first && at_start);
    if (prepends && !marked.starts_with(mark)) marked.insert(0, mark);
    std::size_t begin = 0;
    while (splits && begin < marked.size()) {
      const std::size_t next = marked.find(mark, begin + 1);
      if (next == marked.npos) break;
      sink(std::string_view{marked}.substr(begin, next - begin));
      begin = next;
    }
    sink(std::string_view{marked}.substr(begin));
  }
};

/// Steps one after another, each of which cuts every piece of the one before.
class PreTokenizer {
 public:
  using Step = std::variant<Split, PrefixSpace, Metaspace>;

  void add(Step step) { steps_.push_back(std::move(step)); }
  [[nodiscard]] std::size_t size() const { return steps_.size(); }
  [[nodiscard]] bool has_metaspace() const {
    return std::ranges::any_of(steps_,
                               [](const Step& step) { return std::holds_alternative<Metaspace>(step); });
  }

  /// Calls `sink` with the pieces of a text that is not empty; without any step that is the text. `at_start` is whether
  /// nothing stands before it.
  template <class Sink>
  void operator()(std::string_view text, bool at_start, RegexMemory& memory, const Sink& sink) const {
    if (const auto* metaspace = steps_.empty() ? nullptr : std::get_if<Metaspace>(&steps_.front())) {
      (*metaspace)(text, at_start, sink);  // it is the only step
    } else {
      run(0, text, memory, sink);
    }
  }

 private:
  template <class Sink>
  void run(std::size_t step, std::string_view text, RegexMemory& memory, const Sink& sink) const {
    if (step == steps_.size()) {
      sink(text);
      return;
    }
    std::visit(
        [&]<class Cut>(const Cut& cut) {
          if constexpr (!std::is_same_v<Cut, Metaspace>) {
            cut(text, memory, [&](std::string_view piece) { run(step + 1, piece, memory, sink); });
          }
        },
        steps_[step]);
  }

  std::vector<Step> steps_{};
};

}  // namespace tithe::detail
