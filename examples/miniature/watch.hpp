// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../tithe/progress.hpp"
#include "experiment.hpp"
#include "tithe/report/table.hpp"
#include "tithe/study/record_store.hpp"
#include "tithe/study/study_folder.hpp"

/// What people are shown while processes work.
namespace miniature {

/// How a base model answers, and what it could do.
inline std::string base_line(const tithe::CellRecord& base) {
  const auto figure = [&](const std::string& name) {
    const auto found = std::ranges::find(base.scores, name, &tithe::Estimate::name);
    return found == base.scores.end() ? std::string{"?"} : tithe::fixed_text(found->value, 2);
  };
  return "base model of seed " + std::to_string(base.seed.value) + ": score " + figure("score_sampled") +
         " sampled, " + figure("score_greedy") + " greedy; begins " + figure("in_format_sampled") +
         " of its answers as demonstrations do; if they are begun for it, score " + figure("begun_greedy");
}

/// Where a study stands, from its folder alone: whoever runs the cells, nobody need be asked.
class Watch {
 public:
  Watch(const std::filesystem::path& out, const Experiment& experiment, std::vector<Seed> seeds,
        const std::vector<tithe::CellPoint>& cells)
      : folder_{out},
        experiment_{experiment},
        seeds_{std::move(seeds)},
        cells_{cells},
        store_{folder_.records()} {
    cost_ = cost_left();
    if (const std::size_t known = done(); known > 0) {
      progress_.note(std::to_string(known) + " of " + std::to_string(cells_.size()) +
                     " cells are recorded already");
    }
  }

  /// To be called now and then.
  void look() {
    const tithe::ArtifactStore parts = folder_.parts();
    for (const Seed seed : seeds_) {
      if (bases_.contains(seed) || !parts.has(experiment_.base_key(seed))) continue;
      bases_.insert(seed);
      progress_.note(base_line(experiment_.base_record(seed, parts)));
    }
    store_.refresh();
    const double left = cost_left();
    const std::string text = std::to_string(done()) + " of " + std::to_string(cells_.size()) + " cells";
    if (left == cost_) return progress_.update(text);
    const double seconds_left = std::round(seconds() * left / (cost_ - left));
    progress_.update(text + ", about " + program::duration_text(seconds_left) + " left");
  }

  /// Since the object was made.
  [[nodiscard]] double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  }
  /// Of the study's cells, in their order, those that are there.
  [[nodiscard]] std::vector<tithe::CellRecord> records() {
    store_.refresh();
    std::vector<tithe::CellRecord> records;
    for (const tithe::CellPoint& cell : cells_) {
      if (const tithe::CellRecord* record = store_.find(cell.key)) records.push_back(*record);
    }
    return records;
  }

 private:
  [[nodiscard]] std::size_t done() const {
    const auto is_done = [&](const tithe::CellPoint& cell) { return store_.find(cell.key) != nullptr; };
    return static_cast<std::size_t>(std::ranges::count_if(cells_, is_done));
  }
  [[nodiscard]] double cost_left() const {
    double left = 0;
    for (const tithe::CellPoint& cell : cells_)
      left += store_.find(cell.key) == nullptr ? experiment_.cost(cell) : 0;
    return left;
  }

  tithe::StudyFolder folder_;
  const Experiment& experiment_;
  std::vector<Seed> seeds_;
  const std::vector<tithe::CellPoint>& cells_;
  tithe::RecordStore store_;
  program::ProgressLine progress_{};
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
  std::set<Seed> bases_{};
  double cost_ = 0;  ///< of what was left at the beginning
};

}  // namespace miniature
