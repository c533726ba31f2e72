// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/chat_template.hpp"
#include "tithe/model/config_file.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/float_types.hpp"
#include "tithe/model/lora.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/model/tokenizer.hpp"
#include "tithe/model/weight_writer.hpp"
#include "tithe/model/weights.hpp"

/// A model's folder as Hugging Face lays it out: config.json, model.safetensors or several with an index,
/// tokenizer.json, and generation_config.json if there is one.
namespace tithe {

/// The tokens that end an answer: the configuration's, or the tokenizer's where it names none.
[[nodiscard]] inline TokenIds end_of_sequence_ids(const DecoderConfig& config, const Tokenizer& tokenizer) {
  if (!config.eos_token_ids.empty()) return config.eos_token_ids;
  const std::optional<std::int64_t> end = tokenizer.eos();
  return end ? TokenIds{*end} : TokenIds{};
}

/// How text and conversations become rows for a model of this configuration, whose weights need not be there. The name of a
/// special token inside a text stays text.
[[nodiscard]] inline Encoding encoding_of(const DecoderConfig& config, const Tokenizer& tokenizer,
                                          ChatEncoder chat) {
  const TokenIds ends = end_of_sequence_ids(config, tokenizer);
  const auto encoder = [&](SpecialTokens added) {
    return [text_to_ids = tokenizer, added](std::string_view text) {
      return text_to_ids.encode(text, added, SpelledTokens::keep_as_text);
    };
  };
  return {.vocabulary_size = config.vocab_size,
          .prompt = encoder(SpecialTokens::add),
          .completion = encoder(SpecialTokens::none),
          .end_of_sequence = ends.empty() ? std::nullopt : std::optional{ends.front()},
          .chat = std::move(chat)};
}

/// Throws ModelFileError, in the name of `who` and of the tokenizer's file, for one that has more tokens than the model.
inline void require_vocabulary(const Tokenizer& tokenizer, const DecoderConfig& config,
                               const std::filesystem::path& file, const std::string& who) {
  if (tokenizer.vocab_size() <= config.vocab_size) return;
  throw ModelFileError{{.who = who,
                        .required = "a tokenizer of at most " + std::to_string(config.vocab_size) +
                                    " tokens, which the model has",
                        .found = std::to_string(tokenizer.vocab_size()),
                        .fix = "Use the tokenizer that belongs to the model"},
                       {.file = file.string()}};
}

/// A decoder and the tokenizer that it was trained with. Copies share the weights and the tokenizer's tables.
struct Pretrained {
  Decoder model;
  Tokenizer tokenizer;
  /// How the folder writes conversations, if it says so.
  std::optional<ChatTemplate> chat_template{};
  /// The folder's small files that other programs read beside config.json and tokenizer.json, by name, byte for byte.
  std::map<std::string, std::string> companions{};

  /// The tokens that end an answer.
  [[nodiscard]] TokenIds end_of_sequence_ids() const {
    return tithe::end_of_sequence_ids(model.config(), tokenizer);
  }
  /// How text and conversations become rows for this model. A template that is not recognised is an error when the first
  /// conversation comes.
  [[nodiscard]] Encoding encoding() const {
    return encoding_of(model.config(), tokenizer, chat_encoder(chat_template, tokenizer));
  }
  /// The longest prompt with its completion that the model was made for.
  [[nodiscard]] Tokens positions() const { return Tokens{model.config().positions()}; }
};

/// How a checkpoint is taken in.
struct PretrainedOptions {
  /// The dtype to compute in, whatever the file's is; nothing for the file's own, that of its embeddings.
  std::optional<at::ScalarType> dtype = at::kFloat;
  /// Where its tensors go, one after another as they are read.
  at::Device device = at::kCPU;
  /// A rank freezes the weights and puts a fresh adapter over them; without one, every weight is trained.
  LoraOptions lora{};
  /// A folder with an adapter in PEFT's files, from which training goes on; its own settings count.
  std::filesystem::path adapter{};
  /// Whether a layer's activations are made again in the backward pass: less memory, one more forward pass, the same bits.
  bool recompute_activations = false;
};

namespace detail {

/// Without these, transformers and vLLM cannot chat with a model, or answer otherwise.
inline constexpr std::array<const char*, 8> companion_names{"tokenizer_config.json",
                                                            "special_tokens_map.json",
                                                            "added_tokens.json",
                                                            "chat_template.jinja",
                                                            "vocab.json",
                                                            "merges.txt",
                                                            "tokenizer.model",
                                                            "generation_config.json"};

/// Reads those of a folder's companions that are there. Throws ModelFileError for one that cannot be read, such as a link to
/// nothing.
inline std::map<std::string, std::string> read_companions(const std::filesystem::path& folder) {
  constexpr std::size_t limit = std::size_t{64} << 20;
  std::map<std::string, std::string> files;
  for (const char* name : companion_names) {
    if (!is_there<ModelFileError>(folder / name, "load_pretrained")) continue;
    files.emplace(name, read_file<ModelFileError>(folder / name, "load_pretrained", limit));
  }
  return files;
}

inline constexpr const char* config_name = "config.json";
inline constexpr const char* generation_config_name = "generation_config.json";
inline constexpr const char* tokenizer_name = "tokenizer.json";

}  // namespace detail

/// Reads the configuration of a folder's model: config.json, with the tokens that end an answer from
/// generation_config.json where that names some. Throws what `read_config` does, and ModelFileError for such a token that
/// the model lacks.
inline DecoderConfig read_folder_config(const std::filesystem::path& folder) {
  DecoderConfig config = read_config(folder / detail::config_name);
  const std::filesystem::path generation = folder / detail::generation_config_name;
  if (!is_there<ModelFileError>(generation, "load_decoder")) return config;
  if (std::optional<TokenIds> stops = read_generation_stops(generation)) {
    config.eos_token_ids = std::move(*stops);
    if (std::optional<ConfigProblem> problem = problem_of(config)) {
      throw ModelFileError{{"load_decoder", std::move(problem->required), std::move(problem->found), {}},
                           {.file = generation.string(), .field = in_quotes(problem->field)}};
    }
  }
  return config;
}

/// Reads a decoder from a folder's config.json and weights; every weight is trained, or the adapter that the options ask
/// for. Throws ModelFileError for a file that is missing, malformed or not supported, and for weights that do not fit the
/// configuration, are NaN or infinite, or would be in that dtype; OptionError for an adapter, a dtype or a device that cannot
/// be.
inline Decoder load_decoder(const std::filesystem::path& folder, const PretrainedOptions& options = {}) {
  const bool fresh_adapter = options.lora != LoraOptions{};
  if (fresh_adapter) options.lora.validate();
  if (fresh_adapter && !options.adapter.empty()) {
    throw OptionError{{.who = "load_decoder",
                       .required = "an adapter to go on with or settings of a fresh one",
                       .found = "both",
                       .fix = "Leave lora or adapter out; an adapter's folder says its own settings"}};
  }
  if (options.dtype) require_stored_float(*options.dtype, "load_decoder");
  require_device(options.device, "load_decoder");
  const DecoderConfig said = read_folder_config(folder);
  const WeightFiles weights = WeightFiles::open(folder);
  const DecoderConfig config = untie_if_held(said, weights);
  require_weights(config, weights);  // first: the model takes the memory that config.json says
  const SafetensorsFile& embeddings = weights.holding(detail::embeddings_name);
  const at::ScalarType own = scalar_type_of(embeddings.info(detail::embeddings_name).type);
  Decoder model = Decoder::empty(config, options.dtype.value_or(own), options.device);
  load_weights(model, weights);
  model.recompute_activations(options.recompute_activations);
  if (fresh_adapter) return model.add_adapter(options.lora);
  if (options.adapter.empty()) return model.train_all();
  load_adapter(model, options.adapter);
  return model;
}

/// Reads a decoder and its tokenizer. Throws what `load_decoder` does, and ModelFileError for a tokenizer that cannot
/// be read or that has more tokens than the model.
inline Pretrained load_pretrained(const std::filesystem::path& folder,
                                  const PretrainedOptions& options = {}) {
  const std::filesystem::path file = folder / detail::tokenizer_name;
  Tokenizer tokenizer = Tokenizer::from_file(file);  // first: it is the smaller file to be wrong
  Decoder model = load_decoder(folder, options);
  require_vocabulary(tokenizer, model.config(), file, "load_pretrained");
  return {std::move(model), std::move(tokenizer), find_chat_template(folder),
          detail::read_companions(folder)};
}

/// Writes a model's files into a folder that is there: configurations, then weights. Throws what `save_pretrained` does.
inline void save_decoder(const std::filesystem::path& folder, const Decoder& model,
                         const WeightOptions& options = {}) {
  if (model.adapted()) {
    throw OptionError{{.who = "save_pretrained",
                       .required = "a model without an adapter",
                       .found = "one of rank " + std::to_string(model.lora()->rank),
                       .fix = "Merge it first, or write the adapter alone with save_adapter"}};
  }
  const NamedTensors weights = model.weights();
  if (options.dtype) require_stored_float(*options.dtype, weights);  // first: an older save stays whole
  write_config(folder / detail::config_name, model.config(),
               detail::dtype_name(options.dtype.value_or(model.dtype())));
  write_generation_config(folder / detail::generation_config_name, model.config());
  write_weights(folder, weights, options);
}

/// Writes a folder that `load_pretrained` and transformers load, each file whole or not at all; the tokenizer's is the
/// one that was read, byte for byte, and so are the companions of a Pretrained, and its chat template. Weights keep their
/// dtype unless `options` name one. Throws FileError, and OptionError for a configuration that config.json cannot say and for
/// a dtype that lacks one of the weights' numbers; an older save then stays.
inline void save_pretrained(const std::filesystem::path& folder, const Decoder& model,
                            const Tokenizer& tokenizer, const WeightOptions& options = {}) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    throw FileError{
        {.who = "save_pretrained", .required = "a folder to write to", .found = error.message(), .fix = {}},
        {.file = folder.string()}};
  }
  save_decoder(folder, model, options);
  tokenizer.to_file(folder / detail::tokenizer_name);
}
inline void save_pretrained(const std::filesystem::path& folder, const Pretrained& pretrained,
                            const WeightOptions& options = {}) {
  save_pretrained(folder, pretrained.model, pretrained.tokenizer, options);
  for (const auto& [name, content] : pretrained.companions) write_durably(folder / name, content);
  if (!pretrained.chat_template) return;
  const std::optional<ChatTemplate> written = find_chat_template(folder);
  if (!written || written->text != pretrained.chat_template->text) {
    write_durably(folder / detail::chat_template_name, pretrained.chat_template->text);
  }
}

}  // namespace tithe
