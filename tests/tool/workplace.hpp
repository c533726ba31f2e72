// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

#include "program.hpp"
#include "tiny_model.hpp"

/// What tests of `tithe train` share.
namespace tithe::test {

/// A tiny model with data: 30 of each kind, and at the end of each file what cannot be used.
struct Workplace {
  Scratch scratch;
  std::string model = make_tiny_model(scratch / "model");
  std::string demonstrations = (scratch / "demonstrations.jsonl").string();
  std::string pairs = (scratch / "pairs.jsonl").string();
  std::string labeled = (scratch / "labeled.jsonl").string();

  Workplace() {
    std::vector<Json> sft, preferences, verdicts;
    for (int i = 0; i < 30; ++i) {
      const std::string prompt = "question " + std::to_string(i);
      sft.push_back({{"prompt", prompt}, {"completion", "answer " + std::to_string(i % 5)}});
      preferences.push_back({{"prompt", prompt}, {"chosen", "yes"}, {"rejected", "no " + std::to_string(i)}});
      verdicts.push_back(
          {{"prompt", prompt}, {"completion", i % 2 == 0 ? "yes" : "no"}, {"label", i % 2 == 0}});
    }
    sft.push_back({{"prompt", "long"}, {"completion", std::string(80, 'x')}});
    preferences.push_back({{"prompt", "same"}, {"chosen", "a"}, {"rejected", "a"}});
    preferences.push_back(preferences.front());
    write_file(demonstrations, as_lines(sft));
    write_file(pairs, as_lines(preferences));
    write_file(labeled, as_lines(verdicts));
  }

  [[nodiscard]] std::string out(const std::string& name) const { return (scratch / name).string(); }
  /// Arguments of a small run: 4 steps of fine-tuning and 4 of preferences, before `more`.
  [[nodiscard]] std::vector<std::string> train(const std::string& name,
                                               const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"train",
                                   "--model",
                                   model,
                                   "--demonstrations",
                                   demonstrations,
                                   "--preferences",
                                   pairs,
                                   "--budget",
                                   "32",
                                   "--sft-fraction",
                                   "0.5",
                                   "--batch-size",
                                   "2",
                                   "--accumulate",
                                   "2",
                                   "--sft-lr",
                                   "0.01",
                                   "--preference-lr",
                                   "0.01",
                                   "--threads",
                                   "1",
                                   "--out",
                                   out(name)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
};

inline std::vector<Json> metrics_of(const Path& folder) {
  return parse_lines(content_of(folder / "metrics.jsonl"));
}
inline Json record_of(const Path& folder) { return Json::parse(content_of(folder / "record.json")); }

/// All that two runs of the same settings must share: everything but times and memory.
inline Json comparable(const Path& folder) {
  std::vector<Json> steps = metrics_of(folder);
  for (Json& step : steps) step.erase("step_seconds");
  Json record = record_of(folder);
  for (const char* key : {"train_seconds", "memory", "resumed"}) record.erase(key);
  for (Json& slice : record["slices"]) {
    slice.erase("seconds");
    for (const char* step : {"first", "last"}) slice[step].erase("step_seconds");
  }
  return {{"steps", steps}, {"record", record}, {"findings", content_of(folder / "findings.jsonl")}};
}
inline std::string weights_of(const Path& folder) {
  return content_of(folder / "model" / "model.safetensors");
}

}  // namespace tithe::test
