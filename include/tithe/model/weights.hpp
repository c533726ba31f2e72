// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
#include "tithe/model/config.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/model/safetensors.hpp"

/// A decoder's weights out of a file.
namespace tithe {
namespace detail {

inline std::string shape_of(at::IntArrayRef sizes) {
  std::string text = "[";
  for (const std::int64_t size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + ']';
}

/// Tensors that files hold although no model reads them: tables of rotary positions in old Llama files, and a head
/// written out beside the embeddings that it is.
inline bool is_redundant(std::string_view name, const DecoderConfig& config, const SafetensorsFile& file) {
  constexpr std::string_view embeddings = "model.embed_tokens.weight";
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  return name == "lm_head.weight" && config.tie_word_embeddings && file.contains(embeddings) &&
         at::equal(file.tensor(name), file.tensor(embeddings));
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
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      all.push_back({"model.layers." + std::to_string(i) + '.' + name, std::move(shape)});
    };
    add("input_layernorm.weight", {d});
    add("self_attn.q_proj.weight", {q, d});
    add("self_attn.k_proj.weight", {kv, d});
    add("self_attn.v_proj.weight", {kv, d});
    if (config.qkv_bias) {
      add("self_attn.q_proj.bias", {q});
      add("self_attn.k_proj.bias", {kv});
      add("self_attn.v_proj.bias", {kv});
    }
    add("self_attn.o_proj.weight", {d, q});
    add("post_attention_layernorm.weight", {d});
    add("mlp.gate_proj.weight", {config.intermediate_size, d});
    add("mlp.up_proj.weight", {config.intermediate_size, d});
    add("mlp.down_proj.weight", {d, config.intermediate_size});
  }
  all.push_back({"model.norm.weight", {d}});
  if (!config.tie_word_embeddings) all.push_back({"lm_head.weight", {config.vocab_size, d}});
  return all;
}

/// Holds a file's names, shapes and dtypes against a configuration before anything of the configuration's size is made.
///
/// Throws ModelFileError naming the tensors, the first 20 of them, that are missing, have another shape or dtype, or that
/// the model has no place for.
inline void require_weights(const DecoderConfig& config, const SafetensorsFile& file) {
  std::vector<std::string> wrong;
  std::set<std::string, std::less<>> known;
  for (const auto& [name, shape] : weight_shapes(config)) {
    known.insert(name);
    if (!file.contains(name)) {
      wrong.push_back("no " + in_quotes(name));
      continue;
    }
    const TensorInfo& found = file.info(name);
    if (found.shape != shape) {
      wrong.push_back(in_quotes(name) + " of shape " + detail::shape_of(found.shape) + " instead of " +
                      detail::shape_of(shape));
    } else if (!at::isFloatingType(scalar_type_of(found.type))) {
      wrong.push_back(in_quotes(name) + " of dtype " + std::string{format_of(found.type).name});
    }
  }
  for (const std::string& name : file.names()) {
    if (!known.contains(name) && !detail::is_redundant(name, config, file)) {
      wrong.push_back(in_quotes(name) + ", which the model has no place for");
    }
  }
  if (wrong.empty()) return;
  constexpr std::size_t most = 20;  // a configuration may ask for 10,000 layers
  std::string list;
  for (std::size_t i = 0; i < std::min(most, wrong.size()); ++i) list += (i == 0 ? "" : "; ") + wrong[i];
  if (wrong.size() > most) list += "; and " + std::to_string(wrong.size() - most) + " more";
  throw ModelFileError{{.who = "load_weights",
                        .required = "the tensors of the model that config.json describes",
                        .found = list,
                        .fix = "Check that both files belong to the same model"},
                       {.file = file.path().string()}};
}

/// Copies a file's tensors into a model, by name, whatever floating-point dtype either has.
///
/// Throws what `require_weights` does, and ModelFileError for the first NaN or infinity. The model is then as it was.
inline void load_weights(const Decoder& model, const SafetensorsFile& file) {
  require_weights(model.config(), file);
  const NamedTensors weights = model.weights();
  for (const NamedTensor& weight : weights) file.require_finite(weight.name);
  const at::NoGradGuard no_grad;
  for (const NamedTensor& weight : weights) weight.tensor.copy_(file.tensor(weight.name));
}

}  // namespace tithe
