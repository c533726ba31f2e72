// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "evaluate.hpp"
#include "loading.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/evaluate/held_out.hpp"
#include "tithe/evaluate/held_out_scores.hpp"

namespace program {

EvaluationResult evaluate_examples(const EvaluateSettings& settings, const tithe::Pretrained& pretrained,
                                   const tithe::Dataset& data, const Session& session) {
  const tithe::Encoding encoding = encoding_of(pretrained, settings.model);
  const tithe::Limits limits{.max_length = settings.max_length > 0 ? tithe::Tokens{settings.max_length}
                                                                   : pretrained.positions()};
  const tithe::HeldOut held_out = tithe::encode_held_out(data, encoding, limits);
  EvaluationResult result{.name = !data.demonstrations.empty() ? "log_likelihood"
                                  : !data.preferences.empty()  ? "preference_accuracy"
                                                               : "verdict_likelihood"};
  for (const tithe::Finding& finding : held_out.left_out) {
    if (settings.too_long == "error" && finding.outcome == tithe::Outcome::too_long) {
      throw tithe::DataError{
          {evaluate_who, "examples that fit", finding.reason,
           "Give --too-long drop to leave them out, and have them counted"},
          {.file = finding.origin.file, .line = static_cast<std::size_t>(finding.origin.line)}};
    }
    result.left_out.push_back({{"id", finding.origin.id}, {"reason", finding.reason}});
  }
  const auto scored = tithe::score_held_out(pretrained.model, held_out,
                                            {.bootstrap = settings.bootstrap(), .stop = session.stop});
  result.interrupted = session.stop.stop_requested();

  // A row's tokens say which prompt it is, whatever its id.
  std::map<std::string, std::string> digests;
  for (const tithe::Rows* rows : {&held_out.demonstrations, &held_out.pairs, &held_out.labeled}) {
    for (const tithe::Row& row : *rows)
      digests[row.id] = tithe::digest_of(tithe::Rows{row}).hex().substr(0, 16);
  }
  for (const tithe::Scored& one : scored) {
    for (const tithe::Estimate& figure : one.figures) result.figures.push_back(figure);
    for (const tithe::PromptScore& score : one.scores)
      result.records.push_back(record_of(score, one.figures.front().name, digests[score.id]));
  }
  return result;
}

}  // namespace program
