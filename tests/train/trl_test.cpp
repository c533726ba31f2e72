// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <string>

#include "test.hpp"
#include "third_party_data.hpp"
#include "tithe/loss/aot.hpp"
#include "tithe/loss/aot_unpaired.hpp"
#include "tithe/loss/apo_down.hpp"
#include "tithe/loss/apo_zero.hpp"
#include "tithe/loss/apo_zero_unpaired.hpp"
#include "tithe/loss/bco_pair.hpp"
#include "tithe/loss/combined.hpp"
#include "tithe/loss/cross_entropy.hpp"
#include "tithe/loss/dft.hpp"
#include "tithe/loss/disco_pop.hpp"
#include "tithe/loss/divergence.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/loss/dpo_by_length.hpp"
#include "tithe/loss/exo.hpp"
#include "tithe/loss/hinge.hpp"
#include "tithe/loss/ipo_by_length.hpp"
#include "tithe/loss/kto.hpp"
#include "tithe/loss/label_smoothed.hpp"
#include "tithe/loss/length_desensitized.hpp"
#include "tithe/loss/nca.hpp"
#include "tithe/loss/on_all_tokens.hpp"
#include "tithe/loss/robust_dpo.hpp"
#include "tithe/loss/sft_term.hpp"
#include "tithe/loss/sppo_hard.hpp"
#include "tithe/loss/with_divergence.hpp"
#include "tithe/loss/wpo.hpp"
#include "tithe/model/pretrained.hpp"
#include "tithe/train/stage.hpp"
#include "train/trl_recording.hpp"

// Ten full-batch steps on stories260k, held against what TRL logged of the same: trl_steps.json, made by trl_steps.py.

using namespace tithe;
using namespace tithe::test;

namespace {

using Recording = TrlRecording;
constexpr double tolerance = trl_tolerance;
constexpr double norm_tolerance = trl_norm_tolerance;

/// Repeats a run of TRL's on a model.
template <class Loss>
TrlDifferences repeat(const Recording& trl, const std::string& run, const Loss& loss, const Decoder& model,
                      const StageOptions& options) {
  if constexpr (TrainsOnDemonstrations<Loss>) {
    return repeat_trl(trl, run, model, SupervisedObjective<Loss>{loss}, options);
  } else {
    return repeat_trl(trl, run, model, PreferenceObjective{loss, model.frozen_copy()}, options);
  }
}

}  // namespace

CATCH_TEST_CASE("ten steps of each loss are those of TRL", "[train][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const Recording trl;
  const auto repeats = [&](const std::string& run, const auto& loss) {
    CATCH_CAPTURE(run);
    const TrlDifferences from_trl = repeat(trl, run, loss, load_decoder(*folder), trl.options());
    CATCH_CHECK(from_trl.loss < tolerance);
    CATCH_CHECK(from_trl.grad_norm < norm_tolerance);
  };
  repeats("sft", CrossEntropy{});
  repeats("sft/all_tokens", OnAllTokens<CrossEntropy>{});
  repeats("sft/dft", Dft{});
  repeats("sft/label_smoothing", LabelSmoothed<0.1>{});
  repeats("dpo/sigmoid", Dpo<0.1>{});
  repeats("dpo/hinge", Hinge<0.1>{});
  repeats("dpo/ipo", IpoByLength<0.1>{});
  repeats("dpo/exo_pair", Exo<0.1, 0.1>{});
  repeats("dpo/nca_pair", Nca<0.1>{});
  repeats("dpo/robust", RobustDpo<0.1, 0.1>{});
  repeats("dpo/bco_pair", BcoPair<0.1>{});
  repeats("dpo/sppo_hard", SppoHard<0.1>{});
  repeats("dpo/aot", Aot<0.1, 0.1>{});
  repeats("dpo/aot_unpaired", AotUnpaired<0.1, 0.1>{});
  repeats("dpo/apo_zero", ApoZero<0.1>{});
  repeats("dpo/apo_down", ApoDown<0.1>{});
  repeats("dpo/discopop", DiscoPop<0.1>{});
  repeats("dpo/sigmoid_norm", DpoByLength<0.1>{});
  repeats("dpo/sigmoid js", WithDivergence<Dpo<0.1>, JensenShannon>{});
  repeats("dpo/sigmoid forward_kl", WithDivergence<Dpo<0.1>, ForwardKl>{});
  repeats("dpo/sigmoid alpha", WithDivergence<Dpo<0.1>, AlphaDivergence<0.5>>{});
  repeats("dpo/hinge js", WithDivergence<Hinge<0.1>, JensenShannon>{});
  repeats("dpo/ipo js", WithDivergence<IpoByLength<0.1>, JensenShannon>{});
  repeats("dpo/sigmoid_norm forward_kl", WithDivergence<DpoByLength<0.1>, ForwardKl>{});
  repeats("dpo/sigmoid ld_alpha", LengthDesensitized<Dpo<0.1>, 0.5>{});
  repeats("dpo/sigmoid use_weighting", Wpo<Dpo<0.1>>{});
  repeats("dpo/sigmoid bco_pair sft",
          Combined<Weighted<Dpo<0.1>, 0.8>, Weighted<BcoPair<0.1>, 0.2>, Weighted<SftTerm, 1.0>>{});
  repeats("kto", Kto<0.1>{});
  repeats("kto/weights", Kto<0.1, 1.25, 0.75>{});
  repeats("kto/apo_zero_unpaired", ApoZeroUnpaired<0.1>{});
}

CATCH_TEST_CASE("a step that is not quite TRL's is told apart", "[train][third-party]") {
  const auto folder = third_party_data("stories260k");
  if (!folder) return;
  const Recording trl;
  const auto departs = [&](const std::string& run, const auto& loss, auto change) {
    CATCH_CAPTURE(run);
    StageOptions options = trl.options();
    change(options);
    const double from_trl = repeat(trl, run, loss, load_decoder(*folder), options).loss;
    CATCH_CHECK(from_trl > 5 * tolerance);
  };
  const auto as_it_is = [](StageOptions&) {};
  departs("dpo/sigmoid", Dpo<0.101>{}, as_it_is);
  departs("kto", Kto<0.101>{}, as_it_is);
  departs("kto/weights", Kto<0.1, 1.26, 0.75>{}, as_it_is);
  departs("kto", Kto<0.1>{}, [](StageOptions& options) { options.order = Order::shuffled; });
  departs("sft", CrossEntropy{}, [](StageOptions& options) { options.learning_rate.peak *= 1.01; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.weight_decay = 0; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.adam_beta1 = 0.82; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.adam_beta2 = 0.95; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.adam_epsilon *= 1.1; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.max_grad_norm *= 1.1; });
  departs("dpo/sigmoid", Dpo<0.1>{}, [](StageOptions& options) { options.max_grad_norm = 0; });
}
