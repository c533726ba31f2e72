#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_labeled.hpp: values of the losses on labelled completions and of the supervised losses, from their
formulas as printed, in 400-digit decimal arithmetic.

    python3 golden_labeled.py > golden_labeled.hpp

It shares no code with the library: KTO is 1 - 1/(1+exp(...)), BCO is -log(1/(1+exp(...))), a baseline is a loop.
"""
import textwrap
from decimal import Decimal as D, getcontext

getcontext().prec = 400  # 1 + e^-700 has 305 digits

CHOSEN = [D(2), D(-2)]  # log-ratios of the desirable rows
REJECTED = [D(-5), D("1.5")]  # and of the undesirable ones
BETA = D("0.1")
UPWARD = [D(1), D("-0.5"), D(2), D("0.3")]  # log-ratios of mismatched completions
DOWNWARD = [D(-1), D("-0.5"), D(-2), D("0.3")]
WITH_ZEROS = [D(0), D("1.5"), D(0), D("-0.25"), D(0), D(1)]
FIVE = [D(-3), D(1), D(-2), D(4), D("2.5")]


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def kto(z, desirable_weight=D(1), undesirable_weight=D(1)):
    return [desirable_weight * (1 - sigmoid(BETA * (x - z))) for x in CHOSEN] + [
        undesirable_weight * (1 - sigmoid(BETA * (z - x))) for x in REJECTED]


def mean(values):
    return sum(values) / len(values)


def mean_then_clamp(ratios):
    return max(D(0), mean(ratios))


def non_zero_mean_then_clamp(ratios):
    count = 0
    for ratio in ratios:
        count += ratio != 0
    return max(D(0), sum(ratios) / max(count, 1))


def clamp_then_mean(ratios, ranks):
    longest = (len(ratios) + ranks - 1) // ranks
    clamped = []
    while ratios:
        share, ratios = ratios[:longest], ratios[longest:]
        clamped.append(max(D(0), mean(share)))
    return mean(clamped)


def bco(before_mean, before_count):
    """The shift with this batch taken in, then the losses."""
    rewards = [BETA * x for x in CHOSEN + REJECTED]
    count = before_count + len(rewards)
    shift = (before_mean * before_count + sum(rewards)) / count
    signs = [1, 1, -1, -1]
    return shift, [-sigmoid(s * (x - shift)).ln() for s, x in zip(signs, rewards)]


def row(name, values):
    numbers = textwrap.fill(", ".join(repr(float(value)) for value in values), 104)
    print(f"inline constexpr std::array<double, {len(values)}> {name}{{")
    print(textwrap.indent(numbers, "    ") + "};")


print("// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.")
print("#pragma once\n\n#include <array>\n")
print("// clang-format off: written by golden_labeled.py; do not edit.\nnamespace tithe::test::golden {\n")
for name, ratios in [("upward", UPWARD), ("downward", DOWNWARD), ("with_zeros", WITH_ZEROS), ("five", FIVE)]:
    row(name, ratios)
    row("mean_then_clamp_" + name, [mean_then_clamp(ratios)])
    row("non_zero_mean_then_clamp_" + name, [non_zero_mean_then_clamp(ratios)])
    row("clamp_then_mean_" + name, [clamp_then_mean(ratios, ranks) for ranks in (1, 2, 3, 4, 5, 8)])
row("kto_non_zero", kto(non_zero_mean_then_clamp(WITH_ZEROS)))
row("kto_two_ranks", kto(clamp_then_mean(FIVE, 2)))
row("kto_both_weights", kto(mean_then_clamp(UPWARD), D("1.33"), D("0.8")))
row("apo_zero_unpaired", [1 - sigmoid(BETA * x) for x in CHOSEN] + [sigmoid(BETA * x) for x in REJECTED])
for name, before in [("bco_first", (D(0), 0)), ("bco_later", (D("0.75"), 12))]:
    shift, losses = bco(*before)
    row(name + "_shift", [shift])
    row(name, losses)

# Three tokens of a vocabulary of four, from logits.
LOGITS = [[D(1), D("-0.5"), D(2), D(0)], [D(0), D(0), D(0), D(0)], [D(30), D(-30), D("0.25"), D(-3)]]
TARGETS = [2, 1, 1]
EPSILON = D("0.1")
log_p = [[x - sum(v.exp() for v in logits).ln() for x in logits] for logits in LOGITS]
target = [p[t] for p, t in zip(log_p, TARGETS)]
row("token_target", target)
row("token_vocabulary_mean", [mean(p) for p in log_p])
row("dft", [-p.exp() * p for p in target])
# Each target's distribution q is epsilon / V everywhere and 1 - epsilon more at the target; the loss is its cross-entropy.
row("label_smoothed", [-sum((EPSILON / 4 + (1 - EPSILON) * (v == t)) * p[v] for v in range(4))
                       for p, t in zip(log_p, TARGETS)])
print("\n}  // namespace tithe::test::golden")
