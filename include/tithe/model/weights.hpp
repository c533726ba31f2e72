// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/text.hpp"
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
inline bool is_redundant(std::string_view name, const Decoder& model, const SafetensorsFile& file) {
  constexpr std::string_view embeddings = "model.embed_tokens.weight";
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  return name == "lm_head.weight" && model.config().tie_word_embeddings && file.contains(embeddings) &&
         at::equal(file.tensor(name), file.tensor(embeddings));
}

}  // namespace detail

/// Copies a file's tensors into a model, by name, whatever floating-point dtype either has.
///
/// Throws ModelFileError naming every tensor that is missing, has another shape or dtype, or that the model has no
/// place for; and for the first NaN or infinity. The model is then as it was.
inline void load_weights(const Decoder& model, const SafetensorsFile& file) {
  const NamedTensors weights = model.weights();
  std::vector<std::string> wrong;
  std::set<std::string, std::less<>> known;
  for (const NamedTensor& weight : weights) {
    known.insert(weight.name);
    if (!file.contains(weight.name)) {
      wrong.push_back("no " + in_quotes(weight.name));
      continue;
    }
    const TensorInfo& found = file.info(weight.name);
    if (at::IntArrayRef{found.shape} != weight.tensor.sizes()) {
      wrong.push_back(in_quotes(weight.name) + " of shape " + detail::shape_of(found.shape) + " instead of " +
                      detail::shape_of(weight.tensor.sizes()));
    } else if (!at::isFloatingType(scalar_type_of(found.type))) {
      wrong.push_back(in_quotes(weight.name) + " of dtype " + std::string{format_of(found.type).name});
    }
  }
  for (const std::string& name : file.names()) {
    if (!known.contains(name) && !detail::is_redundant(name, model, file)) {
      wrong.push_back(in_quotes(name) + ", which the model has no place for");
    }
  }
  if (!wrong.empty()) {
    std::string list;
    for (const std::string& one : wrong) list += (list.empty() ? "" : "; ") + one;
    throw ModelFileError{{.who = "load_weights",
                          .required = "the tensors of the model that config.json describes",
                          .found = list,
                          .fix = "Check that both files belong to the same model"},
                         {.file = file.path().string()}};
  }
  for (const NamedTensor& weight : weights) file.require_finite(weight.name);
  const at::NoGradGuard no_grad;
  for (const NamedTensor& weight : weights) weight.tensor.copy_(file.tensor(weight.name));
}

}  // namespace tithe
