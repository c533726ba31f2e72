// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "test.hpp"
