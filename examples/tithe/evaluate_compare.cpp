// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "evaluate.hpp"
#include "tithe/core/text.hpp"
#include "tithe/evaluate/score.hpp"

namespace program {
namespace {

/// The records of one evaluation, by figure, and the digests of their prompts.
struct Records {
  std::map<std::string, std::vector<tithe::PromptScore>> scores;
  std::map<std::string, std::string> digests;
};

Records read_records(const std::filesystem::path& path, const Session& session) {
  Records records;
  LineReader reader{path, session};
  while (const auto line = reader.next(evaluate_who)) {
    const auto object = line->object(evaluate_who);
    const auto metric = object.require<std::string>("metric");
    tithe::PromptScore score{object.require<std::string>("id"), object.require<double>("value"),
                             object.get_or<double>("weight", 1)};
    if (!(score.weight >= 0)) object.fail("weight", "a weight from 0", tithe::describe(line->json["weight"]));
    const auto digest = object.require<std::string>("prompt");
    if (!records.digests.emplace(metric + '\n' + score.id, digest).second) {
      object.fail("id", "each id once", tithe::in_quotes(score.id) + " twice",
                  "Compare files that --out wrote");
    }
    records.scores[metric].push_back(std::move(score));
  }
  if (records.scores.empty()) {
    throw tithe::DataError{{evaluate_who, "records that --out wrote", "none", {}}, {.file = path.string()}};
  }
  return records;
}

}  // namespace

EvaluationResult compare_records(const EvaluateSettings& settings) {
  const std::array<std::string, 2> names{settings.compared[0].string(), settings.compared[1].string()};
  const Records first = read_records(names[0], {});
  const Records second = read_records(names[1], {});
  EvaluationResult result{.name = "comparison"};
  const auto fail = [&](std::string required, std::string found) {
    throw tithe::DataError{{evaluate_who, std::move(required), std::move(found),
                            "Evaluate both models on the same data, by the same figure"},
                           {.file = names[1]}};
  };
  for (const auto& [metric, scores] : first.scores) {
    if (!second.scores.contains(metric)) fail("the figures of " + names[0], "none of " + metric);
    for (const auto& [key, digest] : second.digests) {
      const auto at = first.digests.find(key);
      if (at == first.digests.end() || at->second == digest) continue;
      fail("the prompts of " + names[0],
           "another prompt or answer under the id " + tithe::in_quotes(key.substr(key.find('\n') + 1)));
    }
    const auto& others = second.scores.at(metric);
    result.figures.push_back(tithe::mean_estimate(metric + " of A", scores, settings.bootstrap()));
    result.figures.push_back(tithe::mean_estimate(metric + " of B", others, settings.bootstrap()));
    result.figures.push_back(
        tithe::paired_difference(metric + " of B - A", scores, others, settings.bootstrap()));
  }
  for (const auto& [metric, scores] : second.scores) {
    if (!first.scores.contains(metric)) fail("the figures of " + names[0] + " alone", metric + " too");
  }
  result.settings = {{"A", names[0]}, {"B", names[1]}};
  return result;
}

}  // namespace program
