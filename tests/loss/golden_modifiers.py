#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_modifiers.hpp: values of modified pair losses from the papers' formulas, in 60-digit decimal arithmetic.

    python3 golden_modifiers.py > golden_modifiers.hpp

It shares no code with the library, and starts further back: from the log-probability of each token, and for WPO from
the probabilities of a whole vocabulary of three.
"""
import textwrap
from decimal import Decimal as D, getcontext

getcontext().prec = 60
BETA = D("0.1")


def numbers(*texts):
    return [D(text) for text in texts]


# Two pairs, token by token. Their sums are -12, -30 (chosen) and -20, -18 (rejected), under the reference -14, -28 and
# -15, -19.5.
CHOSEN = [numbers("-5", "-2.25", "-4", "-0.75"), numbers("-8", "-3", "-9.5", "-6.5", "-3")]
REJECTED = [numbers("-9", "-11"), numbers("-7", "-1", "-10")]
REF_CHOSEN = [numbers("-6", "-3.5", "-2.5", "-2"), numbers("-7", "-4", "-8", "-5.25", "-3.75")]
REF_REJECTED = [numbers("-7", "-8"), numbers("-7.5", "-2", "-10")]


def sigmoid(x):
    return 1 / (1 + (-x).exp())


def dpo(margin):
    return -sigmoid(BETA * margin).ln()


def bco_pair(c, r):
    return -sigmoid(BETA * c).ln() - sigmoid(-BETA * r).ln()


def row(name, values):
    text = textwrap.fill(", ".join(repr(float(value)) for value in values), 104)
    print(f"inline constexpr std::array<double, {len(values)}> {name}{{")
    print(textwrap.indent(text, "    ") + "};")


print("// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.")
print("#pragma once\n\n#include <array>\n")
print("// clang-format off: written by golden_modifiers.py; do not edit.\nnamespace tithe::test::golden {\n")

PAIRS = list(zip(CHOSEN, REJECTED, REF_CHOSEN, REF_REJECTED))
c = [sum(w) - sum(q) for w, _, q, _ in PAIRS]
r = [sum(l) - sum(q) for _, l, _, q in PAIRS]

# Divergences, as derivatives f' of the ratio u = e^x without their constants.
SCORES = {
    "forward_kl": lambda u: -1 / u,
    "jensen_shannon": lambda u: (2 * u / (1 + u)).ln(),
    "alpha_half": lambda u: (1 - u ** D("-0.5")) / D("0.5"),
    "alpha_two": lambda u: u,
}
for name, score in SCORES.items():
    row("dpo_" + name, [dpo(score(a.exp()) - score(b.exp())) for a, b in zip(c, r)])

# Length desensitisation with alpha = 0.25.
ALPHA = D("0.25")
for name, lists in {"chosen": CHOSEN, "rejected": REJECTED, "ref_chosen": REF_CHOSEN,
                    "ref_rejected": REF_REJECTED}.items():
    shared = [min(len(w), len(l)) for w, l, _, _ in PAIRS]
    row(name + "_sum", [sum(tokens) for tokens in lists])
    row(name + "_tail", [sum(tokens[n:], D(0)) for tokens, n in zip(lists, shared)])


def desensitized(tokens, other):
    n = min(len(tokens), len(other))
    return sum(tokens[:n]) + ALPHA * sum(tokens[n:], D(0))


row("length_desensitized",
    [dpo(desensitized(w, l) - desensitized(qw, l) - desensitized(l, w) + desensitized(ql, w)) for w, l, qw, ql in PAIRS])
row("policy_length_desensitized",
    [dpo(desensitized(w, l) - sum(qw) - desensitized(l, w) + sum(ql)) for w, l, qw, ql in PAIRS])

# WPO: at each place the distribution and which token stands there; one pair, under a reference of -3 and -2.
STEPS_CHOSEN = [(numbers("0.5", "0.25", "0.25"), 0), (numbers("0.1", "0.7", "0.2"), 2)]
STEPS_REJECTED = [(numbers("0.6", "0.3", "0.1"), 1), (numbers("0.9", "0.05", "0.05"), 0), (numbers("0.2", "0.4", "0.4"), 1)]


def log_prob(steps):
    return sum(p[token].ln() for p, token in steps)


def weight(steps):
    logs = [(p[token] / sum(q * q for q in p)).ln() for p, token in steps]
    return (sum(logs) / len(logs)).exp()


row("wpo_sum", [log_prob(STEPS_CHOSEN), log_prob(STEPS_REJECTED)])
row("wpo_collision", [sum(sum(q * q for q in p).ln() for p, _ in steps) for steps in (STEPS_CHOSEN, STEPS_REJECTED)])
row("wpo_weight", [weight(STEPS_CHOSEN), weight(STEPS_REJECTED)])
row("wpo_dpo", [weight(STEPS_CHOSEN) * weight(STEPS_REJECTED)
                * dpo(log_prob(STEPS_CHOSEN) + 3 - log_prob(STEPS_REJECTED) - 2)])

# MPO: 0.8 DPO + 0.2 BCO + the mean over all chosen tokens of the cross-entropy.
tokens = sum(len(w) for w in CHOSEN)
row("mpo_mean", [D("0.8") * sum(dpo(a - b) for a, b in zip(c, r)) / 2
                 + D("0.2") * sum(bco_pair(a, b) for a, b in zip(c, r)) / 2
                 - sum(sum(w) for w in CHOSEN) / tokens])
print("\n}  // namespace tithe::test::golden")
