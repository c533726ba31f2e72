// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "evaluate.hpp"
#include "kept_lines.hpp"
#include "loading.hpp"
#include "progress.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/data/chat.hpp"
#include "tithe/evaluate/judge.hpp"
#include "tithe/evaluate/judge_command.hpp"
#include "tithe/evaluate/sample.hpp"
#include "tithe/evaluate/sampled_answers.hpp"

namespace program {
namespace {

/// One completion, as it is kept.
struct KeptSample {
  std::string text;
  std::string finish;
};
using KeptSamples = std::vector<std::vector<KeptSample>>;  // of each prompt

std::string name_of(tithe::FinishReason finish) {
  switch (finish) {
    case tithe::FinishReason::stop_id:
      return "stop_id";
    case tithe::FinishReason::stop_string:
      return "stop_string";
    case tithe::FinishReason::length:
      return "length";
    case tithe::FinishReason::cancelled:
      break;
  }
  return "cancelled";
}

std::string digest_of(const EvaluatedPrompt& prompt) {
  tithe::Sha256 hash;
  for (const std::int64_t id : prompt.ids) hash.update(static_cast<std::uint64_t>(id));
  return hash.update(prompt.reference).finish().hex().substr(0, 16);
}

/// Gives each prompt its ids; those that leave no room for an answer are listed, or refused.
void encode_prompts(std::vector<EvaluatedPrompt>& prompts, const EvaluateSettings& settings,
                    const tithe::Encoding& encoding, std::int64_t positions, EvaluationResult& result) {
  std::vector<EvaluatedPrompt> kept;
  for (EvaluatedPrompt& prompt : prompts) {
    const tithe::Location where{.file = prompt.origin.file,
                                .line = static_cast<std::size_t>(prompt.origin.line)};
    const auto fail = [&](std::string required, std::string found, const char* fix) {
      throw tithe::DataError{{evaluate_who, std::move(required), std::move(found), fix}, where};
    };
    try {
      if (const auto* text = std::get_if<std::string>(&prompt.prompt)) {
        prompt.ids = encoding.prompt(*text);
      } else if (const auto* messages = std::get_if<tithe::Messages>(&prompt.prompt)) {
        prompt.ids = tithe::generation_prompt(*messages, encoding.chat);
      } else {
        prompt.ids = std::get<tithe::TokenIds>(prompt.prompt);
        require_ids(prompt.ids, encoding.vocabulary_size, "prompt_ids", where, evaluate_who);
      }
    } catch (const tithe::DataError& error) {
      if (!error.where().file.empty()) throw;
      throw tithe::DataError{error.complaint(), where};
    }
    if (prompt.ids.empty()) fail("a prompt of at least one token", "none", "Correct the line");
    if (std::ssize(prompt.ids) < positions) {
      kept.push_back(std::move(prompt));
      continue;
    }
    const std::string found = "a prompt of " + std::to_string(prompt.ids.size()) + " tokens";
    if (settings.too_long == "error") {
      fail("prompts of fewer than " + std::to_string(positions) + " tokens", found,
           "Give --too-long drop to leave them out, and have them counted");
    }
    result.left_out.push_back({{"id", prompt.origin.id}, {"reason", found}});
  }
  prompts = std::move(kept);
}

/// What decides the completions, so that those of another run are not taken for this one's.
OutputJson answer_settings(const EvaluateSettings& settings, const std::vector<EvaluatedPrompt>& prompts) {
  tithe::Sha256 data;
  for (const EvaluatedPrompt& prompt : prompts) data.update(prompt.origin.id).update(digest_of(prompt));
  const auto folder = [](const std::filesystem::path& path) {
    return path.empty() ? std::string{} : std::filesystem::weakly_canonical(path).string();
  };
  // A model that was trained anew in the same folder has younger files.
  std::string weights;
  std::error_code ignored;
  for (const std::filesystem::path& path :
       {settings.model.folder / "model.safetensors", settings.model.folder / "model.safetensors.index.json",
        settings.model.adapter / "adapter_model.safetensors"}) {
    const auto time = std::filesystem::last_write_time(path, ignored);
    if (!ignored) weights += std::to_string(time.time_since_epoch().count()) + ' ';
  }
  return {{"model", folder(settings.model.folder)},
          {"adapter", folder(settings.model.adapter)},
          {"weights_written", weights},
          {"dtype", settings.model.dtype},
          {"data", data.finish().hex()},
          {"temperature", settings.greedy ? 0 : settings.sampling.temperature},
          {"top_p", settings.greedy ? 1 : settings.sampling.top_p},
          {"seed", settings.seed},
          {"samples", settings.samples},
          {"max_new_tokens", settings.max_new_tokens},
          {"stop", settings.stop}};
}

std::filesystem::path beside(const std::filesystem::path& out, const char* ending) {
  std::filesystem::path path = out;
  return path += ending;
}

/// Completions that an earlier run kept, for the first prompts.
KeptSamples read_kept(const KeptLines& file, const std::vector<EvaluatedPrompt>& prompts) {
  KeptSamples kept;
  for (const tithe::Json& line : file.lines()) {
    if (kept.size() >= prompts.size() || line.value("id", "") != prompts[kept.size()].origin.id) {
      throw UsageError{"the kept answers are not of these prompts, in their order; give --out another name"};
    }
    kept.emplace_back();
    for (const tithe::Json& sample : line.at("samples"))
      kept.back().push_back({sample.at("completion"), sample.at("finish")});
  }
  return kept;
}

/// The completions of each prompt; fewer prompts' where the session was interrupted.
KeptSamples sample_answers(const EvaluateSettings& settings, const tithe::Pretrained& pretrained,
                           const tithe::Encoding& encoding, const std::vector<EvaluatedPrompt>& prompts,
                           std::int64_t positions, const Session& session) {
  std::optional<KeptLines> file;
  KeptSamples samples;
  if (!settings.out.empty()) {
    file.emplace(beside(settings.out, ".answers.jsonl"), answer_settings(settings, prompts), settings.resume);
    samples = read_kept(*file, prompts);
  }
  tithe::GenerationOptions options{
      .sampling = settings.greedy ? tithe::Sampling::greedy() : settings.sampling,
      .max_new_tokens = tithe::Tokens{settings.max_new_tokens},
      .stop_ids = pretrained.end_of_sequence_ids(),
      .stop_strings = settings.stop,
      .decode = [&](std::span<const std::int64_t> ids) { return pretrained.tokenizer.decode(ids); },
      .seed = tithe::Seed{settings.seed},
      .first_index = samples.size(),
      .max_length = tithe::Tokens{positions},
      .batch_size = settings.batch_size,
      .stop = session.stop};
  const auto is_chat = [](const EvaluatedPrompt& one) {
    return std::holds_alternative<tithe::Messages>(one.prompt);
  };
  if (std::ranges::any_of(prompts, is_chat)) {
    const tithe::TokenIds end = tithe::end_of_answer(encoding.chat);
    if (!end.empty()) options.stop_ids.push_back(end.front());
  }
  std::vector<tithe::TokenIds> ids;
  for (std::size_t i = samples.size(); i < prompts.size(); ++i) ids.push_back(prompts[i].ids);
  ProgressLine progress;
  const auto repeats = static_cast<std::size_t>(settings.samples);
  tithe::sample_completions(
      pretrained.model, ids, settings.samples, options,
      [&](std::size_t, std::span<const tithe::Generation> some) {
        for (; !some.empty(); some = some.subspan(repeats)) {
          OutputJson line{{"id", prompts[samples.size()].origin.id}, {"samples", OutputJson::array()}};
          samples.emplace_back();
          for (const tithe::Generation& one : some.first(repeats)) {
            samples.back().push_back({one.text, name_of(one.finish)});
            line["samples"].push_back({{"completion", one.text}, {"finish", name_of(one.finish)}});
          }
          if (file) file->add(line);
        }
        progress.update("tithe evaluate: answers to " + std::to_string(samples.size()) + " of " +
                        std::to_string(prompts.size()) + " prompts");
      });
  return samples;
}

void match_answers(const EvaluateSettings& settings, const std::vector<EvaluatedPrompt>& prompts,
                   const KeptSamples& samples, EvaluationResult& result) {
  std::vector<tithe::AnsweredPrompt> answered;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    answered.push_back({prompts[i].origin.id, prompts[i].reference});
    for (const KeptSample& sample : samples[i]) answered.back().completions.push_back(sample.text);
  }
  const tithe::ExactMatch match =
      tithe::exact_match(answered, extractor_named(settings.extract), settings.bootstrap());
  result.figures = match.figures;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    OutputJson record = record_of(match.scores[i], "exact_match", digest_of(prompts[i]));
    record["answer"] = prompts[i].reference;
    for (std::size_t s = 0; s < samples[i].size(); ++s) {
      const tithe::ExtractedAnswer& answer = match.answers[i][s];
      record["samples"].push_back({{"completion", samples[i][s].text},
                                   {"found", answer.found ? OutputJson(*answer.found) : OutputJson()},
                                   {"right", answer.right},
                                   {"finish", samples[i][s].finish}});
    }
    result.records.push_back(std::move(record));
  }
}

std::string stripped(const std::string& text) { return tithe::whole_text(text).value_or(""); }

/// Asks the judge what it was not asked before.
void judge_answers(const EvaluateSettings& settings, const std::vector<EvaluatedPrompt>& prompts,
                   const KeptSamples& samples, const Session& session, EvaluationResult& result) {
  std::vector<tithe::Comparison> comparisons;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    comparisons.push_back({prompts[i].origin.id, prompts[i].prompt, stripped(samples[i].front().text),
                           stripped(prompts[i].reference)});
  }
  KeptLines file{beside(settings.out, ".verdicts.jsonl"), {{"judge", settings.judge}}, settings.resume};
  std::map<std::string, double> known;
  for (const tithe::Json& line : file.lines()) known[line.at("id")] = line.at("share_of_a");
  const std::vector<tithe::JudgeQuestion> questions = tithe::both_positions(comparisons);
  std::vector<tithe::JudgeQuestion> open;
  std::ranges::copy_if(questions, std::back_inserter(open),
                       [&](const tithe::JudgeQuestion& one) { return !known.contains(one.id); });
  ProgressLine progress;
  if (open.size() < questions.size()) {
    progress.note("tithe evaluate: " + std::to_string(questions.size() - open.size()) + " of " +
                  std::to_string(questions.size()) + " verdicts are there already");
  }
  const tithe::CommandJudge judge{
      .command = settings.judge,
      .patience = std::chrono::milliseconds{static_cast<std::int64_t>(settings.judge_timeout * 1000)},
      .stop = session.stop};
  std::size_t count = 0;
  const auto keep = [&](const tithe::JudgeQuestion& question, double share) {
    known[question.id] = share;
    file.add({{"id", question.id}, {"share_of_a", share}});
    progress.update("tithe evaluate: " + std::to_string(++count) + " of " + std::to_string(open.size()) +
                    " verdicts");
  };
  try {
    (void)judge(open, keep);
  } catch (const tithe::JudgeError&) {
    progress.note("tithe evaluate: " + std::to_string(count) +
                  " new verdicts are kept; --resume asks for the other " +
                  std::to_string(open.size() - count));
    throw;
  }
  if (session.stop.stop_requested()) return;
  std::vector<double> shares;
  for (const tithe::JudgeQuestion& question : questions) shares.push_back(known.at(question.id));
  const tithe::WinRate rate = tithe::win_rate(comparisons, shares, settings.bootstrap());
  result.figures = rate.figures;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    OutputJson record = record_of(rate.scores[i], "win_rate", digest_of(prompts[i]));
    record["completion"] = comparisons[i].answer;
    record["reference"] = comparisons[i].reference;
    record["finish"] = samples[i].front().finish;
    record["share_of_a"] = {{"answer_first", rate.verdicts[i].first},
                            {"reference_first", rate.verdicts[i].second}};
    result.records.push_back(std::move(record));
  }
}

}  // namespace

EvaluationResult evaluate_answers(const EvaluateSettings& settings, const tithe::Pretrained& pretrained,
                                  std::vector<EvaluatedPrompt> prompts, const Session& session) {
  const tithe::Encoding encoding = encoding_of(pretrained, settings.model);
  EvaluationResult result{.name = settings.judge.empty() ? "exact_match" : "win_rate"};
  std::int64_t positions = pretrained.positions().value();
  if (settings.max_length > 0) positions = std::min(positions, settings.max_length);
  encode_prompts(prompts, settings, encoding, positions, result);
  const KeptSamples samples = sample_answers(settings, pretrained, encoding, prompts, positions, session);
  result.interrupted = samples.size() < prompts.size();
  if (result.interrupted) return result;
  if (settings.judge.empty()) {
    match_answers(settings, prompts, samples, result);
  } else {
    judge_answers(settings, prompts, samples, session, result);
    result.interrupted = session.stop.stop_requested();
  }
  std::vector<double> cut;
  for (const auto& some : samples) {
    const auto unfinished = std::ranges::count(some, "length", &KeptSample::finish);
    cut.push_back(static_cast<double>(unfinished) / static_cast<double>(some.size()));
  }
  result.figures.push_back(tithe::share_estimate("unfinished", cut, settings.bootstrap()));
  result.settings = {{"temperature", settings.greedy ? 0 : settings.sampling.temperature},
                     {"top_p", settings.greedy ? 1 : settings.sampling.top_p},
                     {"seed", settings.seed},
                     {"samples", settings.samples},
                     {"max_new_tokens", settings.max_new_tokens}};
  if (!settings.stop.empty()) result.settings["stop"] = settings.stop;
  if (settings.judge.empty()) {
    result.settings["extract"] = settings.extract;
  } else {
    result.settings["judge"] = settings.judge;
  }
  return result;
}

}  // namespace program
