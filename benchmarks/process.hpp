// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstddef>
#include <ctime>
#include <fstream>
#include <string>
#include <vector>

/// What this process took, and how runs of it are summed up.
namespace bench {

/// Seconds of all its processors.
inline double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}
template <class Work>
double processor_seconds_of(Work work) {
  const double begin = processor_seconds();
  work();
  return processor_seconds() - begin;
}

/// A figure of /proc/self/status in bytes, such as "VmRSS"; Linux alone has it, elsewhere it is 0.
inline double status_bytes(const std::string& name) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name + ":")) return std::stod(line.substr(name.size() + 1)) * 1024;
  }
  return 0;
}
/// Lets "VmHWM", the peak of resident memory, begin anew.
inline void forget_peak() { std::ofstream{"/proc/self/clear_refs"} << "5"; }

/// Of an even number of values the upper one of the two in the middle; of none 0.
inline double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace bench
