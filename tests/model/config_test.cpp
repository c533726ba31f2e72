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
  CATCH_CHECK(read(without("torch_dtype")) == config);
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
      {with("model_type", "qwen3").dump(), "\"qwen3\". This kind of model is not supported"},
      {with("model_type", 3).dump(), "\"model_type\": read_config needs a string, but found the number 3"},
      {with("architectures", {"LlamaForSequenceClassification"}).dump(),
       "This architecture is not supported"},
      {with("architectures", Json::array()).dump(), "This architecture is not supported"},
      {with("architectures", "LlamaForCausalLM").dump(), "an array"},
      {with("hidden_act", "gelu").dump(), "\"gelu\". This activation is not supported"},
      {with("quantization_config", {{"bits", 4}}).dump(), "not quantised"},
      {with("auto_map", {{"AutoModel", "x.py"}}).dump(), "code of its own"},
      {with("attention_bias", true).dump(), "biases are not supported"},
      {with("mlp_bias", true).dump(), "\"mlp_bias\""},
      {with("mlp_bias", 0).dump(), "true or false, but found the number 0"},
      {with("pretraining_tp", 2).dump(), "\"pretraining_tp\": read_config needs 1, but found 2"},
      {with("attention_dropout", 0.1).dump(), "Dropout is not supported"},
      {with("rope_scaling", {{"rope_type", "llama3"}}).dump(),
       "\"rope_scaling\".\"rope_type\": read_config needs \"default\", but found \"llama3\""},
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
  CATCH_CHECK(refused >= 50);
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
  config.qkv_bias = true;
  CATCH_CHECK(contains(thrown<OptionError>([&] { write_config(path, config); }).what(),
                       "no biases, as Llama has none"));
}

CATCH_TEST_CASE("config.json of stories260k, and of families that are not supported",
                "[model][config][third-party]") {
  const auto stories = test::third_party_data("stories260k");
  const auto hugging_face = test::third_party_data("hf");
  if (!stories || !hugging_face) return;
  const DecoderConfig config = read_config(*stories / "config.json");
  CATCH_CHECK(config.vocab_size == 512);
  CATCH_CHECK(config.head_dim == 8);
  CATCH_CHECK(config.tie_word_embeddings);
  CATCH_CHECK(contains(
      thrown<ModelFileError>([&] { (void)read_config(*hugging_face / "llama3/config.json"); }).what(),
      "\"llama3\". This scaling of positions is not supported"));
  CATCH_CHECK(
      contains(thrown<ModelFileError>([&] { (void)read_config(*hugging_face / "qwen2/config.json"); }).what(),
               "\"qwen2\". This kind of model is not supported"));
}
