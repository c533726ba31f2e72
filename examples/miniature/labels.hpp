// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "task.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/core/error.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"
#include "tithe/data/source.hpp"
#include "tithe/model/generate.hpp"
#include "tithe/model/sampled_source.hpp"

/// What the annotation budget buys: demonstrations by people who slip, and preferences.
namespace miniature {

/// Rows are ids already, so that no tokenizer is needed.
inline tithe::Encoding encoding() { return {.vocabulary_size = vocabulary_size}; }
inline constexpr tithe::Limits limits{.max_length = tithe::Tokens{positions}};

/// Answers by imperfect demonstrators; with the same seed a larger pool holds all of a smaller one.
inline tithe::Pool demonstrations(const Task& task, std::size_t count, double slip, Seed seed) {
  tithe::Dataset dataset;
  std::vector<TokenIds> prompts = distinct_prompts(task, count, false, tithe::derive(seed, {1}));
  for (std::size_t i = 0; i < count; ++i) {
    SplitMix64 random{tithe::derive(seed, {2, i})};
    TokenIds answer = task.demonstration(prompts[i], slip, random);
    dataset.add(tithe::Demonstration{.prompt = std::move(prompts[i]), .completion = std::move(answer)});
  }
  return {dataset, encoding(), limits};
}

/// Answers sampled from the model as it is, for as many prompts at a time as keep a processor busy.
inline tithe::GenerationOptions sampled(Seed seed) {
  return {.max_new_tokens = tithe::Tokens{positions},
          .stop_ids = {ends},
          .seed = seed,
          .max_length = tithe::Tokens{positions},
          .batch_size = 512};
}

/// How preference pairs are made.
enum class Pairing : std::uint8_t {
  both,   ///< both answers are the model's own: of a few samples the judge's best, and its worst
  pool,   ///< neither is: a perfect demonstration, and one gone wrong
  onpol,  ///< a perfect demonstration, and an answer of the model's own that is not as good
};
inline constexpr std::array<std::string_view, 3> pairing_names{"both", "pool", "onpol"};
/// Throws OptionError for a name that no way has.
inline Pairing pairing_named(std::string_view name) {
  for (std::size_t i = 0; i < pairing_names.size(); ++i) {
    if (pairing_names[i] == name) return static_cast<Pairing>(i);
  }
  throw tithe::OptionError{{.who = "miniature",
                            .required = "a way to make pairs: both, pool or onpol",
                            .found = std::string{name},
                            .fix = {}}};
}

/// What an answer to the prompt at an index is worth.
struct Judge {
  const Task* task;
  std::vector<TokenIds> prompts;
  double operator()(std::size_t index, const tithe::Generation& answer) const {
    return task->score(prompts[index], answer.ids);
  }
};
/// Whether it is as good as a perfect demonstration.
struct Verify {
  Judge judge;
  bool operator()(std::size_t index, const tithe::Generation& answer) const {
    return judge(index, answer) == 1;
  }
};

/// Preference pairs, made in one of the ways, as pairs or as the two verdicts that losses on single completions read:
/// one label all the same.
class Preferences {
 public:
  /// Enough for `count` labels. With the same seed, what is sampled for a prompt depends on the model alone.
  Preferences(const Task& task, Pairing pairing, std::size_t count, Seed seed, bool as_verdicts = false,
              std::function<void(const tithe::SampledDraw&)> on_draw = {})
      : source_{make(task, pairing, count, seed, std::move(on_draw))}, as_verdicts_{as_verdicts} {}

  [[nodiscard]] std::optional<tithe::Examples> available(tithe::Stage stage) const {
    return std::visit([&](const auto& source) { return source.available(stage); }, source_);
  }
  [[nodiscard]] std::vector<tithe::Finding> findings(tithe::Stage stage) const {
    const auto of = [&](const auto& source) -> std::vector<tithe::Finding> { return source.findings(stage); };
    return std::visit(of, source_);
  }
  template <class Model>
  [[nodiscard]] std::vector<tithe::Label> draw(const tithe::Slice& slice, tithe::Examples drawn,
                                               const Model& model) const {
    std::vector<tithe::Label> labels =
        std::visit([&](const auto& source) { return source.draw(slice, drawn, model); }, source_);
    if (!as_verdicts_) return labels;
    for (tithe::Label& label : labels) {
      tithe::Row good = std::move(label.rows.front());
      tithe::Row bad{.prompt = good.prompt,
                     .completions = {std::move(good.completions.back())},
                     .desirable = false,
                     .id = good.id};
      good.completions.pop_back();
      label.rows = {std::move(good), std::move(bad)};
    }
    return labels;
  }

 private:
  using Source = std::variant<tithe::SampledPairs<Judge>, tithe::Pool, tithe::SampledRejections<Verify>>;

  static Source make(const Task& task, Pairing pairing, std::size_t count, Seed seed,
                     std::function<void(const tithe::SampledDraw&)> on_draw) {
    if (pairing == Pairing::pool) return pool(task, count, seed);
    // A model that is right once in twelve gives a pair for 3.4 problems; sixteen leave room for worse ones.
    constexpr std::int64_t per_label = 16;
    std::vector<TokenIds> prompts =
        distinct_prompts(task, count * per_label, false, tithe::derive(seed, {3}));
    tithe::SampledSourceOptions options{.generation = sampled(tithe::derive(seed, {4})),
                                        .samples_per_prompt = task.samples_per_prompt(),
                                        .prompts_per_label = per_label,
                                        .on_draw = std::move(on_draw)};
    Judge judge{&task, prompts};
    if (pairing == Pairing::both) {
      return tithe::SampledPairs<Judge>{std::move(prompts), std::move(judge), std::move(options)};
    }
    std::vector<TokenIds> gold;
    for (const TokenIds& prompt : prompts) gold.push_back(task.gold(prompt));
    return tithe::SampledRejections<Verify>{
        std::move(prompts), std::move(gold), {std::move(judge)}, std::move(options)};
  }

  static tithe::Pool pool(const Task& task, std::size_t count, Seed seed) {
    tithe::Dataset dataset;
    std::vector<TokenIds> prompts = distinct_prompts(task, count, false, tithe::derive(seed, {3}));
    for (std::size_t i = 0; i < count; ++i) {
      SplitMix64 random{tithe::derive(seed, {5, i})};
      TokenIds corrupted = task.corrupted(prompts[i], random);
      dataset.add(tithe::PreferencePair{
          .prompt = prompts[i], .chosen = task.gold(prompts[i]), .rejected = std::move(corrupted)});
    }
    return {dataset, encoding(), limits};
  }

  Source source_;
  bool as_verdicts_;
};

}  // namespace miniature
