#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes tokenizer_cases.jsonl: what the tokenizers library makes of random texts and ids.

    make_tokenizer_cases.py TOKENIZER_JSON_OF_STORIES260K > tokenizer_cases.jsonl

Made with tokenizers 0.23.3. Five small tokenizers are written along; they have what the real one has not: unknown
tokens, added tokens of all kinds, template parts behind the text, other orders of decoder steps.
"""
import json
import random
import sys

import tokenizers

BYTES = [f"<0x{b:02X}>" for b in range(256)]
LLAMA_NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
LLAMA_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def template(before, after, ids):
    part = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [part(t) for t in before] + [{"Sequence": {"id": "A", "type_id": 0}}] + [part(t) for t in after],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [ids[t]], "tokens": [t]} for t in before + after}}


def added(token_id, content, special, normalized=False, lstrip=False, rstrip=False, single_word=False):
    return {"id": token_id, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip,
            "normalized": normalized, "special": special}


def make(first, merges, extra, special, byte_fallback, normalizer, decoder, before, after, strings=False, **model):
    names = first + (BYTES if byte_fallback else [])
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in names:
                names.append(token)
    names += [t for t in extra if t not in names]
    ids = {t: i for i, t in enumerate(names)}
    new = [s for s in special if s[0] not in ids]
    ids.update({s[0]: len(names) + i for i, s in enumerate(new)})
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": sorted((added(ids[s[0]], *s) for s in special), key=lambda t: t["id"]),
            "normalizer": normalizer, "pre_tokenizer": None, "post_processor": template(before, after, ids),
            "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": byte_fallback,
                      "ignore_merges": False, "vocab": {t: i for t, i in ids.items() if t in names},
                      "merges": [" ".join(m) if strings else list(m) for m in merges], **model}}


MERGES = [("▁", "a"), ("a", "b"), ("b", "a"), ("ab", "a"), ("▁", "▁"), ("▁▁", "▁▁"), ("é", "a"), ("a", "a"),
          ("aa", "a"), ("▁a", "b"), ("b", "b"), ("bb", "ba"), ("漢", "字"), ("a", "é"), ("▁", "漢"), ("漢字", "a")]
SMALL = {
    # Byte fallback, added tokens that take white space along, and ones that are looked for in the normalised text.
    "fallback": make(["<unk>", "<s>", "</s>"], MERGES, [], [
        ("<unk>", True), ("<s>", True), ("</s>", True, True), ("<pad>", True, False, True, False),
        ("<mask>", True, False, False, True), ("ab<", False, False), ("<s><s>", True), ("b a", False, True)],
        True, LLAMA_NORMALIZER, LLAMA_DECODER, ["<s>"], ["</s>"], strings=True),
    # Unknown characters, each one token; nothing before the text; other decoder steps.
    "unknown": make(["<unk>", "<e>"], MERGES, ["c"], [("<e>", True)], False,
                    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
                    {"type": "Sequence", "decoders": [{"type": "Strip", "content": "▁", "start": 0, "stop": 1},
                                                      {"type": "Replace", "pattern": {"String": "a"}, "content": "A"}]},
                    [], ["<e>"], fuse_unk=False),
    # Runs of unknown characters fused; whole pieces that are tokens taken as they are; no normaliser.
    "fused": make(["<unk>", "<e>"], MERGES, ["aéb", "abab"], [("<e>", True)], False, None, {"type": "Fuse"},
                  ["<e>", "<e>"], [], ignore_merges=True),
    # Characters that are tokens only because they were added, and normalised ones, which the library renames.
    "added": make(["<unk>", "<s>"], MERGES, [], [
        ("<s>", True), ("€", False, False, False, False, True), ("Q", False, True, False, False, True), ("<x>", False, True)],
        True, LLAMA_NORMALIZER, LLAMA_DECODER, ["<s>"], []),
    "added whole": make(["<unk>", "<e>"], MERGES, ["abab"], [
        ("<e>", True), ("€", False, False, False, False, True), ("aéb", False, False, False, False, True)],
        False, None, {"type": "Fuse"}, [], ["<e>"], ignore_merges=True),
}
# Spaces marked by a pre-tokenizer instead of a normalizer.
for scheme, splits in (("always", True), ("first", False), ("first", True), ("never", True)):
    SMALL[f"metaspace {scheme} {splits}"] = make(["<unk>", "<s>"], MERGES, [], [
        ("<s>", True), ("<pad>", True, False, True, False), ("b a", False, True)], True, None, LLAMA_DECODER, ["<s>"], []) | {
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}}
ADDED_PIECES = ["€", "Q", "<x>", "aéb", " "] * 3
PIECES = ["a", "b", "ab", "aa", " ", "  ", "▁", "é", "漢", "字", "c", "x", "\n", "\t", "\0", "\u007f", "\u0085", "\u00a0",
          "\u2003", "🙂", "👩\u200d👧", "e\u0301", "\ufeff", "\ufffd", "\U0010ffff", "<s>", "</s>", "<unk>", "<pad>", "<mask>",
          "<e>", "<s", "s>", "ab<", "b a", "<0x41>", "aéb", "abab", "Once upon a time", "the ", "12.50"]


def random_text(rng, pieces):
    kind = rng.random()
    if kind < 0.15:  # any characters but surrogates
        points = (rng.choice([rng.randrange(0x80), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)])
                  for _ in range(rng.randrange(12)))
        return "".join(map(chr, points))
    return "".join(rng.choice(pieces) for _ in range(rng.randrange(1, 9)))


def main():
    rng = random.Random(20)
    out = lambda record: print(json.dumps(record, ensure_ascii=True, separators=(",", ":")))
    known = {"stories260k": tokenizers.Tokenizer.from_file(sys.argv[1])}
    for name, text in SMALL.items():
        known[name] = tokenizers.Tokenizer.from_str(json.dumps(text))
        out({"define": name, "json": text})
    for name, tokenizer in known.items():
        is_added = name.startswith("added")
        pieces = PIECES + (ADDED_PIECES if is_added else [])
        for _ in range(130):
            text = random_text(rng, pieces)
            record = {"tokenizer": name, "text": text, "ids": tokenizer.encode(text).ids}
            tokenizer.encode_special_tokens = True
            as_text = tokenizer.encode(text, add_special_tokens=False).ids
            # With ignore_merges the library lets a text that is a special token's name become the token; tithe does not.
            specials = {i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special and t.content != "<unk>"}
            record["as_text"] = None if specials & set(as_text) else as_text
            tokenizer.encode_special_tokens = False
            out(record)
        size = tokenizer.get_vocab_size()
        for _ in range(60):
            few = range(size - 4, size) if is_added else range(min(size, 259))
            ids = [rng.choice([rng.randrange(size), rng.choice(few)]) for _ in range(rng.randrange(8))]
            out({"tokenizer": name, "decode": ids, "text": tokenizer.decode(ids),
                 "text_all": tokenizer.decode(ids, skip_special_tokens=False)})


main()
