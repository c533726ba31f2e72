// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Checkpoints of every family against what transformers makes of them.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "foreign_models.hpp"
#include "random_model.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/pretrained.hpp"

namespace {

using namespace tithe;
using test::contains;
using test::distance;
using test::TemporaryFolder;
using test::thrown;
using test::Uncached;

Json read_json(const std::filesystem::path& path) { return Json::parse(std::ifstream{path}); }

/// Logits of every position, [ids, vocabulary], float64.
at::Tensor logits(const Decoder& model, const TokenIds& ids) {
  const at::NoGradGuard no_grad;
  const PackedRows rows = pack(Rows{{.prompt = ids, .completions = {}}});
  return model.hidden(rows).matmul(model.head().t()).to(at::kDouble);
}

at::Tensor row(const Json& values) { return at::tensor(values.get<std::vector<double>>(), at::kDouble); }

template <class M>
TokenIds greedy(const M& model, const TokenIds& prompt, std::int64_t count) {
  const std::vector<TokenIds> prompts{prompt};
  return generate(model, prompts, {.sampling = Sampling::greedy(), .max_new_tokens = Tokens{count}})
      .front()
      .ids;
}

/// The largest difference from the logits of an expected.json of ../shared's form.
double logit_error(const Decoder& model, const Json& cases) {
  double largest = 0;
  for (const Json& item : cases) {
    const at::Tensor found = logits(model, item["input_ids"].get<TokenIds>());
    for (const Json& expected : item["logits"]) {
      largest = std::max(largest,
                         distance(found[expected["position"].get<std::int64_t>()], row(expected["values"])));
    }
  }
  return largest;
}

/// A model of another configuration with the same weights, as far as it has them.
Decoder with_config(const Decoder& model, const std::function<void(DecoderConfig&)>& change) {
  DecoderConfig config = model.config();
  change(config);
  Decoder other = Decoder::empty(config);
  std::map<std::string, at::Tensor> weights;
  for (const NamedTensor& weight : model.weights()) weights[weight.name] = weight.tensor;
  for (const NamedTensor& weight : other.weights()) weight.tensor.copy_(weights.at(weight.name));
  return other;
}

/// A copy whose weights of a name are changed in place.
Decoder with_weights(const Decoder& model, const std::function<void(const NamedTensor&)>& change) {
  Decoder other = model.frozen_copy();
  for (const NamedTensor& weight : other.weights()) change(weight);
  return other;
}

/// Takes blocks of rows in another order: blocks[i] comes to place i.
void reorder(const at::Tensor& rows, std::int64_t size, const std::vector<std::int64_t>& blocks) {
  const at::Tensor old = rows.clone();
  for (std::int64_t i = 0; i < std::ssize(blocks); ++i) {
    rows.narrow(0, i * size, size).copy_(old.narrow(0, blocks[static_cast<std::size_t>(i)] * size, size));
  }
}

/// The mistakes of loaders, each made exactly. Two take a reordering of weights: turning neighbouring coordinates is
/// turning a half against the other of coordinates taken in the order 0, 2, … 1, 3, …; and dealing the heads of keys and
/// values out in turn is repeating them for heads of queries (and columns of the output projection) in the order 0, K, …
std::map<std::string, Decoder> mistaken(const Decoder& model) {
  const DecoderConfig& c = model.config();
  std::map<std::string, Decoder> models;
  const auto add = [&](const char* name, Decoder wrong) { models.emplace(name, std::move(wrong)); };
  add("rope_theta_10000", with_config(model, [](DecoderConfig& config) { config.rope_theta = 10'000; }));
  if (c.rope_scaling)
    add("no_rope_scaling", with_config(model, [](DecoderConfig& config) { config.rope_scaling.reset(); }));
  if (c.rms_norm_eps == 1e-5)
    add("rms_norm_eps_1e-06", with_config(model, [](DecoderConfig& config) { config.rms_norm_eps = 1e-6; }));
  if (c.qkv_bias) add("no_bias", with_config(model, [](DecoderConfig& config) { config.qkv_bias = false; }));
  add("norm_weight_is_one", with_weights(model, [](const NamedTensor& weight) {
        if (contains(weight.name, "norm.weight")) weight.tensor.fill_(1);
      }));
  add("interleaved_rope", with_weights(model, [&](const NamedTensor& weight) {
        if (!contains(weight.name, "q_proj.") && !contains(weight.name, "k_proj.")) return;
        std::vector<std::int64_t> order;
        for (std::int64_t first = 0; first < weight.tensor.size(0); first += c.head_dim) {
          for (const std::int64_t start : {0, 1}) {
            for (std::int64_t i = start; i < c.head_dim; i += 2) order.push_back(first + i);
          }
        }
        reorder(weight.tensor, 1, order);
      }));
  add("tile_kv", with_weights(model, [&](const NamedTensor& weight) {
        std::vector<std::int64_t> order;
        for (std::int64_t kv = 0; kv < c.num_key_value_heads; ++kv) {
          for (std::int64_t i = kv; i < c.num_attention_heads; i += c.num_key_value_heads) order.push_back(i);
        }
        if (contains(weight.name, "q_proj.")) reorder(weight.tensor, c.head_dim, order);
        if (contains(weight.name, "o_proj.")) reorder(weight.tensor.t(), c.head_dim, order);
      }));
  return models;
}

std::filesystem::path family(const char* name) {
  return std::filesystem::path{__FILE__}.parent_path() / "families" / name;
}

/// The largest difference from the logits of a folder that make_family_cases.py wrote.
double family_error(const Decoder& model, const Json& cases) {
  double largest = 0;
  for (const Json& item : cases) {
    const at::Tensor found = logits(model, item["ids"].get<TokenIds>());
    for (std::int64_t i = 0; i < found.size(0); ++i) {
      largest = std::max(largest, distance(found[i], row(item["logits"][static_cast<std::size_t>(i)])));
    }
  }
  return largest;
}

}  // namespace

CATCH_TEST_CASE("Llama 3 and Qwen2.5 give transformers' logits, log-probabilities and greedy tokens",
                "[model][third-party]") {
  const auto data = test::third_party_data("hf");
  if (!data) return;
  const char* name = GENERATE("llama3", "qwen2");
  CATCH_CAPTURE(name);
  const Json expected = read_json(*data / name / "expected.json");
  const double logit_tolerance = expected["tolerance"]["logits_abs"];
  const double logprob_tolerance = expected["tolerance"]["logprob_abs"];
  const Decoder model = load_decoder(*data / name);
  CATCH_CHECK(logit_error(model, expected["cases"]) < logit_tolerance);

  const at::NoGradGuard no_grad;
  for (const Json& item : expected["cases"]) {
    const TokenIds prompt = item["input_ids"];
    const PackedRows rows =
        pack(Rows{{.prompt = prompt, .completions = {item["continuation"].get<TokenIds>()}}});
    const at::Tensor found = token_logprobs(model, rows).to(at::kDouble);
    CATCH_CHECK(distance(found, row(item["continuation_logprobs_f64"])) < logprob_tolerance);
    const TokenIds tokens = item["greedy"];
    CATCH_CHECK(greedy(model, prompt, std::ssize(tokens)) == tokens);
    CATCH_CHECK(greedy(Uncached{model}, prompt, std::ssize(tokens)) == tokens);
  }
}

CATCH_TEST_CASE("the tolerance of a checkpoint's logits catches every mistake of a loader",
                "[model][third-party]") {
  const auto data = test::third_party_data("hf");
  if (!data) return;
  const char* name = GENERATE("llama3", "qwen2");
  const Json expected = read_json(*data / name / "expected.json");
  const auto changes = expected["max_logit_change_if_wrong"].get<std::map<std::string, double>>();
  const at::NoGradGuard no_grad;
  const std::map<std::string, Decoder> wrong = mistaken(load_decoder(*data / name));
  for (const auto& [mistake, change] : changes) {
    CATCH_CAPTURE(name, mistake);
    const double error = logit_error(wrong.at(mistake), expected["cases"]);
    CATCH_CHECK(error > 100 * expected["tolerance"]["logits_abs"].get<double>());
    // It is the mistake that the file speaks of, which looked at all positions where we look at three.
    CATCH_CHECK(error < 1.01 * change);
    CATCH_CHECK(error > 0.2 * change);
  }
}

CATCH_TEST_CASE("Mistral and Qwen3 give transformers' logits and greedy tokens", "[model]") {
  const char* name = GENERATE("mistral", "qwen3");
  CATCH_CAPTURE(name);
  const Json cases = read_json(family(name) / "expected.json");
  const Decoder model = load_decoder(family(name));
  // Float32 against float64, logits of up to 8: ten times what is seen.
  CATCH_CHECK(family_error(model, cases) < 5e-5);
  CATCH_CHECK(family_error(load_decoder(family(name), {.dtype = at::kDouble}), cases) < 5e-6);
  const at::NoGradGuard no_grad;
  for (const Json& item : cases) {
    const TokenIds prompt = item["ids"];
    const TokenIds tokens = item["greedy"];
    CATCH_CHECK(greedy(model, prompt, std::ssize(tokens)) == tokens);
    CATCH_CHECK(greedy(Uncached{model}, prompt, std::ssize(tokens)) == tokens);
  }
  for (const auto& [mistake, wrong] : mistaken(model)) {
    CATCH_CAPTURE(mistake);
    CATCH_CHECK(family_error(wrong, cases) > 2e-4);  // the least is that of eps; the others are above 1
  }
  if (model.config().qk_norm) {
    const auto no_head_norms = with_config(model, [](DecoderConfig& config) { config.qk_norm = false; });
    CATCH_CHECK(family_error(no_head_norms, cases) > 0.5);
  }
}

CATCH_TEST_CASE("no row is longer than the window of attention", "[model]") {
  const Decoder model = load_decoder(family("mistral"));
  CATCH_CHECK(model.config().max_position_embeddings == 96);
  CATCH_CHECK(model.config().positions() == 24);
  const TokenIds prompt(20, 7);
  CATCH_CHECK(greedy(model, prompt, 50).size() == 4);  // up to the end of the window
  CATCH_CHECK(contains(thrown<ShapeError>([&] { (void)greedy(model, TokenIds(24, 7), 1); }).what(),
                       "fewer than 24 tokens"));
}

CATCH_TEST_CASE("half precision, in files and in computing, stays near float32", "[model]") {
  const char* name = GENERATE("mistral", "qwen3");  // float16 in several files; bfloat16
  const Json cases = read_json(family(name) / "expected.json");
  const at::ScalarType own = name == std::string{"mistral"} ? at::kHalf : at::kBFloat16;
  CATCH_CHECK(load_decoder(family(name), {.dtype = std::nullopt}).dtype() == own);
  const Decoder model = load_decoder(family(name), {.dtype = at::kBFloat16});
  CATCH_CHECK(model.dtype() == at::kBFloat16);
  // Bfloat16 rounds at 2⁻⁹: after two layers, logits of up to 8 are off by a few hundredths, and by 0.3 at worst.
  CATCH_CHECK(family_error(model, cases) < 0.3);
  CATCH_CHECK(family_error(model, cases) > 1e-3);  // it is bfloat16
  // The file's float16 and bfloat16 numbers are float32 numbers too: nothing is lost by reading them so.
  const Decoder wide = load_decoder(family(name));
  for (std::size_t i = 0; i < wide.weights().size(); ++i) {
    const NamedTensor weight = wide.weights()[i];
    CATCH_CHECK(distance(weight.tensor.to(own).to(at::kFloat), weight.tensor) == 0);
  }
}

CATCH_TEST_CASE("every family is saved as it was read, in any dtype and in several files", "[model]") {
  const char* name = GENERATE("mistral", "qwen3");
  const TemporaryFolder folder;
  const Decoder model = load_decoder(family(name));
  const Json cases = read_json(family(name) / "expected.json");
  save_decoder(folder.path(), model);
  CATCH_CHECK(load_decoder(folder.path()).config() == model.config());
  CATCH_CHECK(family_error(load_decoder(folder.path()), cases) == family_error(model, cases));
  CATCH_CHECK(read_json(folder.path() / "config.json")["torch_dtype"] == "float32");

  // The dtypes of the files that were read lose nothing.
  const at::ScalarType own = name == std::string{"mistral"} ? at::kHalf : at::kBFloat16;
  save_decoder(folder.path(), model, {.dtype = own, .max_file_bytes = 10'000});
  CATCH_CHECK(read_json(folder.path() / "config.json")["torch_dtype"] ==
              (own == at::kHalf ? "float16" : "bfloat16"));
  CATCH_CHECK_FALSE(std::filesystem::exists(folder.path() / "model.safetensors"));
  CATCH_CHECK(load_decoder(folder.path(), {.dtype = std::nullopt}).dtype() == own);
  CATCH_CHECK(family_error(load_decoder(folder.path()), cases) == family_error(model, cases));
}

// For check_saved.py, which says where to.
CATCH_TEST_CASE("every family saved for transformers to read", "[.save]") {
  const char* out = std::getenv("TITHE_SAVE_TO");
  CATCH_REQUIRE(out != nullptr);
  std::map<std::string, std::filesystem::path> sources{{"mistral", family("mistral")},
                                                       {"qwen3", family("qwen3")}};
  if (const auto data = test::third_party_data("hf")) {
    for (const char* name : {"llama3", "qwen2"}) sources[name] = *data / name;
  }
  for (const auto& [name, source] : sources) {
    const Decoder model = load_decoder(source);
    const auto save = [&](const char* suffix, const WeightOptions& options) {
      const auto folder = std::filesystem::path{out} / (name + suffix);
      std::filesystem::create_directories(folder);
      save_decoder(folder, model, options);
    };
    save("-float32", {});
    save("-float16", {.dtype = at::kHalf});
    save("-bfloat16", {.dtype = at::kBFloat16, .max_file_bytes = 30'000});
  }
}
