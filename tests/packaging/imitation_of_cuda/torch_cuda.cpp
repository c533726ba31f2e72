// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Stands in for LibTorch's torch_cuda: it needs a symbol of the CUDA libraries, which the linker cannot find.
extern "C" int cudaOfAnotherPackage();
extern "C" int tithe_imitation_of_cuda() { return cudaOfAnotherPackage(); }
