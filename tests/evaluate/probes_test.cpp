// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <stop_token>

#include "../counted_memory.hpp"
#include "../model/random_model.hpp"
#include "test.hpp"
#include "tithe/evaluate/probes/probe.hpp"
#include "tithe/model/padded_model.hpp"

namespace {

using namespace tithe;
using namespace tithe::test;

/// A table of logits, a row for each token that stands before; or the numbers in it.
using Table = std::vector<std::vector<double>>;

at::Tensor tensor_of(const Table& table) {
  at::Tensor all = at::zeros({std::ssize(table), std::ssize(table[0])}, at::kDouble);
  for (std::size_t i = 0; i < table.size(); ++i) all[static_cast<std::int64_t>(i)] = at::tensor(table[i]);
  return all;
}

/// The next token depends on the one before alone, so that every figure is a sum over a table.
PaddedModelParts bigrams(const at::Tensor& table) {
  return {.logits = [table](const at::Tensor& ids) { return at::embedding(table, ids); },
          .weights = {{"table", table}},
          .copy = [table] { return bigrams(table.detach().clone()); }};
}

PaddedModel bigram_model(const Table& logits) {
  return PaddedModel{bigrams(tensor_of(logits).requires_grad_())};
}

/// log p of what follows each token.
Table log_softmax(Table logits) {
  for (auto& row : logits) {
    double sum = 0;
    for (const double logit : row) sum += std::exp(logit);
    for (double& logit : row) logit -= std::log(sum);
  }
  return logits;
}

const Table policy_logits{{0, 0, 0}, {0.5, -1, 1.5}, {-0.3, 0.2, 0.9}};
const Table base_logits{{0, 0, 0}, {-0.5, 0.1, 0.7}, {1, 0.4, -2}};

/// Token 0 ends an answer; with 1 it is of the format.
ProbeOptions bigram_options() {
  ProbeOptions options{.gold = {{.prompt = {1}, .completions = {{2, 2, 1, 0}}, .id = "a"},
                                {.prompt = {2, 2}, .completions = {{1, 1, 2}}, .id = "b"},
                                {.prompt = {1, 2}, .completions = {{2, 0}}, .id = "c"}},
                       .group = format_ids({0, 1}),
                       .in_format = [](const Row&, const Generation& answer) { return answer.ids[0] == 1; },
                       .sampling = {.max_new_tokens = Tokens{6}, .stop_ids = {0}, .seed = Seed{3}},
                       .ngram = 2};
  for (std::size_t i = 0; i < 20; ++i) options.gold.push_back(options.gold[i % 3]);
  return options;
}

ProbeOptions decoder_options(std::size_t count = 12) {
  SplitMix64 random{Seed{4}};
  ProbeOptions options{.group = format_ids({0, 1, 2, 3, 4, 5, 6}),
                       .in_format = [](const Row&, const Generation& answer) { return answer.ids[0] < 12; },
                       .sampling = {.max_new_tokens = Tokens{7}, .stop_ids = {0}, .seed = Seed{3}}};
  for (std::size_t i = 0; i < count; ++i) {
    options.gold.push_back({.prompt = random_ids(random, 1 + random.below(6), 23),
                            .completions = {random_ids(random, 2 + random.below(6), 23)},
                            .id = std::to_string(i)});
  }
  return options;
}

std::map<std::string, Estimate> by_name(const std::vector<Estimate>& estimates) {
  std::map<std::string, Estimate> named;
  for (const Estimate& estimate : estimates) named[estimate.name] = estimate;
  return named;
}

std::map<std::string, double> values_of(const std::vector<Estimate>& estimates) {
  std::map<std::string, double> values;
  for (const Estimate& estimate : estimates) values[estimate.name] = estimate.value;
  return values;
}

/// The largest difference of figures that have the same names.
double distance(const std::map<std::string, double>& a, const std::map<std::string, double>& b) {
  double largest = a.size() == b.size() ? 0 : 1e300;
  for (const auto& [name, value] : a) largest = std::max(largest, std::abs(value - b.at(name)));
  return largest;
}

/// A mean over the tokens of answers, by `of(the token before, the token)`, of those that `counts` takes.
template <class Of, class Counts>
double mean_over(const Rows& rows, Of of, Counts counts) {
  double sum = 0, tokens = 0;
  for (const Row& row : rows) {
    std::int64_t before = row.prompt.back();
    for (const std::int64_t token : row.completions[0]) {
      if (counts(token)) sum += of(static_cast<std::size_t>(before), static_cast<std::size_t>(token));
      if (counts(token)) tokens += 1;
      before = token;
    }
  }
  return sum / tokens;
}

constexpr auto all_tokens = [](std::int64_t) { return true; };
constexpr auto format_tokens = [](std::int64_t token) { return token < 2; };
constexpr auto content_tokens = [](std::int64_t token) { return token == 2; };

}  // namespace

CATCH_TEST_CASE("probes of a table of bigrams are sums over the table", "[probes]") {
  const PaddedModel policy = bigram_model(policy_logits);
  const PaddedModel base = bigram_model(base_logits);
  const ProbeSet set{base, bigram_options()};
  const auto found = by_name(probe(policy, set));

  Rows own;
  std::int64_t in_format = 0, cut_off = 0;
  double length = 0;
  const ProbedModel probed{policy, set};
  for (const Generation& answer : probed.answers()) {
    own.push_back({.prompt = set.options().gold[own.size()].prompt, .completions = {answer.ids}});
    in_format += answer.ids[0] == 1;
    cut_off += answer.ids.back() != 0;
    length += static_cast<double>(answer.ids.size());
  }
  const auto n = static_cast<double>(own.size());
  CATCH_REQUIRE((in_format > 0 && cut_off > 0 && own.size() == 23));
  CATCH_CHECK(found.at("format").value == Approx(static_cast<double>(in_format) / n).epsilon(1e-14));
  CATCH_CHECK(found.at("length").value == Approx(length / n).epsilon(1e-14));
  CATCH_CHECK(found.at("length/cut_off").value == Approx(static_cast<double>(cut_off) / n).epsilon(1e-14));

  const Table p = log_softmax(policy_logits), q = log_softmax(base_logits);
  const auto divergence = [&](std::size_t before, std::size_t) {
    double sum = 0;
    for (std::size_t v = 0; v < 3; ++v) sum += std::exp(p[before][v]) * (p[before][v] - q[before][v]);
    return sum;
  };
  const auto entropy = [&](std::size_t before, std::size_t) {
    double sum = 0;
    for (std::size_t v = 0; v < 3; ++v) sum -= std::exp(p[before][v]) * p[before][v];
    return sum;
  };
  const auto logprob = [&](std::size_t before, std::size_t token) { return p[before][token]; };
  const auto agrees = [&](const char* name, double expected) {
    CATCH_INFO(name);
    CATCH_CHECK(std::abs(found.at(name).value - expected) < 1e-10);  // float64: what the project promises
    CATCH_CHECK(found.at(name).samples == 23);
  };
  agrees("kl", mean_over(own, divergence, all_tokens));
  agrees("kl/format", mean_over(own, divergence, format_tokens));
  agrees("kl/content", mean_over(own, divergence, content_tokens));
  agrees("entropy", mean_over(own, entropy, all_tokens));
  agrees("logprob/own", mean_over(own, logprob, all_tokens));
  agrees("logprob/gold", mean_over(set.options().gold, logprob, all_tokens));

  // ∂ −log p(t|b) / ∂ table[b][v] = p(v|b) − [v = t].
  const auto gradient_norm = [&](auto counts) {
    double squares = 0;
    for (std::size_t b = 0; b < 3; ++b) {
      for (std::size_t v = 0; v < 3; ++v) {
        const double gradient = mean_over(
            set.options().gold,
            [&](std::size_t before, std::size_t t) { return before == b ? std::exp(p[b][v]) - (v == t) : 0; },
            counts);
        squares += gradient * gradient;
      }
    }
    return std::sqrt(squares);
  };
  agrees("grad_norm/format", gradient_norm(format_tokens));
  agrees("grad_norm/content", gradient_norm(content_tokens));
  CATCH_CHECK(found.size() == 12);

  // Means have intervals over prompts; a norm has none.
  for (const char* name : {"format", "length", "repetition", "kl", "kl/format", "entropy", "logprob/own"}) {
    CATCH_INFO(name);
    CATCH_CHECK((found.at(name).low < found.at(name).value && found.at(name).value < found.at(name).high));
  }
  CATCH_CHECK(found.at("grad_norm/format").low == found.at("grad_norm/format").high);

  // Without a grouping, and without a format.
  ProbeOptions plain = bigram_options();
  plain.group = {};
  plain.in_format = {};
  const auto whole = values_of(probe(policy, ProbeSet{base, plain}));
  CATCH_CHECK(whole.size() == 8);
  CATCH_CHECK(whole.at("kl") == found.at("kl").value);
  CATCH_CHECK(std::abs(whole.at("grad_norm") - gradient_norm(all_tokens)) < 1e-10);
}

CATCH_TEST_CASE("a uniform model has the entropy log V, and what cannot be adds nothing", "[probes]") {
  const PaddedModel uniform = bigram_model(Table(3, std::vector<double>(3, 0)));
  const ProbeSet set{uniform.frozen_copy(), bigram_options()};
  const auto found = values_of(probe(uniform, set));
  CATCH_CHECK(std::abs(found.at("entropy") - std::log(3)) < 1e-14);
  CATCH_CHECK(found.at("kl") == 0);

  constexpr double never = -std::numeric_limits<double>::infinity();
  const PaddedModel two = bigram_model(Table(3, {0, never, 0}));
  const auto halves = values_of(
      probe(two, ProbeSet{uniform.frozen_copy(), bigram_options()}, probes::entropy, probes::divergence));
  CATCH_CHECK(std::abs(halves.at("entropy") - std::log(2)) < 1e-14);
  CATCH_CHECK(std::abs(halves.at("kl") - std::log(1.5)) < 1e-14);  // ½·2·log((1/2)/(1/3))
  const auto alike = values_of(probe(two, ProbeSet{two.frozen_copy(), bigram_options()}, probes::divergence));
  CATCH_CHECK(alike.at("kl") == 0);
  const auto impossible =
      values_of(probe(uniform, ProbeSet{two.frozen_copy(), bigram_options()}, probes::divergence));
  CATCH_CHECK(impossible.at("kl") > 1e29);
}

CATCH_TEST_CASE("repetition is the share of n-grams that stood before", "[probes]") {
  using Ids = TokenIds;
  CATCH_CHECK(probes::repeated_ngrams(Ids{1, 2, 3, 1, 2, 3}, 3) == 0.25);  // 123 231 312 123
  CATCH_CHECK(probes::repeated_ngrams(Ids{1, 1, 1, 1, 1}, 2) == 0.75);
  CATCH_CHECK(probes::repeated_ngrams(Ids{1, 2, 1, 3, 1, 2}, 2) == Approx(0.2));  // 12 21 13 31 12
  CATCH_CHECK(probes::repeated_ngrams(Ids{1, 2, 3, 4}, 4) == 0);
  CATCH_CHECK(probes::repeated_ngrams(Ids{1, 1, 1}, 4) == 0);
  CATCH_CHECK(probes::repeated_ngrams(Ids{}, 1) == 0);
  CATCH_CHECK(probes::repeated_ngrams(Ids{5, 5, 6, 6}, 1) == 0.5);
}

CATCH_TEST_CASE("gradient norms are those of the dense loss", "[probes]") {
  Decoder model = random_decoder();
  ProbeOptions options = decoder_options();
  options.gold[3].unscored = {{{0, 1}}};  // its first token is read and never predicted
  options.pass.rows = 5;
  const ProbeSet set{model.frozen_copy(), options};
  const auto found = values_of(probe(model, set, probes::gradient_norm));
  CATCH_REQUIRE(found.size() == 2);

  const PackedRows rows = pack(options.gold);
  const at::Tensor logprobs = model.hidden(rows)
                                  .index_select(0, rows.predecessors)
                                  .matmul(model.head().t())
                                  .log_softmax(1)
                                  .gather(1, rows.targets.unsqueeze(1))
                                  .squeeze(1);
  const auto dense_norm = [&](const at::Tensor& counts) {
    (-logprobs * counts / counts.sum()).sum().backward({}, /*retain_graph=*/true);
    double squares = 0;
    for (const at::Tensor& gradient : take_gradients(model.parameters())) {
      squares += gradient.square().sum().item<double>();
    }
    return std::sqrt(squares);
  };
  const at::Tensor is_format = (rows.targets <= 6).to(at::kDouble);
  CATCH_CHECK(std::abs(found.at("grad_norm/format") - dense_norm(is_format)) < 1e-10);
  CATCH_CHECK(std::abs(found.at("grad_norm/content") - dense_norm(1 - is_format)) < 1e-10);

  // A head that does not learn, activations that are made again, one pass for all: the same.
  model.recompute_activations(true);
  options.pass.rows = 100;
  const auto again = values_of(probe(model, ProbeSet{model.frozen_copy(), options}, probes::gradient_norm));
  CATCH_CHECK(distance(again, found) < 1e-12);
}

CATCH_TEST_CASE("a grouping changes its own figures alone", "[probes]") {
  const Decoder model = random_decoder();
  const Decoder base = random_decoder(small_config(), 50);
  ProbeOptions options = decoder_options();
  const auto before = values_of(probe(model, ProbeSet{base.frozen_copy(), options}));
  options.group = [](const Row&, std::span<const std::int64_t> answer) {
    TokenGroups groups;
    for (const std::int64_t token : answer) {
      groups.push_back(token <= 6    ? TokenGroup::format
                       : token <= 14 ? TokenGroup::content
                                     : TokenGroup::neither);
    }
    return groups;
  };
  const auto after = values_of(probe(model, ProbeSet{base.frozen_copy(), options}));
  CATCH_REQUIRE(before.size() == after.size());
  for (const auto& [name, value] : before) {
    CATCH_INFO(name);
    const bool is_content = name == "kl/content" || name == "grad_norm/content";
    CATCH_CHECK((after.at(name) == value) != is_content);
  }
}

CATCH_TEST_CASE("probes leave model, gradients and base as they are, and say the same again", "[probes]") {
  const Decoder model = random_decoder();
  const Decoder base = random_decoder(small_config(), 50).frozen_copy();
  std::vector<at::Tensor> before, gradients;
  for (const NamedTensor& weight : model.weights()) before.push_back(weight.tensor.clone());
  for (const NamedTensor& weight : base.weights()) before.push_back(weight.tensor.clone());
  for (const NamedTensor& leaf : model.parameters()) {
    gradients.push_back(random_tensor(leaf.tensor.sizes(), 9));
    at::Tensor{leaf.tensor}.mutable_grad() = gradients.back().clone();
  }
  ProbeOptions options = decoder_options();
  const ProbeSet set{base, options};
  const std::vector<Estimate> once = probe(model, set);
  const std::vector<Estimate> twice = [&] {
    const at::NoGradGuard whatever_the_caller_holds;
    return probe(model, set);
  }();

  std::vector<at::Tensor> after, gradients_after;
  for (const NamedTensor& weight : model.weights()) after.push_back(weight.tensor);
  for (const NamedTensor& weight : base.weights()) after.push_back(weight.tensor);
  for (const NamedTensor& leaf : model.parameters()) gradients_after.push_back(leaf.tensor.grad());
  CATCH_CHECK(test::distance(before, after) == 0);
  CATCH_CHECK(test::distance(gradients, gradients_after) == 0);
  CATCH_CHECK(at::GradMode::is_enabled());

  CATCH_REQUIRE(once.size() == 12);
  CATCH_REQUIRE(twice.size() == 12);
  for (std::size_t i = 0; i < once.size(); ++i) {
    CATCH_INFO(once[i].name);
    CATCH_CHECK(once[i].name == twice[i].name);
    CATCH_CHECK((once[i].value == twice[i].value && once[i].low == twice[i].low));
    CATCH_CHECK(once[i].high == twice[i].high);
  }
  options.sampling.seed = Seed{4};
  const auto otherwise = values_of(probe(model, ProbeSet{base, options}));
  CATCH_CHECK(otherwise.at("entropy") != values_of(once).at("entropy"));  // other answers
  CATCH_CHECK(otherwise.at("logprob/gold") == values_of(once).at("logprob/gold"));
}

CATCH_TEST_CASE("what is in memory at a time changes no figure", "[probes]") {
  const Decoder base64 = random_decoder(small_config(), 50).frozen_copy();
  const Decoder model64 = random_decoder();
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const Decoder model = model64.clone(dtype);
    const Decoder base = base64.frozen_copy(dtype);
    ProbeOptions options = decoder_options();
    const auto whole = values_of(probe(model, ProbeSet{base, options}));
    options.head.workspace = Bytes{2'000};  // a few tokens, and less than one
    options.pass = {.rows = 3, .tokens = Tokens{40}};
    const auto parts = values_of(probe(model, ProbeSet{base, options}));
    options.head.workspace = Bytes{1};
    const auto single = values_of(probe(model, ProbeSet{base, options}));
    const double rounding = dtype == at::kDouble ? 1e-12 : 1e-6;
    CATCH_CHECK(distance(whole, parts) < rounding);
    CATCH_CHECK(distance(whole, single) < rounding);
  }
}

CATCH_TEST_CASE("no more logits than the workspace exist at a time", "[probes]") {
  DecoderConfig config = small_config();
  config.vocab_size = 4'001;
  const Decoder model = random_decoder(config).frozen_copy();
  const Decoder base = random_decoder(config, 50).frozen_copy();
  SplitMix64 random{Seed{1}};
  Rows rows;
  for (std::size_t i = 0; i < 20; ++i) {
    rows.push_back({.prompt = {1}, .completions = {random_ids(random, 10, 4'001)}});
  }
  const PackedRows packed = pack(rows);
  const auto peak = [&](auto&& use) {
    const CountedMemory counted;
    use();
    return counted.peak();
  };
  const std::int64_t of_states = peak([&] {
    const at::NoGradGuard no_grad;
    const auto kept = predicting_states(model, packed);
    predicting_states(base, packed);
  });
  constexpr std::int64_t workspace = 300'000;  // three tokens
  const std::int64_t of_values = 3 * 8 * packed.predicted_tokens() + 4'096;
  const auto allowed = of_states + of_values + workspace;
  const auto measured = [&](Bytes bytes) {
    return peak([&] { (void)token_divergences(model, base, packed, {.workspace = bytes}); });
  };
  CATCH_CHECK(measured(Bytes{workspace}) <= allowed);
  CATCH_CHECK(measured(Bytes{100'000'000}) > 3 * 8 * 4'001 * packed.predicted_tokens());  // all at once
}

CATCH_TEST_CASE("a model is no distance from itself, in any dtype", "[probes]") {
  for (const at::ScalarType dtype : {at::kDouble, at::kFloat, at::kBFloat16}) {
    const Decoder model = random_decoder().clone(dtype);
    const auto itself = values_of(probe(model, ProbeSet{model.frozen_copy(), decoder_options()}));
    CATCH_CHECK(itself.at("kl") == 0);
    CATCH_CHECK(itself.at("kl/content") == 0);
    const Decoder other = random_decoder(small_config(), 50).frozen_copy(dtype);
    CATCH_CHECK(values_of(probe(model, ProbeSet{other, decoder_options()})).at("kl") > 0.1);
  }
  // Of bfloat16 weights, means are of float32 values or wider: near those of the same numbers in float64.
  const Decoder narrow = random_decoder().frozen_copy(at::kBFloat16);
  const Decoder narrow_base = random_decoder(small_config(), 50).frozen_copy(at::kBFloat16);
  const PackedRows rows = pack(decoder_options().gold);
  const TokenDivergences found = token_divergences(narrow, narrow_base, rows);
  const TokenDivergences exact =
      token_divergences(narrow.frozen_copy(at::kDouble), narrow_base.frozen_copy(at::kDouble), rows);
  CATCH_CHECK(found.divergences.scalar_type() == at::kFloat);
  CATCH_CHECK(std::abs(found.divergences.mean().item<double>() - exact.divergences.mean().item<double>()) <
              0.03);  // activations have eight bits
  CATCH_CHECK(std::abs(found.entropies.mean().item<double>() - exact.entropies.mean().item<double>()) < 0.03);
}

CATCH_TEST_CASE("with an adapter the base is the model without it, until it is merged", "[probes]") {
  Decoder model = random_decoder();
  model.add_adapter({.rank = 2, .alpha = 4, .seed = Seed{1}});
  const ProbeSet set{model.without_adapter(), decoder_options()};
  CATCH_CHECK(values_of(probe(model, set)).at("kl") == 0);
  for (const NamedTensor& weight : model.adapter_weights()) {
    weight.tensor.add_(random_tensor(weight.tensor.sizes(), 3).mul_(0.3).to(weight.tensor.scalar_type()));
  }
  const auto found = values_of(probe(model, set));
  CATCH_CHECK(found.at("kl") > 1e-4);
  const auto merged = values_of(probe(Decoder{model}.clone().merge_adapter().train_all(), set));
  CATCH_CHECK(std::abs(merged.at("kl") - found.at("kl")) < 1e-6);  // the adapter is float32
  CATCH_CHECK(merged.at("grad_norm/format") >
              found.at("grad_norm/format"));  // all weights pull, not two maps' ranks

  model.renew_adapter(Seed{2});
  CATCH_CHECK(contains(thrown<OptionError>([&] { (void)probe(model, set); }).what(),
                       "memory of weights that an adapter was merged into"));
}

CATCH_TEST_CASE("a foreign module is probed as a decoder is", "[probes]") {
  const Decoder model = random_decoder();
  const Decoder base = random_decoder(small_config(), 50).frozen_copy();
  const auto padded = [](const Decoder& decoder) {
    return PaddedModel{{.logits =
                            [decoder](const at::Tensor& ids) {
                              Rows rows;
                              for (std::int64_t i = 0; i < ids.size(0); ++i) {
                                const at::Tensor row = ids.select(0, i).contiguous();
                                const auto* first = row.const_data_ptr<std::int64_t>();
                                rows.push_back(
                                    {.prompt = TokenIds(first, first + row.numel()), .completions = {}});
                              }
                              return decoder.hidden(pack(rows))
                                  .matmul(decoder.head().t())
                                  .view({ids.size(0), ids.size(1), -1});
                            },
                        .weights = decoder.parameters(),
                        .copy = {}}};
  };
  const auto expected = values_of(probe(model, ProbeSet{base, decoder_options()}));
  const auto found = values_of(probe(padded(model), ProbeSet{padded(base), decoder_options()}));
  CATCH_CHECK(distance(found, expected) < 1e-10);
  // The base may be a model of another type.
  const auto mixed = values_of(probe(padded(model), ProbeSet{base, decoder_options()}, probes::divergence));
  CATCH_CHECK(std::abs(mixed.at("kl") - expected.at("kl")) < 1e-10);
}

CATCH_TEST_CASE("a probe of one's own shares the answers, and stands beside the others", "[probes]") {
  const Decoder model = random_decoder();
  int asked = 0;
  ProbeOptions options = decoder_options();
  options.in_format = [&](const Row&, const Generation&) { return ++asked > 0; };
  const ProbeSet set{model.frozen_copy(), options};
  const auto distinct = [](const Probed& probed) {
    std::vector<double> counts;
    for (const Generation& answer : probed.answers()) {
      counts.push_back(static_cast<double>(std::set(answer.ids.begin(), answer.ids.end()).size()));
    }
    return mean_estimate("distinct", counts, probed.options().bootstrap);
  };
  const auto trained = [](const auto& probed) {
    const auto leaves = static_cast<double>(probed.model().parameters().size());
    return std::vector<Estimate>{{"leaves", leaves, leaves, leaves, 1}};
  };
  const auto found = probe(model, set, trained, probes::format, distinct);
  CATCH_REQUIRE(found.size() == 3);
  CATCH_CHECK(found[0].name == "leaves");
  CATCH_CHECK(found[0].value == static_cast<double>(model.parameters().size()));
  CATCH_CHECK((found[1].name == "format" && found[1].value == 1 && asked == 12));
  CATCH_CHECK((found[2].name == "distinct" && found[2].value > 1));
  CATCH_CHECK(probe(model, set, probes::standard, distinct).size() == 13);

  CATCH_CHECK(contains(thrown<OptionError>([&] { (void)probe(model, set, distinct, distinct); }).what(),
                       "found \"distinct\" twice"));
}

CATCH_TEST_CASE("cancelled probes find nothing", "[probes]") {
  const Decoder model = random_decoder();
  std::stop_source stop;
  ProbeOptions options = decoder_options();
  options.sampling.stop = stop.get_token();
  bool was_asked = false;
  const auto gold = [&](const Probed& probed) {
    was_asked = was_asked || probed.gold_logprobs().size() == 12;
    return Estimate{.name = "n", .samples = 1};
  };
  const ProbeSet set{model.frozen_copy(), options};
  CATCH_CHECK(probe(model, set, gold, probes::standard).size() == 13);
  CATCH_CHECK(was_asked);
  was_asked = false;
  stop.request_stop();
  CATCH_CHECK(probe(model, set, gold).empty());
  CATCH_CHECK(probe(model, set).empty());
  CATCH_CHECK(!was_asked);
}

CATCH_TEST_CASE("probes refuse what would be silently wrong", "[probes]") {
  const Decoder model = random_decoder();
  const auto refusal = [&](auto change) {
    ProbeOptions options = decoder_options();
    change(options);
    return std::string{
        thrown<OptionError>([&] { (void)probe(model, ProbeSet{model.frozen_copy(), options}); }).what()};
  };
  CATCH_CHECK(contains(refusal([](ProbeOptions& o) { o.gold.clear(); }), "held-out prompts, but found none"));
  CATCH_CHECK(contains(refusal([](ProbeOptions& o) { o.gold[2].completions.push_back({1}); }),
                       "one gold answer, of one token at least, in row \"2\", but found 2"));
  CATCH_CHECK(
      contains(refusal([](ProbeOptions& o) { o.gold[2].completions = {{}}; }), "but found an empty one"));
  CATCH_CHECK(contains(refusal([](ProbeOptions& o) { o.ngram = 0; }), "an ngram of 1 or more, but found 0"));
  CATCH_CHECK(contains(refusal([](ProbeOptions& o) {
                         o.group = [](const Row&, auto) { return TokenGroups{TokenGroup::format}; };
                       }),
                       "tokens of an answer to row \"0\", but found 1. Return one TokenGroup a token"));
  CATCH_CHECK(contains(refusal([](ProbeOptions& o) { o.sampling.batch_size = 0; }), "positive batch_size"));

  // The live model as its own base; a frozen one without anything to train; no format to look for.
  const ProbeSet live{model, decoder_options()};
  CATCH_CHECK(
      contains(thrown<OptionError>([&] { (void)probe(model, live); }).what(),
               "stays as it is while the model is trained, but found one in the memory of the model's "
               "\"embed_tokens\". Give the ProbeSet a frozen_copy()"));
  const ProbeSet set{model.frozen_copy(), decoder_options()};
  CATCH_CHECK(contains(thrown<OptionError>([&] { (void)probe(model.frozen_copy(), set); }).what(),
                       "probes::gradient_norm needs a model that is trained"));
  CATCH_CHECK(probe(model.frozen_copy(), set, probes::format, probes::divergence).size() == 4);
  ProbeOptions shapeless = decoder_options();
  shapeless.in_format = {};
  CATCH_CHECK(contains(thrown<OptionError>([&] {
                         (void)probe(model, ProbeSet{model.frozen_copy(), shapeless}, probes::format);
                       }).what(),
                       "Set ProbeOptions::in_format"));
  DecoderConfig wider = small_config();
  wider.vocab_size = 24;
  const ProbeSet other{random_decoder(wider).frozen_copy(), decoder_options()};
  CATCH_CHECK(contains(thrown<ShapeError>([&] { (void)probe(model, other); }).what(),
                       "two models of one vocabulary, but found 23 tokens and 24"));
}
