// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>
#include <utility>

#include "tithe/core/error.hpp"

/// A command that runs beside us, with its standard input and output in our hands.
namespace tithe::detail {

/// Keeps a write into a pipe that nobody reads from ending the process, for this thread and as long as the object lives:
/// the write says EPIPE, as with every other error. The handlers of the process are left as they are.
class PipeSignalHeld {
 public:
  PipeSignalHeld() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending{};
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  PipeSignalHeld(const PipeSignalHeld&) = delete;
  PipeSignalHeld& operator=(const PipeSignalHeld&) = delete;
  ~PipeSignalHeld() {
    constexpr timespec now{};
    while (!was_pending_ && sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) continue;
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

 private:
  sigset_t pipe_{};
  sigset_t before_{};
  bool was_pending_ = false;
};

/// `/bin/sh -c command` in a process group of its own, so that what it starts ends with it. Its standard error is ours.
/// When the object goes, the group is killed if it still runs, and nothing of it stays behind, no zombie either.
class ChildProcess {
 public:
  /// Throws JudgeError if it cannot be started; the shell itself says later if there is no such command.
  ChildProcess(const std::string& command, const std::string& who) {
    const auto require = [&](bool met, const char* required, int error) {
      if (met) return;
      close_all();
      throw JudgeError{
          {who, required, std::generic_category().message(error), "See the limits of processes and files"}};
    };
    std::array<int, 2> input{-1, -1}, output{-1, -1};
    const bool piped = ::pipe2(input.data(), O_CLOEXEC) == 0 && ::pipe2(output.data(), O_CLOEXEC) == 0;
    const int pipe_error = errno;
    std::tie(theirs_[0], input_) = std::pair{input[0], input[1]};
    std::tie(output_, theirs_[1]) = std::pair{output[0], output[1]};
    require(piped, "two pipes", pipe_error);
    for (const int ours : {input_, output_}) ::fcntl(ours, F_SETFL, O_NONBLOCK);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, theirs_[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, theirs_[1], STDOUT_FILENO);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attributes,
                               &signals);  // what our thread blocks is no business of the command's
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &signals);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::array<std::string, 3> words{"sh", "-c", command};
    std::array<char*, 4> arguments{words[0].data(), words[1].data(), words[2].data(), nullptr};
    const int error = ::posix_spawn(&process_, "/bin/sh", &files, &attributes, arguments.data(), ::environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    if (error != 0) process_ = -1;
    for (int& theirs : theirs_) close_one(theirs);
    require(error == 0, "a process for /bin/sh", error);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;
  ~ChildProcess() {
    close_all();
    kill();
  }

  /// Descriptors that never wait; −1 once closed.
  [[nodiscard]] int input() const { return input_; }
  [[nodiscard]] int output() const { return output_; }
  void close_input() { close_one(input_); }

  /// Waits for its end and then ends what it left behind. How it ended, as "exit code 3" or "signal 9"; nothing if it still runs at that time.
  [[nodiscard]] std::optional<std::string> wait_until(std::chrono::steady_clock::time_point end) {
    while (!ended_) {
      siginfo_t seen{};
      const int error =
          ::waitid(P_PID, static_cast<id_t>(process_), &seen, WEXITED | WNOHANG | WNOWAIT) == 0 ? 0 : errno;
      if (error == ECHILD) {  // a host that reaps every child itself has taken this one
        process_ = -1;
        ended_ = "an end that is not known";
      } else if (error == 0 && seen.si_pid == process_) {
        ::kill(-process_, SIGKILL);  // while the number is still its own
        ::waitpid(std::exchange(process_, -1), nullptr, 0);
        ended_ = (seen.si_code == CLD_EXITED ? "exit code " : "signal ") + std::to_string(seen.si_status);
      } else {
        if (std::chrono::steady_clock::now() >= end) return std::nullopt;
        std::this_thread::sleep_for(std::chrono::milliseconds{2});
      }
    }
    return ended_;
  }

  /// Ends the whole group at once.
  void kill() {
    if (process_ <= 0) return;
    ::kill(-process_, SIGKILL);
    (void)wait_until(std::chrono::steady_clock::time_point::max());
  }

 private:
  static void close_one(int& descriptor) {
    if (descriptor >= 0) ::close(std::exchange(descriptor, -1));
  }
  void close_all() {
    for (int* one : {&input_, &output_, &theirs_[0], &theirs_[1]}) close_one(*one);
  }

  pid_t process_ = -1;
  int input_ = -1;
  int output_ = -1;
  std::array<int, 2> theirs_{-1, -1};
  std::optional<std::string> ended_{};
};

}  // namespace tithe::detail
