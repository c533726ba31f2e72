// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

namespace program {

/// A command as it can be pasted into a shell: its words, in quotes where they need them.
inline std::string shell_line(const std::vector<std::string>& words) {
  std::string line;
  for (const std::string& word : words) {
    const bool is_plain = !word.empty() && word.find_first_not_of(
                                               "abcdefghijklmnopqrstuvwxyz"
                                               "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                               "0123456789_-./=,:") == word.npos;
    std::string quoted;
    for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string{c};
    line += (line.empty() ? "" : " ") + (is_plain ? word : '\'' + quoted + '\'');
  }
  return line;
}

}  // namespace program
