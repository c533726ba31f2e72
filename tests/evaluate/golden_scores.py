#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the golden values of answer_test.cpp and score_test.cpp: pass@k in exact integers, and a paired bootstrap that
draws with SplitMix64, in exact fractions."""
from fractions import Fraction
from math import comb

from golden_intervals import below, quantile, splitmix64


def paired(first, second, weights, seed, resamples):
    """Each of first and second a list of values, with weights of their own: the difference of the weighted means."""
    draws = splitmix64(seed)

    def mean(values, weight, rows):
        return Fraction(sum(values[i] * weight[i] for i in rows), sum(weight[i] for i in rows))

    differences = []
    for _ in range(resamples):
        rows = [below(draws, len(first)) for _ in first]
        differences.append(mean(second, weights[1], rows) - mean(first, weights[0], rows))
    differences.sort()
    whole = range(len(first))
    value = mean(second, weights[1], whole) - mean(first, weights[0], whole)
    return ["%.12f" % float(x) for x in [value] + [quantile(differences, Fraction(s, 1000)) for s in (25, 975)]]


if __name__ == "__main__":
    print("pass@k", "%.12f" % float(1 - Fraction(comb(197, 100), comb(200, 100))))
    ones = [1] * 6
    print("paired", paired([3, 0, 5, 1, 4, 2], [4, 1, 5, 3, 4, 3], (ones, ones), 9, 200))
    print("weighted", paired([3, 0, 5, 1, 4, 2], [4, 1, 5, 3, 4, 3], ([2, 1, 4, 3, 2, 1], [2, 2, 4, 3, 1, 1]), 9, 200))
