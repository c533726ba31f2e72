#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes the rows of include/tithe/model/tokenizer/newer_characters.hpp: the characters that the tokenizers library's
regular expressions know and Unicode 14 does not, by general category.

    make_newer_characters.py > rows

Needs a Python whose unicodedata is Unicode 14 (3.11). Made with tokenizers 0.23.3, whose engine is at Unicode 16.
"""
import sys
import unicodedata

import tokenizers

assert unicodedata.unidata_version == "14.0.0"
CATEGORIES = ["Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
              "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf"]
STEP = 0x1000


def members(category):
    """All characters of a category: those that are removed from a text of all characters."""
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"\p{%s}" % category), "removed")
    for low in range(0, 0x110000, STEP):
        if 0xD000 <= low < 0xE000:
            continue  # surrogates; what else is there is old
        text = "".join(map(chr, range(low, low + STEP)))
        kept = {low + i for _, (begin, end) in split.pre_tokenize_str(text) for i in range(begin, end)}
        yield from (c for c in range(low, low + STEP) if c not in kept)


rows = []
for category in CATEGORIES:
    for code in members(category):
        if unicodedata.category(chr(code)) == category:
            continue
        if unicodedata.category(chr(code)) != "Cn":  # it changed its category, but never its first letter
            assert unicodedata.category(chr(code))[0] == category[0], hex(code)
            print(f"changed: {code:04X} {unicodedata.category(chr(code))} {category}", file=sys.stderr)
            continue
        rows.append((code, category))
rows.sort()
ranges = []
for code, category in rows:
    if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == category:
        ranges[-1][1] = code
    else:
        ranges.append([code, code, category])
for first, last, category in ranges:
    print(f'{{0x{first:04X}, 0x{last:04X}, "{category}"}},')
