// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
extern "C" int tithe_imitation_of_c10_cuda() { return 0; }
