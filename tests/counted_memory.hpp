// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace tithe::test {

/// Counts the bytes of tensors that one thread takes and gives back, as long as it lives.
class CountedMemory {
 public:
  CountedMemory()
      : counts_{std::make_shared<Counts>()}, guard_{c10::DebugInfoKind::PROFILER_STATE, counts_} {}

  /// Taken and not given back. What was there before and is given back makes it less.
  [[nodiscard]] std::int64_t held() const { return counts_->held; }
  /// The most that was held at a time.
  [[nodiscard]] std::int64_t peak() const { return counts_->peak; }
  /// Taken in all, given back or not.
  [[nodiscard]] std::int64_t taken() const { return counts_->taken; }

 private:
  struct Counts : c10::MemoryReportingInfoBase {
    std::int64_t held = 0;
    std::int64_t peak = 0;
    std::int64_t taken = 0;
    void reportMemoryUsage(void*, std::int64_t size, std::size_t, std::size_t, c10::Device) override {
      held += size;
      peak = std::max(peak, held);
      taken += std::max<std::int64_t>(size, 0);
    }
    [[nodiscard]] bool memoryProfilingEnabled() const override { return true; }
  };

  std::shared_ptr<Counts> counts_;
  c10::DebugInfoGuard guard_;
};

}  // namespace tithe::test
