// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every misuse of a probe. Without a case the file compiles: each case changes one thing.
#include <string>
#include <vector>

#include "tithe/evaluate/probes/probe.hpp"
#include "tithe/model/padded_model.hpp"

namespace tithe {

struct MeanPrompt {
#ifdef CASE_RETURNS_A_NUMBER
  double operator()(const Probed& probed) const { return static_cast<double>(probed.gold().size()); }
#else
  Estimate operator()(const Probed& probed) const { return mean_estimate("prompt", lengths(probed)); }
#endif

  static std::vector<double> lengths(const Probed& probed) {
    std::vector<double> all;
    for (const Row& row : probed.gold()) all.push_back(static_cast<double>(row.prompt.size()));
    return all;
  }
};

struct Wrapped {
  PaddedModel model;
};

std::vector<Estimate> found(const PaddedModel& model, const ProbeSet<PaddedModel>& set) {
#ifdef CASE_IS_NO_MODEL
  return probe(Wrapped{model}, set, MeanPrompt{});
#else
  return probe(Wrapped{model}.model, set, MeanPrompt{});
#endif
}

}  // namespace tithe
