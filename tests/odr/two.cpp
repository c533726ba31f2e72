// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// The same headers again: a function that lacks `inline` would now be defined twice.
#include "everything.hpp"

tithe::Digest digest_of_nothing();

int main() { return digest_of_nothing() == tithe::sha256("") ? 0 : 1; }
