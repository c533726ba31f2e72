// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "panel_choice.hpp"

#include <algorithm>
#include <utility>

#include "session.hpp"
#include "tithe/core/text.hpp"

namespace program {
namespace {

/// One score may be the same by chance.
bool is_same(const tithe::Panel& one, const tithe::Panel& other) {
  return (!one.name.empty() && one.name == other.name) ||
         (one.runs.size() > 1 && std::ranges::is_permutation(one.runs, other.runs));
}

}  // namespace

tithe::MetricKind kind_of(const std::string& metric) {
  if (metric == kind_name(tithe::MetricKind::judged)) return tithe::MetricKind::judged;
  if (metric == kind_name(tithe::MetricKind::verified)) return tithe::MetricKind::verified;
  return tithe::MetricKind::unknown;
}

tithe::Panel chosen_panel(const std::vector<tithe::Panel>& panels, const std::string& text) {
  std::vector<tithe::Panel> meant;
  std::string names;
  for (const tithe::Panel& panel : panels) {
    if (panel.name == text) return panel;
    names += "\n  " + tithe::in_quotes(panel.name, 200);
    if (panel.name.find(text) != std::string::npos) meant.push_back(panel);
  }
  if (meant.size() == 1) return meant.front();
  throw UsageError{(meant.empty()  ? "no panel's name holds " + tithe::in_quotes(text)
                    : text.empty() ? "a recommendation is for one panel, and the records have several"
                                   : "several panels' names hold " + tithe::in_quotes(text)) +
                   "; give --panel a part of one of these names:" + names};
}

void add_panel(std::vector<tithe::Panel>& panels, tithe::Panel added, const tithe::Panel& asked) {
  const std::string what = "--panels: " + tithe::in_quotes(added.name, 200);
  if (is_same(added, asked))
    throw UsageError{what + " is what is asked about; name finished studies of other tasks"};
  const auto known =
      std::ranges::find_if(panels, [&](const tithe::Panel& panel) { return is_same(panel, added); });
  if (known != panels.end()) {
    throw UsageError{what + " stands behind the answer already" +
                     (known->name == added.name ? "" : " as " + tithe::in_quotes(known->name, 200)) +
                     "; name each study once, each panel by its own name"};
  }
  panels.push_back(std::move(added));
}

}  // namespace program
