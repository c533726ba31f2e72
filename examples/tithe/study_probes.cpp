// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "study_probes.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

#include "loading.hpp"
#include "tithe/core/random.hpp"
#include "tithe/data/question.hpp"
#include "tithe/evaluate/probes/probe.hpp"

namespace program {
namespace {

/// An example as a prompt with its gold answer; nothing where no answer is known to be good.
std::optional<tithe::Demonstration> gold_of(const tithe::EvaluationExample& example,
                                            const EvaluateSettings& settings) {
  const auto form = settings.prompt.form();
  return std::visit(
      [&](const auto& one) -> std::optional<tithe::Demonstration> {
        using Kind = std::remove_cvref_t<decltype(one)>;
        if constexpr (std::is_same_v<Kind, tithe::Gsm8kProblem>) {
          return tithe::gsm8k_demonstration(one, {.prompt = form.value_or(tithe::Gsm8kPrompt::chat)});
        } else if constexpr (std::is_same_v<Kind, tithe::Question>) {
          if (!settings.judge.empty() || form) return std::nullopt;  // a judge's reference may be no answer
          tithe::Demonstration gold{one.prompt, one.answer, one.origin};
          if (std::holds_alternative<tithe::Messages>(one.prompt))
            gold.completion = tithe::Messages{{std::string{tithe::assistant_role}, one.answer}};
          return gold;
        } else if constexpr (std::is_same_v<Kind, tithe::PreferencePair>) {
          return tithe::Demonstration{one.prompt, one.chosen, one.origin};
        } else if constexpr (std::is_same_v<Kind, tithe::Demonstration>) {
          return one;
        } else {
          return std::nullopt;
        }
      },
      example);
}

bool has_digit(std::string_view text) { return text.find_first_of("0123456789") != text.npos; }

}  // namespace

ProbeRows probe_rows(const EvaluateSettings& settings, std::int64_t count, const tithe::Encoding& encoding,
                     tithe::Tokens max_length) {
  std::ifstream file{settings.data, std::ios::binary};
  ProbeRows found;
  std::size_t number = 0;
  for (std::string line; std::ssize(found.rows) < count && std::getline(file, line);) {
    std::string_view text{line};
    if (++number == 1 && text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    const tithe::Location where{.file = settings.data.string(), .line = number};
    const tithe::EvaluationExample example = tithe::evaluation_example(text, where);
    const auto gold = gold_of(example, settings);
    if (!gold) continue;
    found.are_chat = std::holds_alternative<tithe::Messages>(gold->prompt);
    found.are_questions = std::holds_alternative<tithe::Gsm8kProblem>(example) ||
                          std::holds_alternative<tithe::Question>(example);
    tithe::Encoded encoded = tithe::encode(*gold, encoding, {.max_length = max_length});
    std::ranges::move(encoded.rows, std::back_inserter(found.rows));
  }
  if (!found.rows.empty()) return found;
  throw UsageError{
      "--probes: no line of --evaluate data has an answer that is known to be good and fits the model"};
}

AskProbes probes_of(const tithe::Pretrained& pretrained, const EvaluateSettings& settings, std::int64_t count,
                    const std::stop_token& stop) {
  const tithe::Encoding encoding = encoding_of(pretrained, settings.model);
  ProbeRows asked = probe_rows(settings, count, encoding, pretrained.positions());
  tithe::ProbeOptions options{
      .gold = std::move(asked.rows),
      .sampling = {.sampling = settings.greedy ? tithe::Sampling::greedy() : settings.sampling,
                   .max_new_tokens = tithe::Tokens{settings.max_new_tokens},
                   .stop_ids = pretrained.end_of_sequence_ids(),
                   .stop_strings = settings.stop,
                   .seed = tithe::Seed{settings.seed},
                   .max_length = pretrained.positions(),
                   .batch_size = settings.batch_size,
                   .stop = stop},
      .bootstrap = settings.bootstrap()};
  const auto tokenizer = std::make_shared<tithe::Tokenizer>(pretrained.tokenizer);
  options.sampling.decode = [tokenizer](std::span<const std::int64_t> ids) { return tokenizer->decode(ids); };
  const tithe::TokenIds end = asked.are_chat ? tithe::end_of_answer(encoding.chat) : tithe::TokenIds{};
  if (!end.empty()) options.sampling.stop_ids.push_back(end.front());
  if (asked.are_questions && settings.judge.empty() && settings.extract != "text") {
    options.in_format = [extract = extractor_named(settings.extract)](const tithe::Row&,
                                                                      const tithe::Generation& answer) {
      return extract(answer.text).has_value();
    };
    options.group = [tokenizer](const tithe::Row&, std::span<const std::int64_t> answer) {
      tithe::TokenGroups groups;
      for (const std::int64_t id : answer) {
        const bool is_content = has_digit(tokenizer->decode(std::array{id}));
        groups.push_back(is_content ? tithe::TokenGroup::content : tithe::TokenGroup::format);
      }
      return groups;
    };
  }
  const tithe::ProbeSet probe_set{pretrained.model.frozen_copy(), std::move(options)};
  return [probe_set, model = pretrained.model](const std::string& stage) {
    std::vector<tithe::ProbeRecord> found;
    for (tithe::Estimate& figure : tithe::probe(model, probe_set))
      found.push_back({stage, std::move(figure)});
    return found;
  };
}

}  // namespace program
