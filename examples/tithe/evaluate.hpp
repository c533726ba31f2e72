// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "json_lines.hpp"
#include "model_flags.hpp"
#include "prompt_template.hpp"
#include "session.hpp"
#include "tithe/core/example.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/evaluate/answer.hpp"
#include "tithe/evaluate/score.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/model/sampling.hpp"

/// The parts of `tithe evaluate`.
namespace program {

struct EvaluateSettings {
  ModelSettings model;
  std::filesystem::path data;
  PromptTemplate prompt;
  std::filesystem::path out;  ///< empty: nothing is written but the result
  bool resume = false;
  std::string format = "json";
  std::string too_long = "error";
  std::int64_t max_length = 0;  ///< 0: the model's positions

  std::string extract = "hashes";
  bool greedy = false;
  tithe::Sampling sampling{.temperature = 0.5, .top_p = 0.9};  // the study's
  std::uint64_t seed = 0;
  std::int64_t samples = 1;
  std::int64_t max_new_tokens = 512;
  std::vector<std::string> stop;
  std::int64_t batch_size = 64;

  std::string judge;  ///< empty: none
  double judge_timeout = 600;

  std::int64_t resamples = 2000;
  int threads = 0;
  std::vector<std::filesystem::path> compared;

  [[nodiscard]] tithe::Bootstrap bootstrap() const { return {.resamples = resamples}; }
};

inline constexpr const char* evaluate_who = "tithe evaluate";

/// A prompt to generate from, with what its answers are held against.
struct EvaluatedPrompt {
  tithe::Content prompt;
  std::string reference;  ///< the right answer as the extractor gives it; with a judge, a text
  tithe::Origin origin;
  tithe::TokenIds ids{};
};

/// What a file's lines hold: prompts with answers, or examples to score.
struct EvaluationData {
  std::vector<EvaluatedPrompt> prompts{};
  tithe::Dataset held_out{};
  std::string prompt_template{};  ///< how questions were put, where they were
};

/// Reads --data. Throws DataError, with file and line, for lines of more than one kind and for ids that repeat.
EvaluationData read_evaluation_data(const EvaluateSettings& settings);
tithe::AnswerExtractor extractor_named(const std::string& name);

/// What an evaluation came to.
struct EvaluationResult {
  std::string name;
  std::vector<tithe::Estimate> figures{};
  std::vector<OutputJson> records{};   ///< a line a prompt
  std::vector<OutputJson> left_out{};  ///< {"id", "reason"}
  OutputJson settings = OutputJson::object();
  bool interrupted = false;
};

/// A record of a prompt: {"id", "metric", "value", "weight", "prompt"}, the last a digest that compared files must share.
OutputJson record_of(const tithe::PromptScore& score, const std::string& metric, const std::string& digest);

/// Of a model that is loaded, whose folder the settings name.
EvaluationResult evaluate_answers(const EvaluateSettings& settings, const tithe::Pretrained& pretrained,
                                  std::vector<EvaluatedPrompt> prompts, const Session& session);
EvaluationResult evaluate_examples(const EvaluateSettings& settings, const tithe::Pretrained& pretrained,
                                   const tithe::Dataset& data, const Session& session);
/// The settings that `tithe evaluate` has with these arguments. Throws UsageError for what it does not know.
EvaluateSettings evaluate_settings_of(std::vector<std::string> arguments);
EvaluationResult compare_records(const EvaluateSettings& settings);

}  // namespace program
