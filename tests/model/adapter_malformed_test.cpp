// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "counted_memory.hpp"
#include "model/sine_model.hpp"
#include "temporary_folder.hpp"
#include "test.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/safetensors_writer.hpp"

// Adapter files from strangers: each kind is refused with its file and its field or tensor, and the model stays as it was.

namespace {

using namespace tithe;
using namespace tithe::test;

constexpr const char* config_name = "adapter_config.json";
constexpr const char* weights_name = "adapter_model.safetensors";

/// The parts of an adapter's folder, to be spoiled.
struct Files {
  Json config = Json::parse(R"({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4,
                                "target_modules": ["q_proj", "up_proj"]})");
  NamedTensors tensors = [] {
    Decoder model = sine_model();
    model.add_adapter({.rank = 2, .alpha = 4, .target_modules = {"q_proj", "up_proj"}});
    return model.adapter_weights();
  }();

  [[nodiscard]] NamedTensor& tensor(const std::string& part) {
    for (NamedTensor& named : tensors)
      if (contains(named.name, part)) return named;
    throw std::out_of_range{part};
  }
  void remove(const std::string& part) {
    std::erase_if(tensors, [&](const NamedTensor& named) { return contains(named.name, part); });
  }
  void write(const std::filesystem::path& folder) const {
    write_durably(folder / config_name, config.dump());
    write_safetensors(folder / weights_name, tensors);
  }
};

std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in{file, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}

/// A model that load_adapter is tried on.
class Subject {
 public:
  /// What is said of a folder, "" if it loads.
  std::string refusal(const std::filesystem::path& folder) {
    Decoder model = model_;
    const CountedMemory memory;
    try {
      load_adapter(model, folder);
    } catch (const ModelFileError& error) {
      CATCH_CHECK(contains(error.where().file, folder.string()));
      CATCH_CHECK_FALSE(model.adapted());
      CATCH_CHECK(model.parameters().size() == before_.parameters().size());
      for (std::size_t i = 0; i < model.weights().size(); ++i)
        CATCH_CHECK(at::equal(model.weights()[i].tensor, before_.weights()[i].tensor));
      std::error_code none;
      const auto size = std::filesystem::file_size(folder / weights_name, none);
      CATCH_CHECK(memory.peak() <= static_cast<std::int64_t>(none ? 0 : size));
      return error.what();
    }
    return {};
  }

 private:
  Decoder model_ = sine_model().train_all();
  Decoder before_ = model_.clone();
};

struct Kind {
  const char* name;
  std::function<void(Files&)> spoil;
  std::vector<const char*> said;
};

Kind with_field(const char* name, const char* field, Json value) {
  return {name, [=](Files& files) { files.config[field] = value; }, {config_name, field}};
}
Kind without_field(const char* field) {
  return {field, [=](Files& files) { files.config.erase(field); }, {config_name, field, "no such field"}};
}

std::vector<Kind> kinds() {
  const auto shaped = [](const char* part, std::vector<std::int64_t> shape) {
    return [=](Files& files) { files.tensor(part).tensor = at::zeros(shape); };
  };
  const auto typed = [](at::ScalarType dtype) {
    return [=](Files& files) {
      at::Tensor& tensor = files.tensor("0.self_attn.q_proj.lora_A").tensor;
      tensor = tensor.to(dtype);
    };
  };
  const auto holding = [](double value) {
    return [=](Files& files) {
      at::Tensor& tensor = files.tensor("1.mlp.up_proj.lora_B").tensor;
      tensor = tensor.clone().to(at::kDouble);
      tensor[3][1] = value;
      if (!std::isfinite(value)) tensor = tensor.to(at::kFloat);
    };
  };
  const auto stray = [](const std::string& name) {
    return [=](Files& files) { files.tensors.push_back({name, at::zeros({2, 16})}); };
  };
  const std::string first = "base_model.model.model.layers.0.";
  return {
      without_field("peft_type"),
      without_field("r"),
      without_field("lora_alpha"),
      without_field("target_modules"),
      with_field("another method", "peft_type", "IA3"),
      with_field("no method", "peft_type", nullptr),
      with_field("another task", "task_type", "SEQ_CLS"),
      with_field("a rank of 0", "r", 0),
      with_field("a negative rank", "r", -2),
      with_field("a fractional rank", "r", 2.5),
      with_field("a floating-point rank", "r", 2.0),
      with_field("a huge rank", "r", 1'000'000'000),
      with_field("a rank beyond 64 bits", "r", std::numeric_limits<std::uint64_t>::max()),
      with_field("a rank that is text", "r", "2"),
      with_field("an alpha of 0", "lora_alpha", 0),
      with_field("a negative alpha", "lora_alpha", -4),
      with_field("an alpha that is text", "lora_alpha", "NaN"),
      with_field("no alpha", "lora_alpha", nullptr),
      with_field("rslora that is a number", "use_rslora", 1),
      with_field("a negative dropout", "lora_dropout", -0.1),
      with_field("a dropout of 1", "lora_dropout", 1),
      with_field("DoRA", "use_dora", true),
      with_field("QALoRA", "use_qalora", true),
      with_field("biases", "bias", "all"),
      with_field("LoRA's own biases", "bias", "lora_only"),
      with_field("a bias beside B", "lora_bias", true),
      with_field("modules to save", "modules_to_save", {"lm_head"}),
      with_field("ranks by module", "rank_pattern", {{"q_proj", 4}}),
      with_field("alphas by module", "alpha_pattern", {{"q_proj", 4}}),
      with_field("layers by number", "layers_to_transform", {0}),
      with_field("one layer by number", "layers_to_transform", 0),
      with_field("layers repeated", "layer_replication", Json::parse("[[0, 2]]")),
      with_field("modules left out", "exclude_modules", {"k_proj"}),
      with_field("parameters", "target_parameters", {"mlp.experts"}),
      with_field("tokens", "trainable_token_indices", {3}),
      with_field("transposed weights", "fan_in_fan_out", true),
      with_field("activated LoRA", "alora_invocation_tokens", {1, 2}),
      with_field("an unknown field", "sparsity", 0.5),
      with_field("PiSSA", "init_lora_weights", "pissa"),
      with_field("PiSSA's fast form", "init_lora_weights", "pissa_niter_4"),
      with_field("OLoRA", "init_lora_weights", "olora"),
      with_field("LoftQ", "init_lora_weights", "loftq"),
      with_field("no modules", "target_modules", Json::array()),
      with_field("no expression", "target_modules", ""),
      with_field("a module that is empty", "target_modules", {"q_proj", ""}),
      with_field("modules that are numbers", "target_modules", {1, 2}),
      with_field("modules that are null", "target_modules", nullptr),
      with_field("modules in an object", "target_modules", {{"q_proj", true}}),
      {"a module that the model lacks",
       [](Files& files) { files.config["target_modules"].push_back("qkv_proj"); },
       {weights_name, "\"qkv_proj\""}},
      {"a module that is no linear map of a layer",
       [](Files& files) { files.config["target_modules"].push_back("lm_head"); },
       {weights_name, "\"lm_head\""}},
      {"a module that has no tensors",
       [](Files& files) { files.config["target_modules"].push_back("k_proj"); },
       {weights_name, "no \"base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight\"", "layers.1"}},
      {"tensors of a module that is not meant",
       [](Files& files) { files.config["target_modules"] = {"q_proj"}; },
       {weights_name, "layers.0.mlp.up_proj.lora_A.weight\", which is no adapted map's"}},
      {"a layer that the model lacks",
       stray("base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"),
       {weights_name, "layers.2.self_attn.q_proj.lora_A.weight\", which is no adapted map's"}},
      {"a map that the model lacks",
       stray(first + "self_attn.qkv_proj.lora_A.weight"),
       {weights_name, "qkv_proj.lora_A.weight\""}},
      {"names without PEFT's beginning",
       stray("model.layers.0.self_attn.q_proj.lora_A.weight"),
       {weights_name, "\"model.layers.0.self_attn.q_proj.lora_A.weight\", which is no"}},
      {"names with the adapter's own",
       stray(first + "self_attn.q_proj.lora_A.default.weight"),
       {weights_name, "lora_A.default.weight\""}},
      {"DoRA's magnitudes",
       stray(first + "self_attn.q_proj.lora_magnitude_vector"),
       {weights_name, "lora_magnitude_vector\""}},
      {"a bias's tensor", stray(first + "self_attn.q_proj.lora_B.bias"), {weights_name, "lora_B.bias\""}},
      {"adapted embeddings",
       stray("base_model.model.model.embed_tokens.lora_embedding_A"),
       {weights_name, "lora_embedding_A\""}},
      {"a whole head", stray("base_model.model.lm_head.weight"), {weights_name, "lm_head.weight\""}},
      {"A without B",
       [](Files& files) { files.remove("0.mlp.up_proj.lora_B"); },
       {weights_name,
        "no \""
        "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight\""}},
      {"B without A",
       [](Files& files) { files.remove("1.self_attn.q_proj.lora_A"); },
       {weights_name, "no \"base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight\""}},
      {"A without B under an expression",
       [](Files& files) {
         files.config["target_modules"] = ".*q_proj|.*up_proj";
         files.remove("0.mlp.up_proj.lora_B");
       },
       {weights_name, "no \"base_model.model.model.layers.0.mlp.up_proj.lora_B.weight\""}},
      {"no tensors", [](Files& files) { files.tensors.clear(); }, {weights_name, "no \"base_model"}},
      {"no tensors under an expression",
       [](Files& files) {
         files.config["target_modules"] = ".*q_proj";
         files.tensors.clear();
       },
       {weights_name, "no tensor of any adapted map"}},
      {"another rank",
       [](Files& files) { files.config["r"] = 4; },
       {weights_name, "of shape [2, 16] instead of [4, 16]"}},
      {"the largest rank",
       [](Files& files) { files.config["r"] = 65'536; },
       {weights_name, "instead of [65536, 16]"}},
      {"an A of another width",
       shaped("0.self_attn.q_proj.lora_A", {2, 15}),
       {weights_name, "q_proj.lora_A.weight\" of shape [2, 15] instead of [2, 16]"}},
      {"a B of another height",
       shaped("1.mlp.up_proj.lora_B", {23, 2}),
       {weights_name, "up_proj.lora_B.weight\" of shape [23, 2] instead of [24, 2]"}},
      {"a transposed A",
       shaped("0.self_attn.q_proj.lora_A", {16, 2}),
       {weights_name, "of shape [16, 2] instead of [2, 16]"}},
      {"a flat A", shaped("0.self_attn.q_proj.lora_A", {32}), {weights_name, "of shape [32] instead of"}},
      {"an A with a dimension more",
       shaped("0.self_attn.q_proj.lora_A", {1, 2, 16}),
       {weights_name, "of shape [1, 2, 16] instead of"}},
      {"an empty A",
       shaped("0.self_attn.q_proj.lora_A", {0, 16}),
       {weights_name, "of shape [0, 16] instead of"}},
      {"integers", typed(at::kLong), {weights_name, "q_proj.lora_A.weight\" of dtype I64"}},
      {"bytes, as of a quantised adapter",
       typed(at::kByte),
       {weights_name, "q_proj.lora_A.weight\" of dtype U8"}},
      {"truth values", typed(at::kBool), {weights_name, "q_proj.lora_A.weight\" of dtype BOOL"}},
      {"NaN",
       holding(std::nan("")),
       {weights_name, "1.mlp.up_proj.lora_B.weight\"", "NaN or infinity as element 7", "at byte"}},
      {"infinity",
       holding(-std::numeric_limits<double>::infinity()),
       {weights_name, "1.mlp.up_proj.lora_B.weight\"", "NaN or infinity as element 7"}},
      {"a float64 that float32 has not",
       holding(1e39),
       {weights_name, "1.mlp.up_proj.lora_B.weight\"", "numbers that float32 has"}},
  };
}

/// Files whose bytes are wrong; each is written over a right one.
struct Spoiled {
  const char* name;
  const char* file;
  std::function<std::string(std::string)> spoil;
  const char* said;
};

std::vector<Spoiled> spoiled_files() {
  const auto text = [](std::string content) { return [=](const std::string&) { return content; }; };
  const auto replaced = [](std::string part, std::string by) {
    return [=](std::string content) {
      const auto at = content.find(part);
      return at == content.npos ? std::string{} : content.replace(at, part.size(), by);
    };
  };
  // The same in a header of tensors, whose length stands before it.
  const auto in_header = [=](const std::string& part, const std::string& by) {
    return [=](std::string content) {
      const std::size_t longer = by.size() - part.size() + static_cast<unsigned char>(content[0]) +
                                 256 * static_cast<unsigned char>(content[1]);
      content = replaced(part, by)(content);
      content[0] = static_cast<char>(longer % 256);
      content[1] = static_cast<char>(longer / 256);
      return content;
    };
  };
  const auto length = [](std::uint64_t value) {
    return [=](std::string content) {
      for (int i = 0; i < 8; ++i) content[static_cast<std::size_t>(i)] = static_cast<char>(value >> (8 * i));
      return content;
    };
  };
  return {
      {"an empty configuration", config_name, text(""), "JSON"},
      {"no JSON", config_name, text("r: 2\nlora_alpha: 4\n"), "JSON"},
      {"a list", config_name, text("[{}]"), "a JSON object"},
      {"half a configuration", config_name,
       [](const std::string& all) { return all.substr(0, all.size() / 2); }, "JSON"},
      {"NaN as Python writes it", config_name, replaced("\"lora_alpha\":4", "\"lora_alpha\":NaN"), "JSON"},
      {"a number beyond float64", config_name, replaced("\"lora_alpha\":4", "\"lora_alpha\":1e999"), ""},
      {"a key twice", config_name, replaced("\"r\":2", "\"r\":2,\"r\":2"), "\"r\""},
      {"no UTF-8", config_name, replaced("LORA", "LOR\xff"), "UTF-8"},
      {"ten thousand arrays", config_name, replaced("\"r\":2", "\"r\":" + std::string(10'000, '[')), ""},
      {"more behind it", config_name, [](const std::string& all) { return all + "}"; }, "JSON"},
      {"more than 256 KiB", config_name,
       [](const std::string& all) { return all + std::string((1 << 18) + 1, ' '); }, ""},
      {"no tensors at all", weights_name, text(""), ""},
      {"a pickle", weights_name, text("PK\x03\x04 archive/data.pkl and so on, for more than eight bytes"),
       ""},
      {"a file cut in the numbers", weights_name,
       [](const std::string& all) { return all.substr(0, all.size() - 1); }, ""},
      {"a file cut in the header", weights_name, [](const std::string& all) { return all.substr(0, 40); },
       ""},
      {"more behind the numbers", weights_name, [](const std::string& all) { return all + "0000"; }, ""},
      {"a header longer than the file", weights_name, length(1 << 20), ""},
      {"a header longer than any", weights_name, length(std::numeric_limits<std::uint64_t>::max()), ""},
      {"a header of nothing", weights_name, length(0), ""},
      {"a larger shape", weights_name, replaced("[2,16]", "[9,16]"), "lora_"},
      {"a shape beyond 64 bits", weights_name, in_header("[2,16]", "[4294967296,4294967296]"), "lora_"},
      {"a dtype that is none", weights_name, replaced("\"F32\"", "\"F99\""), "F99"},
      {"a wider dtype", weights_name, replaced("\"F32\"", "\"F64\""), "lora_"},
  };
}

}  // namespace

CATCH_TEST_CASE("every kind of malformed adapter is refused, and the model stays as it was",
                "[model][adapter]") {
  Subject subject;
  const TemporaryFolder folder;
  Files{}.write(folder.path());
  CATCH_CHECK(Subject{}.refusal(folder.path()).empty());
  CATCH_CHECK(kinds().size() + spoiled_files().size() > 100);
  for (const Kind& kind : kinds()) {
    CATCH_CAPTURE(kind.name);
    Files files;
    kind.spoil(files);
    files.write(folder.path());
    const std::string refusal = subject.refusal(folder.path());
    CATCH_CAPTURE(refusal);
    for (const char* part : kind.said) CATCH_CHECK(contains(refusal, part));
  }
  for (const Spoiled& spoiled : spoiled_files()) {
    CATCH_CAPTURE(spoiled.name);
    Files{}.write(folder.path());
    const std::string right = bytes_of(folder.path() / spoiled.file), wrong = spoiled.spoil(right);
    CATCH_CHECK(wrong != right);
    write_durably(folder.path() / spoiled.file, wrong);
    const std::string refusal = subject.refusal(folder.path());
    CATCH_CAPTURE(refusal);
    CATCH_CHECK(contains(refusal, spoiled.file));
    CATCH_CHECK(contains(refusal, spoiled.said));
  }
}

CATCH_TEST_CASE("an adapter whose files are missing is refused", "[model][adapter]") {
  Subject subject;
  const TemporaryFolder folder;
  Files{}.write(folder.path());
  std::filesystem::rename(folder.path() / weights_name, folder.path() / "adapter_model.bin");
  CATCH_CHECK(contains(subject.refusal(folder.path()), weights_name));
  std::filesystem::remove(folder.path() / config_name);
  CATCH_CHECK(contains(subject.refusal(folder.path()), config_name));
  CATCH_CHECK(contains(subject.refusal(folder.path() / "none"), config_name));
}

CATCH_TEST_CASE("fields that change nothing of an adapter's numbers are passed over", "[model][adapter]") {
  const TemporaryFolder folder;
  Files files;
  files.config.update(
      Json::parse(R"({"peft_version": "0.99", "inference_mode": true, "base_model_name_or_path": "x",
      "revision": "main", "lora_dropout": 0.05, "bias": "none", "init_lora_weights": "gaussian", "loftq_config": {},
      "modules_to_save": null, "rank_pattern": {}, "layers_to_transform": null, "use_dora": false, "later": null,
      "auto_mapping": {"parent_library": "x"}, "megatron_core": "megatron.core", "qalora_group_size": 16,
      "runtime_config": {"ephemeral_gpu_offload": false}, "task_type": null, "exclude_modules": []})"));
  files.write(folder.path());
  CATCH_CHECK(Subject{}.refusal(folder.path()).empty());
  // float64 and float16 are taken in as float32.
  for (const at::ScalarType dtype : {at::kDouble, at::kHalf, at::kBFloat16}) {
    for (NamedTensor& named : files.tensors) named.tensor = named.tensor.to(dtype);
    files.write(folder.path());
    CATCH_CHECK(Subject{}.refusal(folder.path()).empty());
  }
}

CATCH_TEST_CASE("an adapter with any byte changed or cut off loads or is refused", "[model][adapter]") {
  Subject subject;
  const TemporaryFolder folder;
  Files{}.write(folder.path());
  int refused = 0, loaded = 0;
  const auto attempt = [&](const char* file, const std::string& content) {
    std::ofstream{folder.path() / file, std::ios::binary | std::ios::trunc} << content;
    Decoder model = sine_model();
    try {
      load_adapter(model, folder.path());
      ++loaded;
    } catch (const ModelFileError&) {
      ++refused;
      if (model.adapted()) CATCH_FAIL("refused, and adapted");
    }
  };
  for (const char* file : {config_name, weights_name}) {
    const std::string right = bytes_of(folder.path() / file);
    const std::size_t header = std::min<std::size_t>(right.size(), 8 + 400);
    for (std::size_t i = 0; i < header; i += 3) {
      attempt(file, right.substr(0, i));
      for (const char byte : {'\0', '"', '9'}) {
        std::string wrong = right;
        wrong[i] = byte;
        attempt(file, wrong);
      }
    }
    attempt(file, right);
  }
  CATCH_CHECK(refused > 500);
  CATCH_CHECK(loaded >= 2);
}
