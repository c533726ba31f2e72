// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

#include "../examples/miniature/arithmetic.hpp"
#include "../examples/miniature/arithmetic_task.hpp"
#include "../examples/miniature/base_model.hpp"
#include "../examples/miniature/labels.hpp"
#include "tithe/core/random.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/train/options.hpp"

/// What the benchmarks measure on: models of real shapes, and rows of real lengths.
namespace bench {

inline constexpr double learning_rate = 1e-4;

struct Case {
  tithe::Decoder model;
  tithe::Rows pairs;
  std::int64_t batch_size = 16;

  [[nodiscard]] tithe::StageOptions options() const {
    tithe::StageOptions options;
    options.batch_size = batch_size;
    options.learning_rate = {.peak = learning_rate, .decay = tithe::LearningRateDecay::constant};
    return options;
  }
};

/// Rows with the first of their completions; every second one counts as desirable.
inline tithe::Rows first_only(tithe::Rows rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].completions.resize(1);
    rows[i].desirable = i % 2 == 0;
  }
  return rows;
}

/// The miniature as it begins, and pairs of worked answers: the right one and one with slips. `problems` are distinct.
inline Case miniature(std::size_t problems = 320) {
  const tithe::Initialization scales{.matrix_gain = 0.7, .embedding = 0.2, .final_norm = 0.625};
  Case made{tithe::Decoder::initialize(miniature::decoder_config(), scales, tithe::Seed{1}), {}, 16};
  tithe::SplitMix64 random{tithe::Seed{3}};
  for (tithe::TokenIds& prompt :
       miniature::distinct_prompts(miniature::Arithmetic{}, problems, false, tithe::Seed{3})) {
    const miniature::Problem problem = miniature::problem_of(prompt);
    made.pairs.push_back({.prompt = std::move(prompt),
                          .completions = {miniature::worked(problem, {}, random),
                                          miniature::worked(problem, {.probability = 0.5}, random)},
                          .desirable = made.pairs.size() % 2 == 0});
  }
  return made;
}

/// A checkpoint and the preferences of a JSONL file that fit its positions.
inline Case checkpoint(const std::filesystem::path& folder, const std::filesystem::path& preferences) {
  const tithe::DecoderConfig config = tithe::read_config(folder / "config.json");
  tithe::Decoder model = tithe::Decoder::empty(config);
  const tithe::SafetensorsFile file = tithe::SafetensorsFile::open(folder / "model.safetensors");
  for (const tithe::NamedTensor& weight : model.weights()) weight.tensor.copy_(file.tensor(weight.name));
  const tithe::Tokenizer tokenizer = tithe::Tokenizer::from_file(folder / "tokenizer.json");
  const tithe::Encoding encoding{
      .vocabulary_size = config.vocab_size,
      .prompt = [&](std::string_view text) { return tokenizer.encode(text); },
      .completion = [&](std::string_view text) { return tokenizer.encode(text, tithe::SpecialTokens::none); },
      .end_of_sequence = config.eos_token_ids.front()};
  tithe::Rows rows;
  for (const tithe::PreferencePair& pair : tithe::read_jsonl(preferences).preferences) {
    const tithe::Encoded encoded = tithe::encode(
        pair, encoding, {.max_length = tithe::Tokens{config.max_position_embeddings}}, tithe::RowKind::pair);
    if (encoded.outcome == tithe::Outcome::usable) rows.push_back(encoded.rows.front());
  }
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i].desirable = i % 2 == 0;
  return {model.train_all(), std::move(rows), 8};
}

/// The folder of third-party data, if it is there: TITHE_DATA, or data beside the source tree.
inline std::filesystem::path data_folder() {
  const char* given = std::getenv("TITHE_DATA");
  return given != nullptr ? std::filesystem::path{given} : std::filesystem::path{TITHE_DEFAULT_DATA};
}

}  // namespace bench
