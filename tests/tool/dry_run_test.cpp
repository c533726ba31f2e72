// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "third_party_data.hpp"
#include "workplace.hpp"

using namespace tithe::test;

CATCH_TEST_CASE("--dry-run tells plan, ledger, tokens, steps, memory and time, and writes nothing",
                "[tool]") {
  const Workplace place;
  const Ended ended = succeed(place.train("run", {"--dry-run", "--epochs", "2", "--lora-rank", "2"}));
  for (const char* part :
       {"plan: 16 labels for sft, then 16 labels for preference", "an adapter of rank 2", "1 too_long",
        "1 degenerate, 1 duplicate", "demonstrations.jsonl:31: too_long, not drawn", "duplicate of ",
        "preference chosen", "saved by shared prompts", "memory at the peak", "time: about",
        "Nothing was spent, trained or written."}) {
    CATCH_INFO(ended.out);
    CATCH_CHECK(contains(ended.out, part));
  }
  CATCH_CHECK(!std::filesystem::exists(place.out("run")));

  // What it counts is what a run then counts.
  succeed(place.train("run", {"--epochs", "2", "--lora-rank", "2"}));
  for (const Json& slice : record_of(place.out("run"))["slices"]) {
    std::string line = ended.out.substr(ended.out.find("saved by shared prompts"));
    line = line.substr(line.find("\n" + slice["stage"].get<std::string>()) + 1);
    line = line.substr(0, line.find('\n'));
    std::erase(line, ',');
    CATCH_INFO(line);
    for (const char* figure : {"rows", "steps", "tokens"}) {
      CATCH_CHECK(contains(line, "  " + std::to_string(slice[figure].get<int>()) + "  "));
    }
  }
  // It looks as a run does: more labels than there are, a model whose weights do not fit, a run without a budget.
  auto words = place.train("other", {"--dry-run"});
  std::ranges::replace(words, std::string{"32"}, std::string{"100"});
  CATCH_CHECK(contains(run(words).err, "50 labels for the sft stage, but found 30"));
  Json config = Json::parse(content_of(Path{place.model} / "config.json"));
  config["intermediate_size"] = 32;
  write_file(Path{place.model} / "config.json", config.dump());
  const Ended misfit = run(place.train("other", {"--dry-run"}));
  CATCH_CHECK(misfit.code == 1);
  CATCH_CHECK(contains(misfit.err, "up_proj"));
  CATCH_CHECK(!std::filesystem::exists(place.out("other")));
}

CATCH_TEST_CASE("A preset stands behind flags and files, and --print-settings says who gave what", "[tool]") {
  const Workplace place;
  const std::string file = place.out("study.toml");
  write_file(file, "warmup = 0.2\nsft-epochs = 3\nlora-alpha = 16\n");
  const auto print = [&](const std::vector<std::string>& more) {
    std::vector<std::string> words{"train", "--config", file, "--print-settings"};
    words.insert(words.end(), more.begin(), more.end());
    return succeed(words).out;
  };
  const std::string settings = print({"--preset", "paper", "--preference-lr", "1e-4"});
  const auto given = [&](const std::string& text, const std::string& setting, const std::string& source) {
    const std::size_t at = text.find("\n" + setting + ' ');
    CATCH_INFO(setting << " in\n" << text);
    CATCH_REQUIRE(at != text.npos);
    CATCH_CHECK(contains(text.substr(at, text.find('\n', at + 1) - at), "# " + source));
  };
  given(settings, "preference-lr = 1e-4", "the command line");
  given(settings, "warmup = 0.2", file + ":1");
  given(settings, "lora-alpha = 16", file + ":3");
  given(settings, "epochs = 2", "preset paper");
  given(settings, "lora-rank = 32", "preset paper");
  given(settings, "beta = 0.1", "preset paper");
  given(settings, "sft-lr = 5e-5", "preset paper");
  given(print({"--preset", "paper-released-code"}), "beta = 1", "preset paper-released-code");
  CATCH_CHECK(!contains(print({"--preset", "paper", "--loss", "sft_term"}), "beta"));
  CATCH_CHECK(!contains(print({}), "preset"));

  // What it prints is a settings' file of the same run; the model's positions cut the preset's length.
  const std::string printed = place.out("printed.toml");
  auto words = place.train("run", {"--preset", "paper", "--config", file});
  const Ended run_ended = succeed(words);
  CATCH_CHECK(contains(run_ended.err, "--max-length 1024"));
  const Json record = record_of(place.out("run"));
  CATCH_CHECK(record["settings"]["dtype"] == "bfloat16");
  CATCH_CHECK(record["settings"]["sft"]["epochs"] == 3);
  CATCH_CHECK(record["settings"]["preference"]["epochs"] == 2);
  CATCH_CHECK(record["settings"]["max_length"] == tiny_positions);
  CATCH_CHECK(record["given"]["weight-decay"] == "preset paper");
  words = place.train("run", {"--preset", "paper", "--config", file, "--print-settings"});
  write_file(printed, succeed(words).out);
  words = {"train", "--config", printed, "--out", place.out("again"), "--max-length", "64"};
  succeed(words);
  CATCH_CHECK(content_of(Path{place.out("again")} / "adapter" / "adapter_model.safetensors") ==
              content_of(Path{place.out("run")} / "adapter" / "adapter_model.safetensors"));
}
