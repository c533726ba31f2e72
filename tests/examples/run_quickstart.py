#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Runs examples/quickstart on a real model and real data, and looks at what it says and writes.

usage: run_quickstart.py QUICKSTART TITHE_DATA     exits with 77, which CTest counts as skipped, without the data
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

FIGURE = r"-?\d+\.\d{3} \[-?\d+\.\d{3}, -?\d+\.\d{3}\]"


def run(*arguments):
    return subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True)


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2])
    model, examples = data / "stories260k", data / "gsm8k"
    if not model.is_dir() or not examples.is_dir():
        print(f'SKIPPED: no "stories260k" and "gsm8k" under {data}')
        return 77
    demonstrations, preferences = examples / "demonstrations.jsonl", examples / "preferences.jsonl"
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out")

        refused = run(program)
        assert refused.returncode == 1 and refused.stderr.startswith("usage: quickstart MODEL"), refused
        refused = run(program, model, demonstrations, examples / "none.jsonl", out)
        assert refused.returncode == 1 and "none.jsonl" in refused.stderr and not out.exists(), refused

        done = run(program, model, demonstrations, preferences, out)
        assert done.returncode == 0, done
        spent, *figures = done.stdout.splitlines()
        assert spent == "Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft> spent 200 labels", spent
        names = ["nll", "preference/accuracy", "preference/margin"]
        assert len(figures) == len(names), figures
        for name, line in zip(names, figures):
            assert re.fullmatch(f"{name} {FIGURE}", line), line
        steps = done.stderr.splitlines()
        assert steps[0] == "sft 1/2" and steps[-1] == "preference 12/12", steps  # 20 and 180 rows, 16 a step
        assert json.loads((out / "config.json").read_text())["model_type"] == "llama"

        weights = [(folder / "model.safetensors").read_bytes() for folder in (model, out)]
        assert len(weights[0]) // 2 < len(weights[1]) < 2 * len(weights[0]) and weights[0] != weights[1]
    return 0


if __name__ == "__main__":
    sys.exit(main())
