#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_losses.hpp: values of the losses from their papers' formulas, in 400-digit decimal arithmetic.

    python3 golden_losses.py > golden_losses.hpp

It shares no code with the library: DPO is -log(1/(1+exp(-beta*margin))), KTO is 1 - 1/(1+exp(...)), as printed.
"""
import textwrap
from decimal import Decimal as D, getcontext

getcontext().prec = 400  # 1 + e^-700 has 305 digits

LP_W, LP_L = [D(-12), D(-30)], [D(-20), D(-18)]
REF_W, REF_L = [D(-14), D(-28)], [D(-15), D("-19.5")]
BETA = D("0.1")


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def dpo(beta, margin):
    return -sigmoid(beta * margin).ln()


def kto(beta, log_ratio, z, desirable, weight=D(1)):
    return weight * (1 - sigmoid(beta * (log_ratio - z if desirable else z - log_ratio)))


def row(name, values):
    numbers = textwrap.fill(", ".join(repr(float(value)) for value in values), 104)
    print(f"inline constexpr std::array<double, {len(values)}> {name}{{")
    print(textwrap.indent(numbers, "    ") + "};")


c = [p - r for p, r in zip(LP_W, REF_W)]
r = [p - q for p, q in zip(LP_L, REF_L)]

print("// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.")
print("#pragma once\n\n#include <array>\n")
print("// clang-format off: written by golden_losses.py; do not edit.\nnamespace tithe::test::golden {\n")
row("log_sigmoid_at", [D(x) for x in (-1000, -30, -1, 0, 1, 30, 700)])
row("log_sigmoid", [sigmoid(D(x)).ln() for x in (-1000, -30, -1, 0, 1, 30, 700)])
row("dpo", [dpo(BETA, a - b) for a, b in zip(c, r)])
# torchtune's published table: beta times margin is 0, 1, 2.
row("dpo_scaled_margin_0_1_2", [dpo(D(1), D(m)) for m in (0, 1, 2)])
row("dpo_margin_6", [dpo(BETA, D(6))])


def kto_table(name, ratios, weight=D(1)):
    z = max(D(0), sum(ratios) / len(ratios))
    losses = [kto(BETA, x, z, True, weight) for x in c] + [kto(BETA, x, z, False) for x in r]
    row(name, losses)
    row(name + "_baseline", [z])
    row(name + "_mean", [sum(losses) / len(losses)])


UPWARD = [D(1), D("-0.5"), D(2), D("0.3")]
DOWNWARD = [D(-1), D("-0.5"), D(-2), D("0.3")]
kto_table("kto", UPWARD)
kto_table("kto_weighted", UPWARD, D("1.33"))
kto_table("kto_clamped", DOWNWARD)
print("\n}  // namespace tithe::test::golden")
