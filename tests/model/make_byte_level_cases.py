#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes byte_level_cases.jsonl: small byte-level tokenizers, and what the tokenizers library makes of random texts.

    make_byte_level_cases.py > byte_level_cases.jsonl

Made with tokenizers 0.23.3. The tokenizers share vocabulary and merges, which stand in the first line; the others are what
differs. They have the parts of published files (GPT-2, Qwen2.5, Qwen3, Tekken, DeepSeek, StarCoder) and all there is of Split.
"""
import copy
import json
import random

import tokenizers

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
          r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
DEEPSEEK = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"
            r"\s*[\r\n]+|\s+(?!\S)|\s+")
ODD = r"(?<=a)b|(?<!x)\d{2,3}|\D\x21|[\u00e9\x{6f22}-\x{6f23}]+?|(c|d)(?=\.)|(?>e{2})|\Sz|\P{L}{3}|[^\S\n]{2,}"


def byte_names():
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names, extra = {}, 0
    for byte in range(256):
        if byte in visible:
            names[byte] = chr(byte)
        else:
            names[byte] = chr(0x100 + extra)
            extra += 1
    return names


NAMES = byte_names()
spell = lambda text: "".join(NAMES[b] for b in text.encode())
MERGES = [(" ", "a"), ("a", "b"), ("h", "e"), (" ", "t"), (" t", "he"), ("a", "a"), ("aa", "a"), ("aa", "aa"), (" ", " "),
          ("  ", "  "), ("l", "l"), ("'", "s"), ("1", "2"), ("12", "3"), ("b", "c"), ("ab", "c"), ("a", "bc"), ("\n", "\n"),
          ("=", "="), ("==", "=="), ("o", "n"), (" ", "on"), ("on", "ce")]


def shared():
    vocabulary = [NAMES[b] for b in range(256)]
    merges = []
    # Parts of characters, as training on other languages makes them.
    for text in ("é", "漢", "字", "🙂", "ſ", "́"):
        data = [NAMES[b] for b in text.encode()]
        for i in range(1, len(data)):
            merges.append(["".join(data[:i]), data[i]])
    merges += [[spell(left), spell(right)] for left, right in MERGES]
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in vocabulary:
                vocabulary.append(token)
    vocabulary += [spell(" once"), spell("hello"), spell("abcab")]  # no merges lead to them
    return {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {t: i for i, t in enumerate(vocabulary)}, "merges": merges}


MODEL = shared()
FIRST_ADDED = len(MODEL["vocab"])


def added(*tokens):
    new = [content for content, _ in tokens if content not in MODEL["vocab"]]
    ids = MODEL["vocab"] | {content: FIRST_ADDED + i for i, content in enumerate(new)}
    return [{"id": ids[content], "content": content, "single_word": "w" in flags, "lstrip": "l" in flags,
             "rstrip": "r" in flags, "normalized": "n" in flags, "special": "s" in flags}
            for content, flags in tokens]


def byte_level(prefix, regex):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": [*steps, byte_level(False, False)]}


def processor(*around):
    part = lambda t: {"SpecialToken": {"id": t, "type_id": 0}} if t else {"Sequence": {"id": "A", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [part(t) for t in around],
                "pair": [part(None), {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {t: {"id": t, "ids": [FIRST_ADDED], "tokens": [t]} for t in around if t}}
    return {"type": "Sequence", "processors": [byte_level(True, True), template]}


NFC = {"type": "NFC"}
SPECIAL = added(("<|a|>", "s"), ("<|b|>", "s"))
VARIANTS = {
    "gpt2": {"pre_tokenizer": byte_level(False, True), "added_tokens": SPECIAL},
    "prefix": {"pre_tokenizer": byte_level(True, True), "added_tokens": SPECIAL},
    "no pattern": {"pre_tokenizer": byte_level(True, False), "added_tokens": SPECIAL},
    "qwen": {"pre_tokenizer": sequence(split(QWEN)), "normalizer": NFC, "added_tokens": SPECIAL},
    "nfc twice": {"pre_tokenizer": sequence(split(QWEN)),
                  "normalizer": {"type": "Sequence", "normalizers": [NFC, {
                      "type": "Replace", "pattern": {"String": "é"}, "content": "e\u0301"}, NFC]},
                  "added_tokens": added(("<|a|>", "s"), ("e\u0301a", "n"), ("b", "nw"))},
    "tekken": {"pre_tokenizer": sequence(split(TEKKEN)), "added_tokens": SPECIAL, "ignore_merges": True,
               "post_processor": processor("<|a|>", None)},
    "o200k": {"pre_tokenizer": sequence(split(O200K)), "added_tokens": SPECIAL},
    "cl100k": {"pre_tokenizer": sequence(split(CL100K)), "added_tokens": SPECIAL, "post_processor": processor(None, "<|a|>")},
    "deepseek": {"pre_tokenizer": sequence(split(r"\p{N}{1,3}"), split("[一-龥぀-ゟ゠-ヿ]+"), split(DEEPSEEK)),
                 "added_tokens": SPECIAL},
    "odd": {"pre_tokenizer": sequence(split(ODD)), "added_tokens": SPECIAL},
    "whole words": {"pre_tokenizer": sequence(split(QWEN)),
                    "added_tokens": added(("hello", "w"), ("the", "wl"), ("<x>", "wr"), ("é", "sw"), ("12", "lr"))},
    "removed": {"pre_tokenizer": sequence(split(r"\s", "Removed")), "added_tokens": SPECIAL},
    "removed inverted": {"pre_tokenizer": sequence(split(r"[ab]+", "Removed", True)), "added_tokens": SPECIAL},
    "isolated inverted": {"pre_tokenizer": sequence(split("a", "Isolated", True)), "added_tokens": SPECIAL},
    "previous": {"pre_tokenizer": sequence(split("a", "MergedWithPrevious")), "added_tokens": SPECIAL},
    "previous inverted": {"pre_tokenizer": sequence(split("aa?", "MergedWithPrevious", True)), "added_tokens": SPECIAL},
    "next": {"pre_tokenizer": sequence(split(" ", "MergedWithNext", kind="String")), "added_tokens": SPECIAL},
    "next inverted": {"pre_tokenizer": sequence(split("aa?", "MergedWithNext", True)), "added_tokens": SPECIAL},
    "contiguous": {"pre_tokenizer": sequence(split("a", "Contiguous"), split("==", "Contiguous", kind="String")),
                   "added_tokens": SPECIAL},
    "each digit": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": True}, byte_level(False, True)]}, "added_tokens": SPECIAL},
    "runs of digits": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Digits", "individual_digits": False}, byte_level(True, True)]}, "added_tokens": SPECIAL},
    "white space": {"pre_tokenizer": sequence(split(QWEN)),
                    "added_tokens": added(("<x>", "r"), ("\n\n\n", ""), ("\t", "r"), ("<y>", "lr"))},
    "string": {"pre_tokenizer": sequence(split("a.b*(c)", kind="String"), split("\\s", kind="String")), "added_tokens": SPECIAL},
}
PIECES = ["a", "b", "ab", "abc", "aa", " ", "  ", "\n", "\r\n", "\t", "the", " the", "hello", "Hello", " once", "Once upon", "'s", "'LL",
          "'ſ", "don't", "1", "12", "123", "1234", "٣٤", "²", "Ⅷ", "==", "====", "é", "e\u0301", "a\u0327\u0301", "가", "\u1112\u1161\u11ab",
          "漢字", "ひらカタ", "🙂", "👩\u200d👧", "\u00a0", "\u3000", "\u180e", "  \u180e a", "\u2028", "\u0085", "\u200b", "\ufeff", "\ufffd",
          "\0", "\x7f", "\u1c89x", "\U0002ebf0", "\U00011bf1", "ǅ", "ʰ", "ß", "_", "x_y", "...", "a.b*(c)", "\\s", "c.", "d.", "ee", "{}", "/",
          "<|a|>", "<|b|>", "<|a|", "<x>", " <x> ", "K", "İ", "z", "!", "ﬁ"]


def random_text(rng):
    if rng.random() < 0.15:  # any characters but surrogates
        points = (rng.choice([rng.randrange(0x80), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])
                  for _ in range(rng.randrange(12)))
        return "".join(map(chr, points))
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 10)))


# Where one added token takes white space along that is another.
SPACES = ["<x>", "<y>", "\n\n\n", "\n", "\n", "\t", " ", "a"]


def main():
    rng = random.Random(50)
    long_texts = random.Random(51)
    out = lambda record: print(json.dumps(record, ensure_ascii=True, separators=(",", ":")))
    out({"model": MODEL})
    for name, differs in VARIANTS.items():
        model = copy.deepcopy(MODEL) | {"ignore_merges": differs.get("ignore_merges", False)}
        rest = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": differs["added_tokens"],
                "normalizer": differs.get("normalizer"), "pre_tokenizer": differs["pre_tokenizer"],
                "post_processor": differs.get("post_processor", byte_level(True, True)), "decoder": byte_level(True, True)}
        out({"define": name, "json": rest, "ignore_merges": model["ignore_merges"]})
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(rest | {"model": model}))
        texts = [random_text(rng) for _ in range(60)]
        # Longer than the part of a text that a search looks at first.
        texts.append("".join(long_texts.choice(PIECES) * (1, 90)[i % 2] for i in range(5)))
        if name == "white space":
            texts += ["".join(long_texts.choice(SPACES) for _ in range(12)) for _ in range(40)]
        for text in texts:
            record = {"tokenizer": name, "text": text, "ids": tokenizer.encode(text).ids}
            tokenizer.encode_special_tokens = True
            record["as_text"] = tokenizer.encode(text, add_special_tokens=False).ids
            tokenizer.encode_special_tokens = False
            out(record)
    size = tokenizer.get_vocab_size()
    for _ in range(60):
        ids = [rng.choice([rng.randrange(size), rng.randrange(127, 256)]) for _ in range(rng.randrange(9))]
        out({"tokenizer": name, "decode": ids, "text": tokenizer.decode(ids),
             "text_all": tokenizer.decode(ids, skip_special_tokens=False)})


main()
