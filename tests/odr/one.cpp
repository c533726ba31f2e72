// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Every header of the library; two.cpp is the other half.
#include "everything.hpp"

tithe::Digest digest_of_nothing() { return tithe::sha256(""); }
