// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "evaluate.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/study/cell_record.hpp"

namespace program {

/// What probes are asked on.
struct ProbeRows {
  tithe::Rows rows{};
  bool are_chat = false;       ///< put as messages
  bool are_questions = false;  ///< whose answers hold what the evaluation looks for
};

/// The first prompts of an evaluation's data that fit, at most `count`, each with its gold answer: the solution of a
/// problem, an answer that is known, a pair's chosen completion. Throws UsageError where there is none.
ProbeRows probe_rows(const EvaluateSettings& settings, std::int64_t count, const tithe::Encoding& encoding,
                     tithe::Tokens max_length);

/// What probes find of a model as it is when they are asked, after the stage of this name.
using AskProbes = std::function<std::vector<tithe::ProbeRecord>(const std::string& stage)>;

/// Probes of a model that is about to be trained, of which a copy is kept; they sample as the evaluation does. Where it looks
/// for numbers in answers, tokens with a digit are content and all others format, and an answer is in format if it has such
/// a number.
AskProbes probes_of(const tithe::Pretrained& pretrained, const EvaluateSettings& settings, std::int64_t count,
                    const std::stop_token& stop);

}  // namespace program
