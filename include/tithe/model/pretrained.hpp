// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/model/weights.hpp"

/// A model's folder as Hugging Face lays it out: config.json, model.safetensors, tokenizer.json.
namespace tithe {

/// A decoder and the tokenizer that it was trained with. Copies share the weights and the tokenizer's tables.
struct Pretrained {
  Decoder model;
  Tokenizer tokenizer;

  /// The tokens that end an answer: the configuration's, or the tokenizer's where it names none.
  [[nodiscard]] TokenIds end_of_sequence_ids() const {
    if (!model.config().eos_token_ids.empty()) return model.config().eos_token_ids;
    const std::optional<std::int64_t> end = tokenizer.eos();
    return end ? TokenIds{*end} : TokenIds{};
  }
  /// How text becomes rows for this model. The name of a special token inside a text stays text.
  [[nodiscard]] Encoding encoding() const {
    const TokenIds ends = end_of_sequence_ids();
    const auto encoder = [this](SpecialTokens added) {
      return [text_to_ids = tokenizer, added](std::string_view text) {
        return text_to_ids.encode(text, added, SpelledTokens::keep_as_text);
      };
    };
    return {.vocabulary_size = model.config().vocab_size,
            .prompt = encoder(SpecialTokens::add),
            .completion = encoder(SpecialTokens::none),
            .end_of_sequence = ends.empty() ? std::nullopt : std::optional{ends.front()}};
  }
  /// The longest prompt with its completion that the model was made for.
  [[nodiscard]] Tokens positions() const { return Tokens{model.config().max_position_embeddings}; }
};

/// How a checkpoint is taken in.
struct PretrainedOptions {
  /// The dtype to compute in, whatever the file's is.
  at::ScalarType dtype = at::kFloat;
};

namespace detail {

inline constexpr const char* config_name = "config.json";
inline constexpr const char* weights_name = "model.safetensors";
inline constexpr const char* tokenizer_name = "tokenizer.json";

}  // namespace detail

/// Reads a decoder from a folder's config.json and model.safetensors; every weight is trained. Throws ModelFileError
/// for a file that is missing, malformed or not supported, and for weights that do not fit the configuration, are NaN
/// or infinite.
inline Decoder load_decoder(const std::filesystem::path& folder, const PretrainedOptions& options = {}) {
  const DecoderConfig config = read_config(folder / detail::config_name);
  const SafetensorsFile weights = SafetensorsFile::open(folder / detail::weights_name);
  require_weights(config,
                  weights);  // first: the model takes the memory that config.json says, the file what it has
  Decoder model = Decoder::empty(config, options.dtype);
  load_weights(model, weights);
  return model.train_all();
}

/// Reads a decoder and its tokenizer. Throws what `load_decoder` does, and ModelFileError for a tokenizer that cannot
/// be read or that has more tokens than the model.
inline Pretrained load_pretrained(const std::filesystem::path& folder,
                                  const PretrainedOptions& options = {}) {
  const std::filesystem::path file = folder / detail::tokenizer_name;
  Tokenizer tokenizer = Tokenizer::from_file(file);  // first: it is the smaller file to be wrong
  Decoder model = load_decoder(folder, options);
  if (tokenizer.vocab_size() > model.config().vocab_size) {
    throw ModelFileError{{.who = "load_pretrained",
                          .required = "a tokenizer of at most " + std::to_string(model.config().vocab_size) +
                                      " tokens, which the model has",
                          .found = std::to_string(tokenizer.vocab_size()),
                          .fix = "Use the tokenizer that belongs to the model"},
                         {.file = file.string()}};
  }
  return {std::move(model), std::move(tokenizer)};
}

/// Writes a folder that `load_pretrained` and transformers load, each file whole or not at all; the tokenizer's is the
/// one that was read, byte for byte. Weights keep their dtype. Throws FileError, and OptionError for a configuration
/// that config.json cannot say.
inline void save_pretrained(const std::filesystem::path& folder, const Decoder& model,
                            const Tokenizer& tokenizer) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw FileError{
        {.who = "save_pretrained", .required = "a folder to write to", .found = error.message(), .fix = {}},
        {.file = folder.string()}};
  }
  write_config(folder / detail::config_name, model.config());
  write_safetensors(folder / detail::weights_name, model.weights());
  tokenizer.to_file(folder / detail::tokenizer_name);
}
inline void save_pretrained(const std::filesystem::path& folder, const Pretrained& pretrained) {
  save_pretrained(folder, pretrained.model, pretrained.tokenizer);
}

}  // namespace tithe
