# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# Every misuse of a probe, and the sentence that it gets.
function(refuse_probe name text)
  string(TOUPPER "CASE_${name}" case)
  tithe_add_rejection("probe.${name}" evaluate/rejections.cpp "${case}" "${text}" TORCH)
endfunction()

refuse_probe(returns_a_number "returns an Estimate or a std::vector<Estimate>. Return mean_estimate(name, values).")
refuse_probe(is_no_model "the model is no LanguageModel, so it cannot be sampled from. Wrap it in a PaddedModel.")
