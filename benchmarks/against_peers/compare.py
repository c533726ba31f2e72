#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The library's training step beside TRL's and beside a plain PyTorch loop's: the same checkpoint, the same rows.

    python benchmarks/against_peers/compare.py build/release/benchmarks/peer_step --shapes T S --out FOLDER

Each side is a process of its own, and they take turns. First their losses must be finite and agree; then come the
medians of the seconds that a step takes (of the process's processors; on a GPU, of the clock), their ratios, and the
peak of memory beside the loaded model with its adapter. Everything goes to FOLDER/figures.json, the tables to
FOLDER/figures.md.
"""
import argparse
import itertools
import json
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import cases
import report

HERE = pathlib.Path(__file__).resolve().parent

# How far the losses of two sides may lie apart, relative to the loss. A bfloat16 number keeps 8 bits and sides round in
# different places, so a log-probability of a hundred tokens comes out several tenths apart and a preference loss, which
# sees beta times differences of four of them, several per cent: every side of its own, away from float32.
TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-1}


class Side:
    """A process that takes steps when it is asked to. What goes wrong is kept as `failure`."""

    def __init__(self, name, command, threads, log):
        self.name, self.log, self.failure, self.rounds = name, log, None, []
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        with open(log, "w") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        self.loaded_mb = (self.answer() or {}).get("loaded_mb")

    def answer(self):
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        status = self.process.wait()
        said = self.log.read_text().strip().splitlines()[-1:]
        self.failure = f"ended with status {status}: {said[0] if said else 'nothing said'}"
        return None

    def steps(self, count):
        """What the steps took; None once the side has failed."""
        if self.failure:
            return None
        try:
            self.process.stdin.write(f"{count}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer says so
        return self.answer()

    def figures(self):
        found = {"failure": self.failure, "loaded_mb": self.loaded_mb, "rounds": self.rounds}
        if self.rounds:
            found["seconds"] = statistics.median(second for answer in self.rounds for second in answer["seconds"])
            found["peak_mb"] = max(answer["peak_mb"] for answer in self.rounds)
            found["files_mb"] = self.rounds[-1]["files_mb"]
        return found

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def commands(program, folder, method, dtype, threads, device):
    words = [str(folder), method, dtype, str(threads), device]
    return {
        "tithe": [program, *words],
        "plain": [sys.executable, str(HERE / "plain_loop.py"), *words],
        "trl": [sys.executable, str(HERE / "trl_trainer.py"), *words],
    }


def all_finite(losses):
    """Whether every loss of every side is a number; what is none may arrive as null."""
    return all(loss is not None and math.isfinite(loss) for found in losses.values() for loss in found)


def apart(some, others):
    return max(abs(a - b) / max(abs(a), abs(b)) for a, b in zip(some, others))


def farthest(losses):
    """How far apart the losses of any two sides lie at most, and which two; None where fewer have any."""
    pairs = itertools.combinations(losses, 2)
    return max(((apart(losses[a], losses[b]), f"{a} and {b}") for a, b in pairs), default=(None, None))


def compare(given, name, method, dtype, folder, logs):
    """One line of the tables."""
    sides = []
    try:
        for side, command in commands(given.program, folder, method, dtype, given.threads, given.device).items():
            if side in given.sides:
                sides.append(Side(side, command, given.threads, logs / f"{name}-{method}-{dtype}-{side}.log"))
        losses = {side.name: answer["losses"] for side in sides if (answer := side.steps(given.agree))}
        finite = all_finite(losses)
        distance, between = farthest(losses) if finite else (None, None)
        agree = finite and (distance is None or distance <= TOLERANCES[dtype])
        for _ in range(given.rounds if agree else 0):
            for side in sides:
                if answer := side.steps(given.steps):
                    side.rounds.append(answer)
    finally:
        for side in sides:
            side.end()
    return {
        "shape": name,
        "method": method,
        "dtype": dtype,
        "losses": losses,
        "apart": distance,
        "between": between,
        "agree": agree,
        "sides": {side.name: side.figures() for side in sides},
    }


def set_beside_float32(line, lines):
    """How far each side's bfloat16 losses lie from the plain loop's float32 ones."""
    for exact in lines:
        if (exact["shape"], exact["method"], exact["dtype"]) == (line["shape"], line["method"], "float32"):
            if not (all_finite(line["losses"]) and all_finite(exact["losses"])):
                continue
            if line["dtype"] != "float32" and (losses := exact["losses"].get("plain")):
                line["from_float32"] = {name: apart(mine, losses) for name, mine in line["losses"].items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program", help="the program peer_step")
    arguments.add_argument("--shapes", nargs="+", default=list(cases.SHAPES), choices=list(cases.SHAPES))
    arguments.add_argument("--methods", nargs="+", default=["dpo", "sft", "kto"], choices=["dpo", "sft", "kto"])
    arguments.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    arguments.add_argument("--sides", nargs="+", default=["tithe", "plain", "trl"], choices=["tithe", "plain", "trl"])
    arguments.add_argument("--threads", type=int, default=1)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=3, help="of one round")
    arguments.add_argument("--agree", type=int, default=4, help="steps whose losses must agree; they warm up too")
    arguments.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    arguments.add_argument("--out", type=pathlib.Path, required=True)
    given = arguments.parse_args()
    logs = given.out / "logs"
    logs.mkdir(parents=True, exist_ok=True)

    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.shapes:
            folder = pathlib.Path(scratch) / name
            subprocess.run([sys.executable, str(HERE / "cases.py"), name, str(folder)], check=True)
            for method in given.methods:
                for dtype in given.dtypes:
                    lines.append(compare(given, name, method, dtype, folder, logs))
                    set_beside_float32(lines[-1], lines)
                    print(report.sentence(lines[-1]), flush=True)
                    report.write(given, lines)
    print((given.out / "figures.md").read_text())
    if not all(line["agree"] for line in lines):
        sys.exit("Some losses do not agree; nothing was measured of those.")
    if any(side["failure"] for line in lines for side in line["sides"].values()):
        sys.exit("Some sides failed; the tables say which.")


if __name__ == "__main__":
    main()
