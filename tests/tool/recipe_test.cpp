// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <algorithm>
#include <string>
#include <vector>

#include "program.hpp"
#include "test.hpp"
#include "workplace.hpp"

using namespace tithe::test;

namespace {

/// Arguments of a run of two steps, one of fine-tuning and one of preferences, before `more`.
std::vector<std::string> two_steps(const Workplace& place, const std::vector<std::string>& more) {
  std::vector<std::string> words{"train",
                                 "--model",
                                 place.model,
                                 "--demonstrations",
                                 place.demonstrations,
                                 "--preferences",
                                 place.pairs,
                                 "--budget",
                                 "8",
                                 "--max-length",
                                 "40",
                                 "--threads",
                                 "1",
                                 "--force",
                                 "--out",
                                 place.out("run")};
  if (std::ranges::find(more, "--sft-count") == more.end())
    words.insert(words.end(), {"--sft-fraction", "0.5"});
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

/// The name of the pipeline without the schedule of `two_steps`.
std::string pipeline_of(const Workplace& place, const std::vector<std::string>& flags) {
  succeed(two_steps(place, flags));
  const auto steps = metrics_of(place.out("run"));
  CATCH_CHECK(steps.size() >= 2);
  for (const Json& step : steps) CATCH_CHECK(step["loss"].is_number());
  const std::string name = record_of(place.out("run"))["pipeline"];
  const std::string begin = "Pipeline<SftFraction<0.5>, ";
  return name.starts_with(begin) ? name.substr(begin.size(), name.size() - begin.size() - 1) : name;
}

}  // namespace

CATCH_TEST_CASE("tithe train: every loss, with its own defaults and under the library's name", "[tool]") {
  const Workplace place;
  const std::vector<std::pair<std::string, std::string>> losses{
      {"dpo", "Dpo<0.1>, FrozenSft"},
      {"conservative_dpo", "ConservativeDpo<0.1, 0.1>, FrozenSft"},
      {"robust_dpo", "RobustDpo<0.1, 0.1>, FrozenSft"},
      {"hinge", "Hinge<0.1>, FrozenSft"},
      {"ipo_by_sum", "IpoBySum<0.1>, FrozenSft"},
      {"ipo_by_length", "IpoByLength<0.1>, FrozenSft"},
      {"exo", "Exo<0.1, 0.001>, FrozenSft"},
      {"nca", "Nca<0.1>, FrozenSft"},
      {"bco_pair", "BcoPair<0.1>, FrozenSft"},
      {"sppo_hard", "SppoHard<0.1>, FrozenSft"},
      {"aot", "Aot<0.1, 0>, FrozenSft"},
      {"aot_unpaired", "AotUnpaired<0.1, 0>, FrozenSft"},
      {"apo_zero", "ApoZero<0.1>, FrozenSft"},
      {"apo_down", "ApoDown<0.1>, FrozenSft"},
      {"disco_pop", "DiscoPop<0.1, 0.05>, FrozenSft"},
      {"dpo_by_length", "DpoByLength<5>, FrozenSft"},
      {"sim_po", "SimPo<2, 1>"},
      {"orpo", "Orpo<0.1>"},
      {"cpo", "Cpo<0.1, 0, 1>"},
      {"sft_term", "SftTerm"},
      {"kto", "Kto<0.1, 1, 1>, FrozenSft"},
      {"apo_zero_unpaired", "ApoZeroUnpaired<0.1>, FrozenSft"},
      {"bco", "Bco<0.1>, FrozenSft"}};
  for (const auto& [flag, name] : losses) CATCH_CHECK(pipeline_of(place, {"--loss", flag}) == name);
}

CATCH_TEST_CASE("tithe train: modifiers, references, schedules and fine-tuning losses", "[tool]") {
  const Workplace place;
  struct Case {
    std::vector<std::string> flags;
    std::string pipeline;
  };
  const std::vector<Case> cases{
      {{"--loss", "sigmoid_norm", "--divergence", "alpha", "--divergence-alpha", "0.3", "--reference", "base",
        "--cache-reference"},
       "WithDivergence<DpoByLength<5>, AlphaDivergence<0.3>>, Cached<FrozenBase>"},
      {{"--divergence", "jensen_shannon", "--ld-alpha", "0.5", "--wpo", "--sft-weight", "0.2"},
       "Combined<Weighted<Wpo<LengthDesensitized<WithDivergence<Dpo<0.1>, JensenShannon>, 0.5>>, 1>, "
       "Weighted<SftTerm, 0.2>>, FrozenSft"},
      {{"--loss", "apo_zero", "--policy-ld-alpha", "0.5", "--beta", "0.3", "--reference", "moving",
        "--reference-every", "1"},
       "PolicyLengthDesensitized<ApoZero<0.3>, 0.5>, Moving<0.6, 1>"},
      {{"--loss", "sim_po", "--gamma", "0.5", "--sft-weight", "1", "--wpo"},
       "Combined<Weighted<Wpo<SimPo<2, 0.5>>, 1>, Weighted<SftTerm, 1>>"},
      {{"--loss", "orpo", "--sft-weight", "0.5"}, "Combined<Weighted<Orpo<0.1>, 1>, Weighted<SftTerm, 0.5>>"},
      {{"--loss", "kto", "--kto-baseline", "clamp_then_mean_4", "--undesirable-weight", "2", "--reference",
        "base"},
       "Kto<0.1, 1, 2, ClampThenMean<4>>, FrozenBase"},
      {{"--cache-reference", "--cache-folder", place.out("cache")}, "Dpo<0.1>, Cached<FrozenSft>"},
      {{"--sft-loss", "dft"}, "Dft, Dpo<0.1>, FrozenSft"},
      {{"--label-smoothing", "0.1", "--train-on-prompt"},
       "OnAllTokens<LabelSmoothed<0.1>>, Dpo<0.1>, FrozenSft"},
      {{"--cold-start", "6", "--interleave", "2"},
       "Pipeline<Interleaved<ColdStartFloor<6, SftFraction<0.5>>, 2>, Dpo<0.1>, FrozenSft>"},
      {{"--sft-count", "3"}, "Pipeline<SftCount<3>, Dpo<0.1>, FrozenSft>"}};
  for (const Case& good : cases) CATCH_CHECK(pipeline_of(place, good.flags) == good.pipeline);
  CATCH_CHECK(!std::filesystem::is_empty(place.out("cache")));

  // What is asked for is what runs: a fine-tuning loss on prompts has other first losses than one on completions.
  const auto first_loss = [&](const std::vector<std::string>& flags) {
    succeed(two_steps(place, flags));
    return metrics_of(place.out("run")).front()["loss"].get<double>();
  };
  const double plain = first_loss({});
  CATCH_CHECK(first_loss({"--train-on-prompt"}) != plain);
  CATCH_CHECK(first_loss({"--label-smoothing", "0.5"}) != plain);
  CATCH_CHECK(first_loss({"--label-smoothing", "0"}) ==
              Approx(plain).epsilon(1e-6));  // one formula, added up anew
  CATCH_CHECK(first_loss({"--sft-loss", "dft"}) < plain);
}

CATCH_TEST_CASE("tithe train: policies that do not go together are refused in the flags' words", "[tool]") {
  const Workplace place;
  struct Case {
    std::vector<std::string> flags;
    std::string complaint;
  };
  const std::vector<Case> cases{
      {{"--loss", "ipo"}, "choose ipo_by_sum (the paper's"},
      {{"--loss", "ppo"}, "the losses are dpo, conservative_dpo"},
      {{"--gamma", "1"}, "--gamma is no number of --loss dpo, but of sim_po"},
      {{"--loss", "sigmoid", "--epsilon", "0.1"}, "--loss dpo, but of conservative_dpo, robust_dpo, exo"},
      {{"--loss", "exo", "--epsilon", "0.5"}, "an epsilon in (0, 0.5), but is Exo<0.1, 0.5>"},
      {{"--loss", "apo_zero", "--divergence", "forward_kl"},
       "a loss that reads log-ratios alone, one of dpo"},
      {{"--divergence-alpha", "0.5"}, "and the divergence is reverse_kl"},
      {{"--loss", "ipo_by_length", "--ld-alpha", "0.5"}, "of sums that are not divided by length"},
      {{"--ld-alpha", "0.5", "--policy-ld-alpha", "0.5"}, "exclude each other"},
      {{"--loss", "aot", "--wpo"}, "--wpo does not fit --loss aot"},
      {{"--loss", "kto", "--sft-weight", "1"}, "--sft-weight does not fit --loss kto"},
      {{"--kto-baseline", "mean_then_clamp"}, "--kto-baseline is for --loss kto"},
      {{"--loss", "sim_po", "--reference", "sft"}, "sim_po compares with no reference"},
      {{"--reference", "none"}, "without one are sim_po, orpo, cpo, sft_term"},
      {{"--reference-every", "2"}, "are for --reference moving, and it is sft"},
      {{"--reference", "moving", "--reference-every", "1.5"}, "a whole number of steps"},
      {{"--reference", "moving", "--cache-reference"}, "would soon make wrong"},
      {{"--wpo", "--reference", "base"}, "for losses on pairs but aot and aot_unpaired without"},
      {{"--cache-folder", "x"}, "--cache-folder is for --cache-reference"},
      {{"--sft-count", "3", "--sft-fraction", "0.5"}, "a share of the budget or a number"},
      {{"--sft-count", "2.5"}, "a whole number of demonstrations"},
      {{"--interleave", "33"}, "from 1 to 32"},
      {{"--sft-loss", "dft", "--label-smoothing", "0.1"}, "--label-smoothing is of --sft-loss cross_entropy"},
  };
  for (const Case& bad : cases) {
    const Ended ended = run(two_steps(place, bad.flags));
    CATCH_INFO(ended.err);
    CATCH_CHECK(ended.code == 2);
    CATCH_CHECK(contains(ended.err, bad.complaint));
    CATCH_CHECK(!std::filesystem::exists(place.out("run")));
  }
  auto verdicts = two_steps(place, {"--loss", "hinge"});
  std::ranges::replace(verdicts, place.pairs, place.labeled);
  const Ended refused = run(verdicts);
  CATCH_CHECK(refused.code == 1);
  CATCH_CHECK(contains(refused.err, "preference pairs, as --loss hinge is trained on pairs"));
  std::ranges::replace(verdicts, std::string{"hinge"}, std::string{"bco"});
  succeed(verdicts);  // the accepting twin

  // Another system's name says which formula is taken; a file may give it, and a resume knows it by ours.
  write_file(place.out("study.toml"), "loss = \"simpo\"\nsft_weight = 0.5\n");
  const Ended noted = succeed(two_steps(place, {"--config", place.out("study.toml")}));
  CATCH_CHECK(contains(noted.err, "--loss simpo is sim_po here"));
  CATCH_CHECK(record_of(place.out("run"))["settings"]["gamma"] == 1);
  auto resumed = two_steps(place, {"--loss", "sim_po", "--sft-weight", "0.5", "--resume"});
  std::erase(resumed, "--force");
  CATCH_CHECK(contains(succeed(resumed).err, "nothing to resume"));
  resumed.insert(resumed.end(), {"--gamma", "2"});
  CATCH_CHECK(contains(run(resumed).err, "2.0 instead of 1.0 for gamma"));
}
