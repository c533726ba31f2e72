// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// leave_one_out [--fixed] [PANELS.csv]: how good the allocator is on tasks that it never saw, next to the shares that
// people choose without it. Each published panel in turn, and each of the file's, is left out of the prior, asked about,
// and scored on two interpolations of its own cells. The hyperparameters are refitted without it; with --fixed they are
// the library's, which saw all published panels.
#include "tithe/allocation/leave_one_out.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tithe/allocation/interpolation.hpp"
#include "tithe/allocation/measured_cells.hpp"
#include "tithe/allocation/observations_csv.hpp"
#include "tithe/allocation/prior.hpp"
#include "tithe/allocation/published.hpp"
#include "tithe/allocation/recommend.hpp"
#include "tithe/allocation/refit.hpp"
#include "tithe/allocation/usual_shares.hpp"
#include "tithe/report/table.hpp"

namespace {

using tithe::KnownRuns;
using tithe::Regrets;

struct Scenario {
  const char* title;
  KnownRuns known;
  double size;
};
constexpr std::array scenarios{Scenario{"no runs", KnownRuns::none, 0},
                               Scenario{"runs for a quarter", KnownRuns::quarter, 0},
                               Scenario{"all runs ≤ 1k", KnownRuns::up_to_1000, 1'000},
                               Scenario{"all runs ≤ 5k", KnownRuns::up_to_5000, 5'000}};
constexpr std::array rules{"allocator",
                           "best constant share of labels, in hindsight",
                           "best constant share of money, in hindsight",
                           "constant chosen on the other panels",
                           "rule of thumb",
                           "best of the largest pilot row",
                           "successive halving"};

/// Mean and worst regret on the triangles, then on the spline.
using Cell = std::array<Regrets, 2>;
using Column = std::array<std::optional<Cell>, rules.size()>;

/// What was published of the same, from another program: its interpolations are alike, not equal.
const std::array<Column, scenarios.size()> published{
    Column{Cell{{{.0189, .138}, {.0155, .152}}}, Cell{{{.0211, .125}, {.0228, .110}}},
           Cell{{{.0259, .156}, {.0229, .173}}}, Cell{{{.0317, .131}, {.0317, .171}}},
           Cell{{{.0248, .158}, {.0184, .127}}}, std::nullopt, std::nullopt},
    Column{Cell{{{.0187, .138}, {.0158, .152}}}, Cell{{{.0211, .125}, {.0228, .110}}},
           Cell{{{.0259, .156}, {.0229, .173}}}, Cell{{{.0317, .131}, {.0317, .171}}},
           Cell{{{.0248, .158}, {.0184, .127}}}, Cell{{{.0416, .167}, {.0346, .166}}},
           Cell{{{.0450, .167}, {.0379, .166}}}},
    Column{Cell{{{.0115, .119}, {.0067, .070}}}, Cell{{{.0172, .125}, {.0133, .058}}},
           Cell{{{.0139, .063}, {.0122, .049}}}, Cell{{{.0171, .070}, {.0162, .065}}},
           Cell{{{.0225, .158}, {.0164, .095}}}, Cell{{{.0298, .147}, {.0279, .110}}},
           Cell{{{.0525, .165}, {.0484, .165}}}},
    Column{Cell{{{.0106, .068}, {.0057, .037}}}, Cell{{{.0121, .085}, {.0069, .036}}},
           Cell{{{.0092, .038}, {.0061, .034}}}, Cell{{{.0160, .085}, {.0118, .047}}},
           Cell{{{.0121, .085}, {.0078, .030}}}, Cell{{{.0089, .119}, {.0070, .061}}},
           Cell{{{.0230, .102}, {.0213, .077}}}}};

/// The constant share with the least mean loss by a measure.
template <class Constant, class Losses>
Constant best_constant(const Losses& losses) {
  Constant best{};
  double least = 2;
  for (int twentieths = 0; twentieths <= 20; ++twentieths) {
    const Constant constant{twentieths / 20.0};
    const double mean = tithe::regrets_of(losses(constant)).mean;
    if (mean < least) least = mean, best = constant;
  }
  return best;
}

/// The constant, of the labels or of the money, that loses least on the panels but one.
std::function<double(const tithe::LeftOutQuestion&)> chosen_without(const tithe::LeaveOneOut& judge,
                                                                    std::size_t panel) {
  const auto losses = [&](const auto& rule) { return judge.losses_without(panel, rule); };
  const auto labels = best_constant<tithe::ConstantOfLabels>(losses);
  const auto money = best_constant<tithe::ConstantOfMoney>(losses);
  if (tithe::regrets_of(losses(money)).mean < tithe::regrets_of(losses(labels)).mean) return money;
  return labels;
}

/// What each rule loses in each question, in the rules' order.
std::vector<std::vector<double>> judge_all(const tithe::LeaveOneOut& judge,
                                           const std::vector<double>& recommended,
                                           const std::vector<tithe::Panel>& panels,
                                           const Scenario& scenario) {
  const auto losses = [&](const auto& rule) { return judge.losses(rule); };
  std::vector<std::function<double(const tithe::LeftOutQuestion&)>> chosen;
  for (std::size_t p = 0; p < panels.size(); ++p) chosen.push_back(chosen_without(judge, p));
  std::vector<std::vector<double>> all(1);
  for (std::size_t i = 0; i < recommended.size(); ++i) all[0].push_back(judge.loss(i, recommended[i]));
  all.push_back(losses(best_constant<tithe::ConstantOfLabels>(losses)));
  all.push_back(losses(best_constant<tithe::ConstantOfMoney>(losses)));
  all.push_back(losses([&](const tithe::LeftOutQuestion& asked) { return chosen[asked.panel](asked); }));
  all.push_back(losses(tithe::RuleOfThumb{}));
  if (scenario.known != KnownRuns::none) {
    all.push_back(losses(tithe::BestOfLargestRow{panels, scenario.size}));
    all.push_back(losses(tithe::SuccessiveHalving{panels, scenario.size}));
  }
  return all;
}

/// In how many questions the allocator loses less than a rule, and in how many more: by what single seeds bear.
std::string won_and_lost(const std::vector<double>& allocator, const std::vector<double>& rule) {
  constexpr double difference = 0.003;
  std::size_t won = 0;
  std::size_t lost = 0;
  for (std::size_t i = 0; i < rule.size(); ++i) {
    won += allocator[i] < rule[i] - difference ? 1 : 0;
    lost += allocator[i] > rule[i] + difference ? 1 : 0;
  }
  return std::to_string(won) + " : " + std::to_string(lost);
}

std::string text_of(const Regrets& regrets) {
  return tithe::fixed_text(regrets.mean, 4) + ' ' + tithe::fixed_text(regrets.worst, 3);
}

std::vector<tithe::Prior> priors_without_each(const std::vector<tithe::Panel>& panels, bool fixed) {
  std::vector<tithe::Prior> priors;
  for (std::size_t p = 0; p < panels.size(); ++p) {
    std::vector<tithe::Panel> others = panels;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(p));
    const tithe::SurfaceHyperparameters numbers =
        fixed ? tithe::SurfaceHyperparameters{} : tithe::refitted_hyperparameters(others);
    priors.emplace_back(others, numbers);
    if (fixed) continue;
    std::cout << "without " << panels[p].name << ':';
    for (const auto member : tithe::detail::hyperparameters)
      std::cout << ' ' << tithe::fixed_text(numbers.*member, 4);
    std::cout << '\n';
  }
  return priors;
}

void validate(const std::vector<tithe::Panel>& panels, bool fixed, bool with_published) {
  std::cout
      << (fixed ? "Hyperparameters are the library's, which saw all published panels: no claim, a check.\n"
                : "Hyperparameters are refitted without the panel that is left out:\n"
                  "length of demonstrations and of preferences, offset, level, shared, by kind, by panel, "
                  "noise, "
                  "noisy labels.\n");
  const std::vector<tithe::Prior> priors = priors_without_each(panels, fixed);
  std::vector<tithe::LeaveOneOut::Surface> triangles;
  std::vector<tithe::LeaveOneOut::Surface> splines;
  for (const tithe::Panel& panel : panels) {
    triangles.emplace_back(tithe::TriangulatedSurface{panel});
    splines.emplace_back(tithe::ThinPlateSurface{panel});
  }
  tithe::Table exact{{{"measured cells only, equal prices", tithe::Align::left},
                      {"questions"},
                      {"allocator"},
                      {"best constant share"}}};
  for (std::size_t s = 0; s < scenarios.size(); ++s) {
    const Scenario& scenario = scenarios[s];
    const auto questions = tithe::left_out_questions(panels, priors, scenario.known);
    std::vector<double> recommended;
    for (const tithe::LeftOutQuestion& question : questions)
      recommended.push_back(tithe::recommended_share(priors[question.panel], question.asked).value());
    const auto on_triangles = judge_all({questions, triangles}, recommended, panels, scenario);
    const auto on_splines = judge_all({questions, splines}, recommended, panels, scenario);
    std::cout << '\n' << scenario.title << ": " << questions.size() << " questions. Mean and worst regret\n";
    tithe::Table table{{{"rule", tithe::Align::left},
                        {"triangles"},
                        {"published"},
                        {"won : lost"},
                        {"spline"},
                        {"published"},
                        {"won : lost"}}};
    for (std::size_t r = 0; r < on_triangles.size(); ++r) {
      const std::optional<Cell>& theirs = published[s][r];
      const bool known = with_published && theirs.has_value();
      table.row({rules[r], text_of(tithe::regrets_of(on_triangles[r])), known ? text_of((*theirs)[0]) : "",
                 r == 0 ? "" : won_and_lost(on_triangles[0], on_triangles[r]),
                 text_of(tithe::regrets_of(on_splines[r])), known ? text_of((*theirs)[1]) : "",
                 r == 0 ? "" : won_and_lost(on_splines[0], on_splines[r])});
    }
    std::cout << table.text();
    const auto measured = tithe::regrets_at_measured_cells(questions, recommended, panels);
    exact.row({scenario.title, std::to_string(measured.questions), tithe::fixed_text(measured.recommended, 4),
               tithe::fixed_text(measured.best_constant, 4)});
  }
  std::cout << "Triangles: linear on the Delaunay triangles of the panel's own cells in log(1 + n/10), "
               "outside of them the "
               "nearest point of one.\nSpline: thin plate of logit scores in log(1 + n), smoothed.\n"
               "Won and lost are the allocator's questions, by more than 0.003 of score; differences below "
               "that mean "
               "nothing.\n\n"
            << exact.text();
  if (with_published) std::cout << "Published: .0114 .0258, .0130 .0258, .0070 .0082, .0011 .0060.\n";
}

}  // namespace

int main(int argc, char** argv) try {
  bool fixed = false;
  std::vector<tithe::Panel> panels = tithe::published_panels();
  const std::size_t published_count = panels.size();
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--fixed") {
      fixed = true;
    } else if (word.starts_with('-')) {
      std::cerr << "usage: leave_one_out [--fixed] [PANELS.csv]\n";
      return word == "--help" ? 0 : 2;
    } else {
      for (tithe::Panel& panel : tithe::read_panels_csv(word)) panels.push_back(std::move(panel));
    }
  }
  validate(panels, fixed, panels.size() == published_count);
  return std::cout.flush() ? 0 : 1;
} catch (const std::exception& error) {
  std::cerr << "leave_one_out: " << error.what() << '\n';
  return 1;
}
