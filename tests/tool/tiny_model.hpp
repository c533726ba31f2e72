// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "program.hpp"
#include "tithe/core/random.hpp"

/// A model's folder made from nothing, without LibTorch: one layer, random weights, a tokenizer that knows
/// bytes only.
namespace tithe::test {

inline constexpr std::int64_t tiny_positions = 64;
/// Ids of the tiny tokenizer: <unk>, <s>, </s>, 256 bytes, then the mark of a word's beginning.
inline constexpr std::int64_t tiny_bos = 1;
inline constexpr std::int64_t tiny_eos = 2;
inline constexpr std::int64_t tiny_mark = 259;
inline std::int64_t tiny_byte(char c) { return 3 + static_cast<unsigned char>(c); }

inline std::string tiny_tokenizer() {
  Json vocab{{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}, {"▁", tiny_mark}};
  constexpr const char* digits = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    vocab[std::string{"<0x"} + digits[byte / 16] + digits[byte % 16] + '>'] = 3 + byte;
  }
  Json added = Json::array();
  for (const char* name : {"<unk>", "<s>", "</s>"}) {
    added.push_back({{"id", added.size()},
                     {"content", name},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  const Json first{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json text{{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json mark{{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}};
  const Json unmark{{"type", "Replace"}, {"pattern", {{"String", "▁"}}}, {"content", " "}};
  const Json tokenizer{
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added},
      {"normalizer",
       {{"type", "Sequence"}, {"normalizers", Json::array({{{"type", "Prepend"}, {"prepend", "▁"}}, mark})}}},
      {"pre_tokenizer", nullptr},
      {"post_processor",
       {{"type", "TemplateProcessing"},
        {"single", Json::array({first, text})},
        {"pair", Json::array({first, text})},
        {"special_tokens",
         {{"<s>", {{"id", "<s>"}, {"ids", Json::array({1})}, {"tokens", Json::array({"<s>"})}}}}}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", Json::array({unmark,
                                  {{"type", "ByteFallback"}},
                                  {{"type", "Fuse"}},
                                  {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})}}},
      {"model",
       {{"type", "BPE"},
        {"dropout", nullptr},
        {"unk_token", "<unk>"},
        {"continuing_subword_prefix", nullptr},
        {"end_of_word_suffix", nullptr},
        {"fuse_unk", true},
        {"byte_fallback", true},
        {"ignore_merges", false},
        {"vocab", vocab},
        {"merges", Json::array()}}}};
  return tokenizer.dump();
}

/// Writes the folder and gives its path. `vocabulary` may be larger than the tokenizer's.
inline std::string make_tiny_model(const Path& folder, std::size_t vocabulary = 260) {
  std::filesystem::create_directories(folder);
  write_file(folder / "tokenizer.json", tiny_tokenizer());
  const Json config{{"architectures", Json::array({"LlamaForCausalLM"})},
                    {"model_type", "llama"},
                    {"vocab_size", vocabulary},
                    {"hidden_size", 16},
                    {"intermediate_size", 24},
                    {"num_hidden_layers", 1},
                    {"num_attention_heads", 2},
                    {"num_key_value_heads", 1},
                    {"head_dim", 8},
                    {"max_position_embeddings", tiny_positions},
                    {"rms_norm_eps", 1e-5},
                    {"rope_theta", 10000.0},
                    {"hidden_act", "silu"},
                    {"tie_word_embeddings", true},
                    {"bos_token_id", tiny_bos},
                    {"eos_token_id", tiny_eos},
                    {"torch_dtype", "float32"}};
  write_file(folder / "config.json", config.dump());

  using Shape = std::vector<std::size_t>;
  const std::string layer = "model.layers.0.";
  const std::vector<std::pair<std::string, Shape>> tensors{{"model.embed_tokens.weight", {vocabulary, 16}},
                                                           {layer + "input_layernorm.weight", {16}},
                                                           {layer + "self_attn.q_proj.weight", {16, 16}},
                                                           {layer + "self_attn.k_proj.weight", {8, 16}},
                                                           {layer + "self_attn.v_proj.weight", {8, 16}},
                                                           {layer + "self_attn.o_proj.weight", {16, 16}},
                                                           {layer + "post_attention_layernorm.weight", {16}},
                                                           {layer + "mlp.gate_proj.weight", {24, 16}},
                                                           {layer + "mlp.up_proj.weight", {24, 16}},
                                                           {layer + "mlp.down_proj.weight", {16, 24}},
                                                           {"model.norm.weight", {16}}};
  SplitMix64 random{Seed{1}};
  Json header{{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, shape] : tensors) {
    std::size_t count = 1;
    for (const std::size_t size : shape) count *= size;
    header[name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + 4 * count}}};
    for (std::size_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(shape.size() == 1 ? 1.0 : random.uniform() - 0.5);
      const auto bytes = std::bit_cast<std::array<char, 4>>(value);
      data.append(bytes.data(), bytes.size());
    }
  }
  const std::string text = header.dump();
  const auto length = std::bit_cast<std::array<char, 8>>(std::uint64_t{text.size()});
  write_file(folder / "model.safetensors", std::string{length.data(), length.size()} + text + data);
  return folder.string();
}

}  // namespace tithe::test
