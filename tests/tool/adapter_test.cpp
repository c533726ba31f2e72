// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

/// The log-probability of an answer under a model, as the program gives it.
double score_of(const std::vector<std::string>& model) {
  std::vector<std::string> words{"score"};
  words.insert(words.end(), model.begin(), model.end());
  const std::string line = as_lines({{{"prompt", "question 1"}, {"completion", "yes"}}});
  return succeed(words, line).lines().front()["sum"].get<double>();
}

std::string adapter_of(const Path& run) { return content_of(run / "adapter" / "adapter_model.safetensors"); }

}  // namespace

CATCH_TEST_CASE("tithe train: an adapter over a frozen model, written as PEFT does", "[tool]") {
  const Workplace place;
  succeed(place.train(
      "run", {"--lora-rank", "4", "--lora-alpha", "8", "--lora-targets", "q_proj,v_proj", "--save-merged"}));
  const Path run = place.out("run");
  const Json record = record_of(run);
  CATCH_CHECK(record["pipeline"] == "Pipeline<SftFraction<0.5>, Dpo<0.1>, AdapterOff>");
  CATCH_CHECK(record["settings"]["lora"]["alpha"] == 8);
  CATCH_CHECK(record["settings"]["reference"] == "adapter_off");
  CATCH_CHECK(record["given"]["lora-rank"] == "the command line");
  CATCH_CHECK(record["memory"]["predicted_peak_bytes"] > record["memory"]["resident_after_load_bytes"]);
  // The reference is the model as fine-tuning left it, so a preference stage begins at ln 2.
  CATCH_CHECK(metrics_of(run)[4]["loss"].get<double>() == Approx(0.693147).epsilon(1e-5));

  const Json config = Json::parse(content_of(run / "adapter" / "adapter_config.json"));
  CATCH_CHECK(config["target_modules"] == Json::array({"q_proj", "v_proj"}));
  CATCH_CHECK(config["base_model_name_or_path"] == place.model);
  CATCH_CHECK(config["r"] == 8);  // fine-tuning's and preference tuning's, as one

  // The adapter over the model is the merged model, and another than the model alone.
  const double base = score_of({"--model", place.model});
  const double adapted = score_of({"--model", place.model, "--adapter", (run / "adapter").string()});
  CATCH_CHECK(adapted == Approx(score_of({"--model", (run / "model").string()})).margin(1e-3));
  CATCH_CHECK(std::abs(adapted - base) > 0.01);

  // It is trained on, under another reference, and nothing but an adapter is written unless it is asked for.
  const std::string first = (run / "adapter").string();
  succeed(place.train(
      "more", {"--adapter", first, "--reference", "sft", "--dtype", "bfloat16", "--recompute-activations"}));
  CATCH_CHECK(record_of(place.out("more"))["pipeline"] == "Pipeline<SftFraction<0.5>, Dpo<0.1>, FrozenSft>");
  CATCH_CHECK(!std::filesystem::exists(Path{place.out("more")} / "model"));
  CATCH_CHECK(adapter_of(place.out("more")) != adapter_of(run));
}

CATCH_TEST_CASE("Recomputed activations, and a cached reference, end with the same adapter", "[tool]") {
  const Workplace place;
  const std::vector<std::string> flags{"--lora-rank", "2", "--use-rslora", "--preference-epochs", "2"};
  const auto with = [&](const std::string& name, const std::vector<std::string>& more) {
    auto all = flags;
    all.insert(all.end(), more.begin(), more.end());
    succeed(place.train(name, all));
    return adapter_of(place.out(name));
  };
  const std::string plain = with("plain", {});
  CATCH_CHECK(with("recomputed", {"--recompute-activations"}) == plain);
  CATCH_CHECK(with("cached", {"--cache-reference"}) == plain);
  CATCH_CHECK(record_of(place.out("cached"))["pipeline"] ==
              "Pipeline<SftFraction<0.5>, Dpo<0.1>, Cached<AdapterOff>>");
  CATCH_CHECK(with("seed", {"--seed", "1"}) != plain);
}

CATCH_TEST_CASE("Killed while an adapter is trained, --resume ends with the same bits", "[tool]") {
  const Workplace place;
  const std::vector<std::string> flags{"--lora-rank", "2", "--epochs", "8", "--checkpoint-every", "3"};
  succeed(place.train("whole", flags));
  auto resume = flags;
  resume.push_back("--resume");
  std::size_t kills = 0;
  for (const std::size_t lines : {2UL, 20UL, 34UL, 45UL}) {
    const Running running{place.train("killed", resume)};
    const auto written = [&] {
      const std::string text = content_of(Path{place.out("killed")} / "metrics.jsonl");
      return static_cast<std::size_t>(std::ranges::count(text, '\n'));
    };
    while (written() < lines && !running.is_done())
      std::this_thread::sleep_for(std::chrono::microseconds{200});
    running.signal(SIGKILL);
    if (running.wait().code == 128 + SIGKILL) ++kills;
  }
  CATCH_CHECK(kills >= 2);
  succeed(place.train("killed", resume));
  CATCH_CHECK(comparable(place.out("killed")) == comparable(place.out("whole")));
  CATCH_CHECK(adapter_of(place.out("killed")) == adapter_of(place.out("whole")));
}

CATCH_TEST_CASE("What cannot be meant of a model and its adapter is one sentence, and no folder", "[tool]") {
  const Workplace place;
  const std::string none = place.out("none");
  const std::vector<Refusal> refusals{
      {{"--lora-alpha", "3"}, 2, "--lora-rank"},
      {{"--lora-rank", "0"}, 2, "--lora-rank"},
      {{"--lora-rank", "2", "--lora-targets", "q_proj,lm_head"}, 2, "\"lm_head\""},
      {{"--lora-rank", "2", "--lora-targets", "q_proj,q_proj"}, 2, "twice"},
      {{"--lora-rank", "2", "--adapter", none}, 2, "choose one"},
      {{"--lora-rank", "2", "--reference", "moving"}, 2, "use adapter_off or sft"},
      {{"--reference", "adapter_off"}, 2, "give --lora-rank or --adapter"},
      {{"--save-merged"}, 2, "--save-merged is for an adapter"},
      {{"--dtype", "int8"}, 2, "--dtype"},
      {{"--device", "tpu"}, 2, "cpu, cuda or cuda:N, not tpu"},
      {{"--device", "cuda:99"}, 2, "needs a device that is here, but found cuda:99"},
      {{"--adapter", none}, 1, "adapter_config.json"},
      {{"--max-length", "65"}, 2, "64 positions"},
      {{"--preset", "papers"}, 2, "--preset"},
      {{"--chat-format", "alpaca"}, 2, "--chat-format"}};
  check_refused(refusals, [&](const auto& flags) { return place.train("run", flags); }, place.out("run"));
}

CATCH_TEST_CASE("Checkpoints of two families are trained and asked, with PEFT's adapter",
                "[tool][third-party]") {
  const auto data = third_party_data("hf");
  if (!data) return;
  const Workplace place;
  for (const std::string family : {"llama3", "qwen2"}) {
    const Path model = place.scratch / family;
    std::filesystem::create_directories(model);
    for (const char* file : {"config.json", "generation_config.json", "model.safetensors"}) {
      std::filesystem::create_symlink(*data / family / file, model / file);
    }
    std::filesystem::copy_file(Path{place.model} / "tokenizer.json", model / "tokenizer.json");
    std::vector<std::string> more{"--dtype", "auto", "--eval", place.pairs};
    if (family == "llama3") {
      more.insert(more.end(), {"--adapter", (*data / "llama3_lora").string()});
    } else {
      more.insert(more.end(), {"--lora-rank", "2", "--loss", "kto"});
    }
    auto words = place.train(family, more);
    std::ranges::replace(words, place.model, model.string());
    succeed(words);
    const std::string adapter = (Path{place.out(family)} / "adapter").string();
    const std::vector<std::string> ask{"generate", "--model",  model.string(),     "--adapter",
                                       adapter,    "--greedy", "--max-new-tokens", "3"};
    const std::string line = as_lines({{{"prompt_ids", {1, 2, 3}}}});
    const Json trained = succeed(ask, line).lines().front();
    CATCH_CHECK(trained["completion_ids"].size() <= 3);
    CATCH_CHECK(std::abs(score_of({"--model", model.string(), "--adapter", adapter}) -
                         score_of({"--model", model.string()})) > 1e-3);
  }
}
