// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "workers.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <deque>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include "session.hpp"
#include "tithe/core/error.hpp"

namespace program {
namespace {

/// A process of this program, in the group of this one, so that a terminal's interruption reaches it too.
pid_t start(const std::vector<std::string>& arguments, const std::filesystem::path& log) {
  std::vector<char*> list;
  for (const std::string& argument : arguments) list.push_back(const_cast<char*>(argument.c_str()));
  list.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDERR_FILENO, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0666);
  // Signals that this program waits for in a thread of its own are blocked in all others, and so would be in the worker.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t process = -1;
  const int error = posix_spawn(&process, "/proc/self/exe", &files, &attributes, list.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  if (error == 0) return process;
  throw tithe::StudyError{{.who = "run_workers",
                           .required = "a further process of this program",
                           .found = std::generic_category().message(error),
                           .fix = "Ask for fewer with --jobs"}};
}

/// The last lines of what was written to a file behind a place in it.
std::string last_lines(const std::filesystem::path& path, std::uintmax_t begin) {
  std::ifstream file{path, std::ios::binary};
  file.seekg(static_cast<std::streamoff>(begin));
  std::deque<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.empty()) continue;
    lines.push_back(std::move(line));
    if (lines.size() > 3) lines.pop_front();
  }
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? "" : "\n  ") + line;
  return text;
}

int code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(failure); }

/// Processes that end with their owner.
class Workers {
 public:
  explicit Workers(const std::filesystem::path& log) : log_{log} {
    std::error_code none_yet;
    const std::uintmax_t size = std::filesystem::file_size(log_, none_yet);
    if (!none_yet) log_begin_ = size;
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    stop();
    for (const pid_t process : running_) ::waitpid(process, nullptr, 0);
  }

  void add(const std::vector<std::string>& arguments) { running_.push_back(start(arguments, log_)); }
  void stop() const {
    for (const pid_t process : running_) ::kill(process, SIGTERM);
  }
  /// Takes down which have ended.
  void look() {
    std::erase_if(running_, [&](pid_t process) {
      int status = 0;
      const pid_t ended = ::waitpid(process, &status, WNOHANG);
      if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
      const int code = ended == process ? code_of(status) : static_cast<int>(failure);
      if (end_.code == success && code != success) {
        end_.last_words = WIFSIGNALED(status) ? "ended by signal " + std::to_string(WTERMSIG(status))
                                              : last_lines(log_, log_begin_);
      }
      end_.code = std::max(end_.code, code);
      return true;
    });
  }
  [[nodiscard]] bool all_ended() const { return running_.empty(); }
  [[nodiscard]] const WorkersEnd& end() const { return end_; }

 private:
  std::filesystem::path log_;
  std::uintmax_t log_begin_ = 0;
  std::vector<pid_t> running_;
  WorkersEnd end_;
};

}  // namespace

WorkersEnd run_workers(std::size_t count, const std::vector<std::string>& arguments,
                       const std::filesystem::path& log, const std::stop_token& stop,
                       const std::function<void()>& look) {
  Workers workers{log};
  for (std::size_t i = 0; i < count; ++i) workers.add(arguments);
  for (bool told = false;;) {
    workers.look();
    look();
    if (workers.all_ended()) return workers.end();
    if (stop.stop_requested() && !told) {
      workers.stop();
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
}

void end_with_starter() { ::prctl(PR_SET_PDEATHSIG, SIGTERM); }

}  // namespace program
