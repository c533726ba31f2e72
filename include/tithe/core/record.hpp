// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

/// The plain records that the parts of a run hand to each other and to observers.
namespace tithe {

/// A figure and its name in the field: "loss", "rewards/margins", "grad_norm".
struct Metric {
  std::string name;
  double value = 0;
};

/// What one optimizer step did.
struct StepRecord {
  std::int64_t slice = 0;  ///< which slice of the plan, from 0
  std::string stage{};     ///< "sft" or "preference"
  std::int64_t step = 0;   ///< of this slice, from 1
  std::int64_t steps = 0;  ///< that the slice has
  std::vector<Metric> metrics{};

  /// The value of a metric; NaN if the step has none of that name.
  [[nodiscard]] double at(std::string_view name) const {
    for (const Metric& metric : metrics) {
      if (metric.name == name) return metric.value;
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
};

/// Named means that are gathered pass by pass; a step's means are the same however its batch was cut.
class Means {
 public:
  struct Entry {
    std::string name;
    double sum = 0;
    double count = 0;
  };

  void add(std::string_view name, double sum, double count) {
    for (Entry& entry : entries_) {
      if (entry.name != name) continue;
      entry.sum += sum;
      entry.count += count;
      return;
    }
    entries_.push_back({std::string{name}, sum, count});
  }
  void add(const Means& other) {
    for (const Entry& entry : other.entries_) add(entry.name, entry.sum, entry.count);
  }

  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  /// The means in the order in which they were first named; what nothing was counted for is left out.
  [[nodiscard]] std::vector<Metric> metrics() const {
    std::vector<Metric> means;
    for (const Entry& entry : entries_) {
      if (entry.count != 0) means.push_back({entry.name, entry.sum / entry.count});
    }
    return means;
  }

 private:
  std::vector<Entry> entries_;
};

/// A figure measured on held-out data, with an interval.
struct Estimate {
  std::string name{};
  double value = 0;
  double low = 0;   ///< lower end of the 95% interval
  double high = 0;  ///< upper end
  std::int64_t samples = 0;
};

}  // namespace tithe
