#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the golden values of interval_test.cpp: Wilson's interval from its definition, the shares p for which the normal
test does not reject what was seen, |s/n - p| <= z sqrt(p (1 - p) / n), found by bisection; and a percentile bootstrap
that draws with SplitMix64, in Python's integers and exact fractions."""
from fractions import Fraction
from statistics import NormalDist

M = 2**64
Z = NormalDist().inv_cdf(0.975)


def wilson(successes, n):
    share = successes / n

    def excess(p):
        return (share - p) ** 2 - Z * Z * p * (1 - p) / n

    def root(inside, outside):
        for _ in range(200):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if excess(middle) <= 0 else (inside, middle)
        return inside

    return root(share, 0.0), root(share, 1.0)


def splitmix64(state):
    while True:
        state = (state + 0x9E3779B97F4A7C15) % M
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % M
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % M
        yield z ^ (z >> 31)


def below(draws, bound):
    while True:
        draw = next(draws)
        if draw >= M % bound:
            return draw % bound


def quantile(values, share):
    place = Fraction(share) * (len(values) - 1)
    low = int(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def bootstrap(above, below_, seed, resamples):
    draws = splitmix64(seed)
    ratios = []
    for _ in range(resamples):
        rows = [below(draws, len(above)) for _ in above]
        ratios.append(Fraction(sum(above[i] for i in rows), sum(below_[i] for i in rows)))
    ratios.sort()
    return [float(quantile(ratios, Fraction(s, 1000))) for s in (25, 975)]


def bootstrap_difference(some, others, seed, resamples):
    draws = splitmix64(seed)

    def mean(values):
        return Fraction(sum(values[below(draws, len(values))] for _ in values), len(values))

    differences = []
    for _ in range(resamples):
        first = mean(some)
        differences.append(first - mean(others))
    differences.sort()
    return [float(quantile(differences, Fraction(s, 1000))) for s in (25, 975)]


if __name__ == "__main__":
    for successes, n in [(8, 10), (1, 10), (540, 1319), (0, 5), (5, 5)]:
        print("wilson", successes, n, ["%.12f" % end for end in wilson(successes, n)])
    print("ratio", "%.12f" % (37 / 21), ["%.12f" % end for end in bootstrap([3, 14, 0, 8, 12], [2, 7, 1, 5, 6], 9, 200)])
    print("mean", ["%.12f" % end for end in bootstrap([3, 14, 0, 8, 12], [1] * 5, 9, 200)])
    print("difference", ["%.12f" % end for end in bootstrap_difference([3, 14, 0, 8, 12], [2, 7, 1], 9, 200)])
