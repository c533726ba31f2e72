// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/pretrained.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "random_model.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/generate_text.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// A folder that is gone when the test is over.
struct TemporaryFolder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("tithe-pretrained-" + std::to_string(::getpid()));
  TemporaryFolder() { std::filesystem::create_directories(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
};

DecoderConfig config_of(bool tied) {
  DecoderConfig config = small_config();
  config.qkv_bias = false;
  config.tie_word_embeddings = tied;
  config.bos_token_id = 1;
  config.eos_token_ids = {2};
  return config;
}

std::string content(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

/// Writes a folder whose tensors were changed, and gives what loading it says.
std::string refusal(const std::function<void(NamedTensors&)>& change, bool tied = false) {
  const TemporaryFolder folder;
  const Decoder model = random_decoder(config_of(tied), 1, at::kFloat);
  write_config(folder.path / "config.json", model.config());
  NamedTensors tensors = model.weights();
  change(tensors);
  write_safetensors(folder.path / "model.safetensors", tensors);
  try {
    load_decoder(folder.path);
  } catch (const ModelFileError& error) {
    return error.what();
  }
  return "accepted";
}

NamedTensor& named(NamedTensors& tensors, std::string_view name) {
  return *std::ranges::find(tensors, name, &NamedTensor::name);
}

}  // namespace

CATCH_TEST_CASE("a decoder is read as it was written", "[model]") {
  const bool tied = GENERATE(false, true);
  const TemporaryFolder folder;
  const Decoder model = random_decoder(config_of(tied), 1, at::kFloat);
  write_config(folder.path / "config.json", model.config());
  write_safetensors(folder.path / "model.safetensors", model.weights());
  const Decoder read = load_decoder(folder.path);
  CATCH_CHECK(read.config() == model.config());
  CATCH_CHECK(read.parameters().size() == model.parameters().size());  // all of them are trained
  const at::NoGradGuard no_grad;
  const PackedRows packed = pack(random_rows(5, 1));
  CATCH_CHECK(distance(token_logprobs(read, packed), token_logprobs(model, packed)) == 0);

  CATCH_CHECK(contains(thrown<OptionError>([&] { load_decoder(folder.path, {.dtype = at::kInt}); }).what(),
                       "dtype: load_decoder needs float16, bfloat16, float32 or float64, but found Int"));
  const Decoder wide = load_decoder(folder.path, {.dtype = at::kDouble});
  CATCH_CHECK(wide.dtype() == at::kDouble);
  // Float32 rounds at 6e-8; two layers and a head amplify it somewhat.
  CATCH_CHECK(distance(token_logprobs(wide, packed), token_logprobs(model, packed).to(at::kDouble)) < 1e-4);
}

CATCH_TEST_CASE("everything wrong with a file's tensors is said at once", "[model]") {
  CATCH_CHECK(refusal([](NamedTensors&) {}) == "accepted");
  const std::string all = refusal([](NamedTensors& tensors) {
    std::erase_if(tensors, [](const NamedTensor& one) {
      return one.name == "model.norm.weight" || one.name == "model.layers.1.mlp.up_proj.weight";
    });
    named(tensors, "model.layers.0.self_attn.k_proj.weight").tensor = at::full({16, 12}, 0.5);
    named(tensors, "model.layers.0.input_layernorm.weight").tensor = at::full({16}, 1, at::kLong);
    tensors.push_back({"model.layers.7.mlp.up_proj.weight", at::full({2}, 1.0)});
  });
  for (const char* part :
       {"no \"model.norm.weight\"", "no \"model.layers.1.mlp.up_proj.weight\"",
        "\"model.layers.0.self_attn.k_proj.weight\" of shape [16, 12] instead of [12, 16]",
        "\"model.layers.0.input_layernorm.weight\" of dtype I64",
        "\"model.layers.7.mlp.up_proj.weight\", which the model has no place for", "model.safetensors"}) {
    CATCH_CAPTURE(all, part);
    CATCH_CHECK(contains(all, part));
  }
}

CATCH_TEST_CASE("a configuration that is not the file's is refused before a model is made", "[model]") {
  const TemporaryFolder folder;
  const Decoder model = random_decoder(config_of(true), 1, at::kFloat);
  DecoderConfig config = model.config();
  write_safetensors(folder.path / "model.safetensors", model.weights());
  const auto refused = [&] {
    write_config(folder.path / "config.json", config);
    return std::string{thrown<ModelFileError>([&] { load_decoder(folder.path); }).what()};
  };
  config.vocab_size = 1 << 24;
  config.hidden_size = 1 << 20;  // 64 TiB of embeddings: making them would fail otherwise
  CATCH_CHECK(
      contains(refused(), "\"model.embed_tokens.weight\" of shape [23, 16] instead of [16777216, 1048576]"));
  config = model.config();
  config.num_hidden_layers = 10'000;
  const std::string many = refused();
  CATCH_CHECK(contains(many, "no \"model.layers.2.input_layernorm.weight\"; "));
  CATCH_CHECK(contains(many, "; and 89962 more"));  // of 9,998 layers' 9 tensors, 20 are named
  CATCH_CHECK(many.size() < 3000);
  write_config(folder.path / "config.json", model.config());
  CATCH_CHECK(load_decoder(folder.path).config() == model.config());
}

CATCH_TEST_CASE("the shapes of a configuration are those of its model", "[model]") {
  for (const bool tied : {false, true}) {
    for (const bool is_qwen2 : {false, true}) {
      DecoderConfig config = config_of(tied);
      config.qkv_bias = is_qwen2;
      config.qk_norm = !is_qwen2;
      const NamedTensors made = Decoder::empty(config).weights();
      const std::vector<WeightShape> said = weight_shapes(config);
      CATCH_REQUIRE(said.size() == made.size());
      for (std::size_t i = 0; i < made.size(); ++i) {
        CATCH_CHECK(said[i].name == made[i].name);
        CATCH_CHECK(at::IntArrayRef{said[i].shape} == made[i].tensor.sizes());
      }
    }
  }
  CATCH_CHECK(contains(thrown<OptionError>([] { weight_shapes({}); }).what(), "vocab_size"));
}

CATCH_TEST_CASE("weights that are not finite are refused", "[model]") {
  for (const double value :
       {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
    const std::string found = refusal([&](NamedTensors& tensors) {
      at::Tensor& weight = named(tensors, "model.layers.1.mlp.down_proj.weight").tensor;
      weight = weight.clone();
      weight.view({-1})[37].fill_(value);
    });
    CATCH_CHECK(contains(found,
                         "\"model.layers.1.mlp.down_proj.weight\": SafetensorsFile needs finite values, but "
                         "found NaN or infinity as element 37"));
  }
}

CATCH_TEST_CASE("weights that are not finite in the model's dtype are refused", "[model]") {
  const char* const name = "model.layers.1.mlp.down_proj.weight";
  const auto loading = [&](at::ScalarType stored, double value, std::optional<at::ScalarType> dtype) {
    const TemporaryFolder folder;
    const Decoder model = random_decoder(config_of(true), 1, at::kFloat);
    write_config(folder.path / "config.json", model.config());
    NamedTensors tensors = model.weights();
    at::Tensor& weight = named(tensors, name).tensor;
    weight = weight.to(stored, false, true);
    weight.view({-1})[37].fill_(value);
    write_safetensors(folder.path / "model.safetensors", tensors);
    const SafetensorsFile file = SafetensorsFile::open(folder.path / "model.safetensors");
    const std::size_t at = file.info(name).begin + 37 * format_of(file.info(name).type).size;
    try {
      load_decoder(folder.path, {.dtype = dtype});
    } catch (const ModelFileError& error) {
      CATCH_CHECK(
          contains(error.what(), "model.safetensors: \"" + std::string{name} + "\": load_weights needs "));
      CATCH_CHECK(contains(error.what(), " as element 37, at byte " + std::to_string(at) + '.'));
      return std::string{error.what()};
    }
    return std::string{"accepted"};
  };
  CATCH_CHECK(
      contains(loading(at::kDouble, 1e300, at::kFloat), "numbers that float32 has, but found 1e+300"));
  // The file's own dtype is that of its embeddings.
  CATCH_CHECK(contains(loading(at::kDouble, -1e300, std::nullopt), "float32 has, but found -1e+300"));
  CATCH_CHECK(contains(loading(at::kFloat, 1e6, at::kHalf), "numbers that float16 has, but found 1e+06"));
  CATCH_CHECK(contains(loading(at::kBFloat16, -1e6, at::kHalf), "float16 has, but found -999424"));
  CATCH_CHECK(contains(loading(at::kFloat, 3.4e38, at::kBFloat16), "bfloat16 has, but found 3.4e+38"));
  CATCH_CHECK(loading(at::kDouble, 1e300, at::kDouble) == "accepted");
  CATCH_CHECK(loading(at::kDouble, 1e38, at::kFloat) == "accepted");
  CATCH_CHECK(loading(at::kFloat, 1e6, at::kBFloat16) == "accepted");
  CATCH_CHECK(loading(at::kFloat, -65504, at::kHalf) == "accepted");
}

CATCH_TEST_CASE("a model that the wished dtype lacks numbers for leaves an older save alone", "[model]") {
  const TemporaryFolder folder;
  const Decoder old = random_decoder(config_of(true), 1, at::kFloat);
  save_decoder(folder.path, old, {.dtype = at::kHalf});
  const std::string config = content(folder.path / "config.json");
  const std::string weights = content(folder.path / "model.safetensors");
  const Decoder model = random_decoder(config_of(false), 2, at::kFloat);
  {
    const at::NoGradGuard no_grad;
    model.weights().back().tensor[1][2] = 1e6;
  }
  const auto saving = [&] { save_decoder(folder.path, model, {.dtype = at::kHalf}); };
  CATCH_CHECK(
      contains(thrown<OptionError>(saving).what(),
               "needs numbers that float16 has, but found 1e+06 as element 18 of \"lm_head.weight\""));
  CATCH_CHECK(content(folder.path / "config.json") == config);
  CATCH_CHECK(content(folder.path / "model.safetensors") == weights);
  save_decoder(folder.path, model, {.dtype = at::kBFloat16});
  CATCH_CHECK_FALSE(load_decoder(folder.path, {.dtype = at::kBFloat16}).config().tie_word_embeddings);
}

CATCH_TEST_CASE("companions that cannot be read are not left behind", "[model]") {
  const TemporaryFolder folder;
  CATCH_CHECK(detail::read_companions(folder.path).empty());
  write_durably(folder.path / "merges.txt", "x");
  CATCH_CHECK(detail::read_companions(folder.path) ==
              std::map<std::string, std::string>{{"merges.txt", "x"}});
  std::filesystem::create_symlink("../blobs/1", folder.path / "vocab.json");  // of a download that broke off
  const auto reading = [&] { (void)detail::read_companions(folder.path); };
  CATCH_CHECK(contains(thrown<ModelFileError>(reading).what(),
                       "vocab.json: load_pretrained needs a file that can be read, but found No such file"));
  std::filesystem::create_symlink("loop", folder.path / "loop");
  CATCH_CHECK(
      contains(thrown<ModelFileError>([&] { (void)detail::read_companions(folder.path / "loop"); }).what(),
               "tokenizer_config.json: load_pretrained needs a folder that can be read, but found "));
}

CATCH_TEST_CASE("a tied head may stand in the file, and unties the model if it is not the embeddings",
                "[model]") {
  const auto loaded = [](const std::function<at::Tensor(const at::Tensor&)>& head) {
    const TemporaryFolder folder;
    const Decoder model = random_decoder(config_of(true), 1, at::kFloat);
    write_config(folder.path / "config.json", model.config());
    NamedTensors tensors = model.weights();
    tensors.push_back({"lm_head.weight", head(tensors.front().tensor)});
    write_safetensors(folder.path / "model.safetensors", tensors);
    return load_decoder(folder.path);
  };
  const at::NoGradGuard no_grad;
  const Decoder same = loaded([](const at::Tensor& embeddings) { return embeddings; });
  CATCH_CHECK(same.config().tie_word_embeddings);
  CATCH_CHECK(same.weights().back().name == "model.norm.weight");
  const Decoder other = loaded([](const at::Tensor& embeddings) { return embeddings + 0.1; });
  CATCH_CHECK_FALSE(other.config().tie_word_embeddings);
  CATCH_CHECK(distance(other.head(), same.head() + 0.1) == 0);
  CATCH_CHECK(distance(other.weights().front().tensor, same.head()) == 0);
  // In another dtype it cannot be the same tensor; the numbers may be.
  const Decoder half = loaded([](const at::Tensor& embeddings) { return embeddings.to(at::kHalf); });
  CATCH_CHECK_FALSE(half.config().tie_word_embeddings);
  // Of another shape it is no head, and one beside a model that was made tied has no place.
  CATCH_CHECK(contains(
      refusal([](NamedTensors& tensors) { tensors.push_back({"lm_head.weight", at::full({3, 16}, 1.0)}); },
              true),
      "\"lm_head.weight\" of shape [3, 16] instead of [23, 16]"));
  const TemporaryFolder folder;
  write_safetensors(folder.path / "model.safetensors", other.weights());
  CATCH_CHECK(
      contains(thrown<ModelFileError>([&] { load_weights(same, WeightFiles::open(folder.path)); }).what(),
               "\"lm_head.weight\", which the model has no place for"));
}

CATCH_TEST_CASE("tables of rotary positions are left aside", "[model]") {
  const auto with = [](const char* name) {
    return refusal([&](NamedTensors& tensors) { tensors.push_back({name, at::full({3}, 1.0)}); });
  };
  CATCH_CHECK(with("model.layers.0.self_attn.rotary_emb.inv_freq") == "accepted");
  CATCH_CHECK(with("model.rotary_emb.inv_freq") == "accepted");
  CATCH_CHECK(contains(with("inv_freq"), "\"inv_freq\", which the model has no place for"));
}

CATCH_TEST_CASE("generation_config.json says which tokens end an answer", "[model]") {
  const TemporaryFolder folder;
  const Decoder model = random_decoder(config_of(true), 1, at::kFloat);
  save_decoder(folder.path, model);
  const auto ends = [&](const char* text) {
    write_durably(folder.path / "generation_config.json", text);
    return load_decoder(folder.path).config().eos_token_ids;
  };
  CATCH_CHECK(load_decoder(folder.path).config().eos_token_ids == TokenIds{2});
  CATCH_CHECK(ends(R"({"eos_token_id": [5, 2], "temperature": 0.1})") == TokenIds{5, 2});
  CATCH_CHECK(ends(R"({"eos_token_id": 7})") == TokenIds{7});
  CATCH_CHECK(ends("{}") == TokenIds{2});
  CATCH_CHECK(ends(R"({"eos_token_id": null})") == TokenIds{2});
  for (const char* text : {R"({"eos_token_id": 23})", R"({"eos_token_id": [2, -1]})"}) {
    CATCH_CHECK(contains(thrown<ModelFileError>([&] { ends(text); }).what(),
                         "generation_config.json: \"eos_token_id\": load_decoder needs ids from 0 to under"));
  }
  CATCH_CHECK(contains(thrown<ModelFileError>([&] { ends("[]"); }).what(), "a JSON object"));
  std::filesystem::remove(folder.path / "generation_config.json");
  CATCH_CHECK(load_decoder(folder.path).config().eos_token_ids == TokenIds{2});
}

CATCH_TEST_CASE("files that are missing are named", "[model]") {
  const TemporaryFolder folder;
  const auto loading = [&] { load_decoder(folder.path); };
  CATCH_CHECK(contains(thrown<ModelFileError>(loading).what(), "config.json"));
  write_config(folder.path / "config.json", config_of(true));
  CATCH_CHECK(contains(thrown<ModelFileError>(loading).what(), "model.safetensors"));
  CATCH_CHECK(
      contains(thrown<ModelFileError>([&] { load_pretrained(folder.path); }).what(), "tokenizer.json"));
}

CATCH_TEST_CASE("stories260k gives the expected logits", "[model][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const Pretrained pretrained = load_pretrained(*folder);
  const auto expected = nlohmann::json::parse(std::ifstream{*folder / "expected.json"});
  const at::NoGradGuard no_grad;
  TokenIds completion = expected["greedy_ids"];
  completion.erase(completion.begin());
  const PackedRows packed = pack(Rows{{.prompt = {1}, .completions = {completion}}});
  const at::Tensor logits = pretrained.model.hidden(packed).matmul(pretrained.model.head().t());
  const std::int64_t last = std::ssize(completion);  // the last token is not fed, so its logits take one more
  const PackedRows whole = pack(Rows{{.prompt = expected["greedy_ids"].get<TokenIds>(), .completions = {}}});
  const at::Tensor final_logits = pretrained.model.hidden(whole)[last].matmul(pretrained.model.head().t());
  const auto check = [&](const at::Tensor& found, const char* name) {
    const auto values = expected[name].get<std::vector<double>>();
    CATCH_CAPTURE(name);
    // Float32 logits of up to 10 after five layers, held against another float32 program.
    CATCH_CHECK(distance(found.narrow(0, 0, 16).to(at::kDouble), at::tensor(values, at::kDouble)) < 1e-4);
  };
  check(logits[0], "logits_after_bos_first16");
  check(logits[10], "logits_pos10_first16");
  check(final_logits, "logits_last_first16");
  CATCH_CHECK(token_logprobs(pretrained.model, packed).sum().item<double>() ==
              Approx(expected["seq_logprob_sum"].get<double>()).margin(1e-3).epsilon(0));
}

CATCH_TEST_CASE("stories260k survives being saved", "[model][third-party]") {
  const auto source = third_party_data("stories260k");
  if (!source) return;
  const Pretrained pretrained = load_pretrained(*source);
  CATCH_CHECK(pretrained.end_of_sequence_ids() == TokenIds{2});
  CATCH_CHECK(pretrained.positions() == Tokens{512});
  const Encoding encoding = pretrained.encoding();
  CATCH_CHECK(encoding.vocabulary_size == 512);
  CATCH_CHECK(encoding.end_of_sequence == 2);
  CATCH_CHECK(encoding.prompt("One").front() == 1);
  CATCH_CHECK(encoding.completion("One").front() != 1);
  CATCH_CHECK(encoding.completion("</s>").front() != 2);  // a user's text ends nothing

  const TemporaryFolder folder;
  save_pretrained(folder.path / "model", pretrained);
  const Pretrained again = load_pretrained(folder.path / "model");
  CATCH_CHECK(again.model.config() == pretrained.model.config());
  CATCH_CHECK(content(folder.path / "model" / "tokenizer.json") == content(*source / "tokenizer.json"));
  const NamedTensors before = pretrained.model.weights();
  const NamedTensors after = again.model.weights();
  for (std::size_t i = 0; i < before.size(); ++i)
    CATCH_CHECK(distance(after[i].tensor, before[i].tensor) == 0);
}

CATCH_TEST_CASE("stories260k continues texts up to a stop string or its end of sequence",
                "[model][third-party]") {
  const auto source = third_party_data("stories260k");
  if (!source) return;
  const Pretrained pretrained = load_pretrained(*source);
  const std::vector<std::string> prompts{"Once upon a time, there was a cat. He liked to", ""};
  GenerationOptions options{.sampling = Sampling::greedy(), .max_new_tokens = Tokens{40}};
  // The text of expected.json. "his toys." is six tokens, and "s. O" ends within a word's token.
  options.stop_strings = {"his toys.", "was a little girl named"};
  const auto stopped = generate(pretrained, prompts, options);
  CATCH_CHECK(stopped[0].text == "play with ");
  CATCH_CHECK(stopped[0].finish == FinishReason::stop_string);
  CATCH_CHECK(pretrained.tokenizer.decode(stopped[0].ids) == "play with his toys.");
  CATCH_CHECK(stopped[1].text == "Once upon a time, there ");
  options.stop_strings = {"s. O"};
  CATCH_CHECK(generate(pretrained, prompts, options)[0].text == "play with his toy");

  // Any token may be made the end of sequence; it is the last id, and no part of the text.
  options.stop_strings.clear();
  options.stop_ids = {stopped[0].ids.back()};
  const Generation ended = generate(pretrained, prompts, options)[0];
  CATCH_CHECK(ended.finish == FinishReason::stop_id);
  CATCH_CHECK(ended.ids == stopped[0].ids);
  CATCH_CHECK(ended.text == "play with his toys");
  CATCH_CHECK(with_text(pretrained).stop_ids == TokenIds{2});
}
