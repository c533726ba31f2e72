// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "tithe/evaluate/interval.hpp"
#include "tithe/study/gather.hpp"
#include "tithe/study/report_input.hpp"

/// Studies that nobody ran, for tests of reports. Their scores are smooth formulas with a little noise.
namespace tithe::test {

/// A number in [-1, 1) that looks random.
inline double noise_of(std::uint64_t a, std::uint64_t b) {
  SplitMix64 random{Seed{a * 1'000'003 + b}};
  return 2 * random.uniform() - 1;
}

/// Falls off for few demonstrations, as a cold start does.
inline double score_of(double demonstrations, double preferences) {
  const double warm = demonstrations / (demonstrations + 40);
  const double learnt =
      0.42 * std::log1p(demonstrations / 20) / 4 + 0.3 * warm * std::log1p(preferences / 60) / 4;
  return std::min(0.97, 0.12 + learnt);
}

struct StudySize {
  std::vector<double> budgets{30, 100, 300, 1000};
  std::vector<double> shares{0, 0.1, 0.25, 0.5, 1};
  std::vector<std::uint64_t> seeds{1, 2, 3};
  std::vector<std::string> losses{"Dpo<0.1>", "Kto<0.1>"};
  bool probes = true;
};

inline std::vector<ProbeRecord> probes_of(double share, double demonstrations, std::uint64_t seed) {
  std::vector<ProbeRecord> probes;
  for (const auto& [name, base, sft, cold, warm] :
       std::initializer_list<std::tuple<const char*, double, double, double, double>>{
           {"format", 0.02, 0.97, 0.12, 0.98},
           {"length in tokens", 14, 31, 47, 32},
           {"repetition", 0.05, 0.03, 0.31, 0.04},
           {"divergence of format tokens", 0, 1.4, 0.3, 1.6},
           {"entropy", 1.9, 0.4, 1.1, 0.38}}) {
    const double reach = demonstrations / (demonstrations + 30);
    const auto record = [&](const char* stage, double value) {
      const double seen = value * (1 + 0.04 * noise_of(seed, static_cast<std::uint64_t>(1000 * value)));
      probes.push_back({stage, {name, seen, seen * 0.96, seen * 1.04, 128}});
    };
    probes.push_back({"base", {name, base, base, base, 128}});
    if (share > 0) record("sft", base + (sft - base) * reach);
    if (share < 1) record("preference", cold + (warm - cold) * reach);
  }
  return probes;
}

inline std::vector<CellRecord> made_up_records(const StudySize& size = {}) {
  std::vector<CellRecord> records;
  for (const std::string& loss : size.losses) {
    for (const double budget : size.budgets) {
      for (const double share : size.shares) {
        for (const std::uint64_t seed : size.seeds) {
          const double demonstrations = std::round(share * budget);
          const double preferences = budget - demonstrations;
          const double sampled =
              std::clamp(score_of(demonstrations, preferences) - (loss[0] == 'K' ? 0.015 : 0) +
                             0.02 * noise_of(seed, records.size()),
                         0.01, 0.99);
          const double greedy = std::min(0.99, sampled * 1.25);
          char key[65];
          std::snprintf(key, sizeof key, "%016llx%048d",
                        static_cast<unsigned long long>(SplitMix64{Seed{records.size()}}()), 0);
          CellRecord record{
              .key = key,
              .study = "miniature",
              .task = "chained arithmetic",
              .pipeline = "Pipeline<SftFraction<" + std::to_string(share).substr(0, 4) + ">, " + loss +
                          ", FrozenSft>",
              .axes = {{"loss", loss}, {"slip", "0.1"}, {"pairs", "both verified"}},
              .budget = budget,
              .sft_share = share,
              .seed = Seed{seed},
              .demonstrations = Examples{static_cast<std::int64_t>(demonstrations)},
              .preferences = Examples{static_cast<std::int64_t>(preferences)},
              .scores = {share_estimate("accuracy, sampled", std::llround(500 * sampled), 500),
                         share_estimate("accuracy, greedy", std::llround(500 * greedy), 500)},
              .seconds = 1.5 + budget / 100,
              .machine = {{"processor", "a processor"}, {"threads", "1"}, {"LibTorch", "2.13.0"}}};
          const auto stage = [&](const char* name, double labels, double price, bool shared) {
            const Examples count{static_cast<std::int64_t>(labels)};
            const double operations = 6.0 * 106'496 * 40 * labels * 2;
            record.stages.push_back({name, count, count, price,
                                     static_cast<std::int64_t>(std::ceil(labels / 16) * 2), shared,
                                     operations * 1.02, operations});
          };
          if (demonstrations > 0) stage("sft", demonstrations, 2, loss[0] == 'K');
          if (preferences > 0) stage("preference", preferences, 1, false);
          if (size.probes) record.probes = probes_of(share, demonstrations, seed);
          records.push_back(std::move(record));
        }
      }
    }
  }
  return records;
}

inline PricedPlan priced_plan(double share, double money, double ratio) {
  const double demonstrations = std::floor(share * money / ratio);
  const double preferences = std::floor(money - ratio * demonstrations);
  return {.demonstrations = Examples{static_cast<std::int64_t>(demonstrations)},
          .preferences = Examples{static_cast<std::int64_t>(preferences)},
          .cost = Money::of(ratio * demonstrations + preferences),
          .money_share = share,
          .example_share = demonstrations / std::max(1.0, demonstrations + preferences)};
}

/// As an allocator would answer; none was asked.
inline Advice made_up_advice() {
  Advice advice{.metric = "accuracy, sampled"};
  advice.question = {.prices = {.demonstration = Money::of(2), .preference = Money::of(1)},
                     .money = Money::of(3000),
                     .kind = MetricKind::verified,
                     .base_score = 0.12};
  Recommendation& answer = advice.recommendation;
  for (int i = 0; i <= 20; ++i) {
    const PricedPlan plan = priced_plan(i / 20.0, 3000, 2);
    const double score = score_of(static_cast<double>(plan.demonstrations.value()),
                                  static_cast<double>(plan.preferences.value()));
    answer.line.push_back(
        {plan, score, {score - 0.06, std::min(1.0, score + 0.05)}, std::max(0.0, 0.77 - score)});
  }
  answer.plan = priced_plan(0.6, 3000, 2);
  answer.left = Money{};
  answer.score = answer.line[12].score;
  answer.run_80 = {answer.score - 0.07, answer.score + 0.06};
  answer.best_share_80 = {0.3, 0.9};
  answer.epsilon = 0.021;
  answer.region = {0.35, 0.8};
  answer.regret = 0.011;
  for (const auto& [name, share] :
       std::initializer_list<std::pair<const char*, double>>{{"preferences alone", 0},
                                                             {"a quarter of the labels", 0.4},
                                                             {"half of the labels", 0.667},
                                                             {"demonstrations alone", 1},
                                                             {"the study's rule of thumb", 0.25}}) {
    const LinePoint& point = answer.line[static_cast<std::size_t>(share * 20)];
    const double gain = answer.score - point.score;
    answer.rules.push_back({name,
                            priced_plan(share, 3000, 2),
                            point.regret + 0.004,
                            gain,
                            {gain - 0.006, gain + 0.006},
                            gain > 0.01 ? 0.08 : 0.44,
                            std::abs(gain) < 0.004});
  }
  answer.efficiency = {{-0.75, 0.2}, {0, 0.5}, {0.75, 0.3}};
  answer.next_pilot = Pilot{priced_plan(0.5, 400, 2), 0.03, 0.0061, true};
  answer.panels = 4;
  answer.runs = 40;
  answer.warnings = {
      "Below about a billion parameters the published studies say little of the level of scores",
      "Every score is of a single seed; two runs of one cell differ by about 0.02"};

  const auto counts = [](std::int64_t high) {
    std::vector<Examples> list{Examples{}};
    for (double count = 10; count <= static_cast<double>(high) * 1.001; count *= 1.2589254)
      list.push_back(Examples{static_cast<std::int64_t>(std::lround(count))});
    return list;
  };
  advice.surface.demonstrations = counts(3162);
  advice.surface.preferences = counts(6310);
  for (const Examples preferences : advice.surface.preferences) {
    for (const Examples demonstrations : advice.surface.demonstrations)
      advice.surface.score.push_back(
          score_of(static_cast<double>(demonstrations.value()), static_cast<double>(preferences.value())));
  }
  for (const double money : {300.0, 1000.0, 3000.0}) {
    BudgetFrontier line{.money = Money::of(money)};
    for (int i = 0; i <= 40; ++i) line.plans.push_back(priced_plan(i / 40.0, money, 2));
    advice.frontiers.push_back(std::move(line));
  }
  for (const double ratio : {1.0, 1.5, 2.0, 3.0, 5.0, 10.0}) {
    BestShareLine line{.cost_ratio = ratio};
    for (const double money : {200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0})
      line.points.push_back(
          {Money::of(money),
           priced_plan(std::clamp(1.35 - 0.1 * std::log(money) + 0.06 * std::log(ratio), 0.0, 1.0), money,
                       ratio)});
    advice.best_shares.push_back(std::move(line));
  }
  for (const CellRecord& record : made_up_records({.seeds = {1}, .losses = {"Dpo<0.1>"}, .probes = false}))
    advice.question.runs.push_back({record.demonstrations, record.preferences, record.scores[0].value});
  return advice;
}

inline ReportInput made_up_report() {
  std::vector<CellRecord> records = made_up_records();
  records[17].error = "The loss was not finite in step 12 (pairs.jsonl:204)";
  records[17].scores.clear();
  ReportInput input = report_input(std::move(records));
  input.advice = made_up_advice();
  input.reproduction = {{"tithe study --config miniature.toml --out study --jobs 2",
                         "tithe report study --prices demonstration=2,preference=1 --budget 3000"},
                        {{"tithe", "0.1.0"}}};
  return input;
}

}  // namespace tithe::test
