// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/config.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/json.hpp"
#include "tithe/model/config_file.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::TemporaryFolder;
using test::thrown;

Json base() {
  return Json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 384,
    "hidden_size": 48, "intermediate_size": 112, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "rms_norm_eps": 1e-05,
    "rope_theta": 500000.0, "hidden_act": "silu", "tie_word_embeddings": true, "attention_bias": false,
    "mlp_bias": false, "bos_token_id": 1, "eos_token_id": [2, 5], "pad_token_id": -1, "torch_dtype": "bfloat16"})");
}
Json with(const std::string& key, Json value) {
  Json json = base();
  json[key] = std::move(value);
  return json;
}
Json without(const std::string& key) {
  Json json = base();
  json.erase(key);
  return json;
}

/// The least that a file of a family holds: what is absent is the family's default.
Json bare(const std::string& type, const std::string& architecture) {
  return {{"architectures", {architecture}},
          {"model_type", type},
          {"vocab_size", 384},
          {"hidden_size", 256},
          {"intermediate_size", 112},
          {"num_hidden_layers", 3},
          {"num_attention_heads", 32}};
}
Json mistral() { return bare("mistral", "MistralForCausalLM"); }
Json qwen2() { return bare("qwen2", "Qwen2ForCausalLM"); }
Json qwen3() { return bare("qwen3", "Qwen3ForCausalLM"); }
Json changed(Json json, const Json& changes) {
  json.update(changes);
  return json;
}

DecoderConfig parsed(const Json& json) { return parse_config(json.dump(), {.file = "config.json"}); }

}  // namespace

CATCH_TEST_CASE("config.json: both spellings and absent fields", "[model][config]") {
  const TemporaryFolder folder;
  const auto read = [&](const Json& json) { return read_config(folder.file("config.json", json.dump())); };

  const DecoderConfig config = read(base());
  CATCH_CHECK(config.vocab_size == 384);
  CATCH_CHECK(config.hidden_size == 48);
  CATCH_CHECK(config.intermediate_size == 112);
  CATCH_CHECK(config.num_hidden_layers == 3);
  CATCH_CHECK(config.num_attention_heads == 6);
  CATCH_CHECK(config.num_key_value_heads == 2);
  CATCH_CHECK(config.head_dim == 16);
  CATCH_CHECK(config.max_position_embeddings == 512);
  CATCH_CHECK(config.rms_norm_eps == 1e-5);
  CATCH_CHECK(config.rope_theta == 500'000);
  CATCH_CHECK(config.tie_word_embeddings);
  CATCH_CHECK_FALSE(config.qkv_bias);
  CATCH_CHECK(config.bos_token_id == 1);
  CATCH_CHECK(config.eos_token_ids == TokenIds{2, 5});

  CATCH_CHECK(read(without("head_dim")).head_dim == 8);
  CATCH_CHECK(read(with("head_dim", nullptr)).head_dim == 8);
  CATCH_CHECK(read(without("num_key_value_heads")).num_key_value_heads == 6);
  CATCH_CHECK(read(without("rope_theta")).rope_theta == 10'000);
  CATCH_CHECK(read(with("rope_theta", 10'000)).rope_theta == 10'000);  // an integer is a number
  CATCH_CHECK_FALSE(read(without("tie_word_embeddings")).tie_word_embeddings);
  CATCH_CHECK(read(without("architectures")) == config);
  // The file of weights has its own dtype, whatever is said here.
  CATCH_CHECK(read(without("torch_dtype")) == config);
  CATCH_CHECK(read(with("dtype", "float16")) == config);
  CATCH_CHECK(read(without("rms_norm_eps")).rms_norm_eps == 1e-6);
  CATCH_CHECK(read(with("eos_token_id", 2)).eos_token_ids == TokenIds{2});
  CATCH_CHECK(read(with("eos_token_id", nullptr)).eos_token_ids.empty());
  CATCH_CHECK(read(without("eos_token_id")).eos_token_ids == TokenIds{2});
  CATCH_CHECK(read(with("bos_token_id", nullptr)).bos_token_id == -1);
  CATCH_CHECK(read(with("rope_scaling", nullptr)) == config);
  CATCH_CHECK(read(with("pretraining_tp", 1)) == config);
  CATCH_CHECK(read(with("quantization_config", nullptr)) == config);

  // rope_scaling wins over rope_parameters, and what stands in either wins over what stands on top.
  Json both = with("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 7.0}});
  CATCH_CHECK(read(both).rope_theta == 7);
  both["rope_scaling"] = {{"type", "default"}, {"rope_theta", 8.0}};
  CATCH_CHECK(read(both).rope_theta == 8);
  both["rope_scaling"].erase("rope_theta");
  CATCH_CHECK(read(both).rope_theta == 500'000);
}

CATCH_TEST_CASE("config.json: what is absent is what transformers takes for the family", "[model][config]") {
  // From LlamaConfig(), MistralConfig(), Qwen2Config(), Qwen3Config() of transformers 4.57 and 5.23, which agree.
  DecoderConfig sizes{.vocab_size = 384,
                      .hidden_size = 256,
                      .intermediate_size = 112,
                      .num_hidden_layers = 3,
                      .num_attention_heads = 32,
                      .num_key_value_heads = 32,
                      .head_dim = 8,
                      .rms_norm_eps = 1e-6};
  DecoderConfig llama = sizes;
  llama.bos_token_id = 1;
  llama.eos_token_ids = {2};
  DecoderConfig mistral_config = llama;
  mistral_config.family = ModelFamily::mistral;
  mistral_config.max_position_embeddings = 131'072;
  mistral_config.num_key_value_heads = 8;
  mistral_config.sliding_window = 4096;
  DecoderConfig qwen2_config = sizes;
  qwen2_config.family = ModelFamily::qwen2;
  qwen2_config.max_position_embeddings = 32'768;
  qwen2_config.qkv_bias = true;
  DecoderConfig qwen3_config = qwen2_config;
  qwen3_config.family = ModelFamily::qwen3;
  qwen3_config.head_dim = 128;
  qwen3_config.qkv_bias = false;
  qwen3_config.qk_norm = true;
  CATCH_CHECK(parsed(bare("llama", "LlamaForCausalLM")) == llama);
  CATCH_CHECK(parsed(mistral()) == mistral_config);
  CATCH_CHECK(parsed(qwen2()) == qwen2_config);
  CATCH_CHECK(parsed(qwen3()) == qwen3_config);

  CATCH_CHECK(mistral_config.positions() == 4096);
  CATCH_CHECK(qwen2_config.positions() == 32'768);
  // A default that does not divide the heads cannot be meant; null is as many as there are heads of queries.
  CATCH_CHECK(parsed(changed(mistral(), {{"num_attention_heads", 4}})).num_key_value_heads == 4);
  CATCH_CHECK(parsed(changed(mistral(), {{"num_key_value_heads", nullptr}})).num_key_value_heads == 32);
  CATCH_CHECK(parsed(changed(qwen2(), {{"num_attention_heads", 4}})).num_key_value_heads == 4);
  CATCH_CHECK(parsed(changed(qwen2(), {{"head_dim", 16}})).head_dim == 16);
  CATCH_CHECK(parsed(changed(qwen3(), {{"head_dim", 16}})).head_dim == 16);
  CATCH_CHECK(parsed(changed(qwen2(), {{"attention_bias", false}})).qkv_bias);  // a key that Qwen2 has not
  CATCH_CHECK(parsed(changed(qwen2(), {{"attention_bias", true}})) == qwen2_config);
  CATCH_CHECK(parsed(changed(mistral(), {{"hidden_act", "swish"}})) == mistral_config);  // its other name
}

CATCH_TEST_CASE("config.json: windows count where they are switched on", "[model][config]") {
  const auto window = [](const Json& file) { return parsed(file).sliding_window; };
  CATCH_CHECK(window(changed(mistral(), {{"sliding_window", nullptr}})) == 0);
  CATCH_CHECK(window(changed(mistral(), {{"sliding_window", 32}})) == 32);
  CATCH_CHECK(parsed(changed(mistral(), {{"sliding_window", 32}})).positions() == 32);
  CATCH_CHECK(
      parsed(changed(mistral(), {{"sliding_window", 32}, {"max_position_embeddings", 16}})).positions() ==
      16);
  // transformers' Llama does not read the field; rows within it are the same either way.
  CATCH_CHECK(window(with("sliding_window", 32)) == 32);
  for (const Json& file : {qwen2(), qwen3()}) {
    CATCH_CHECK(window(changed(file, {{"sliding_window", 32}})) == 0);
    CATCH_CHECK(window(changed(file, {{"sliding_window", 32}, {"use_sliding_window", false}})) == 0);
    // Layers from max_window_layers on, 28 if it is absent, have the window: here the third alone, all, or none.
    const Json on{{"sliding_window", 32}, {"use_sliding_window", true}};
    CATCH_CHECK(window(changed(changed(file, on), {{"max_window_layers", 2}})) == 32);
    CATCH_CHECK(window(changed(changed(file, on), {{"max_window_layers", 0}})) == 32);
    CATCH_CHECK(window(changed(changed(file, on), {{"max_window_layers", 3}})) == 0);
    CATCH_CHECK(window(changed(file, on)) == 0);
    CATCH_CHECK(window(changed(changed(file, on), {{"num_hidden_layers", 29}})) == 32);
    CATCH_CHECK(window(changed(file, {{"use_sliding_window", true}, {"max_window_layers", 0}})) == 4096);
    const Json full{"full_attention", "full_attention", "full_attention"};
    const Json one{"full_attention", "sliding_attention", "full_attention"};
    CATCH_CHECK(window(changed(changed(file, on), {{"layer_types", one}})) == 32);
    CATCH_CHECK(window(changed(changed(file, on), {{"layer_types", full}, {"max_window_layers", 0}})) == 0);
    CATCH_CHECK(window(changed(file, {{"layer_types", full}})) == 0);
  }
}

CATCH_TEST_CASE("config.json: rotary positions in both spellings", "[model][config]") {
  const Json llama3{{"rope_type", "llama3"},
                    {"factor", 8.0},
                    {"low_freq_factor", 1.0},
                    {"high_freq_factor", 4.0},
                    {"original_max_position_embeddings", 64}};
  const RopeScaling scaling{
      .factor = 8, .low_freq_factor = 1, .high_freq_factor = 4, .original_max_position_embeddings = 64};
  Json old_type = llama3;
  old_type.erase("rope_type");
  old_type["type"] = "llama3";
  Json with_theta = llama3;
  with_theta["rope_theta"] = 7.0;
  for (const Json& file : {with("rope_scaling", llama3), with("rope_scaling", old_type),
                           with("rope_parameters", llama3), with("rope_parameters", with_theta)}) {
    CATCH_CAPTURE(file.dump());
    CATCH_CHECK(parsed(file).rope_scaling == scaling);
  }
  CATCH_CHECK(parsed(with("rope_scaling", llama3)).rope_theta == 500'000);
  CATCH_CHECK(parsed(with("rope_parameters", with_theta)).rope_theta == 7);
  Json both = with("rope_parameters", llama3);
  both["rope_scaling"] = Json::object();  // empty is as good as null
  CATCH_CHECK(parsed(both).rope_scaling == scaling);
  both["rope_scaling"] = {{"rope_type", "default"}};
  CATCH_CHECK_FALSE(parsed(both).rope_scaling);

  // The length before stretching: inside, else on top (which wins where both are), else what there is now.
  Json no_length = with("rope_scaling", llama3);
  no_length["rope_scaling"].erase("original_max_position_embeddings");
  CATCH_CHECK(parsed(no_length).rope_scaling->original_max_position_embeddings == 512);
  no_length["original_max_position_embeddings"] = 32;
  CATCH_CHECK(parsed(no_length).rope_scaling->original_max_position_embeddings == 32);
}

CATCH_TEST_CASE("config.json: every kind of malformed or unsupported file is refused by name",
                "[model][config]") {
  struct Case {
    std::string content;
    std::string text;
  };
  const std::vector<Case> cases{
      {"", "config.json:1:1: read_config needs valid JSON"},
      {"[]", "a JSON object, but found an array"},
      {"{\"vocab_size\": NaN}", ":1:16: read_config needs valid JSON"},
      {"{\"a\": 1,\n \"a\": 1}", "config.json:2:4: \"a\": read_config needs each key once"},
      {base().dump() + "}", "valid JSON"},
      {base().dump().substr(0, 100), "valid JSON"},
      {std::string(100'000, '['), "at most 64 levels of nesting"},
      {without("model_type").dump(), "\"model_type\": read_config needs this field"},
      {with("model_type", "mixtral").dump(), "\"mixtral\". This kind of model is not supported"},
      {with("model_type", "qwen2_moe").dump(), "This kind of model is not supported"},
      {with("model_type", "gemma").dump(), "This kind of model is not supported"},
      {with("model_type", "mistral").dump(), "needs [\"MistralForCausalLM\"]"},
      {with("architectures", {"LlamaForCausalLM", "LlamaModel"}).dump(),
       "This architecture is not supported"},
      {with("num_local_experts", 8).dump(), "Mixtures of experts are not supported"},
      {with("num_experts", 8).dump(), "Mixtures of experts are not supported"},
      {with("compression_config", {{"format", "x"}}).dump(), "not quantised"},
      {with("rope_interleaved", true).dump(), "neighbouring coordinates"},
      {with("use_mrope", true).dump(), "Positions in several dimensions"},
      {with("use_qk_norm", true).dump(), "belong to Qwen3"},
      {changed(qwen3(), {{"attention_bias", true}}).dump(), "a bias on the output projection"},
      {changed(qwen3(), {{"mlp_bias", true}}).dump(), "Biases of the gated layers"},
      {changed(mistral(), {{"attention_bias", true}}).dump(), "a bias on the output projection"},
      {with("sliding_window", 0).dump(), "a window of at least 1, or null, but found 0"},
      {with("sliding_window", -1).dump(), "a window of at least 1, or null, but found -1"},
      {changed(mistral(), {{"sliding_window", "4096"}}).dump(),
       "\"sliding_window\": read_config needs an integer"},
      {changed(qwen2(), {{"use_sliding_window", 1}}).dump(), "true or false, but found the number 1"},
      {changed(qwen2(), {{"layer_types", {"full_attention"}}}).dump(),
       "one for each of the 3 layers, but found 1"},
      {changed(qwen2(), {{"layer_types", {"full_attention", "full_attention", "linear_attention"}}}).dump(),
       "\"linear_attention\". This kind of attention is not supported"},
      {changed(qwen2(), {{"layer_types", {"full_attention", "sliding_attention", "full_attention"}}}).dump(),
       "use_sliding_window is false"},
      {changed(qwen2(), {{"layer_types", 3}}).dump(), "\"layer_types\": read_config needs an array"},
      {with("model_type", 3).dump(), "\"model_type\": read_config needs a string, but found the number 3"},
      {with("architectures", {"LlamaForSequenceClassification"}).dump(),
       "This architecture is not supported"},
      {with("architectures", Json::array()).dump(), "This architecture is not supported"},
      {with("architectures", "LlamaForCausalLM").dump(), "an array"},
      {with("hidden_act", "gelu").dump(), "\"gelu\". This activation is not supported"},
      {with("quantization_config", {{"bits", 4}}).dump(), "not quantised"},
      {with("auto_map", {{"AutoModel", "x.py"}}).dump(), "code of its own"},
      {with("attention_bias", true).dump(), "a bias on the output projection too, which is not supported"},
      {with("mlp_bias", true).dump(), "\"mlp_bias\""},
      {with("mlp_bias", 0).dump(), "true or false, but found the number 0"},
      {with("pretraining_tp", 2).dump(), "\"pretraining_tp\": read_config needs 1, but found 2"},
      {with("attention_dropout", 0.1).dump(), "Dropout is not supported"},
      {with("rope_scaling", {{"rope_type", "llama3"}}).dump(),
       "\"rope_scaling\".\"factor\": read_config needs this field"},
      {with("rope_scaling", {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 1}}).dump(),
       "\"rope_scaling\".\"high_freq_factor\": read_config needs this field"},
      {with("rope_scaling",
            {{"rope_type", "llama3"}, {"factor", 0.5}, {"low_freq_factor", 1}, {"high_freq_factor", 4}})
           .dump(),
       "\"rope_scaling.factor\": read_config needs a number of at least 1"},
      {with("rope_scaling",
            {{"rope_type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}, {"high_freq_factor", 4}})
           .dump(),
       "more than low_freq_factor"},
      {with("rope_scaling", {{"rope_type", "llama3"},
                             {"factor", 8},
                             {"low_freq_factor", 1},
                             {"high_freq_factor", 4},
                             {"original_max_position_embeddings", 0}})
           .dump(),
       "rope_scaling.original_max_position_embeddings"},
      {with("rope_scaling", {{"factor", 2.0}}).dump(), "a rope_type that says what it does"},
      {with("rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2.0}}).dump(), "\"dynamic\""},
      {with("rope_scaling", {{"rope_type", "longrope"}}).dump(),
       "\"rope_scaling\".\"rope_type\": read_config needs \"default\" or \"llama3\", but found \"longrope\""},
      {with("rope_scaling", {{"rope_type", 3}}).dump(), "a string, but found the number 3"},
      {with("rope_scaling", Json::array({1})).dump(), "a JSON object, but found an array"},
      {with("rope_parameters", {{"full_attention", {{"rope_theta", 1e6}}}}).dump(),
       "differ from layer to layer"},
      {with("partial_rotary_factor", 0.5).dump(), "Partial rotary positions"},
      {with("rope_scaling", {{"type", "linear"}, {"factor", 2.0}}).dump(), "\"linear\""},
      {with("rope_parameters", {{"rope_type", "yarn"}}).dump(), "\"yarn\""},
      {with("rope_parameters", {{"partial_rotary_factor", 0.5}}).dump(), "\"partial_rotary_factor\""},
      {with("rope_parameters", 3).dump(), "a JSON object, but found the number 3"},
      {without("vocab_size").dump(), "\"vocab_size\": read_config needs this field"},
      {without("hidden_size").dump(), "\"hidden_size\""},
      {without("intermediate_size").dump(), "\"intermediate_size\""},
      {without("num_hidden_layers").dump(), "\"num_hidden_layers\""},
      {without("num_attention_heads").dump(), "\"num_attention_heads\""},
      {with("vocab_size", 0).dump(), "a size from 1 to 16777216, but found 0"},
      {with("vocab_size", -384).dump(), "found -384"},
      {with("vocab_size", 384.0).dump(), "an integer of at most 64 bits"},
      {with("vocab_size", "384").dump(), "an integer of at most 64 bits, but found the string \"384\""},
      {with("vocab_size", nullptr).dump(), "an integer of at most 64 bits, but found null"},
      {with("vocab_size", std::uint64_t{1} << 63).dump(), "an integer of at most 64 bits"},
      {with("hidden_size", std::int64_t{1} << 40).dump(), "a size from 1 to 16777216"},
      {with("num_attention_heads", 0).dump(), "\"num_attention_heads\""},
      {with("num_key_value_heads", 4).dump(), "a divisor of num_attention_heads, 6, but found 4"},
      {with("num_key_value_heads", 12).dump(), "a divisor of num_attention_heads"},
      {with("num_key_value_heads", 0).dump(), "\"num_key_value_heads\": read_config needs a size"},
      {with("head_dim", 15).dump(), "an even number"},
      {with("max_position_embeddings", std::int64_t{1} << 25).dump(), "\"max_position_embeddings\""},
      {with("rms_norm_eps", 0).dump(), "a number between 0 and 1"},
      {with("rms_norm_eps", "1e-5").dump(), "a number, but found the string"},
      {with("rope_theta", -1).dump(), "a positive number"},
      {with("tie_word_embeddings", "yes").dump(), "true or false"},
      {with("bos_token_id", 384).dump(), "an id under vocab_size"},
      {with("bos_token_id", {1, 2}).dump(), "\"bos_token_id\": read_config needs one id"},
      {with("eos_token_id", {2, 384}).dump(), "ids from 0 to under vocab_size, but found 384"},
      {with("eos_token_id", -1).dump(), "ids from 0 to under vocab_size, but found -1"},
      {with("eos_token_id", {"</s>"}).dump(), "\"eos_token_id[0]\": read_config needs an integer"},
  };
  const TemporaryFolder folder;
  CATCH_CHECK_NOTHROW(read_config(folder.file("config.json", base().dump())));
  int refused = 0;
  for (const Case& item : cases) {
    CATCH_INFO(item.content);
    const auto path = folder.file("config.json", item.content);
    const std::string text = thrown<ModelFileError>([&] { (void)read_config(path); }).what();
    CATCH_INFO(text);
    CATCH_CHECK(contains(text, item.text));
    CATCH_CHECK(contains(text, "config.json"));
    ++refused;
  }
  CATCH_CHECK(refused >= 80);
  Json undivided = without("head_dim");
  undivided["hidden_size"] = 47;
  const auto path = folder.file("config.json", undivided.dump());
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)read_config(path); }).what(),
                       "does not divide hidden_size"));
}

CATCH_TEST_CASE("a configuration made in code is checked like one in a file", "[model][config]") {
  const DecoderConfig good{.vocab_size = 10,
                           .hidden_size = 8,
                           .intermediate_size = 16,
                           .num_hidden_layers = 1,
                           .num_attention_heads = 2,
                           .num_key_value_heads = 1,
                           .head_dim = 4};
  CATCH_CHECK_NOTHROW(good.validate());
  DecoderConfig bad = good;
  bad.head_dim = 3;
  CATCH_CHECK(contains(thrown<OptionError>([&] { bad.validate(); }).what(),
                       "head_dim: DecoderConfig needs an even number, for rotary positions, but found 3"));
  CATCH_CHECK(thrown<OptionError>([] { DecoderConfig{}.validate(); }).where().field == "vocab_size");
}

CATCH_TEST_CASE("config.json: what is written is read back", "[model][config]") {
  const TemporaryFolder folder;
  DecoderConfig config{.vocab_size = 10,
                       .hidden_size = 8,
                       .intermediate_size = 16,
                       .num_hidden_layers = 1,
                       .num_attention_heads = 2,
                       .num_key_value_heads = 1,
                       .head_dim = 6,
                       .max_position_embeddings = 33,
                       .rms_norm_eps = 1.25e-6,
                       .rope_theta = 12345.678,
                       .tie_word_embeddings = true};
  const auto path = folder.path() / "config.json";
  for (const TokenIds& ends : {TokenIds{}, TokenIds{2}, TokenIds{2, 3}}) {
    for (const std::int64_t begin : {-1, 1}) {
      config.bos_token_id = begin;
      config.eos_token_ids = ends;
      write_config(path, config);
      CATCH_CHECK(read_config(path) == config);
    }
  }
  config.rope_scaling = RopeScaling{.factor = 32, .original_max_position_embeddings = 16};
  for (const ModelFamily family :
       {ModelFamily::llama, ModelFamily::mistral, ModelFamily::qwen2, ModelFamily::qwen3}) {
    for (const std::int64_t window : {0, 7}) {
      config.family = family;
      config.sliding_window = window;
      config.qkv_bias = family == ModelFamily::qwen2;
      config.qk_norm = family == ModelFamily::qwen3;
      write_config(path, config, "bfloat16");
      CATCH_CHECK(read_config(path) == config);
    }
  }
}

CATCH_TEST_CASE("config.json: what a family does not have is not written", "[model][config]") {
  const TemporaryFolder folder;
  const auto path = folder.path() / "config.json";
  const auto refusal = [&](ModelFamily family, bool bias, bool norm) {
    DecoderConfig config = parsed(base());
    config.family = family;
    config.qkv_bias = bias;
    config.qk_norm = norm;
    return std::string{thrown<OptionError>([&] { write_config(path, config); }).what()};
  };
  CATCH_CHECK(contains(refusal(ModelFamily::llama, true, false),
                       "qkv_bias: write_config needs qkv_bias = false, as every LlamaForCausalLM has it"));
  CATCH_CHECK(contains(refusal(ModelFamily::qwen2, false, false), "qkv_bias = true"));
  CATCH_CHECK(contains(refusal(ModelFamily::mistral, false, true), "qk_norm = false"));
  CATCH_CHECK(contains(refusal(ModelFamily::qwen3, false, false), "qk_norm = true"));
  CATCH_CHECK_NOTHROW(write_config(path, parsed(base())));
  // What no file can hold still tells two configurations apart, as a resumed run asks.
  DecoderConfig other = parsed(base());
  other.qk_norm = true;
  CATCH_CHECK(to_json(other) != to_json(parsed(base())));
}

CATCH_TEST_CASE("generation_config.json: its tokens end an answer", "[model][config]") {
  const TemporaryFolder folder;
  const auto read = [&](const std::string& text) {
    return read_generation_stops(folder.file("generation_config.json", text));
  };
  CATCH_CHECK(read(R"({"eos_token_id": 7, "temperature": 0.6})") == TokenIds{7});
  CATCH_CHECK(read(R"({"eos_token_id": [7, 2]})") == TokenIds{7, 2});
  CATCH_CHECK_FALSE(read(R"({"eos_token_id": null})"));
  CATCH_CHECK_FALSE(read(R"({"eos_token_id": []})"));
  CATCH_CHECK_FALSE(read("{}"));
  const std::vector<std::string> broken{"",
                                        "[]",
                                        "null",
                                        "{",
                                        R"({"eos_token_id": "</s>"})",
                                        R"({"eos_token_id": [7, "</s>"]})",
                                        R"({"eos_token_id": 1.5})",
                                        R"({"eos_token_id": {"a": 1}})",
                                        R"({"eos_token_id": 1, "eos_token_id": 1})",
                                        std::string(2'000'000, ' ')};
  for (const std::string& text : broken) {
    CATCH_CAPTURE(text.substr(0, 40));
    CATCH_CHECK(contains(thrown<ModelFileError>([&] { (void)read(text); }).what(), "generation_config.json"));
  }
}

CATCH_TEST_CASE("config.json of stories260k, and in both spellings", "[model][config][third-party]") {
  const auto stories = test::third_party_data("stories260k");
  const auto hugging_face = test::third_party_data("hf");
  if (!stories || !hugging_face) return;
  const DecoderConfig config = read_config(*stories / "config.json");
  CATCH_CHECK(config.vocab_size == 512);
  CATCH_CHECK(config.head_dim == 8);
  CATCH_CHECK(config.tie_word_embeddings);
  const DecoderConfig llama3 = read_config(*hugging_face / "llama3/config.json");
  CATCH_CHECK(llama3.rope_theta == 500'000);
  CATCH_CHECK(llama3.rope_scaling == RopeScaling{.factor = 8,
                                                 .low_freq_factor = 1,
                                                 .high_freq_factor = 4,
                                                 .original_max_position_embeddings = 64});
  CATCH_CHECK(llama3.head_dim == 16);
  const DecoderConfig qwen2_file = read_config(*hugging_face / "qwen2/config.json");
  CATCH_CHECK(qwen2_file.family == ModelFamily::qwen2);
  CATCH_CHECK(qwen2_file.rope_theta == 1e6);
  CATCH_CHECK(qwen2_file.qkv_bias);
  CATCH_CHECK(qwen2_file.sliding_window == 0);
  CATCH_CHECK(qwen2_file.head_dim == 14);
}
