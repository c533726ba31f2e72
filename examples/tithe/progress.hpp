// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <chrono>
#include <string>

namespace program {

/// What the program tells people while it works, on standard error: on a terminal one line that is drawn
/// anew, otherwise plain lines, few enough for a log.
class ProgressLine {
 public:
  /// `show_line` false: nothing is drawn anew, for when results go to the same terminal.
  explicit ProgressLine(bool show_line = true);
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  ~ProgressLine();

  /// Where the work stands. Most calls show nothing: a terminal is redrawn ten times a second at most, a log
  /// gets a line every ten seconds, and both get what is `important`.
  void update(const std::string& text, bool important = false);
  /// A line that stays.
  void note(const std::string& text);

 private:
  using Clock = std::chrono::steady_clock;
  void erase();

  bool redraws_;
  bool drawn_ = false;
  Clock::time_point last_ = Clock::now();
};

/// "1 h 02 min", "3 min 10 s", "4.2 s".
std::string duration_text(double seconds);
/// A number of a few digits, as people read it: "0.6931", "12,034".
std::string figure_text(double value);

}  // namespace program
