#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the golden values of leave_one_out_test.cpp: two interpolations of one made-up panel, by SciPy.

usage: python3 tests/allocation/interpolation.py        (needs numpy and scipy)
"""
import numpy as np
from scipy.interpolate import LinearNDInterpolator, RBFInterpolator

CELLS = np.array([(0, 0, .11), (100, 0, .32), (60, 40, .27), (0, 100, .19), (1000, 0, .52), (400, 600, .61),
                  (50, 950, .48), (0, 1000, .37), (9000, 1000, .66), (3000, 7000, .74), (0, 10000, .55)])
INSIDE = np.array([(30, 20), (200, 300), (700, 150), (2000, 2000), (20, 3000)])
OUTSIDE = np.array([(20000, 10), (5000, 9000)])


def logit(p):
    return np.log(p / (1 - p))


def nearest_on_hull(u, scores, at):
    """The value at the nearest point of the hull's edges, linear along the edge."""
    from scipy.spatial import ConvexHull
    best = (np.inf, None)
    for i, j in ConvexHull(u).simplices:
        edge = u[j] - u[i]
        t = np.clip(np.dot(at - u[i], edge) / np.dot(edge, edge), 0, 1)
        best = min(best, (np.linalg.norm(at - u[i] - t * edge), (1 - t) * scores[i] + t * scores[j]))
    return best[1]


points, scores = CELLS[:, :2], CELLS[:, 2]
u = np.log1p(points / 10)
linear = LinearNDInterpolator(u, scores)
print("triangles", *(f"{v:.9f}" for v in linear(np.log1p(INSIDE / 10))))
print("outside  ", *(f"{nearest_on_hull(u, scores, np.log1p(at / 10)):.9f}" for at in OUTSIDE))
spline = RBFInterpolator(np.log1p(points), logit(scores), kernel="thin_plate_spline", smoothing=1)
everywhere = np.concatenate([INSIDE, OUTSIDE])
print("spline   ", *(f"{v:.9f}" for v in 1 / (1 + np.exp(-spline(np.log1p(everywhere))))))
