#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the golden values of core_test.cpp's random numbers, from the published definitions in Python's integers."""
M = 2**64


def splitmix64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) % M
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % M
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % M
        yield z ^ (z >> 31)


def below(draws, bound):
    limit = M // bound * bound
    while True:
        # The rejected draws are the M mod bound smallest ones, so that what is left is a whole multiple of the bound.
        draw = next(draws)
        if draw >= M - limit:
            return draw % bound


def permutation(n, seed):
    order, draws = list(range(n)), splitmix64(seed)
    for i in range(n, 1, -1):
        j = below(draws, i)
        order[i - 1], order[j] = order[j], order[i - 1]
    return order


def derive(seed, purpose):
    for part in purpose:
        seed = next(splitmix64(seed ^ next(splitmix64(part))))
    return seed


draws = splitmix64(1234567)
print("splitmix64(1234567):", [next(draws) for _ in range(5)])
print("permutation(10, 7):", permutation(10, 7))
print("derive(1, {2, 3}):", derive(1, [2, 3]))
draws = splitmix64(5)
print("uniform of 5:", [(next(draws) >> 11) * 2.0**-53 for _ in range(2)])
