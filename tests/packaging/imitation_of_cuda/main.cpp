// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Succeeds if torch_cuda was loaded with the program, which does not name it.
#include <ATen/core/Tensor.h>
#include <ATen/ops/ones.h>
#include <dlfcn.h>

int main() {
  return at::ones({3}).numel() == 3 && dlsym(RTLD_DEFAULT, "tithe_imitation_of_cuda") != nullptr ? 0 : 1;
}
