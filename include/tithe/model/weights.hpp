// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/findings.hpp"
#include "tithe/model/float_types.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_format.hpp"
#include "tithe/model/weight_files.hpp"

/// A decoder's weights out of files.
namespace tithe {
namespace detail {

inline std::string shape_of(at::IntArrayRef sizes) {
  std::string text = "[";
  for (const std::int64_t size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + ']';
}

inline constexpr std::string_view embeddings_name = "model.embed_tokens.weight";
inline constexpr std::string_view head_name = "lm_head.weight";

/// Whether a head is written out beside the embeddings that it is, bit for bit.
inline bool is_head_redundant(const WeightFiles& files) {
  if (!files.contains(embeddings_name) || !files.contains(head_name)) return false;
  const SafetensorsFile& head = files.holding(head_name);
  const SafetensorsFile& embeddings = files.holding(embeddings_name);
  if (head.info(head_name).type != embeddings.info(embeddings_name).type ||
      head.info(head_name).shape != embeddings.info(embeddings_name).shape) {
    return false;
  }
  const bool same = head.bytes(head_name) == embeddings.bytes(embeddings_name);
  head.forget(head_name);
  embeddings.forget(embeddings_name);
  return same;
}

/// Tensors that files hold although no model reads them: tables of rotary positions in old Llama files, and a head
/// written out beside the embeddings that it is.
inline bool is_redundant(std::string_view name, const DecoderConfig& config, const WeightFiles& files) {
  if (name.starts_with("model.") && name.ends_with(".rotary_emb.inv_freq")) return true;
  return name == head_name && config.tie_word_embeddings && is_head_redundant(files);
}

/// Throws ModelFileError for the first NaN or infinity in a file's tensor, and for the first number that would be infinite
/// in a dtype.
inline void require_finite_in(at::ScalarType dtype, const SafetensorsFile& file, const std::string& name) {
  file.require_finite(name);
  const std::optional<Overflow> overflow = find_overflow(file.tensor(name), dtype);
  if (!overflow) return;
  const TensorInfo& info = file.info(name);
  const std::size_t at = info.begin + static_cast<std::size_t>(overflow->element) * format_of(info.type).size;
  throw ModelFileError{{.who = "load_weights",
                        .required = "numbers that " + std::string{dtype_name(dtype)} + " has",
                        .found = overflow->shown() + ", at byte " + std::to_string(at),
                        .fix = "Load the model in " + std::string{dtype_name(scalar_type_of(info.type))}},
                       {.file = file.path().string(), .field = in_quotes(name)}};
}

}  // namespace detail

/// A weight that a model has: its Hugging Face name and its shape.
struct WeightShape {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// The weights of a decoder of this configuration, as `Decoder::weights()` has them, without making any. Throws
/// OptionError for a configuration that cannot be.
inline std::vector<WeightShape> weight_shapes(const DecoderConfig& config) {
  config.validate();
  const std::int64_t d = config.hidden_size;
  const std::int64_t q = config.num_attention_heads * config.head_dim;
  const std::int64_t kv = config.num_key_value_heads * config.head_dim;
  std::vector<WeightShape> all{{"model.embed_tokens.weight", {config.vocab_size, d}}};
  for (std::int64_t i = 0; i < config.num_hidden_layers; ++i) {
    const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
      all.push_back({"model.layers." + std::to_string(i) + '.' + name, std::move(shape)});
    };
    add("input_layernorm.weight", {d});
    for (const auto& [name, rows] :
         {std::pair{"self_attn.q_proj", q}, {"self_attn.k_proj", kv}, {"self_attn.v_proj", kv}}) {
      add(std::string{name} + ".weight", {rows, d});
      if (config.qkv_bias) add(std::string{name} + ".bias", {rows});
    }
    add("self_attn.o_proj.weight", {d, q});
    add("mlp.gate_proj.weight", {config.intermediate_size, d});
    add("mlp.up_proj.weight", {config.intermediate_size, d});
    add("mlp.down_proj.weight", {d, config.intermediate_size});
    if (config.qk_norm) {
      add("self_attn.q_norm.weight", {config.head_dim});
      add("self_attn.k_norm.weight", {config.head_dim});
    }
    add("post_attention_layernorm.weight", {d});
  }
  all.push_back({"model.norm.weight", {d}});
  if (!config.tie_word_embeddings) all.push_back({"lm_head.weight", {config.vocab_size, d}});
  return all;
}

/// The configuration of the model that the files hold: a head of its own beside the embeddings unties the two, whatever
/// config.json says, as in transformers.
inline DecoderConfig untie_if_held(DecoderConfig config, const WeightFiles& files) {
  if (config.tie_word_embeddings && files.contains(detail::head_name) && !detail::is_head_redundant(files)) {
    config.tie_word_embeddings = false;
  }
  return config;
}

/// Holds the files' names, shapes and dtypes against a configuration before anything of the configuration's size is
/// made.
///
/// Throws ModelFileError naming the tensors, the first 20 of them, that are missing, have another shape or dtype, or that
/// the model has no place for.
inline void require_weights(const DecoderConfig& config, const WeightFiles& files) {
  detail::Findings wrong;
  std::set<std::string, std::less<>> known;
  for (const auto& [name, shape] : weight_shapes(config)) {
    known.insert(name);
    if (!files.contains(name)) {
      wrong.add("no " + in_quotes(name));
      continue;
    }
    const TensorInfo& found = files.holding(name).info(name);
    if (found.shape != shape) {
      wrong.add(in_quotes(name) + " of shape " + detail::shape_of(found.shape) + " instead of " +
                detail::shape_of(shape));
    } else if (!at::isFloatingType(scalar_type_of(found.type))) {
      wrong.add(in_quotes(name) + " of dtype " + std::string{format_of(found.type).name});
    }
  }
  for (const std::string& name : files.names()) {
    if (!known.contains(name) && !detail::is_redundant(name, config, files)) {
      wrong.add(in_quotes(name) + ", which the model has no place for");
    }
  }
  if (wrong.empty()) return;
  throw ModelFileError{{.who = "load_weights",
                        .required = "the tensors of the model that config.json describes",
                        .found = wrong.text(),
                        .fix = "Check that both files belong to the same model"},
                       {.file = files.path().string()}};
}

/// Copies the files' tensors into a model, by name, whatever floating-point dtype either has: one at a time, the memory
/// of what has been read given back, so that there is never a second model in memory.
///
/// Throws what `require_weights` does, and ModelFileError for the first NaN or infinity, in the file or in the model's dtype;
/// the model is then filled in part.
inline void load_weights(const Decoder& model, const WeightFiles& files) {
  require_weights(model.config(), files);
  const at::NoGradGuard no_grad;
  for (const NamedTensor& weight : model.weights()) {
    const SafetensorsFile& file = files.holding(weight.name);
    detail::require_finite_in(weight.tensor.scalar_type(), file, weight.name);
    weight.tensor.copy_(file.tensor(weight.name));
    file.forget(weight.name);
  }
}

}  // namespace tithe
