// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "base_model.hpp"
#include "cell.hpp"
#include "tithe/report/table.hpp"

/// Many cells side by side.
namespace miniature {

/// What a study varies, and what it holds fixed.
struct StudyOptions {
  std::vector<std::int64_t> budgets{30, 100, 300, 1000};
  std::vector<double> sft_fractions{0, 0.1, 0.25, 0.5, 1};
  std::string loss = "dpo";
  /// Each has a base model, labels and an order of its own.
  std::vector<Seed> seeds{{1}, {2}};
  double slip = 0.1;
  Pairing pairing = Pairing::both;
  const Task* task = &task_named("arithmetic");
  std::size_t held_out = 500;
  tithe::Steps base_steps = miniature::base_steps;
  /// Cells at a time, each on a thread of its own. It changes no figure.
  std::size_t jobs = 2;
};

/// A base model as it came, and how it answers.
struct Base {
  Seed seed{};
  tithe::Decoder model;
  Scores sampled{};
  Scores greedy{};
  /// Greedy answers whose first token is given: what it could do if it answered as demonstrations do.
  tithe::Estimate told{};
  double seconds = 0;
};

/// What watches a study. Calls come from any thread, one at a time.
struct StudyHooks {
  std::function<void(const Base&)> on_base{};
  std::function<void(const CellResult&)> on_cell{};
  /// The share of the work that is done, in [0, 1], and what was last done.
  std::function<void(double share, const std::string& what)> on_progress{};
};

/// Trains and scores a base model.
inline Base make_base(const Task& task, Seed seed, tithe::Steps steps, const std::vector<TokenIds>& held_out,
                      const tithe::StageHooks& hooks) {
  const auto begun = std::chrono::steady_clock::now();
  Base base{.seed = seed, .model = train_base(task, seed, steps, hooks)};
  base.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  base.sampled = score(base.model, task, held_out, {});
  base.greedy = score(base.model, task, held_out, tithe::Sampling::greedy());
  std::vector<TokenIds> opened = held_out;
  for (TokenIds& prompt : opened) prompt.push_back(task.opening());
  tithe::GenerationOptions options = sampled({});
  options.sampling = tithe::Sampling::greedy();
  std::vector<double> scores;
  tithe::sample_completions(base.model, opened, 1, options,
                            [&](std::size_t first, std::span<const tithe::Generation> answers) {
                              for (const tithe::Generation& answer : answers) {
                                TokenIds whole{task.opening()};
                                whole.insert(whole.end(), answer.ids.begin(), answer.ids.end());
                                scores.push_back(task.score(held_out[first++], whole));
                              }
                            });
  base.told = tithe::share_estimate("told", scores);
  return base;
}

/// Runs a study. Cells share nothing but their seed's base model, which they copy.
class Study {
 public:
  explicit Study(StudyOptions options, StudyHooks hooks = {})
      : options_{std::move(options)}, hooks_{std::move(hooks)} {
    for (std::size_t seed = 0; seed < options_.seeds.size(); ++seed) {
      bases_.emplace_back();
      jobs_.push_back(
          {.seed = seed, .cost = base_step_cost * static_cast<double>(options_.base_steps.value())});
    }
    for (const std::int64_t budget : options_.budgets) {
      for (const double fraction : options_.sft_fractions) {
        for (std::size_t seed = 0; seed < options_.seeds.size(); ++seed) {
          const Cell cell{budget,        fraction,         options_.loss, options_.seeds[seed],
                          options_.slip, options_.pairing, options_.task};
          jobs_.push_back({.seed = seed, .cell = cell, .cost = cost_of(cell)});
        }
      }
    }
    // The longest first, so that no thread is left with one at the end; base models before all that need them.
    std::ranges::stable_sort(jobs_, [](const Job& a, const Job& b) {
      return a.cell.has_value() != b.cell.has_value() ? !a.cell : a.cost > b.cost;
    });
    for (const Job& job : jobs_) all_ += job.cost;
  }

  /// The results, by budget, share and seed in the options' order. Rethrows the first error after all threads ended.
  std::vector<CellResult> run() {
    const std::vector<TokenIds> held_out = distinct_prompts(*options_.task, options_.held_out, true, Seed{});
    {
      std::vector<std::jthread> threads;
      for (std::size_t i = 0; i < std::max<std::size_t>(1, options_.jobs); ++i) {
        threads.emplace_back([&] { work(held_out); });
      }
    }
    if (error_) std::rethrow_exception(error_);
    const auto place = [&](const CellResult& result) {
      const auto index = [](const auto& list, const auto& value) {
        return std::ranges::find(list, value) - list.begin();
      };
      return std::tuple{index(options_.budgets, result.cell.budget),
                        index(options_.sft_fractions, result.cell.sft_fraction),
                        index(options_.seeds, result.cell.seed)};
    };
    std::ranges::sort(results_, {}, place);
    return std::move(results_);
  }

 private:
  struct Job {
    std::size_t seed = 0;
    std::optional<Cell> cell{};  ///< none: the seed's base model
    double cost = 0;             ///< seconds on one core, about
    bool taken = false;
  };
  static constexpr double base_step_cost = 0.02;
  /// A pair is sampled, then trained on; without demonstrations answers stay short.
  static double cost_of(const Cell& cell) {
    const double per_pair = cell.sft_fraction == 0 ? 0.0028 : 0.0058;
    return 0.3 + static_cast<double>(cell.budget) *
                     (cell.sft_fraction * 0.0017 + (1 - cell.sft_fraction) * per_pair);
  }

  /// What each thread does. The settings are the thread's own: one core a cell, so that cells run side by side and give
  /// the same bits alone; no denormal numbers, which slow Adam's averages of tokens that are never seen.
  void work(const std::vector<TokenIds>& held_out) {
    at::set_num_threads(1);
    at::globalContext().setFlushDenormal(true);
    try {
      while (Job* job = next()) {
        if (job->cell) {
          CellResult result = run_cell(bases_[job->seed]->model, *job->cell, held_out, stop_.get_token());
          const std::lock_guard lock{mutex_};
          if (stop_.stop_requested()) return;
          if (hooks_.on_cell) hooks_.on_cell(result);
          advance(job->cost, std::to_string(result.cell.budget) + " labels, " +
                                 tithe::fixed_text(result.cell.sft_fraction, 2) + " SFT");
          results_.push_back(std::move(result));
        } else {
          make_base_of(*job, held_out);
        }
      }
    } catch (...) {
      const std::lock_guard lock{mutex_};
      if (!error_) error_ = std::current_exception();
      stop_.request_stop();
      changed_.notify_all();
    }
  }

  void make_base_of(const Job& job, const std::vector<TokenIds>& held_out) {
    const double per_step = job.cost / static_cast<double>(options_.base_steps.value());
    const auto count = [&](const tithe::StepRecord&) {
      const std::lock_guard lock{mutex_};
      advance(per_step, "base models");
    };
    Base base = make_base(*options_.task, options_.seeds[job.seed], options_.base_steps, held_out,
                          {.on_step = count, .stop = stop_.get_token()});
    const std::lock_guard lock{mutex_};
    if (hooks_.on_base) hooks_.on_base(base);
    bases_[job.seed] = std::move(base);
    changed_.notify_all();
  }

  /// The next job whose base model is there, waiting for it if need be; none when all are taken.
  Job* next() {
    std::unique_lock lock{mutex_};
    while (!stop_.stop_requested()) {
      bool waiting = false;
      for (Job& job : jobs_) {
        if (job.taken) continue;
        waiting = true;
        if (job.cell && !bases_[job.seed]) continue;
        job.taken = true;
        return &job;
      }
      if (!waiting) return nullptr;
      changed_.wait(lock);
    }
    return nullptr;
  }

  void advance(double cost, const std::string& what) {
    done_ += cost;
    if (hooks_.on_progress) hooks_.on_progress(done_ / all_, what);
  }

  StudyOptions options_;
  StudyHooks hooks_;
  std::vector<Job> jobs_;
  double all_ = 0;
  std::mutex mutex_;  // guards what follows, and the hooks
  std::condition_variable changed_;
  std::vector<std::optional<Base>> bases_;
  std::vector<CellResult> results_;
  std::exception_ptr error_;
  std::stop_source stop_;
  double done_ = 0;
};

}  // namespace miniature
