// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/evaluate/answer.hpp"

#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/data/gsm8k.hpp"
#include "tithe/data/question.hpp"
#include "tithe/evaluate/sampled_answers.hpp"

namespace {

using namespace tithe;
using tithe::test::Approx;
using tithe::test::contains;
using tithe::test::thrown;
using Found = std::optional<std::string>;

struct Case {
  std::string text;
  Found found;
};

}  // namespace

CATCH_TEST_CASE("numbers behind hashes, in one form", "[evaluate]") {
  for (const Case& one :
       std::vector<Case>{{"So 6 * 3 = 18.\n#### 18", "18"},
                         {"#### $1,234.50", "1234.5"},
                         {"#### -$7", "-7"},
                         {"#### $-7", "-7"},
                         {"#### \xE2\x88\x92"
                          "7",
                          "-7"},
                         {"#### 42.0", "42"},
                         {"#### 042", "42"},
                         {"#### 42.", "42"},
                         {"#### 50%", "50"},
                         {"####18\n", "18"},
                         {"#### .5", "0.5"},
                         {"#### -0.0", "0"},
                         {"#### 1,000,000", "1000000"},
                         {"#### 3,5", "3"},  // no thousands
                         {"#### 12 eggs", "12"},
                         {"#### 123456789012345678901234567890", "123456789012345678901234567890"},
                         {"#### 5\nWait.\n#### 6", "6"},   // the last one counts
                         {"#### 5\nWait.\n#### six", {}},  // and if it has no number
                         {"#### \n7", {}},                 // another line
                         {"#### 1/2", {}},
                         {"#### 3:45", {}},
                         {"#### x = 5", {}},
                         {"The answer is 18.", {}},
                         {"", {}}}) {
    CATCH_CAPTURE(one.text);
    CATCH_CHECK(number_behind_hashes(one.text) == one.found);
  }
}

CATCH_TEST_CASE("last numbers, whole texts and known answers", "[evaluate]") {
  for (const Case& one : std::vector<Case>{{"16 - 3 - 4 = 9 eggs, so $18.", "18"},
                                           {"48-24", "24"},  // a difference
                                           {"from -3 to -4", "-4"},
                                           {"(2)-1", "1"},
                                           {"Step 3: about 1,200 in 7 days or 1/2", "7"},
                                           {"no number", {}}}) {
    CATCH_CAPTURE(one.text);
    CATCH_CHECK(last_number(one.text) == one.found);
  }
  CATCH_CHECK(whole_text(" Paris\n") == Found{"Paris"});
  CATCH_CHECK(whole_text(" \n") == Found{});
  CATCH_CHECK(known_answer(number_behind_hashes, "steps\n#### 18") == Found{"18"});
  CATCH_CHECK(known_answer(number_behind_hashes, " $18.0 ") == Found{"18"});
  CATCH_CHECK(known_answer(number_behind_hashes, "18 eggs") == Found{});
  const AnswerExtractor own = [](std::string_view text) -> Found {
    return text.ends_with('!') ? Found{"yes"} : Found{};
  };
  CATCH_CHECK(known_answer(own, "it is!") == Found{"yes"});
}

CATCH_TEST_CASE("pass@k is the share of subsets with a right one", "[evaluate]") {
  CATCH_CHECK(pass_at_k(5, 2, 1) == Approx(0.4).epsilon(1e-14));
  CATCH_CHECK(pass_at_k(5, 2, 3) == Approx(1 - 1.0 / 10).epsilon(1e-14));        // C(3,3) of C(5,3)
  CATCH_CHECK(pass_at_k(200, 3, 100) == Approx(0.876884422111).epsilon(1e-11));  // golden_scores.py
  CATCH_CHECK(pass_at_k(4, 4, 1) == 1);
  CATCH_CHECK(pass_at_k(4, 0, 4) == 0);
  CATCH_CHECK_THROWS_AS(pass_at_k(4, 1, 5), OptionError);
}

CATCH_TEST_CASE("exact match counts what is wrong and what is no answer", "[evaluate]") {
  const std::vector<AnsweredPrompt> prompts{
      {"a", "18", {"#### 18", "#### 18.0"}}, {"b", "3", {"#### 4", "It is 3"}}, {"c", "5", {"#### 5", "5"}}};
  const ExactMatch found = exact_match(prompts, number_behind_hashes);
  CATCH_REQUIRE(found.figures.size() == 3);
  CATCH_CHECK(found.figures[0].name == "exact_match");
  CATCH_CHECK(found.figures[0].value == Approx(0.5));
  CATCH_CHECK(found.figures[0].samples == 3);
  CATCH_CHECK(found.figures[1].name == "no_answer");
  CATCH_CHECK(found.figures[1].value == Approx(1.0 / 3));
  CATCH_CHECK(found.figures[2].name == "pass@2");
  CATCH_CHECK(found.figures[2].value == Approx(2.0 / 3));
  CATCH_CHECK(found.scores[2].value == 0.5);
  CATCH_CHECK((found.answers[1][1].found == Found{} && !found.answers[1][1].right));
  // Another extractor finds the others.
  CATCH_CHECK(exact_match(prompts, last_number).figures[0].value == Approx(5.0 / 6));
  const std::vector<AnsweredPrompt> uneven{{"a", "1", {"1"}}, {"b", "1", {"1", "2"}}};
  CATCH_CHECK(
      contains(thrown<OptionError>([&] { (void)exact_match(uneven, last_number); }).what(), "2 for \"b\""));
}

CATCH_TEST_CASE("GSM8K's problems as prompts and demonstrations", "[data]") {
  const Gsm8kProblem problem{"How many?", "It takes 2/2=<<2/2=1>>1 bolt\n\n2+1 = <<2+1=3>>3\n#### 3"};
  CATCH_CHECK(without_calculator_marks("a << b\n<<1+1=2>>2 <<x") == "a << b\n2 <<x");
  CATCH_CHECK(without_calculator_marks("<<3>2>>1") == "<<3>2>>1");  // no mark of theirs
  const Demonstration chat = gsm8k_demonstration(problem);
  const auto& prompt = std::get<Messages>(chat.prompt);
  CATCH_REQUIRE(prompt.size() == 1);
  CATCH_CHECK(prompt[0].role == "user");
  CATCH_CHECK(contains(prompt[0].content, "Step 1: "));
  CATCH_CHECK(prompt[0].content.ends_with("\n\nHow many?"));
  CATCH_CHECK(std::get<Messages>(chat.completion) ==
              Messages{{"assistant", "Step 1: It takes 2/2=1 bolt\n\nStep 2: 2+1 = 3\n#### 3"}});
  const Demonstration text = gsm8k_demonstration(
      problem, {.prompt = Gsm8kPrompt::text, .keep_calculator_marks = true, .number_steps = false});
  CATCH_CHECK(std::get<std::string>(text.prompt).ends_with("Question: How many?\nAnswer:"));
  CATCH_CHECK(std::get<std::string>(text.completion) == ' ' + problem.answer);
}

CATCH_TEST_CASE("lines of evaluation data, and lines that are none", "[data]") {
  const Location where{.file = "test.jsonl", .line = 7};
  const auto kind = [&](const char* line) { return evaluation_example(line, where).index(); };
  CATCH_CHECK(kind(R"({"question": "q", "answer": "#### 1"})") == 0);
  CATCH_CHECK(kind(R"({"prompt": "p", "answer": "1"})") == 1);
  CATCH_CHECK(kind(R"({"prompt": "p", "completion": "c"})") == 2);
  CATCH_CHECK(kind(R"({"prompt": "p", "chosen": "c", "rejected": "r"})") == 3);
  CATCH_CHECK(kind(R"({"prompt": "p", "completion": "c", "label": true})") == 4);
  const auto question = std::get<Question>(evaluation_example(
      R"({"messages": [{"role": "user", "content": "2+2?"}], "answer": 4, "id": 9})", where));
  CATCH_CHECK(question.answer == "4");
  CATCH_CHECK(question.origin.id == "9");
  CATCH_CHECK(std::get<Messages>(question.prompt).size() == 1);

  for (const auto& [line, said] : std::vector<std::pair<const char*, const char*>>{
           {R"({"question": "q"})", "\"answer\": read_jsonl needs a \"question\" and an \"answer\""},
           {R"({"question": 3, "answer": "1"})",
            "\"question\": read_jsonl needs a string, but found the number 3"},
           {R"({"answer": "1"})", "beside \"answer\""},
           {R"({"prompt": "p", "answer": true})", "needs a string or a number"},
           {R"({"prompt": "p", "answer": "1", "completion": "c"})", "\"completion\" beside \"answer\""},
           {R"({"messages": [{"role": "assistant", "content": "x"}], "answer": "1"})",
            "that wait for an answer"},
           {R"([1])", "a JSON object in each line"}}) {
    CATCH_CAPTURE(line);
    const std::string found = thrown<DataError>([&] { (void)evaluation_example(line, where); }).what();
    CATCH_CHECK(found.starts_with("test.jsonl:7:"));
    CATCH_INFO(found);
    CATCH_CHECK(contains(found, said));
  }
}

CATCH_TEST_CASE("every answer of GSM8K is found, and its own solutions are right",
                "[evaluate][third-party]") {
  const auto file = tithe::test::third_party_data("gsm8k/test.jsonl");
  if (!file) return;
  const std::vector<Gsm8kProblem> problems = read_gsm8k(*file);
  CATCH_CHECK(problems.size() == 1319);
  std::vector<AnsweredPrompt> prompts;
  for (const Gsm8kProblem& problem : problems) {
    const Found right = known_answer(number_behind_hashes, problem.answer);
    CATCH_REQUIRE(right);
    const Demonstration demonstration = gsm8k_demonstration(problem);
    const std::string& completion = std::get<Messages>(demonstration.completion)[0].content;
    CATCH_REQUIRE(!contains(completion, "<<"));
    prompts.push_back({problem.origin.id, *right, {completion}});
  }
  CATCH_CHECK(exact_match(prompts, number_behind_hashes).figures[0].value == 1);
  prompts[5].completions[0] += "\n#### 0";  // a control: one wrong answer is seen
  CATCH_CHECK(exact_match(prompts, number_behind_hashes).figures[0].value ==
              Approx(1318.0 / 1319).epsilon(1e-12));
}
