// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "tithe/model/generate.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "commands.hpp"
#include "tithe/model/pretrained.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

constexpr const char* who = "tithe generate";

struct Settings {
  std::filesystem::path model;
  bool greedy = false;
  tithe::Sampling sampling;
  std::uint64_t seed = 0;
  std::int64_t max_new_tokens = 256;
  std::vector<std::string> stop;
  std::int64_t batch_size = 64;
  int threads = 0;
  LineOptions lines;
};

constexpr const char* footer =
    R"(A line has "prompt" or "prompt_ids", and is answered with {"completion", "completion_ids", "logprobs"};
an "id" is copied to the answer. Ids are taken as they are; a prompt in text gets the tokenizer's special
tokens in front. A completion ends with the end-of-sequence token, at --stop, after --max-new-tokens or at the
last of the model's positions. Its text is without end-of-sequence token and stop text; its ids are all that
were chosen, and each has its log-probability under the model itself (temperature 1, top-p 1).

Without --greedy tokens are sampled, a function of the seed, the prompt and the line's place in the input
alone, where blank lines do not count and bad ones do.

Examples
  $ echo '{"prompt": "Once upon a time"}' | tithe generate --model stories260k --greedy --max-new-tokens 48
  $ tithe generate --model run/model --temperature 0.7 --top-p 0.95 --seed 1 -i prompts.jsonl -o answers.jsonl)";

/// A prompt, and its line's place in the input.
struct Prompt {
  tithe::TokenIds ids;
  std::uint64_t index = 0;
};

Prompt read_prompt(const InputLine& line, const tithe::Encoding& encoding, std::int64_t positions) {
  const auto object = line.object(who);
  tithe::Content content = read_content(object, "prompt");
  tithe::TokenIds ids;
  if (const auto* text = std::get_if<std::string>(&content)) {
    ids = encoding.prompt(*text);
  } else {
    ids = std::get<tithe::TokenIds>(std::move(content));
    require_ids(ids, encoding.vocabulary_size, "prompt_ids", line.where, who);
  }
  if (ids.empty()) {
    object.fail_here("a prompt of at least one token", "none",
                     "Begin it with the beginning-of-sequence token");
  }
  if (std::ssize(ids) >= positions) {
    object.fail_here("a prompt of fewer tokens than the model's " + std::to_string(positions) + " positions",
                     std::to_string(ids.size()), "Shorten it");
  }
  return {std::move(ids), line.index};
}

/// The first prompts whose lines follow upon each other, without a bad one between them.
std::span<const Prompt> first_run(std::span<const Prompt> prompts) {
  std::size_t count = 1;
  while (count < prompts.size() && prompts[count].index == prompts[0].index + count) ++count;
  return prompts.first(count);
}

int generate(const Settings& settings, const Session& session) {
  set_up_torch(settings.threads);
  const tithe::Pretrained pretrained = tithe::load_pretrained(settings.model);
  const tithe::Encoding encoding = pretrained.encoding();
  const std::int64_t positions = pretrained.positions().value();
  tithe::GenerationOptions options{
      .sampling = settings.greedy ? tithe::Sampling::greedy() : settings.sampling,
      .max_new_tokens = tithe::Tokens{settings.max_new_tokens},
      .stop_ids = pretrained.end_of_sequence_ids(),
      .stop_strings = settings.stop,
      .decode = [&](std::span<const std::int64_t> ids) { return pretrained.tokenizer.decode(ids); },
      .seed = tithe::Seed{settings.seed},
      .batch_size = settings.batch_size,
      .stop = session.stop};
  options.validate();

  const LineCommand<Prompt> command{
      .who = who,
      .read = [&](const InputLine& line) { return read_prompt(line, encoding, positions); },
      .size = [](const Prompt&) { return std::size_t{1}; },
      .answer =
          [&](const std::vector<Prompt>& prompts) {
            std::vector<OutputJson> answers;
            for (std::span<const Prompt> rest{prompts}; !rest.empty();) {
              const std::span<const Prompt> run = first_run(rest);
              rest = rest.subspan(run.size());
              options.first_index = run.front().index;
              std::vector<tithe::TokenIds> ids;
              for (const Prompt& prompt : run) ids.push_back(prompt.ids);
              for (const tithe::Generation& generation : tithe::generate(pretrained.model, ids, options)) {
                answers.push_back({{"completion", generation.text},
                                   {"completion_ids", generation.ids},
                                   {"logprobs", generation.logprobs}});
              }
            }
            return answers;
          },
      .batch_size = static_cast<std::size_t>(settings.batch_size)};
  return answer_lines(command, settings.lines, session);
}

}  // namespace

Command add_generate(CLI::App& app) {
  const auto settings = std::make_shared<Settings>();
  CLI::App* command = app.add_subcommand("generate", "Complete prompts");
  command->footer(footer);
  command->add_option("--model", settings->model, "Folder of the model")->type_name("DIR")->required();
  CLI::Option* greedy = command->add_flag("--greedy", settings->greedy, "Always take the likeliest token");
  command->add_option("--temperature", settings->sampling.temperature, "Logits are divided by it")
      ->check(at_least(0))
      ->capture_default_str()
      ->excludes(greedy);
  command
      ->add_option("--top-p", settings->sampling.top_p,
                   "Choose among the likeliest tokens of this probability only")
      ->check(positive_share())
      ->capture_default_str()
      ->excludes(greedy);
  command->add_option("--seed", settings->seed, "Of the sampling")->capture_default_str();
  command->add_option("--max-new-tokens", settings->max_new_tokens, "Tokens of a completion at most")
      ->check(at_least(0))
      ->capture_default_str();
  command->add_option("--stop", settings->stop, "Text that ends a completion; may be given several times")
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
