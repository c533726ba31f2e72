// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>

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

inline tithe::TokenIds random_ids(tithe::SplitMix64& random, std::int64_t vocabulary, std::uint64_t length) {
  tithe::TokenIds ids;
  for (std::uint64_t i = 0; i < length; ++i) {
    ids.push_back(static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  }
  return ids;
}

/// Pairs of random tokens with lengths between two limits.
inline tithe::Rows random_pairs(std::size_t count, std::int64_t vocabulary, std::uint64_t prompt, std::uint64_t least,
                                std::uint64_t most) {
  tithe::SplitMix64 random{tithe::Seed{3}};
  tithe::Rows rows;
  for (std::size_t i = 0; i < count; ++i) {
    tithe::Row row{.prompt = random_ids(random, vocabulary, prompt), .completions = {}};
    for (int k = 0; k < 2; ++k) {
      row.completions.push_back(random_ids(random, vocabulary, least + random.below(most - least + 1)));
    }
    row.desirable = i % 2 == 0;
    rows.push_back(std::move(row));
  }
  return rows;
}

/// The miniature's decoder: 106,496 parameters.
inline tithe::DecoderConfig miniature_config() {
  return {.vocab_size = 91,
          .hidden_size = 64,
          .intermediate_size = 176,
          .num_hidden_layers = 2,
          .num_attention_heads = 2,
          .num_key_value_heads = 2,
          .head_dim = 32,
          .max_position_embeddings = 48,
          .rope_theta = 40,
          .tie_word_embeddings = true};
}

/// The miniature, and pairs of its lengths: a prompt of 8 tokens, worked answers of 26 to 34.
inline Case miniature() {
  const tithe::DecoderConfig config = miniature_config();
  return {tithe::Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.2, .final_norm = 0.625}, tithe::Seed{1}),
          random_pairs(320, config.vocab_size, 8, 26, 34), 16};
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
