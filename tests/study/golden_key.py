#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The key of grid_test.cpp's cell, computed apart from the library: SHA-256 of JSON with sorted keys and no spaces."""
import hashlib
import json

label = {"annotation": 2_000_000_000}, {"annotation": 1_000_000_000}
decides = {
    "version": 1,
    "task": "sums",
    "pipeline": "Pipeline<SftOnly>",
    "axes": {"slip": "0"},
    "budget": {"limits": [{"unit": "money", "amount": 10_000_000_000,
                           "demonstration": 2_000_000_000, "preference": 1_000_000_000}],
               "demonstration": label[0], "preference": label[1]},
    "seed": 0,
    "identity": {"data": "1", "model": "2"},
}
print(hashlib.sha256(json.dumps(decides, sort_keys=True, separators=(",", ":")).encode()).hexdigest())
