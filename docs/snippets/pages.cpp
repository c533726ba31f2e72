// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// What the pages of docs/ show, on a small random model; with the folder of a model as its argument also what needs one.
// It runs as a test. usage: docs_pages [MODEL]
#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>
#include <string>
#include <vector>

#include "tithe/core/random.hpp"
#include "tithe/evaluate/exact_match.hpp"
#include "tithe/evaluate/probes/probe.hpp"
#include "tithe/logprob/logprobs.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/model/adapter_file.hpp"
#include "tithe/model/generate_text.hpp"
#include "tithe/model/padded_model.hpp"
#include "tithe/model/sampled_source.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/reference/cached.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/reference/moving.hpp"
#include "tithe/report/table.hpp"
#include "tithe/schedule/sft_fraction.hpp"
#include "tithe/study/record.hpp"
#include "tithe/train/priced_on.hpp"
#include "tithe/train/stage_compute.hpp"

using namespace tithe;

namespace {

constexpr std::int64_t vocabulary = 12;  // 0 ends an answer

void expect(bool holds, const char* what) {
  if (holds) return;
  std::cerr << "docs/snippets/pages.cpp: not so: " << what << '\n';
  std::exit(1);
}

std::vector<TokenIds> some_prompts(std::size_t count, Seed seed) {
  SplitMix64 random{seed};
  std::vector<TokenIds> prompts;
  while (prompts.size() < count) {
    TokenIds prompt(5);
    for (std::int64_t& id : prompt) id = 1 + static_cast<std::int64_t>(random.below(vocabulary - 1));
    if (std::ranges::find(prompts, prompt) == prompts.end()) prompts.push_back(prompt);
  }
  return prompts;
}

/// The right answer repeats the prompt's last id.
Dataset some_data(std::size_t count, Seed seed) {
  Dataset data;
  for (const TokenIds& prompt : some_prompts(count, seed)) {
    const TokenIds right{prompt.back(), 0};
    const TokenIds wrong{prompt.back() % (vocabulary - 1) + 1, 0};
    if (data.demonstrations.size() * 4 < count) {
      data.add(Demonstration{.prompt = prompt, .completion = right});
    } else {
      data.add(PreferencePair{.prompt = prompt, .chosen = right, .rejected = wrong});
    }
  }
  return data;
}

Decoder small_model() {
  // docs: random-model
  const DecoderConfig config{.vocab_size = vocabulary,
                             .hidden_size = 32,
                             .intermediate_size = 64,
                             .num_hidden_layers = 2,
                             .num_attention_heads = 4,
                             .num_key_value_heads = 2,
                             .head_dim = 8,
                             .max_position_embeddings = 16};
  const Decoder model = Decoder::initialize(config, {.matrix_gain = 0.7, .embedding = 0.3}, Seed{1});
  // docs: end
  return model;
}

// docs: own-model
/// A model of one's own, here a table of bigrams: the next token's logits are a row for each token.
PaddedModelParts bigrams(const at::Tensor& table) {
  return {.logits =
              [table](const at::Tensor& ids) {
                return at::embedding(table, ids);
              },  // [B, L] → [B, L, vocabulary]
          .weights = {{"table", table}},
          .copy = [table] { return bigrams(table.detach().clone()); }};
}
// docs: end

void own_model() {
  // docs: use-own-model
  const at::Tensor table = at::zeros({vocabulary, vocabulary}).requires_grad_();
  const PaddedModel model{bigrams(table)};
  const auto report = Pipeline<SftFraction<0.25>, Dpo<>, FrozenSft>::Trainer(
                          model, {.vocabulary_size = vocabulary}, Tokens{16})
                          .fit(some_data(80, Seed{1}), Budget::examples(60));
  // docs: end
  expect(report.ledger.spent() == 60 && table.abs().max().item<float>() > 0,
         "a model of one's own is trained");
}

void logprobs() {
  const Decoder model = small_model();
  const Rows rows{{.prompt = {1, 2, 3}, .completions = {{4, 5, 0}, {6, 0}}, .id = "a"}};
  // docs: logprobs
  const PackedRows packed = pack(rows);  // prompts once, completions behind them, no padding
  const at::Tensor logprobs = token_logprobs(model, packed);    // [predicted tokens], float32 or wider
  const at::Tensor sums = sum_by_completion(logprobs, packed);  // [completions]
  // docs: end
  expect(logprobs.numel() == 5 && sums.numel() == 2, "one value a token, one sum a completion");
}

void on_device(const at::Device& device) {
  const Rows rows{{.prompt = {1, 2, 3}, .completions = {{4, 5, 0}, {6, 0}}, .id = "a"}};
  // docs: device
  const Decoder model = small_model().to(device);   // such as at::kCUDA
  const PackedRows packed = pack_for(model, rows);  // made on the host, sent to the model's device at once
  const at::Tensor logprobs = token_logprobs(model, packed);
  // docs: end
  expect(logprobs.device() == model.device(), "numbers are where the model is");
}

void options(const std::filesystem::path& folder) {
  const Decoder model = small_model();
  // docs: options
  RunOptions options{
      .sft = {.learning_rate = {.peak = 1e-3, .decay = LearningRateDecay::cosine, .warmup = 0.1},
              .epochs = 2},
      .preference = {.learning_rate = {.peak = 1e-4}, .batch_size = 4, .accumulate = 4},
      .seed = Seed{7},
      .held_out = some_data(40, Seed{2}),
      .checkpoint = {.folder = folder, .every = Steps{50}, .resume = true}};
  options.on_step = [](const StepRecord& step) {
    std::cout << step.stage << ' ' << step.step << '/' << step.steps << "  loss " << step.at("loss") << '\n';
  };
  using Recipe = Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>;
  const RunReport report = Recipe::Trainer(model, {.vocabulary_size = vocabulary}, Tokens{16})
                               .fit(some_data(80, Seed{1}), Budget::examples(60), options);
  std::cout << to_json(report).dump(2) << '\n';  // the run's record
  // docs: end
  expect(report.slices.at(1).training.steps == 3, "45 pairs in steps of 16");
  expect(report.after.size() == 3, "three held-out figures");
}

void stage() {
  Decoder model = small_model();
  const Pool pool{some_data(80, Seed{1}), {.vocabulary_size = vocabulary}, {.max_length = Tokens{16}}};
  const Rows rows = rows_of(pool.draw({Stage::preference, Examples{40}}, Examples{0}));
  // docs: stage
  const StageReport report = train_stage(model, PreferenceObjective{Dpo<0.1>{}, model.frozen_copy()}, rows,
                                         {.learning_rate = {.peak = 1e-3}});
  // docs: end
  expect(report.steps_done == 3, "40 rows in steps of 16");
}

void evaluation() {
  const Decoder model = small_model();
  const std::vector<TokenIds> prompts = some_prompts(50, Seed{3});
  // docs: held-out
  const HeldOut held_out =
      encode_held_out(some_data(40, Seed{2}), {.vocabulary_size = vocabulary}, {.max_length = Tokens{16}});
  for (const Estimate& figure : evaluate_held_out(model, held_out)) {
    std::cout << figure.name << ' ' << estimate_text(figure) << " of " << figure.samples << '\n';
  }
  // docs: end
  // docs: exact-match
  const auto is_right = [&](std::size_t prompt, const Generation& answer) {
    return answer.ids == TokenIds{prompts[prompt].back(), 0};
  };
  const Estimate accuracy =
      exact_match(model, prompts, is_right, {.max_new_tokens = Tokens{4}, .stop_ids = {0}});
  // docs: end
  expect(accuracy.samples == 50, "every prompt counts");
}

// docs: own-probe
/// How many different tokens an answer has.
Estimate distinct_tokens(const Probed& probed) {
  std::vector<double> counts;
  for (const Generation& answer : probed.answers()) {
    const std::set<std::int64_t> distinct(answer.ids.begin(), answer.ids.end());
    counts.push_back(static_cast<double>(distinct.size()));
  }
  return mean_estimate("distinct_tokens", counts, probed.options().bootstrap);
}
// docs: end

void probing() {
  const Decoder base = small_model();
  const auto demonstrations = [](Seed seed) {
    const Pool pool{some_data(80, seed), {.vocabulary_size = vocabulary}, {.max_length = Tokens{16}}};
    return rows_of(pool.draw({Stage::sft, Examples{20}}, Examples{0}));
  };
  const Rows training = demonstrations(Seed{1});
  const Rows held_out = demonstrations(Seed{5});
  // docs: probes
  const auto ends = [](const Row&, const Generation& answer) { return answer.ids.back() == 0; };
  const ProbeSet probe_set{base.frozen_copy(),
                           {.gold = held_out,          // prompts, each with its gold answer
                            .group = format_ids({0}),  // the end is of the format, all else is content
                            .in_format = ends,
                            .sampling = {.max_new_tokens = Tokens{4}, .stop_ids = {0}, .seed = Seed{6}}}};
  const Decoder model = base.clone();
  train_stage(model, SupervisedObjective{CrossEntropy{}}, training, {.learning_rate = {.peak = 1e-3}});
  for (const Estimate& figure : probe(model, probe_set)) {
    std::cout << figure.name << ' ' << estimate_text(figure) << '\n';
  }
  // docs: end
  // docs: use-own-probe
  const std::vector<Estimate> figures = probe(model, probe_set, probes::standard, distinct_tokens);
  // docs: end
  expect(figures.size() == 13 && figures.back().value >= 1, "own probes stand behind the library's");
}

void sampled() {
  const Decoder model = small_model();
  const Encoding encoding{.vocabulary_size = vocabulary};
  const std::vector<TokenIds> prompts = some_prompts(400, Seed{4});
  // docs: sampled
  const auto is_right = [&](std::size_t prompt, const Generation& answer) {
    return answer.ids.front() == prompts[prompt].back();
  };
  StageSources source{
      Pool{some_data(80, Seed{1}), encoding, {.max_length = Tokens{16}}},
      SampledPairs{prompts, is_right, {.generation = {.max_new_tokens = Tokens{2}, .stop_ids = {0}}}}};
  const RunReport report =
      Pipeline<SftFraction<0.25>, Dpo<0.1>, FrozenSft>::Trainer(model, encoding, Tokens{16})
          .fit(source, Budget::examples(40));
  // docs: end
  expect(report.ledger.spent() == 40, "pairs are made as they are needed");
}

void pretrained(const std::filesystem::path& folder, const std::filesystem::path& out) {
  // docs: load
  const Pretrained pretrained = load_pretrained(folder);  // config.json, model.safetensors, tokenizer.json
  save_pretrained(out, pretrained);                       // the same files
  // docs: end
  // docs: generate
  const std::vector<std::string> prompts{"Once upon a time", "One day"};
  for (const Generation& answer :
       generate(pretrained, prompts, {.sampling = Sampling::greedy(), .max_new_tokens = Tokens{20}})) {
    std::cout << answer.text << "  (log-probability " << answer.logprob() << ")\n";
  }
  // docs: end
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    expect(std::filesystem::exists(out / file), "three files are written");
  }
}

void conversations(const std::filesystem::path& folder) {
  const Pretrained pretrained = load_pretrained(folder);
  // docs: chat-format
  const auto turn = [](const std::string& name) {
    return ChatTurn{.header = {name + ":"}, .end = {SpecialToken{"</s>"}}, .after = {"\n"}};
  };
  const ChatFormat format{.name = "questions",
                          .begin = {SpecialToken{"<s>"}},
                          .user = turn("Question"),
                          .assistant = turn("Answer")};
  Encoding encoding = pretrained.encoding();
  encoding.chat = chat_encoder(format, pretrained.tokenizer);
  // docs: end
  // docs: chat-generate
  const Messages messages{{"user", "Who was Lily?"}};
  const std::vector<TokenIds> prompts{generation_prompt(messages, encoding.chat)};
  const auto answers = generate(pretrained.model, prompts,
                                {.max_new_tokens = Tokens{20}, .stop_ids = end_of_answer(encoding.chat)});
  // docs: end
  expect(
      answers.size() == 1 && pretrained.tokenizer.decode(prompts[0], DecodedTokens::all).ends_with("Answer:"),
      "a prompt ends with the opening of an answer");
}

void priced() {
  const Dataset data = some_data(80, Seed{1});
  const Encoding encoding{.vocabulary_size = vocabulary};
  // docs: priced
  using Recipe = Pipeline<SftFraction<0.25>, Dpo<0.1>, Cached<FrozenSft>>;
  const RunOptions options{.preference = {.epochs = 3}};
  const Decoder model = small_model();

  // What training on a label takes, in the mean of all labels that there are.
  const LabelCompute compute = label_compute(*trained_model_of(model), Recipe::Policies{}, options.sft.epochs,
                                             options.preference.epochs);
  const Pool pool = Pool{data, encoding, Limits{.max_length = Tokens{16}}}.shuffled(options.seed);
  const auto mean = [&](Stage stage) {
    const Slice all{stage, *pool.available(stage)};
    return compute.of_one(stage, rows_of(pool.draw(all, Examples{0})), all.count);
  };
  const StageCompute training{.demonstration = mean(Stage::sft), .preference = mean(Stage::preference)};

  // 60 labels, and no more operations than these; then by the operations of the very labels that are drawn.
  const Budget budget = Budget::examples(60).within(Compute::of(1e8), training);
  const Budget exact = priced_on(budget, SftFraction<0.25>{}, pool, compute);
  const RunReport report = Recipe::Trainer(model, encoding, Tokens{16}).fit(data, exact, options);
  const Compute spent =
      report.ledger.spent_compute(Stage::sft) + report.ledger.spent_compute(Stage::preference);
  // docs: end
  expect(spent > Compute::of(5e7) && spent <= Compute::of(1e8), "operations stay within the limit");
}

void references(const std::filesystem::path& folder) {
  const Dataset data = some_data(80, Seed{1});
  const auto passes_of_reference = [&] {
    // docs: cached
    using Recipe = Pipeline<SftFraction<0.25>, Dpo<0.1>, Cached<FrozenSft>>;
    const RunOptions options{.preference = {.epochs = 3}, .reference_cache = folder / "references"};
    const RunReport report = Recipe::Trainer(small_model(), {.vocabulary_size = vocabulary}, Tokens{16})
                                 .fit(data, Budget::examples(60), options);
    // docs: end
    return report.ledger.spent();
  };
  expect(passes_of_reference() == 60 && passes_of_reference() == 60, "log-probabilities are found again");

  // docs: moving
  const auto policies = compose(SftFraction<0.25>{}, Dpo<0.1>{}, Moving<0.6, dynamic>{.every = 64});
  // docs: end
  expect(policies.name() == "Pipeline<SftFraction<0.25>, Dpo<0.1>, Moving<0.6, 64>>", "a number at run time");
}

void adapters(const std::filesystem::path& folder) {
  const Dataset data = some_data(80, Seed{1});
  // docs: adapter
  Decoder model = small_model();
  model.add_adapter({.rank = 4, .alpha = 8, .target_modules = {"q_proj", "v_proj"}});
  using Recipe = Pipeline<SftFraction<0.25>, Dpo<0.1>, AdapterOff>;
  Recipe::Trainer(model, {.vocabulary_size = vocabulary}, Tokens{16}).fit(data, Budget::examples(60));
  save_adapter(folder, model, "small-model");  // adapter_config.json, adapter_model.safetensors

  Decoder again = small_model();
  load_adapter(again, folder);
  again.merge_adapter();  // W + s B A, and no adapter any more
  // docs: end
  const PackedRows rows = pack(Rows{{.prompt = {1, 2, 3}, .completions = {{4, 0}}}});
  const at::Tensor gap = token_logprobs(model, rows) - token_logprobs(again, rows);
  expect(gap.abs().max().item<double>() < 1e-4, "the adapters of both stages are written as one");
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("tithe-docs-pages-" + std::to_string(argc));
  std::filesystem::remove_all(folder);
  if (argc > 1 && !std::filesystem::exists(argv[1])) {
    std::cout << "SKIPPED: no " << argv[1] << '\n';
    return 77;
  }
  if (argc > 1) {
    pretrained(argv[1], folder);
    conversations(argv[1]);
  } else {
    own_model();
    logprobs();
    on_device(at::kCPU);
    options(folder);
    stage();
    priced();
    references(folder);
    adapters(folder / "adapter");
    evaluation();
    probing();
    sampled();
  }
  std::filesystem::remove_all(folder);
}
