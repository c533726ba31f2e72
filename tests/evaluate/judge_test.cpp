// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/evaluate/judge.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/evaluate/judge_command.hpp"

// Golden values: golden_scores.py.

namespace {

using namespace tithe;
using namespace std::chrono_literals;
using tithe::test::Approx;
using tithe::test::contains;
using tithe::test::TemporaryFolder;
using tithe::test::thrown;

std::vector<Comparison> comparisons(std::size_t count) {
  std::vector<Comparison> all;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string number = std::to_string(i);
    all.push_back(
        {number, "prompt " + number, "mine; $(touch hacked) '" + number + "\"\n", "theirs " + number});
  }
  return all;
}

/// A judge in Python: `body` sees q, a question, and n, its place from 0, and prints with say(id, **fields).
std::string judge(const TemporaryFolder& folder, const std::string& body) {
  const auto path = folder.file("judge.py", R"(import json, os, signal, sys, time
def say(id, **fields):
    print(json.dumps({'id': id, **fields}), flush=True)
for n, line in enumerate(sys.stdin):
    q = json.loads(line)
)" + body + '\n');
  return "exec python3 " + path.string();
}

const std::string longer_wins = "    say(q['id'], verdict='a' if len(q['a']) > len(q['b']) else 'b')";

std::string complaint(const CommandJudge& judge, std::span<const JudgeQuestion> questions,
                      const VerdictSink& sink = {}) {
  const JudgeError error = thrown<JudgeError>([&] { (void)judge(questions, sink); });
  return error.what();
}

void check_no_children() { CATCH_CHECK((::waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD)); }

}  // namespace

CATCH_TEST_CASE("paired differences are those of the same prompts", "[evaluate]") {
  const std::vector<double> first{3, 0, 5, 1, 4, 2}, second{4, 1, 5, 3, 4, 3};
  const std::vector<double> weights_first{2, 1, 4, 3, 2, 1}, weights_second{2, 2, 4, 3, 1, 1};
  const auto scores = [](const std::vector<double>& values, const std::vector<double>& weights) {
    std::vector<PromptScore> all;
    for (std::size_t i = 0; i < values.size(); ++i)
      all.push_back({std::to_string(i), values[i], weights.empty() ? 1 : weights[i]});
    return all;
  };
  const Bootstrap bootstrap{.seed = Seed{9}, .resamples = 200};
  const Estimate plain = paired_difference("d", scores(first, {}), scores(second, {}), bootstrap);
  CATCH_CHECK(plain.value == Approx(0.833333333333).margin(1e-11));  // printed to 12 digits
  CATCH_CHECK(plain.low == Approx(0.166666666667).margin(1e-11));
  CATCH_CHECK(plain.high == Approx(1.333333333333).margin(1e-11));
  CATCH_CHECK(plain.samples == 6);
  const Estimate weighted =
      paired_difference("d", scores(first, weights_first), scores(second, weights_second), bootstrap);
  CATCH_CHECK(weighted.value == Approx(0.538461538462).margin(1e-11));
  CATCH_CHECK(weighted.low == Approx(-0.168718781219).margin(1e-11));
  CATCH_CHECK(weighted.high == Approx(1.277812500000).margin(1e-11));
  // The order of the first file does not matter, ids that differ do.
  auto turned = scores(first, {});
  std::swap(turned[0], turned[4]);
  CATCH_CHECK(paired_difference("d", turned, scores(second, {}), bootstrap).low == plain.low);
  const auto says = [](const std::vector<PromptScore>& a, const std::vector<PromptScore>& b) {
    return std::string{thrown<DataError>([&] { (void)paired_difference("d", a, b); }).what()};
  };
  CATCH_CHECK(contains(says({{"x"}, {"y"}}, {{"x"}}), "\"y\" in the first alone"));
  CATCH_CHECK(contains(says({{"x"}}, {{"x"}, {"y"}}), "\"y\" in the second alone"));
  CATCH_CHECK(contains(says({{"x"}, {"x"}}, {{"x"}}), "\"x\" twice in the first"));
  CATCH_CHECK(contains(says({{"x"}}, {{"x"}, {"x"}}), "\"x\" twice in the second"));
  CATCH_CHECK(std::isnan(paired_difference("d", {}, {}).value));
}

CATCH_TEST_CASE("shares of prompts have intervals that never collapse", "[evaluate]") {
  const std::vector<double> wins{1, 1, 1, 1, 1};
  CATCH_CHECK(share_estimate("s", wins).low == Approx(0.565517535217).margin(1e-11));  // Wilson's of 5 in 5
  const std::vector<double> ties(5, 0.5);
  const Estimate tied = share_estimate("s", ties);
  CATCH_CHECK((tied.value == 0.5 && tied.low < 0.25 && tied.high > 0.75));
  const std::vector<double> mixed{0, 0.5, 1, 1};
  const Estimate some = share_estimate("s", mixed, {.seed = Seed{1}});
  CATCH_CHECK((some.value == 0.625 && some.low < 0.625 && some.high > 0.625));
  CATCH_CHECK_THROWS_AS(share_estimate("s", std::vector<double>{1.5}), OptionError);
}

CATCH_TEST_CASE("a win counts where both positions agree", "[evaluate]") {
  auto pairs = comparisons(5);
  pairs[4].answer = pairs[4].reference;
  const auto questions = both_positions(pairs);
  CATCH_REQUIRE(questions.size() == 8);  // equal answers are not asked
  CATCH_CHECK((questions[0].a == pairs[0].answer && questions[0].b == pairs[0].reference));
  CATCH_CHECK((questions[1].b == pairs[0].answer && questions[1].a == pairs[0].reference));
  CATCH_CHECK(questions[0].id != questions[1].id);
  CATCH_CHECK(questions[0].id == both_positions(comparisons(1))[0].id);  // a digest of what is asked
  // A win, a loss, first position both times, scores that agree; and equal answers, which are a tie.
  const std::vector<double> shares{1, 0, 0, 1, 1, 1, 0.9, 0.3};
  const WinRate found = win_rate(pairs, shares);
  const std::vector<double> expected{1, 0, 0.5, 0.8, 0.5};
  for (std::size_t i = 0; i < expected.size(); ++i)
    CATCH_CHECK(found.scores[i].value == Approx(expected[i]).epsilon(1e-14));
  CATCH_CHECK(found.figures[0].value == Approx(0.56).epsilon(1e-14));
  CATCH_CHECK(found.figures[1].name == "judge/disagreement");
  CATCH_CHECK((found.figures[1].value == 0.25 && found.figures[1].samples == 4));
  CATCH_CHECK(found.figures[2].value == Approx((0.5 + 0.5 + 1 + 0.6) / 4).epsilon(1e-14));
  // A tie and a win do not agree.
  CATCH_CHECK(win_rate(comparisons(1), std::vector<double>{0.5, 0}).scores[0].value == 0.5);
  CATCH_CHECK_THROWS_AS(win_rate(pairs, std::vector<double>(7, 1)), OptionError);
  CATCH_CHECK_THROWS_AS(win_rate(pairs, std::vector<double>(9, 1)), OptionError);
  CATCH_CHECK_THROWS_AS(win_rate(pairs, std::vector<double>(8, 2)), OptionError);
}

CATCH_TEST_CASE("a command judges; what is judged never reaches the shell", "[evaluate]") {
  const TemporaryFolder folder;
  const auto pairs = comparisons(300);  // more than a pipe holds
  std::vector<std::string> told;
  const CommandJudge one{.command = "cd " + folder.path().string() + " && " + judge(folder, longer_wins)};
  const auto shares =
      one(both_positions(pairs), [&](const JudgeQuestion& asked, double) { told.push_back(asked.id); });
  CATCH_CHECK(shares.size() == 600);
  CATCH_CHECK(told.size() == 600);
  CATCH_CHECK(win_rate(pairs, one).figures[0].value == 1);
  CATCH_CHECK(!std::filesystem::exists(folder.path() / "hacked"));
  // Verdicts in any spelling of JSON, scores, blank lines, and the last line without its end.
  const CommandJudge scores{.command =
                                judge(folder,
                                      "    print('\\n' * (n > 0) + json.dumps({'score': n / 4, 'why': 'x', "
                                      "'id': q['id']}), end='')")};
  CATCH_CHECK(scores(both_positions(comparisons(2)), {}) == std::vector<double>{0, 0.25, 0.5, 0.75});
  // Messages are passed on as such.
  auto chat = comparisons(1);
  chat[0].prompt = Messages{{"user", "hello"}};
  const CommandJudge reader{
      .command =
          judge(folder, "    say(q['id'], verdict='a' if q['prompt'][0]['content'] == 'hello' else 'b')")};
  CATCH_CHECK(reader(both_positions(chat), {}) == std::vector<double>{1, 1});
  CATCH_CHECK(reader({}, {}).empty());
  check_no_children();
}

CATCH_TEST_CASE("a judge that is none is refused, with the line and what was found", "[evaluate]") {
  const TemporaryFolder folder;
  const auto questions = both_positions(comparisons(4));
  struct Case {
    std::string body;
    std::vector<std::string> said;
  };
  const std::string good = "    say(q['id'], verdict='b')";
  for (const Case& one : std::vector<Case>{
           {"    sys.exit(3) if n == 3 else say(q['id'], verdict='b')",
            {"<the judge's output>:4:", "8 verdicts and exit code 0", "3 and then exit code 3"}},
           {"    os.kill(os.getpid(), signal.SIGKILL) if n == 2 else say(q['id'], verdict='b')",
            {"2 and then signal 9"}},
           {"    n == 5 or say(q['id'], verdict='b')",
            {"output>:6:", "whose turn comes later"}},  // one left out
           {"    n == 7 or say(q['id'], verdict='b')", {"7 and then exit code 0"}},
           {good + ";" + good.substr(3), {"output>:2:", "which was answered already"}},
           {good + "; n == 7 and say(q['id'], verdict='b')", {"output>:9:", "no more verdicts than the 8"}},
           {"    say('other', verdict='b')", {"output>:1:", "\"other\", which was not asked"}},
           {"    say(n, verdict='b')", {"\"id\": CommandJudge needs a string, but found the number 0"}},
           {"    print('A is better')",
            {"output>:1:", "needs a JSON object in each line, but found \"A is better\""}},
           {"    print(q['id'])", {"output>:1:", "a JSON object in each line"}},
           {"    say(q['id'], verdict='A')", {"\"verdict\"", "\"a\", \"b\" or \"tie\"", "\"A\""}},
           {"    say(q['id'], score=7)", {"\"score\"", "from 0 to 1", "7"}},
           {"    say(q['id'], score=float('nan'))", {"a JSON object", "NaN"}},
           {"    say(q['id'], answer='a')", {"\"verdict\" or \"score\"", "neither in"}},
           {"    say(q['id'], verdict='a', score=1)", {"\"verdict\" or \"score\"", "both"}},
           {good + "; n == 7 and sys.exit(1)", {"8 and then exit code 1"}},
           {"    sys.stdout.write('x' * 3000000)", {"lines of at most 1 MiB"}}}) {
    CATCH_CAPTURE(one.body);
    const std::string found = complaint({.command = judge(folder, one.body)}, questions);
    for (const std::string& said : one.said) {
      CATCH_CAPTURE(found, said);
      CATCH_CHECK(contains(found, said));
    }
  }
  CATCH_CHECK(
      contains(complaint({.command = "exec 2>&-; /nowhere/judge"}, questions), "0 and then exit code 127"));
  CATCH_CHECK(
      contains(complaint({.command = "true"}, both_positions(comparisons(3000))), "0 and then exit code 0"));
  check_no_children();
}

CATCH_TEST_CASE("a judge that falls silent is ended with all that it started", "[evaluate]") {
  const TemporaryFolder folder;
  const auto questions = both_positions(comparisons(4));
  std::size_t told = 0;
  const VerdictSink count = [&](const JudgeQuestion&, double) { ++told; };
  const CommandJudge silent{
      .command = judge(folder, "    time.sleep(1000) if n == 3 else say(q['id'], verdict='tie')"),
      .patience = 1500ms};
  CATCH_CHECK(contains(complaint(silent, questions, count), "none, after 3 of 8 verdicts"));
  CATCH_CHECK(told == 3);  // what came before is not lost
  // One that reads nothing, one that closes its output and stays, and one whose child holds the output open.
  for (const char* command : {"sleep 1000", "exec >&-; sleep 1000", "sleep 1000 & exit 0"}) {
    CATCH_CAPTURE(command);
    CATCH_CHECK(!complaint({.command = command, .patience = 100ms}, questions).empty());
  }
  // A grandchild goes too.
  const auto number = folder.path() / "number";
  CATCH_CHECK(
      !complaint({.command = "sleep 1000 & echo $! > " + number.string() + "; sleep 1000", .patience = 300ms},
                 questions)
           .empty());
  std::ifstream file{number};
  pid_t grandchild = 0;
  CATCH_REQUIRE(file >> grandchild);
  const auto is_running = [&] {
    std::ifstream status{"/proc/" + std::to_string(grandchild) + "/stat"};
    std::string id, name, state;
    return (status >> id >> name >> state) && state != "Z";
  };
  for (int i = 0; i < 500 && is_running(); ++i) std::this_thread::sleep_for(10ms);
  CATCH_CHECK(!is_running());
  check_no_children();
}

CATCH_TEST_CASE("a judge is told to stop; the host's signals are as they were", "[evaluate]") {
  const auto questions = both_positions(comparisons(2000));
  std::stop_source source;
  const CommandJudge slow{.command = "sleep 1000", .stop = source.get_token()};
  std::jthread stopper{[&] {
    std::this_thread::sleep_for(100ms);
    source.request_stop();
  }};
  CATCH_CHECK(slow(questions, {}).empty());
  // A pipe that breaks is no end of ours, even where the host has not asked for that, and no signal is left behind.
  sigset_t before{}, after{}, pending{};
  pthread_sigmask(SIG_BLOCK, nullptr, &before);
  (void)complaint({.command = "exec <&-; sleep 0.1"}, questions);
  pthread_sigmask(SIG_BLOCK, nullptr, &after);
  sigpending(&pending);
  CATCH_CHECK(sigismember(&before, SIGPIPE) == sigismember(&after, SIGPIPE));
  CATCH_CHECK(sigismember(&pending, SIGPIPE) == 0);
  check_no_children();
}
