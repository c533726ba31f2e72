// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/generate.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "commands.hpp"
#include "loading.hpp"
#include "model_flags.hpp"
#include "prompt_template.hpp"
#include "sampling_flags.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/model/pretrained.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

constexpr const char* who = "tithe generate";

struct Settings {
  ModelSettings model;
  PromptTemplate prompt;
  bool greedy = false;
  tithe::Sampling sampling;
  std::uint64_t seed = 0;
  std::int64_t samples = 1;
  std::int64_t max_new_tokens = 256;
  std::vector<std::string> stop;
  std::vector<std::int64_t> stop_ids;
  std::int64_t batch_size = 64;
  int threads = 0;
  LineOptions lines;
};

constexpr const char* footer =
    R"(A line has "prompt", "prompt_ids" or "messages", and is answered with {"completion", "completion_ids",
"logprobs"}, or with --samples above 1 with {"samples": [as many of these]}; an "id" is copied to the answer. Ids
are taken as they are; a prompt in text gets the tokenizer's special tokens in front; messages are written in the
model's chat format, and an answer is opened behind them. A completion ends with the end-of-sequence token or, of
messages, with the token that ends an answer; at --stop or --stop-id, after --max-new-tokens or at the last of the
model's positions. Its text is without stop token and stop text; its ids are all that were chosen, and each has its
log-probability under the model itself (temperature 1, top-p 1).

Without --greedy tokens are sampled from what the model says, by temperature and top-p alone: nothing is penalised
for being repeated. They are a function of the seed, the prompt, the line's place in the input and the sample's
place in the line alone, where blank lines do not count and bad ones do.

Examples
  $ echo '{"prompt": "Once upon a time"}' | tithe generate --model stories260k --greedy --max-new-tokens 48
  $ echo '{"messages": [{"role": "user", "content": "Hello"}]}' | tithe generate --model base --adapter run/adapter
  $ tithe generate --model run/model --temperature 0.7 --top-p 0.95 --seed 1 -i prompts.jsonl -o answers.jsonl
  $ tithe generate --model run/model --samples 8 -i prompts.jsonl -o answers.jsonl)";

/// A prompt, and its line's place in the input.
struct Prompt {
  tithe::TokenIds ids{};
  std::uint64_t index = 0;
  bool is_chat = false;  ///< so that the end of an answer ends it
};

Prompt read_prompt(const InputLine& line, const PromptTemplate& prompt, const tithe::Encoding& encoding,
                   std::int64_t positions) {
  const auto object = line.object(who);
  tithe::Content content =
      object.has("messages") ? read_messages(object, "messages") : read_prompt_content(object, prompt);
  Prompt read{.index = line.index};
  if (const auto* text = std::get_if<std::string>(&content)) {
    read.ids = encoding.prompt(*text);
  } else if (const auto* messages = std::get_if<tithe::Messages>(&content)) {
    read.ids = at_place_of(line, [&] { return tithe::generation_prompt(*messages, encoding.chat); });
    read.is_chat = true;
  } else {
    read.ids = std::get<tithe::TokenIds>(std::move(content));
    require_ids(read.ids, encoding.vocabulary_size, "prompt_ids", line.where, who);
  }
  if (read.ids.empty()) {
    object.fail_here("a prompt of at least one token", "none",
                     "Begin it with the beginning-of-sequence token");
  }
  if (std::ssize(read.ids) >= positions) {
    object.fail_here("a prompt of fewer tokens than the model's " + std::to_string(positions) + " positions",
                     std::to_string(read.ids.size()), "Shorten it");
  }
  return read;
}

/// The first prompts that end alike and whose lines follow upon each other, without a bad one between them.
std::span<const Prompt> first_run(std::span<const Prompt> prompts) {
  std::size_t count = 1;
  while (count < prompts.size() && prompts[count].index == prompts[0].index + count &&
         prompts[count].is_chat == prompts[0].is_chat) {
    ++count;
  }
  return prompts.first(count);
}

/// What ends a completion: the model's own tokens and those that were asked for; of messages, the end of an answer too.
tithe::TokenIds stops_of(const Settings& settings, const tithe::Pretrained& pretrained,
                         const tithe::Encoding& encoding, bool is_chat) {
  tithe::TokenIds stops = pretrained.end_of_sequence_ids();
  stops.insert(stops.end(), settings.stop_ids.begin(), settings.stop_ids.end());
  if (is_chat) {
    const tithe::TokenIds end = tithe::end_of_answer(encoding.chat);
    if (!end.empty()) stops.push_back(end.front());
  }
  return stops;
}

OutputJson answer_of(const tithe::Generation& generation) {
  return {
      {"completion", generation.text}, {"completion_ids", generation.ids}, {"logprobs", generation.logprobs}};
}

/// The answer to a prompt that has these completions.
OutputJson answer_of(std::span<const tithe::Generation> generations) {
  if (generations.size() == 1) return answer_of(generations.front());
  OutputJson samples = OutputJson::array();
  for (const tithe::Generation& one : generations) samples.push_back(answer_of(one));
  return {{"samples", std::move(samples)}};
}

int generate(const Settings& settings, const Session& session) {
  set_up_torch(settings.threads);
  const tithe::Pretrained pretrained = load(settings.model);
  const tithe::Encoding encoding = encoding_of(pretrained, settings.model);
  for (const std::int64_t id : settings.stop_ids) {
    if (id < encoding.vocabulary_size) continue;
    throw UsageError{"--stop-id " + std::to_string(id) + " is no token of the model, which has " +
                     std::to_string(encoding.vocabulary_size)};
  }
  const std::int64_t positions = pretrained.positions().value();
  tithe::GenerationOptions options{
      .sampling = settings.greedy ? tithe::Sampling::greedy() : settings.sampling,
      .max_new_tokens = tithe::Tokens{settings.max_new_tokens},
      .stop_strings = settings.stop,
      .decode = [&](std::span<const std::int64_t> ids) { return pretrained.tokenizer.decode(ids); },
      .samples_per_prompt = settings.samples,
      .seed = tithe::Seed{settings.seed},
      .batch_size = settings.batch_size,
      .stop = session.stop};
  options.validate();

  const LineCommand<Prompt> command{
      .who = who,
      .read = [&](const InputLine& line) { return read_prompt(line, settings.prompt, encoding, positions); },
      .size = [](const Prompt&) { return std::size_t{1}; },
      .answer =
          [&](const std::vector<Prompt>& prompts) {
            std::vector<OutputJson> answers;
            for (std::span<const Prompt> rest{prompts}; !rest.empty();) {
              const std::span<const Prompt> run = first_run(rest);
              rest = rest.subspan(run.size());
              options.first_index = run.front().index;
              options.stop_ids = stops_of(settings, pretrained, encoding, run.front().is_chat);
              std::vector<tithe::TokenIds> ids;
              for (const Prompt& prompt : run) ids.push_back(prompt.ids);
              const std::vector<tithe::Generation> all = tithe::generate(pretrained.model, ids, options);
              const auto samples = static_cast<std::size_t>(settings.samples);
              for (std::span unanswered{all}; !unanswered.empty(); unanswered = unanswered.subspan(samples)) {
                answers.push_back(answer_of(unanswered.first(samples)));
              }
            }
            return answers;
          },
      .batch_size =
          static_cast<std::size_t>(std::max<std::int64_t>(settings.batch_size / settings.samples, 1))};
  return answer_lines(command, settings.lines, session);
}

}  // namespace

Command add_generate(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("generate", "Complete prompts");
  command->footer(footer);
  add_model_flags(*command, settings->model);
  add_prompt_template_flag(*command, settings->prompt);
  CLI::Option* greedy = add_sampling_flags(*command, settings->sampling, settings->greedy, settings->seed);
  command
      ->add_option("--samples", settings->samples,
                   "Completions of each prompt, which is computed once for all")
      ->check(at_least(1))
      ->capture_default_str()
      ->excludes(greedy);
  command->add_option("--max-new-tokens", settings->max_new_tokens, "Tokens of a completion at most")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--stop", settings->stop, "Text that ends a completion; may be given several times")
      ->allow_extra_args(false)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      ->add_option("--stop-id", settings->stop_ids,
                   "Token that ends a completion; may be given several times")
      ->check(at_least(0))
      ->allow_extra_args(false)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_option("--batch-size", settings->batch_size, "Completions that grow side by side")
      ->check(at_least(1))
      ->capture_default_str();
  add_threads_flag(*command, settings->threads);
  add_line_flags(*command, settings->lines);
  return {command, [settings](const Session& session) { return generate(*settings, session); }};
}

}  // namespace program
