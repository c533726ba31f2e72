// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <csignal>
#include <stop_token>
#include <thread>

#include "session.hpp"

namespace program {

/// Turns SIGINT and SIGTERM into a stop request; a second one ends the program at once.
///
/// The signals are blocked and awaited by a thread, so that what they cause is ordinary code and no handler
/// runs in the middle of anything. Threads inherit the mask: make this before any other thread.
class Interrupt {
 public:
  Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  ~Interrupt();

  [[nodiscard]] Session session() const { return {source_.get_token(), pipe_[0]}; }

 private:
  void wait(const std::stop_token& ends);

  sigset_t signals_{};
  std::array<int, 2> pipe_{-1, -1};
  std::stop_source source_;
  std::jthread thread_;  // last, so that it begins when all else is there
};

}  // namespace program
