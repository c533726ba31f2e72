// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <thread>

namespace program {

/// What the program decides for the whole process, as a library must not. Call it before anything is
/// computed.
inline void set_up_torch(int threads) {
  at::set_num_threads(threads > 0 ? threads
                                  : std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  // Numbers that fade toward zero, such as Adam's averages of a token that is never seen again, would slow
  // each step.
  at::globalContext().setFlushDenormal(true);
}

}  // namespace program
