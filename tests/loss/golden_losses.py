#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_losses.hpp: values of the losses from their papers' formulas, in 400-digit decimal arithmetic.

    python3 golden_losses.py > golden_losses.hpp

It shares no code with the library: DPO is -log(1/(1+exp(-beta*margin))), KTO is 1 - 1/(1+exp(...)), as printed.
Losses on pairs are taken at the points below, from the everyday to what a float32 run may meet at its worst.
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

# Pairs: log-probabilities of chosen and rejected, under policy and reference, and their numbers of tokens.
POINTS = [[D(x) for x in point] for point in (
    ("-12", "-20", "-14", "-15", "4", "2"),  # the two of the published values
    ("-30", "-18", "-28", "-19.5", "5", "3"),
    ("-12", "-20", "-12", "-20", "4", "2"),  # policy = reference
    ("-10.25", "-11.5", "-10.5", "-11.25", "7", "3"),
    ("-11.5", "-10.25", "-11.25", "-10.5", "3", "7"),
    ("-90", "-130", "-105", "-118", "61", "74"),
    ("-500", "-1500", "-1500", "-500", "30", "40"),  # log-ratios of 1000 and -1000, both ways and together
    ("-1500", "-500", "-500", "-1500", "30", "40"),
    ("-500", "-500", "-1500", "-1500", "30", "40"),
    ("-1500", "-1500", "-500", "-500", "30", "40"),
    ("-0.5", "-80", "-0.75", "-79", "1", "60"),  # one token
    ("0", "-20", "0", "-21", "0", "5"),  # no token, on one side and on both
    ("-20", "0", "-21", "0", "5", "0"),
    ("0", "0", "0", "0", "0", "0"),
)]
MEAN_CHOSEN_TOKENS = sum(point[4] for point in POINTS) / len(POINTS)
for name, field in (("chosen", 0), ("rejected", 1), ("reference_chosen", 2), ("reference_rejected", 3),
                    ("chosen_tokens", 4), ("rejected_tokens", 5)):
    row("points_" + name, [point[field] for point in POINTS])
row("points_mean_chosen_tokens", [MEAN_CHOSEN_TOKENS])


def log_sigmoid(x):
    return sigmoid(x).ln()


def at_points(name, formula):
    """formula(c, r, |y_w|, |y_l|) with c and r the log-ratios."""
    row(name, [formula(w - u, l - v, max(n, D(1)), max(m, D(1))) for w, l, u, v, n, m in POINTS])


def smoothed(x, epsilon):
    return -(1 - epsilon) * log_sigmoid(x) - epsilon * log_sigmoid(-x)


def exo(x, epsilon):
    p, q = sigmoid(x), 1 - sigmoid(x)
    return p * (p / (1 - epsilon)).ln() + (q * (q / epsilon).ln() if q > 0 else 0)


def disco_pop(x, tau):
    m = sigmoid(x / tau)
    return (1 - m) * -log_sigmoid(x) + m * (-x).exp()


MARGIN = 1 / (2 * BETA)
at_points("dpo_at_points", lambda c, r, n, m: dpo(BETA, c - r))
at_points("conservative_dpo", lambda c, r, n, m: smoothed(BETA * (c - r), D("0.1")))
at_points("robust_dpo", lambda c, r, n, m: (D("0.9") * dpo(BETA, c - r) - D("0.1") * dpo(BETA, r - c)) / D("0.8"))
at_points("hinge", lambda c, r, n, m: max(D(0), 1 - BETA * (c - r)))
at_points("ipo_by_sum", lambda c, r, n, m: (c - r - MARGIN) ** 2)
at_points("ipo_by_length", lambda c, r, n, m: (c / n - r / m - MARGIN) ** 2)
at_points("dpo_by_length", lambda c, r, n, m: dpo(D(5), c / n - r / m))
at_points("exo", lambda c, r, n, m: exo(BETA * (c - r), D("1e-3")))
at_points("nca", lambda c, r, n, m: dpo(BETA, c) + dpo(BETA, -c) / 2 + dpo(BETA, -r) / 2)
at_points("bco_pair", lambda c, r, n, m: dpo(BETA, c) + dpo(BETA, -r))
at_points("sppo_hard", lambda c, r, n, m: (c - MARGIN) ** 2 + (r + MARGIN) ** 2)
at_points("apo_zero", lambda c, r, n, m: 1 - sigmoid(BETA * c) + sigmoid(BETA * r))
at_points("apo_down", lambda c, r, n, m: sigmoid(BETA * c) + 1 - sigmoid(BETA * (c - r)))
at_points("disco_pop", lambda c, r, n, m: disco_pop(BETA * (c - r), D("0.05")))


# Sorted as the paper prints it, by position; and each row at the place of its own rank. Without ties, which have no
# order of their own.
def coupled(name, ranked, values, epsilon):
    assert len(set(ranked)) == len(ranked) and len(set(values)) == len(values)
    losses = [smoothed(BETA * (p - q), epsilon) for p, q in zip(sorted(ranked), sorted(values))]
    row(name + "_by_position", losses)
    row(name, [losses[sorted(ranked).index(p)] for p in ranked])


BATCH = POINTS[:2] + POINTS[3:7] + [POINTS[11]]
row("batch_chosen", [w for w, l, u, v, n, m in BATCH])
row("batch_rejected", [l for w, l, u, v, n, m in BATCH])
row("batch_reference_chosen", [u for w, l, u, v, n, m in BATCH])
row("batch_reference_rejected", [v for w, l, u, v, n, m in BATCH])
coupled("aot", [w - l for w, l, u, v, n, m in BATCH], [u - v for w, l, u, v, n, m in BATCH], D("0.1"))
coupled("aot_unpaired", [w - u for w, l, u, v, n, m in BATCH], [l - v for w, l, u, v, n, m in BATCH], D("0.1"))


# Without a reference.
def log_odds(a):
    a = min(a, D("-1e-7"))  # nearer to probability 1 the policy does not go
    return (a.exp() / (1 - a.exp())).ln()


def free_at_points(name, formula):
    """formula(lp_w, lp_l, |y_w|, |y_l|, cross-entropy)"""
    row(name, [formula(w, l, max(n, D(1)), max(m, D(1)), -w / MEAN_CHOSEN_TOKENS) for w, l, _, _, n, m in POINTS])


free_at_points("sim_po", lambda w, l, n, m, nll: dpo(D(1), 2 * (w / n - l / m) - 1))
free_at_points("cpo", lambda w, l, n, m, nll: dpo(BETA, w - l) + nll)
free_at_points("cpo_smoothed", lambda w, l, n, m, nll: smoothed(BETA * (w - l), D("0.1")) + D("0.25") * nll)
free_at_points("orpo", lambda w, l, n, m, nll: nll + BETA * dpo(D(1), log_odds(w / n) - log_odds(l / m)))
print("\n}  // namespace tithe::test::golden")
