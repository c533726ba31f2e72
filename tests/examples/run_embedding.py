#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Runs examples/embedding on a real model and real data: cancelled by a key, then gone on with to its end.

usage: run_embedding.py EMBEDDING TITHE_DATA     without the data, looks at its usage alone
"""
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile


def symbols(file):
    return subprocess.run(["nm", "-C", file], capture_output=True, text=True, check=True).stdout.splitlines()


def main():
    program, data = sys.argv[1], pathlib.Path(sys.argv[2])
    refused = subprocess.run([program], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith("usage: embedding MODEL"), refused
    # Its main.cpp leaves the run to recipe.cpp, where it is instantiated: one defines what the other asks for.
    objects = pathlib.Path(program).parent / "CMakeFiles" / "embedding.dir"
    if shutil.which("nm") and objects.is_dir():
        run = "tithe::PipelineTrainer<"
        kinds = {name: {re.search(r" ([A-Za-z]) ", line)[1] for line in symbols(objects / f"{name}.cpp.o")
                        if run in line and "::fit(tithe::Dataset const&" in line} for name in ("main", "recipe")}
        assert kinds == {"main": {"U"}, "recipe": {"W"}}, kinds
    model = data / "stories260k"
    examples = [data / "gsm8k" / f"{kind}.jsonl" for kind in ("demonstrations", "preferences")]
    if not model.is_dir():
        return

    with tempfile.TemporaryDirectory() as out:
        command = [program, model, *examples, out]
        running = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        shown = ""
        while "sft 1/" not in shown:
            shown += running.stderr.read(1)
        running.stdin.write("\n")
        running.stdin.flush()
        shown += running.stderr.read()
        assert running.wait() == 0 and shown.rstrip().endswith("stopped; start it again to go on"), shown
        adapter = pathlib.Path(out, "adapter")
        assert not adapter.exists()

        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr.rstrip().endswith("done"), done
        assert "sft 1/" not in done.stderr, done  # it went on where it was
        # Two stages trained an adapter of rank 8 each; the file holds both as one.
        assert json.loads((adapter / "adapter_config.json").read_text())["r"] == 16
        assert (adapter / "adapter_model.safetensors").stat().st_size > 1000


if __name__ == "__main__":
    main()
