// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "commands.hpp"
#include "loading.hpp"
#include "model_flags.hpp"
#include "prompt_template.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/model/pretrained.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

constexpr const char* who = "tithe score";

struct Settings {
  ModelSettings model;
  PromptTemplate prompt;
  bool end_of_sequence = false;
  std::size_t batch_tokens = 8192;
  int threads = 0;
  LineOptions lines;
};

constexpr const char* footer =
    R"(A line has "prompt" or "prompt_ids", and "completion" or "completion_ids"; or "messages", the last of which, an
answer of the assistant with the token that ends it, is the completion. It is answered with {"logprobs": [one for each
completion token], "sum", "tokens"}; an "id" is copied to the answer. Ids are taken as they are. A prompt in text gets
the tokenizer's special tokens in front, a completion none. Prompt and completion may be lists of messages, too.
In training the end-of-sequence token is part of a completion in text: --end-of-sequence scores it too.

Example
  $ echo '{"prompt": "Once upon a", "completion": "time"}' | tithe score --model stories260k)";

/// A line as a row of one completion.
struct ScoredLine {
  tithe::Row row;
  std::string place;  ///< "pairs.jsonl:3"
};

/// A conversation, whose last answer is the completion.
tithe::Row read_conversation(const InputLine& line, const tithe::Messages& messages,
                             const tithe::Encoding& encoding) {
  if (messages.back().role != tithe::assistant_role) {
    line.object(who).fail_here("an answer of the assistant as the last message",
                               "one of role " + tithe::in_quotes(messages.back().role),
                               "Give the answer that is to be scored");
  }
  return at_place_of(line, [&] {
    const tithe::RenderedChat chat = encoding.chat(messages, tithe::GenerationPrompt::none);
    const tithe::TokenSpan answer = chat.answers.back();
    const auto at = [&](std::int64_t place) { return chat.ids.begin() + place; };
    return tithe::Row{.prompt = {at(0), at(answer.begin)},
                      .completions = {{at(answer.begin), at(answer.end)}}};
  });
}

/// What a line says is to be scored.
tithe::Row read_contents(const InputLine& line, const PromptTemplate& prompt,
                         const tithe::Encoding& encoding) {
  const auto object = line.object(who);
  if (object.has("messages")) return read_conversation(line, read_messages(object, "messages"), encoding);
  tithe::Content first = read_prompt_content(object, prompt);
  tithe::Content then = read_content(object, "completion");
  if (auto* messages = std::get_if<tithe::Messages>(&first)) {
    if (const auto* text = std::get_if<std::string>(&then)) {
      messages->push_back({std::string{tithe::assistant_role}, *text});
    } else if (const auto* more = std::get_if<tithe::Messages>(&then)) {
      messages->insert(messages->end(), more->begin(), more->end());
    } else {
      object.fail("completion_ids", "text or messages behind a prompt of messages", "token ids");
    }
    return read_conversation(line, *messages, encoding);
  }
  const auto ids_of = [&](tithe::Content& content, const std::string& field,
                          const tithe::Encoding::Encoder& encoder) {
    if (const auto* text = std::get_if<std::string>(&content)) {
      tithe::TokenIds ids = encoder(*text);
      if (field == "completion" && encoding.end_of_sequence) ids.push_back(*encoding.end_of_sequence);
      return ids;
    }
    if (std::holds_alternative<tithe::Messages>(content)) {
      object.fail(field, "no messages, as the prompt has none", "messages", "Write both as messages");
    }
    tithe::TokenIds ids = std::get<tithe::TokenIds>(std::move(content));
    require_ids(ids, encoding.vocabulary_size, field + "_ids", line.where, who);
    return ids;
  };
  return {.prompt = ids_of(first, "prompt", encoding.prompt),
          .completions = {ids_of(then, "completion", encoding.completion)}};
}

/// Throws DataError, with its place, for what the model cannot take.
ScoredLine read_row(const InputLine& line, const PromptTemplate& prompt, const tithe::Encoding& encoding,
                    std::int64_t positions) {
  const auto object = line.object(who);
  tithe::Row row = read_contents(line, prompt, encoding);
  if (row.prompt.empty()) {
    object.fail_here("a prompt of at least one token", "none",
                     "Begin it with the beginning-of-sequence token");
  }
  if (row.longest_path() > tithe::Tokens{positions}) {
    object.fail_here(
        "prompt and completion of at most " + std::to_string(positions) + " tokens, the model's positions",
        std::to_string(row.prompt.size()) + " + " + std::to_string(row.completions[0].size()),
        "Shorten one of them");
  }
  return {std::move(row), line.where.file + ':' + std::to_string(line.where.line)};
}

/// JSON has no such numbers, and null would look like an answer.
void require_finite(const std::vector<double>& logprobs, const std::string& place) {
  const auto odd = std::ranges::find_if(logprobs, [](double logprob) { return !std::isfinite(logprob); });
  if (odd == logprobs.end()) return;
  throw tithe::NonFiniteError{
      {who, "finite log-probabilities",
       std::to_string(*odd) + " for token " + std::to_string(odd - logprobs.begin() + 1) + " of " + place,
       "See whether the model's weights are finite"},
      {place}};
}

std::vector<OutputJson> score_rows(const tithe::Decoder& model, const std::vector<ScoredLine>& lines) {
  const at::NoGradGuard no_grad;
  tithe::Rows rows;
  for (const ScoredLine& line : lines) rows.push_back(line.row);
  const tithe::PackedRows packed = tithe::pack_for(model, rows);
  const at::Tensor logprobs = tithe::token_logprobs(model, packed).to(at::kCPU, at::kDouble);
  const double* next = logprobs.const_data_ptr<double>();
  std::vector<OutputJson> answers;
  for (const std::int64_t length : packed.completion_lengths) {
    const std::vector<double> own{next, next + length};
    next += length;
    require_finite(own, lines[answers.size()].place);
    answers.push_back(
        {{"logprobs", own}, {"sum", std::accumulate(own.begin(), own.end(), 0.0)}, {"tokens", length}});
  }
  return answers;
}

int score(const Settings& settings, const Session& session) {
  set_up_torch(settings.threads);
  const tithe::Pretrained pretrained = load(settings.model);
  tithe::Encoding encoding = encoding_of(pretrained, settings.model);
  if (!settings.end_of_sequence) encoding.end_of_sequence.reset();
  const std::int64_t positions = pretrained.positions().value();
  const LineCommand<ScoredLine> command{
      .who = who,
      .read = [&](const InputLine& line) { return read_row(line, settings.prompt, encoding, positions); },
      .size = [](const ScoredLine& line) { return static_cast<std::size_t>(line.row.tokens().value()); },
      .answer = [&](const std::vector<ScoredLine>& lines) { return score_rows(pretrained.model, lines); },
      .batch_size = settings.batch_tokens};
  return answer_lines(command, settings.lines, session);
}

}  // namespace

Command add_score(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("score", "Log-probabilities of completions");
  command->footer(footer);
  add_model_flags(*command, settings->model);
  add_prompt_template_flag(*command, settings->prompt);
  command->add_flag("--end-of-sequence", settings->end_of_sequence,
                    "Score the end-of-sequence token behind a completion in text too");
  command->add_option("--batch-tokens", settings->batch_tokens, "Tokens that go through the model at a time")
      ->check(at_least(1))
      ->capture_default_str();
  add_threads_flag(*command, settings->threads);
  add_line_flags(*command, settings->lines);
  return {command, [settings](const Session& session) { return score(*settings, session); }};
}

}  // namespace program
