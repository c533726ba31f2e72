// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "recipe.hpp"

// docs: instantiation
template class tithe::PipelineTrainer<Recipe::Policies, tithe::Decoder>;
// docs: end
