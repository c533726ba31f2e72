// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

/// All law suites that need no LibTorch.
#include "tithe/testing/loss_laws.hpp"
#include "tithe/testing/schedule_laws.hpp"
#include "tithe/testing/violations.hpp"
