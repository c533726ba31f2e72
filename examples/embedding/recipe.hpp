// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include "tithe/loss/dpo.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/schedule/sft_fraction.hpp"

// docs: recipe
using Recipe = tithe::Pipeline<tithe::SftFraction<0.25>, tithe::Dpo<0.1>, tithe::AdapterOff>;
extern template class tithe::PipelineTrainer<Recipe::Policies, tithe::Decoder>;
// docs: end
