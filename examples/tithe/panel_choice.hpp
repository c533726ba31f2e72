// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

#include "tithe/allocation/observation.hpp"

namespace program {

/// Who scores, as --metric has it.
tithe::MetricKind kind_of(const std::string& metric);

/// The panel of a study that --panel means: that of this name, else the only one whose name holds the text, which without
/// --panel is empty. Throws UsageError, with all names, where that is none or several.
tithe::Panel chosen_panel(const std::vector<tithe::Panel>& panels, const std::string& text);

/// Adds a panel to those behind an answer for `asked`. Throws UsageError for one that is there already or that is asked
/// about itself, by its name or by its scores: it would count twice.
void add_panel(std::vector<tithe::Panel>& panels, tithe::Panel added, const tithe::Panel& asked);

}  // namespace program
