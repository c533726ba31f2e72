// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/data/split.hpp"

#include <cmath>
#include <cstddef>
#include <set>
#include <string>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/data/dataset.hpp"

namespace {

using namespace tithe;

/// Prompts "prompt 0" … "prompt n − 1", each with three kinds of example.
Dataset three_of_each(int n) {
  Dataset data;
  for (int i = 0; i < n; ++i) {
    const std::string prompt = "prompt " + std::to_string(i);
    data.add(Demonstration{prompt, "a"});
    data.add(PreferencePair{prompt, "a", "b"});
    data.add(LabeledCompletion{prompt, "b", false});
  }
  return data;
}

std::set<Content> prompts(const Dataset& data) {
  std::set<Content> found;
  for (const auto& example : data.demonstrations) found.insert(example.prompt);
  for (const auto& example : data.preferences) found.insert(example.prompt);
  for (const auto& example : data.labeled) found.insert(example.prompt);
  return found;
}

bool are_disjoint(const std::set<Content>& a, const std::set<Content>& b) {
  for (const Content& content : a) {
    if (b.contains(content)) return false;
  }
  return true;
}

CATCH_TEST_CASE("which prompts are held out never changes", "[data][split]") {
  // Printed by golden_split.py.
  const auto sides = [](auto prompt_of, Seed seed) {
    std::string text;
    for (int i = 0; i < 32; ++i) text += is_held_out(prompt_of(i), Share{0.25}, seed) ? '1' : '0';
    return text;
  };
  const auto text = [](int i) { return Content{"prompt " + std::to_string(i)}; };
  const auto ids = [](int i) { return Content{TokenIds{i, 7}}; };
  CATCH_CHECK(sides(text, Seed{0}) == "00000110000100101110010010010010");
  CATCH_CHECK(sides(text, Seed{1}) == "11100000000100000000000000000100");
  CATCH_CHECK(sides(ids, Seed{0}) == "01000000000000000000101000000000");
}

CATCH_TEST_CASE("a prompt stands on one side, whatever the kind of example", "[data][split]") {
  for (const double share : {0.0, 0.1, 0.5, 0.9, 1.0}) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      const int n = 400;
      const Split split = split_held_out(three_of_each(n), Share{share}, Seed{seed});
      CATCH_CHECK(split.train.size() + split.held_out.size() == 3 * std::size_t{n});
      CATCH_CHECK(split.held_out.demonstrations.size() == split.held_out.preferences.size());
      CATCH_CHECK(split.held_out.demonstrations.size() == split.held_out.labeled.size());
      CATCH_CHECK(are_disjoint(prompts(split.train), prompts(split.held_out)));
      // Five standard deviations of a binomial count: one case in two million fails, and the seeds are fixed.
      const double spread = 5 * std::sqrt(n * share * (1 - share));
      CATCH_CHECK(std::abs(static_cast<double>(prompts(split.held_out).size()) - n * share) <= spread);
    }
  }
}

CATCH_TEST_CASE("a split is stable when the data grow, and grows with the share", "[data][split]") {
  const Split small = split_held_out(three_of_each(100), Share{0.2}, Seed{3});
  const Split large = split_held_out(three_of_each(300), Share{0.2}, Seed{3});
  for (const Content& prompt : prompts(small.held_out)) CATCH_CHECK(prompts(large.held_out).contains(prompt));
  CATCH_CHECK(are_disjoint(prompts(small.train), prompts(large.held_out)));

  const Split more = split_held_out(three_of_each(100), Share{0.6}, Seed{3});
  for (const Content& prompt : prompts(small.held_out)) CATCH_CHECK(prompts(more.held_out).contains(prompt));

  const Split other = split_held_out(three_of_each(100), Share{0.2}, Seed{4});
  CATCH_CHECK(prompts(other.held_out) != prompts(small.held_out));
}

CATCH_TEST_CASE("each part keeps the order of the whole", "[data][split]") {
  Dataset data = three_of_each(50);
  for (std::size_t i = 0; i < data.demonstrations.size(); ++i) {
    data.demonstrations[i].origin.line = static_cast<std::int64_t>(i);
  }
  const Split split = split_held_out(data, Share{0.5}, Seed{0});
  for (const Dataset* part : {&split.train, &split.held_out}) {
    for (std::size_t i = 1; i < part->demonstrations.size(); ++i) {
      CATCH_CHECK(part->demonstrations[i - 1].origin.line < part->demonstrations[i].origin.line);
    }
  }
}

CATCH_TEST_CASE("GSM8K's pairs and verdicts share prompts, and are split together",
                "[data][split][third-party]") {
  const auto folder = test::third_party_data("gsm8k");
  if (!folder) return;
  const Dataset data = read_jsonl({*folder / "preferences.jsonl", *folder / "labeled.jsonl"});
  CATCH_REQUIRE(prompts(data).size() < data.size());
  const Split split = split_held_out(data, Share{0.1}, Seed{0});
  CATCH_CHECK(are_disjoint(prompts(split.train), prompts(split.held_out)));
  CATCH_CHECK(split.held_out.preferences.size() > 0);
  CATCH_CHECK(split.held_out.labeled.size() > split.held_out.preferences.size());
}

}  // namespace
