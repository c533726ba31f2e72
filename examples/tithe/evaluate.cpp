// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "evaluate.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "commands.hpp"
#include "loading.hpp"
#include "output.hpp"
#include "sampling_flags.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/report/table.hpp"
#include "torch_setup.hpp"

namespace program {
namespace {

constexpr const char* footer =
    R"(What is evaluated is what the lines of --data hold, one kind in a file:
  {"question", "answer"}               exact match on GSM8K's problems, put as the study put them
  {"prompt" or "messages", "answer"}   exact match of sampled answers with the known one
  {"prompt", "chosen", "rejected"}     the share of pairs of which chosen is likelier
  {"prompt", "completion"}             -log p per token; with "label" of good and bad completions apart
With --judge each line's completion, chosen or answer is the reference that the model's answer is held against: the
command is run by /bin/sh -c, reads {"id", "prompt", "a", "b"} a line, and prints {"id", "verdict": "a", "b" or "tie"} or
{"id", "score": A's share from 0 to 1}, in the order of the questions. Each pair is asked in both positions; where the two
verdicts differ it counts as one half.

The result is one JSON object, or a table; intervals are 95%. --out FILE gets a record a prompt, for --compare, which gives
the difference on the same prompts. Answers and verdicts are kept beside it as they come (FILE.answers.jsonl,
FILE.verdicts.jsonl): --resume goes on with them and makes only what is missing.

Examples
  $ tithe evaluate --model run/model --data gsm8k/test.jsonl --out after.jsonl
  $ tithe evaluate --model base --adapter run/adapter --data held_out.jsonl --judge 'python3 judge.py' --out wins.jsonl
  $ tithe evaluate --compare before.jsonl after.jsonl --format table)";

/// NaN, where there was nothing to measure, is null.
OutputJson number(double value) { return std::isfinite(value) ? OutputJson(value) : OutputJson(); }

OutputJson json_of(const EvaluateSettings& settings, const EvaluationResult& result) {
  OutputJson json{{"evaluation", result.name}};
  if (settings.compared.empty()) {
    json["model"] = settings.model.folder.string();
    if (!settings.model.adapter.empty()) json["adapter"] = settings.model.adapter.string();
    json["dtype"] = settings.model.dtype;
    json["device"] = settings.model.device;
    json["data"] = settings.data.string();
    json["left_out"] = result.left_out.size();
  }
  json["results"] = OutputJson::object();
  for (const tithe::Estimate& figure : result.figures) {
    json["results"][figure.name] = {{"value", number(figure.value)},
                                    {"low", number(figure.low)},
                                    {"high", number(figure.high)},
                                    {"samples", figure.samples}};
  }
  json["settings"] = result.settings;
  json["settings"]["resamples"] = settings.resamples;
  return json;
}

std::string table_of(const EvaluationResult& result) {
  tithe::Table table{{{"figure", tithe::Align::left}, {"value"}, {"samples"}}};
  for (const tithe::Estimate& figure : result.figures)
    table.row({figure.name, tithe::estimate_text(figure), std::to_string(figure.samples)});
  return table.text() + "Intervals are 95%.\n";
}

/// Written whole or not at all.
void write_records(const std::filesystem::path& out, const EvaluationResult& result) {
  tithe::DurableFile file{out};
  for (const OutputJson& record : result.records)
    file.write(record.dump(-1, ' ', false, OutputJson::error_handler_t::replace) + '\n');
  file.commit();
}

void require_consistent(const EvaluateSettings& settings) {
  const auto require = [](bool met, const char* message) {
    if (!met) throw UsageError{message};
  };
  if (!settings.compared.empty()) {
    require(settings.model.folder.empty() && settings.data.empty() && settings.out.empty(),
            "--compare takes two files that --out wrote, and no --model, --data or --out");
    return;
  }
  require(!settings.model.folder.empty(), "--model is required");
  require(!settings.data.empty(), "--data is required");
  require(settings.judge.empty() || !settings.out.empty(),
          "--judge needs --out FILE, beside which verdicts are kept as they come");
  require(settings.judge.empty() || settings.samples == 1,
          "--judge compares one answer a prompt; leave --samples out");
  std::error_code ignored;
  const auto folder = std::filesystem::absolute(settings.out, ignored).parent_path();
  require(settings.out.empty() || std::filesystem::is_directory(folder, ignored),
          "--out lies in a folder that is not there");
  require(!settings.resume || !settings.out.empty(),
          "--resume needs the --out of the run that it goes on with");
}

int evaluate(const EvaluateSettings& settings, const Session& session) {
  require_consistent(settings);
  set_up_torch(settings.threads);
  EvaluationResult result;
  if (!settings.compared.empty()) {
    result = compare_records(settings);
  } else {
    EvaluationData data = read_evaluation_data(settings);
    const std::string put = data.prompt_template;
    const tithe::Pretrained pretrained = load(settings.model);
    result = data.prompts.empty() ? evaluate_examples(settings, pretrained, data.held_out, session)
                                  : evaluate_answers(settings, pretrained, std::move(data.prompts), session);
    if (!put.empty()) result.settings["prompt_template"] = put;
  }
  if (result.interrupted) {
    std::cerr << evaluate_who << ": interrupted"
              << (settings.out.empty() ? "\n" : "; --resume goes on with what is kept\n");
    return interrupted;
  }
  for (const OutputJson& one : result.left_out) {
    std::cerr << evaluate_who << ": left out " << one["id"].get<std::string>() << ": "
              << one["reason"].get<std::string>() << '\n';
  }
  if (!settings.out.empty()) write_records(settings.out, result);
  std::cout << (settings.format == "table"
                    ? table_of(result)
                    : json_of(settings, result).dump(2, ' ', false, OutputJson::error_handler_t::replace) +
                          '\n');
  require_printed();
  return success;
}

}  // namespace

OutputJson record_of(const tithe::PromptScore& score, const std::string& metric, const std::string& digest) {
  return {{"id", score.id},
          {"metric", metric},
          {"value", score.value},
          {"weight", score.weight},
          {"prompt", digest}};
}

namespace {

void add_flags(CLI::App& command, EvaluateSettings& settings) {
  add_model_flags(command, settings.model);
  command.get_option("--model")->required(false);
  command.add_option("--data", settings.data, "JSON lines to evaluate on")->type_name("FILE");
  add_prompt_template_flag(command, settings.prompt);
  command.add_option("--out", settings.out, "Where a record a prompt goes")->type_name("FILE");
  command.add_flag("--resume", settings.resume,
                   "Go on with the answers and verdicts that are kept beside --out");
  command.add_option("--format", settings.format, "Of the result: json or table")
      ->check(CLI::IsMember({"json", "table"}))
      ->capture_default_str();
  command.add_option("--too-long", settings.too_long, "What does not fit the model: error or drop")
      ->check(CLI::IsMember({"error", "drop"}))
      ->capture_default_str();
  command
      .add_option("--max-length", settings.max_length,
                  "Tokens of a prompt and its completion; the model's positions unless given")
      ->check(at_least(1));
  command
      .add_option("--extract", settings.extract,
                  "Where the answer of a completion stands: hashes, behind the last ####; last-number; or "
                  "text, all of it")
      ->check(CLI::IsMember({"hashes", "last-number", "text"}))
      ->capture_default_str();
  CLI::Option* greedy = add_sampling_flags(command, settings.sampling, settings.greedy, settings.seed);
  command.add_option("--samples", settings.samples, "Answers to each prompt")
      ->check(at_least(1))
      ->capture_default_str()
      ->excludes(greedy);
  command.add_option("--max-new-tokens", settings.max_new_tokens, "Tokens of an answer at most")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--stop", settings.stop, "Text that ends an answer; may be given several times")
      ->type_name("TEXT")
      ->allow_extra_args(false)
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command.add_option("--batch-size", settings.batch_size, "Answers that grow side by side")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--judge", settings.judge, "A command that says which of two answers is better")
      ->type_name("COMMAND");
  command
      .add_option("--judge-timeout", settings.judge_timeout,
                  "Seconds in which the judge must take a question or print something; 0 for no limit")
      ->check(at_least(0))
      ->capture_default_str();
  command.add_option("--resamples", settings.resamples, "Of the bootstrap")
      ->check(at_least(1))
      ->capture_default_str();
  command.add_option("--compare", settings.compared, "Two files of --out: B against A, on the same prompts")
      ->type_name("A B")
      ->expected(2);
  add_threads_flag(command, settings.threads);
}

}  // namespace

EvaluateSettings evaluate_settings_of(std::vector<std::string> arguments) {
  EvaluateSettings settings;
  CLI::App command{"", "evaluate"};
  add_flags(command, settings);
  std::ranges::reverse(arguments);  // as CLI11 takes them
  try {
    command.parse(arguments);
  } catch (const CLI::ParseError& error) {
    throw UsageError{error.what()};
  }
  return settings;
}

Command add_evaluate(CLI::App& app) {
  const auto settings = std::make_shared<EvaluateSettings>();
  CLI::App* command =
      app.add_subcommand("evaluate", "Exact match, preferences, win rates; compare two models");
  command->footer(footer);
  add_flags(*command, *settings);
  return {command, [settings](const Session& session) { return evaluate(*settings, session); }};
}

}  // namespace program
