// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/json_object.hpp"
#include "tithe/evaluate/child_process.hpp"
#include "tithe/evaluate/judge.hpp"

/// Any command as a judge: questions as JSON lines on its standard input, verdicts as JSON lines on its standard output.
namespace tithe {

/// One question as the command reads it: {"id", "prompt", "a", "b"}, the prompt a string or a list of messages. Throws
/// DataError for a prompt of token ids.
[[nodiscard]] inline std::string question_line(const JudgeQuestion& question) {
  nlohmann::ordered_json line{{"id", question.id}};
  if (const auto* messages = std::get_if<Messages>(&question.prompt)) {
    line["prompt"] = nlohmann::ordered_json::array();
    for (const Message& message : *messages)
      line["prompt"].push_back({{"role", message.role}, {"content", message.content}});
  } else if (const auto* text = std::get_if<std::string>(&question.prompt)) {
    line["prompt"] = *text;
  } else {
    throw DataError{{.who = "question_line",
                     .required = "a prompt in text or messages, which a judge can read",
                     .found = "token ids",
                     .fix = "Give the prompt as text"}};
  }
  line["a"] = question.a;
  line["b"] = question.b;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

/// A's share of the win in a line {"id", "verdict": "a" | "b" | "tie"} or {"id", "score": 0 to 1}; other fields are
/// ignored. `questions[next]` is the one whose turn it is. Throws JudgeError, with the line and what stood there, for a line
/// that is no verdict, and for one about another question.
[[nodiscard]] inline double verdict_of(std::string_view line, std::span<const JudgeQuestion> questions,
                                       std::size_t next, const Location& where) {
  const std::string who = "CommandJudge";
  const Json json = [&] {
    try {
      return parse_json<JudgeError>(line, where, who);
    } catch (const JudgeError&) {  // what is no JSON is better shown than explained
      throw JudgeError{
          {who, "a JSON object in each line", in_quotes(line, 200), "Print {\"id\": …, \"verdict\": \"a\"}"},
          where};
    }
  }();
  const JsonObject<JudgeError> object{json, where, who};
  const auto id = object.require<std::string>("id");
  if (next == questions.size()) {
    object.fail_here("no more verdicts than the " + std::to_string(next) + " questions",
                     "one more, of " + in_quotes(id), "Print one line a question and nothing else");
  }
  if (id != questions[next].id) {
    const auto at = std::ranges::find(questions, id, &JudgeQuestion::id);
    const char* what = at == questions.end() ? ", which was not asked"
                       : at < questions.begin() + static_cast<std::ptrdiff_t>(next)
                           ? ", which was answered already"
                           : ", whose turn comes later";
    object.fail("id", in_quotes(questions[next].id) + ", the question whose turn it is", in_quotes(id) + what,
                "Answer the questions once each, in their order");
  }
  const bool has_verdict = object.has("verdict");
  if (has_verdict == object.has("score")) {
    object.fail_here("\"verdict\" or \"score\"", has_verdict ? "both" : "neither in " + in_quotes(line, 200),
                     "Print {\"id\": …, \"verdict\": \"a\"}");
  }
  if (has_verdict) {
    const auto verdict = object.require<std::string>("verdict");
    if (verdict == "a") return 1;
    if (verdict == "b") return 0;
    if (verdict == "tie") return 0.5;
    object.fail("verdict", R"("a", "b" or "tie")", in_quotes(verdict));
  }
  const auto score = object.require<double>("score");
  if (!(score >= 0 && score <= 1)) {
    object.fail("score", "A's share of the win, from 0 to 1", describe(json.at("score")), "Scale it");
  }
  return score;
}

/// A command that is started anew for each call and run by `/bin/sh -c`: quoting, variables and pipes are the shell's. Only
/// what the user wrote reaches the shell; prompts and answers go through the pipe.
///
/// It is given all questions and then the end of its input; it prints a verdict for each, in their order, and ends with
/// exit code 0. It may answer while it reads. What it says on standard error is shown as ours.
///
/// Throws JudgeError where it cannot be started, prints what is no verdict, skips, repeats or reorders questions, ends early
/// or with another code, or is idle longer than `patience`; it is then ended, with all that it started. Verdicts that came
/// before were told to the sink.
struct CommandJudge {
  std::string command;
  /// How long it may neither take a question nor print anything; 0 for ever.
  std::chrono::milliseconds patience{std::chrono::minutes{10}};
  std::stop_token stop{};

  std::vector<double> operator()(std::span<const JudgeQuestion> questions,
                                 const VerdictSink& sink = {}) const;
};

namespace detail {

/// One call of a CommandJudge.
class JudgeCall {
 public:
  JudgeCall(const CommandJudge& judge, std::span<const JudgeQuestion> questions, const VerdictSink& sink)
      : judge_{judge}, questions_{questions}, sink_{sink}, child_{judge.command, who} {}

  std::vector<double> run() {
    const PipeSignalHeld held;
    while (true) {
      if (judge_.stop.stop_requested()) return std::move(shares_);
      if (next_line_ == questions_.size() && line_.empty()) child_.close_input();
      std::array<pollfd, 2> waited{{{child_.output(), POLLIN, 0}, {child_.input(), POLLOUT, 0}}};
      constexpr int glance = 50;  // milliseconds after which the stop token is looked at again
      if (::poll(waited.data(), waited.size(), glance) < 0 && errno != EINTR) {
        throw JudgeError{{who, "to wait for it", std::generic_category().message(errno), {}}};
      }
      if (waited[1].revents != 0) write();
      if (waited[0].revents != 0 && !read()) break;
      if (std::chrono::steady_clock::now() >= deadline()) fail_idle();
    }
    const std::string end = child_.wait_until(deadline()).value_or("no end");
    if (end == "exit code 0") take(rest_);  // a last line without its end
    if (shares_.size() < questions_.size() || end != "exit code 0") {
      fail(std::to_string(questions_.size()) + " verdicts and exit code 0",
           std::to_string(shares_.size()) + " and then " + end,
           "Run the command by hand; what it said is above");
    }
    return std::move(shares_);
  }

 private:
  static constexpr const char* who = "CommandJudge";

  [[nodiscard]] std::chrono::steady_clock::time_point deadline() const {
    if (judge_.patience.count() <= 0) return std::chrono::steady_clock::time_point::max();
    return last_ + judge_.patience;
  }
  [[nodiscard]] Location here() const { return {.file = "<the judge's output>", .line = read_lines_ + 1}; }
  [[noreturn]] void fail(std::string required, std::string found, std::string fix) const {
    throw JudgeError{{who, std::move(required), std::move(found), std::move(fix)}, here()};
  }
  [[noreturn]] void fail_idle() const {
    fail("a sign of life within " + std::to_string(judge_.patience.count()) + " ms",
         "none, after " + std::to_string(shares_.size()) + " of " + std::to_string(questions_.size()) +
             " verdicts",
         "Give it more patience, or let it print each verdict as it comes, unbuffered");
  }

  void write() {
    if (line_.empty()) line_ = question_line(questions_[next_line_++]);
    const ssize_t count = ::write(child_.input(), line_.data(), line_.size());
    if (count > 0) {
      line_.erase(0, static_cast<std::size_t>(count));
      last_ = std::chrono::steady_clock::now();
    } else if (errno != EAGAIN && errno != EINTR) {  // it reads no more; what it prints will tell
      line_.clear();
      next_line_ = questions_.size();
    }
  }

  /// False at the end of its output.
  bool read() {
    std::array<char, 65536> piece{};
    const ssize_t count = ::read(child_.output(), piece.data(), piece.size());
    if (count < 0) return errno == EAGAIN || errno == EINTR;
    if (count == 0) return false;
    last_ = std::chrono::steady_clock::now();
    rest_.append(piece.data(), static_cast<std::size_t>(count));
    std::size_t begin = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', begin)) != rest_.npos; begin = end + 1) {
      take(std::string_view{rest_}.substr(begin, end - begin));
    }
    rest_.erase(0, begin);
    constexpr std::size_t longest = std::size_t{1} << 20;
    if (rest_.size() > longest) fail("lines of at most 1 MiB", "a longer one", "Print one object a line");
    return true;
  }
  void take(std::string_view line) {
    if (line.find_first_not_of(" \t\r") != line.npos) {
      shares_.push_back(verdict_of(line, questions_, shares_.size(), here()));
      if (sink_) sink_(questions_[shares_.size() - 1], shares_.back());
    }
    ++read_lines_;
  }

  const CommandJudge& judge_;
  std::span<const JudgeQuestion> questions_;
  const VerdictSink& sink_;
  ChildProcess child_;
  std::vector<double> shares_{};
  std::string line_{};          ///< what is left of the line that is being written
  std::size_t next_line_ = 0;   ///< the question that is written next
  std::string rest_{};          ///< of the output: a line that has not ended yet
  std::size_t read_lines_ = 0;  ///< blank ones too
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace detail

inline std::vector<double> CommandJudge::operator()(std::span<const JudgeQuestion> questions,
                                                    const VerdictSink& sink) const {
  if (questions.empty()) return {};
  return detail::JudgeCall{*this, questions, sink}.run();
}

}  // namespace tithe
