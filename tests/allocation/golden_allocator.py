#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_allocator.hpp: what the allocator must answer, by dense inverses in numpy.

    python3 golden_allocator.py > golden_allocator.hpp

It shares no code with the library: it inverts where the library factors, conditions on all observations at once where
the library takes one after another, interpolates with numpy, and bisects over every draw where the library groups them.
The scores are the published ones, by task and share, as the figure has them: a line a share, a point a budget.
"""
import math

import numpy as np

LU, LV, TAU, S0, AS, AK, AD, SN, NH = 3.324, 5.292, 66.93, .4366, .5974, .2282, .4628, .1055, 74.05
BUDGETS = [100, 500, 1000, 5000, 10000, 20000]
CURVES = {
    ("summarisation", "judged", .130): {
        1: [.327, .503, .543, .563, .578, .585], .75: [.275, .545, .578, .562, .622, .610],
        .5: [.250, .562, .628, .664, .721, .709], .25: [.260, .320, .589, .665, .727, .723],
        0: [.213, .260, .420, .537, .571, .594]},
    ("helpfulness", "judged", .353): {
        1: [.540, .621, .612, .621, .648], .75: [.576, .662, .655, .638, .663], .5: [.542, .664, .641, .688, .639],
        .25: [.508, .621, .643, .688, .700], 0: [.506, .541, .587, .634, .646]},
    ("instruction following", "verified", .341): {
        1: [.487, .561, .611, .718, .753, .817], .75: [.450, .523, .610, .767, .825, .830],
        .5: [.450, .488, .522, .777, .829, .870], .25: [.402, .480, .515, .709, .805, .867],
        0: [.400, .370, .398, .586, .668, .710]},
    ("grade-school mathematics", "verified", .155): {
        1: [.287, .472, .531, .610, .652, .657], .75: [.215, .402, .505, .620, .657, .667],
        .5: [.241, .404, .465, .627, .660, .692], .25: [.208, .279, .407, .564, .645, .700],
        0: [.193, .224, .223, .242, .284, .303]},
}
PANELS = [(name, kind, [(0, 0, base)] + [(share * n, n - share * n, score) for share, scores in curves.items()
                                         for n, score in zip(BUDGETS, scores)])
          for (name, kind, base), curves in CURVES.items()]
SHIFTS = [-1.5, -.75, 0, .75, 1.5, 2.25, 3]
SHARES = [0, .01, .02, .03, .05, .075] + [i / 20 for i in range(2, 21)]


def logit(score):
    p = np.clip(score, .01, .99)
    return np.log(p / (1 - p))


def matern(a, b):
    a, b = np.asarray(a, float), np.asarray(b, float)
    du = np.log1p(a[:, None, 0] / TAU) - np.log1p(b[None, :, 0] / TAU)
    dv = np.log1p(a[:, None, 1] / TAU) - np.log1p(b[None, :, 1] / TAU)
    r = np.sqrt(5 * ((du / LU) ** 2 + (dv / LV) ** 2))
    return (1 + r + r * r / 3) * np.exp(-r)


def noise(points):
    return SN ** 2 * (1 + NH / (np.asarray(points, float).sum(1) + 10))


class Prior:
    def __init__(self, panels):
        self.points = np.array([cell[:2] for _, _, cells in panels for cell in cells], float)
        self.z = logit(np.array([cell[2] for _, _, cells in panels for cell in cells]))
        self.kinds = np.array([kind for _, kind, cells in panels for _ in cells])
        panel = np.array([i for i, (_, _, cells) in enumerate(panels) for _ in cells])
        same = panel[:, None] == panel
        covariance = (matern(self.points, self.points) *
                      (AS ** 2 + (self.kinds[:, None] == self.kinds) * AK ** 2 + same * AD ** 2) + same * S0 ** 2 +
                      np.diag(noise(self.points)))
        self.inverse = np.linalg.inv(covariance)
        self.b = self.inverse.sum()
        self.mean = (self.inverse @ self.z).sum() / self.b
        self.weights = self.inverse @ (self.z - self.mean)
        self.inflation = (len(panels) + 1) / (len(panels) - 1)
        n = len(self.z)
        self.log_likelihood = -.5 * ((n - 1) * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1] +
                                     math.log(self.b) + (self.z - self.mean) @ self.weights)

    def new_panel(self, kind, points, shift=0.):
        points = np.asarray(points, float) * math.exp(shift)
        cross = matern(self.points, points) * (AS ** 2 + (self.kinds == kind)[:, None] * AK ** 2)
        own = matern(points, points)
        h = 1 - cross.T @ self.inverse.sum(1)
        covariance = (own * (AS ** 2 + AK ** 2 + AD ** 2) + S0 ** 2 - cross.T @ self.inverse @ cross +
                      np.outer(h, h) / self.b + (self.inflation - 1) * (own * AD ** 2 + S0 ** 2))
        return self.mean + cross.T @ self.weights, covariance


def acklam(p):
    a = [-3.969683028665376e+01, 2.209460984245205e+02, -2.759285104469687e+02, 1.383577518672690e+02,
         -3.066479806614716e+01, 2.506628277459239e+00]
    b = [-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
         -1.328068155288572e+01, 1]
    c = [-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00, -2.549732539343734e+00,
         4.374664141464968e+00, 2.938163982698783e+00]
    d = [7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00, 1]
    if p < .02425:
        q = math.sqrt(-2 * math.log(p))
        return np.polyval(c, q) / np.polyval(d, q)
    if p > 1 - .02425:
        return -acklam(1 - p)
    q = p - .5
    return q * np.polyval(a, q * q) / np.polyval(b, q * q)


GAMMA = max(root.real for root in np.roots([1] + [0] * 7 + [-1, -1]) if abs(root.imag) < 1e-12)
VARIATES = np.array([[acklam((.5 + GAMMA ** -k * i) % 1) for k in range(1, 9)] for i in range(1, 513)])
NODES = np.array([acklam((k + .5) / 64) for k in range(64)])


def factor(covariance):
    """Eight steps of Gaussian elimination of the largest remaining variance."""
    left, columns = covariance.copy(), []
    for _ in range(8):
        pivot = int(np.argmax(np.diag(left)))
        if left[pivot, pivot] < 1e-12:
            break
        column = left[:, pivot] / math.sqrt(left[pivot, pivot])
        left = left - np.outer(column, column)
        left[pivot, pivot] = -1
        columns.append(column)
    return np.array(columns + [np.zeros(len(covariance))] * (8 - len(columns))).T


def believe(prior, kind, rho, money, points, base, runs):
    """For each shift: its weight, and mean and covariance at the points, given all that was seen."""
    typical = 2 * money / (1 + rho)
    seen = [] if base is None else [(0, 0, base, noise([(0, 0)])[0])]
    for a, b, score, *seeds in runs:
        seen.append((a, b, score, noise([(a, b)])[0] / (seeds[0] if seeds else 1) * max(1, typical / (5 * (a + b))) ** 2))
    n, weights, beliefs = len(seen), [], []
    for shift in SHIFTS:
        mean, cov = prior.new_panel(kind, [s[:2] for s in seen] + [tuple(p) for p in points], shift)
        weight = -shift ** 2 / 2
        if n:
            total = cov[:n, :n] + np.diag([s[3] for s in seen])
            residual = logit(np.array([s[2] for s in seen])) - mean[:n]
            gain = np.linalg.solve(total, cov[:n]).T
            weight -= .5 * (residual @ np.linalg.solve(total, residual) + np.linalg.slogdet(total)[1])
            mean, cov = mean + gain @ residual, cov - gain @ cov[:n]
        weights.append(weight)
        beliefs.append((mean[n:], cov[n:, n:]))
    weights = np.exp(np.array(weights) - max(weights))
    return weights / weights.sum(), beliefs


def quantile(values, weights, share):
    order = np.argsort(values, kind="stable")
    return values[order][np.searchsorted(np.cumsum(weights[order]), share)]


def bisect(below, share):
    low, high = 0., 1.
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if below(math.log(middle / (1 - middle))) < share else (low, middle)
    return low


def phi(x):
    return .5 * math.erfc(-x / math.sqrt(2))


class Answer:
    def __init__(self, prior, kind, rho, money, base=None, runs=(), cells=()):
        money_of = lambda s: rho * s / (rho * s + 1 - s)
        self.shares = np.array(sorted({round(x, 6) for s in SHARES for x in (s, money_of(s))}))
        line = [(s * money / rho, (1 - s) * money) for s in self.shares]
        self.weights, beliefs = believe(prior, kind, rho, money, [*cells, *line], base, runs)
        first = len(cells)
        kept = [i for i in range(7) if self.weights[i] >= .005]
        draws = np.vstack([beliefs[i][0][first:] + VARIATES @ factor(beliefs[i][1][first:, first:]).T for i in kept])
        self.draws = 1 / (1 + np.exp(-draws))
        self.w = np.repeat(self.weights[kept], 512)
        self.w /= self.w.sum()
        self.best = self.draws.max(1)
        self.best_share = self.shares[self.draws.argmax(1)]
        self.means = self.w @ self.draws
        self.share = (self.shares[self.means.argmax()] + self.w @ self.best_share) / 2
        if 0 < self.share < money_of(.1):
            self.share = money_of(.1)
        if (1 - self.share) * money < 32:
            self.share = 1.
        self.money_of, self.rho, self.money = money_of, rho, money
        self.gradients = []
        typical = 2 * money / (1 + rho)
        for i, cell in enumerate(cells):
            variance, total = noise([cell])[0] * max(1, typical / (5 * sum(cell))) ** 2, 0
            for weight, (mean, cov) in zip(self.weights, beliefs):
                if weight >= .02:
                    slope = cov[first:, i] / math.sqrt(cov[i, i] + variance)
                    total += weight * ((mean[first:, None] + slope[:, None] * NODES).max(0).mean() - mean[first:].max())
            self.gradients.append(total)

    def at(self, share):
        return np.array([np.interp(share, self.shares, draw) for draw in self.draws])

    def regret(self, share):
        return self.w @ (self.best - self.at(share))

    def score(self):
        return self.w @ self.at(self.share)

    def run_80(self):
        plan = self.at(self.share)
        logits = np.log(plan / (1 - plan))
        demonstrations = math.floor(self.share * self.money / self.rho)
        labels = demonstrations + math.floor(self.money - self.rho * demonstrations)
        deviation = math.sqrt(noise([(labels, 0)])[0])
        below = lambda x: self.w @ np.array([phi((x - each) / deviation) for each in logits])
        return [bisect(below, .1), bisect(below, .9)]

    def gain(self, share):
        gain = self.at(self.share) - self.at(share)
        return [self.w @ gain, quantile(gain, self.w, .1), quantile(gain, self.w, .9), self.w @ (gain < 0)]


def predictions(prior, kind, rho, money, points, base, runs):
    """Mean, deviation and 80% interval of the surface, without draws; means by 4,000 equally likely nodes."""
    weights, beliefs = believe(prior, kind, rho, money, points, base, runs)
    nodes = np.array([acklam((k + .5) / 4000) for k in range(4000)])
    rows = []
    for i in range(len(points)):
        scores = np.array([1 / (1 + np.exp(-(m[i] + math.sqrt(c[i, i]) * nodes))) for m, c in beliefs])
        mean = weights @ scores.mean(1)
        below = lambda x: sum(w * phi((x - m[i]) / math.sqrt(c[i, i])) for w, (m, c) in zip(weights, beliefs))
        rows += [mean, math.sqrt(weights @ (scores ** 2).mean(1) - mean ** 2), bisect(below, .1), bisect(below, .9)]
    return rows


EXAMPLES = {
    "one": dict(kind="judged", rho=2, money=6000),
    "two": dict(kind="verified", rho=2, money=12000, base=.2,
                runs=[(500, 0, .43), (250, 250, .40), (100, 900, .31)],
                cells=[(1000, 0), (500, 500), (250, 750), (750, 1500)]),
}


def left_out(limit):
    """Shares for each panel, its base and its runs of up to so many examples seen, by the other three."""
    shares = []
    for i, (_, kind, cells) in enumerate(PANELS):
        prior = Prior(PANELS[:i] + PANELS[i + 1:])
        seen = [cell for cell in cells if 0 < cell[0] + cell[1] <= limit]
        for budget in BUDGETS:
            if budget > limit and any(a + b == budget for a, b, _ in cells):
                shares.append(Answer(prior, kind, 1, budget, cells[0][2], seen).share)
    return shares


def main():
    print("""// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>

// clang-format off: written by golden_allocator.py; do not edit.
namespace tithe::test::golden {
""")

    def put(name, values):
        numbers = [f"{float(value):.12g}" for value in np.ravel(values)]
        lines = [", ".join(numbers[i:i + 7]) for i in range(0, len(numbers), 7)]
        print(f"inline constexpr std::array<double, {len(numbers)}> {name}{{\n    " + ",\n    ".join(lines) + "};")

    prior = Prior(PANELS)
    put("prior", [prior.mean, prior.inflation, prior.log_likelihood])
    for name, kind, shift in (("verified_panel", "verified", 0), ("judged_panel_shifted", "judged", .75),
                              ("unknown_panel", "unknown", 0)):
        mean, cov = prior.new_panel(kind, [(1000, 0), (250, 750)], shift)
        put(name, [*mean, cov[0, 0], cov[0, 1], cov[1, 1]])
    put("first_variates", VARIATES[0])
    put("last_variates", VARIATES[-1])
    put("quantiles", [acklam(p) for p in (1e-9, .01, .02425, .1, .5, .75, .999)])
    put("shares_at_two", Answer(prior, "judged", 2, 100).shares)
    for name, given in EXAMPLES.items():
        answer = Answer(prior, **given)
        put(f"example_{name}_weights", answer.weights)
        put(f"example_{name}", [answer.share, answer.score(), *answer.run_80(), quantile(answer.best_share, answer.w, .1),
                                quantile(answer.best_share, answer.w, .9), answer.regret(answer.share)])
        rules = [0, *(x for s in (.1, .25, .5, .75) for x in (answer.money_of(s), s)), 1]
        put(f"example_{name}_regrets", [answer.regret(share) for share in rules])
        put(f"example_{name}_gains", [answer.gain(share) for share in rules])
    put("example_two_gradients", Answer(prior, **EXAMPLES["two"]).gradients)
    two = EXAMPLES["two"]
    put("predictions", predictions(prior, two["kind"], two["rho"], two["money"],
                                   [(0, 0), (1000, 0), (250.5, 750.25), (20000, 20000)], two["base"], two["runs"]))
    averaged = [(500, 0, .43, 5), *two["runs"][1:]]
    put("averaged_run_shares", [Answer(prior, **{**two, "runs": runs}).share for runs in (two["runs"], averaged)])
    put("by_schedule", [Answer(prior, kind, rho, money).share for kind in ("judged", "verified")
                        for rho in (1, 2, 5, 10) for money in (200, 500, 1000, 2000, 5000, 10000, 20000)])
    put("left_out_without_runs", left_out(0))
    put("left_out_with_runs_of_1000", left_out(1000))
    put("left_out_with_runs_of_5000", left_out(5000))
    print("\n}  // namespace tithe::test::golden")


if __name__ == "__main__":
    main()
