#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The library's tokenizer beside the tokenizers library, on the same files and texts, on one core.

Runs the program `tokenizer_peer` (benchmarks/tokenizer_peer.cpp) and the Python package in turn, checks that their ids are
equal, and prints the medians of processor time and their ratios: encoding texts one at a time, and as one batch. Then
texts of one character, 100 kB and 1 MB.

    python benchmarks/python_tokenizer.py build/release/benchmarks/tokenizer_peer TOKENIZER_JSON... \\
        --texts train.jsonl [--train 30000]

--train adds a byte-level tokenizer of that size with Qwen2.5's pattern and normalizer, trained on the texts: about the
share of words that are one token which a large vocabulary has.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import tokenizers  # noqa: E402  (reads the environment)

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def trained(size, texts, path):
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.normalizer = tokenizers.normalizers.NFC()
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(QWEN), "isolated")
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(texts, tokenizers.trainers.BpeTrainer(
        vocab_size=size, min_frequency=1, show_progress=False, initial_alphabet=alphabet))
    tokenizer.save(path)


class Library:
    def __init__(self, program, tokenizer, texts, folder):
        path = os.path.join(folder, "texts.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(texts, file)
        self.process = subprocess.Popen([program, tokenizer, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        first = json.loads(self.process.stdout.readline())
        self.load, self.ids = first["load"], first["ids"]

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["cpu"]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def seconds(function):
    begin = time.process_time()
    function()
    return time.process_time() - begin


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("tokenizers", nargs="*", metavar="TOKENIZER_JSON")
    arguments.add_argument("--texts", required=True, help="JSON lines; every string in them is a text")
    arguments.add_argument("--train", type=int, help="the size of a tokenizer that is trained on the texts")
    arguments.add_argument("--rounds", type=int, default=7)
    given = arguments.parse_args()
    with open(given.texts, encoding="utf-8") as file:
        texts = [value for line in file for value in json.loads(line).values() if isinstance(value, str)]
    size = sum(len(text.encode()) for text in texts)
    with tempfile.TemporaryDirectory() as folder:
        files = list(given.tokenizers)
        if given.train:
            files.append(os.path.join(folder, "trained.json"))
            trained(given.train, texts, files[-1])
        for path in files:
            load = seconds(lambda: tokenizers.Tokenizer.from_file(path))
            python = tokenizers.Tokenizer.from_file(path)
            library = Library(given.program, path, texts, folder)
            ways = {
                "one": lambda: [python.encode(text, add_special_tokens=False).ids for text in texts],
                "batch": lambda: [e.ids for e in python.encode_batch(texts, add_special_tokens=False)],
                "batch_fast": lambda: [e.ids for e in python.encode_batch_fast(texts, add_special_tokens=False)],
            }
            for name, way in ways.items():
                if way() != library.ids:
                    sys.exit(f"{path}: {name} gives other ids")
            runs = [[library.seconds()] + [seconds(way) for way in ways.values()] for _ in range(given.rounds)]
            median = [statistics.median(run[i] for run in runs) for i in range(len(ways) + 1)]
            result = {"tokenizer": os.path.basename(path), "bytes": size, "tokens": sum(map(len, library.ids)),
                      "load_s": [round(library.load, 3), round(load, 3)], "tithe_mb_per_s": round(1e-6 * size / median[0], 1)}
            for i, name in enumerate(ways, 1):
                result[name] = {"mb_per_s": round(1e-6 * size / median[i], 1), "cpu_ratio": round(median[0] / median[i], 3)}
            print(json.dumps(result), flush=True)
            library.close()
            for character in ["a", " ", "7", "\n", "🙂"]:
                times = []
                for length in (100_000, 1_000_000):
                    long = Library(given.program, path, [character * (length // len(character.encode()))], folder)
                    times.append(statistics.median(long.seconds() for _ in range(given.rounds)))
                    long.close()
                print(json.dumps({"character": character, "ms": [round(1e3 * t, 2) for t in times],
                                  "ratio": round(times[1] / times[0], 2)}), flush=True)


if __name__ == "__main__":
    main()
