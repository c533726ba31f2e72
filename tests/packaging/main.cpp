// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// A consumer's program: it uses tithe and a tensor, and so needs every include path and library that tithe::tithe brings.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sum.h>

#include <boost/hana/version.hpp>
#include <nlohmann/json.hpp>
#include <range/v3/view/chunk.hpp>

#include "tithe/budget/budget.hpp"

static_assert(tithe::Budget::examples(10).split(tithe::Share{0.1}).size() == 2);

int main() { return at::ones({3}).sum().item<float>() == 3.0f ? 0 : 1; }
