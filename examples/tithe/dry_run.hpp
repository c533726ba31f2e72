// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "preview.hpp"

namespace program {

/// What `tithe train --dry-run` prints: plan, ledger, tokens, steps, memory and time. `resident` are the process's bytes
/// without the model, where the system tells them; `throughput` is in operations a second.
std::string dry_run_text(const TrainSettings& settings, const RunPreview& preview,
                         std::optional<std::int64_t> resident, double throughput);

/// "1.2 GB", "34 MB".
std::string bytes_text(double bytes);

}  // namespace program
