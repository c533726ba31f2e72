#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the golden values of split_test.cpp: which prompts are held out, in Python's integers."""
import hashlib
import struct

M = 2**64


def first_draw(state):
    z = (state + 0x9E3779B97F4A7C15) % M
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % M
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % M
    return z ^ (z >> 31)


def is_held_out(content, share, seed):
    if isinstance(content, str):
        piece = b"text" + struct.pack("<Q", len(content.encode())) + content.encode()
    else:
        piece = b"ids" + struct.pack("<Q", len(content)) + b"".join(struct.pack("<Q", i) for i in content)
    prefix = int.from_bytes(hashlib.sha256(piece).digest()[:8], "big")
    derived = first_draw(seed ^ first_draw(prefix))
    return (first_draw(derived) >> 11) * 2.0**-53 < share


for seed in (0, 1):
    print(f"text, seed {seed}:", "".join(str(int(is_held_out(f"prompt {i}", 0.25, seed))) for i in range(32)))
print("ids, seed 0:", "".join(str(int(is_held_out([i, 7], 0.25, 0))) for i in range(32)))
