#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The miniature study from end to end, on base models of a few steps: its records are those of one process whose cells share
nothing, however many processes run it, whatever they share, and however often they are killed.

usage: study_test.py PATH_OF_miniature_study
"""
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = sys.argv[1]
STUDY = ["--base-steps", "6", "--held-out", "12", "--loss", "dpo,kto", "--slip", "0.1,0", "--pairs", "pool", "--seeds", "2",
         "--probes"]
CELLS = 2 * 3 * 2 * 2 * 2
KILLS = 8


def command(out, *more, budgets="8,20", shares="0,0.5,1"):
    return [PROGRAM, *STUDY, "--budgets", budgets, "--shares", shares, "--out", str(out), *more]


def run(out, *more, **axes):
    done = subprocess.run(command(out, *more, **axes), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def records(out):
    """What of each cell's record is a function of the cell, and how many of its steps others took."""
    kept, shared = {}, 0
    for line in (out / "records.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert record["error"] == "", record["error"]
        assert record["key"] not in kept, "a cell has two records"
        for stage in record["stages"]:
            shared += stage["steps"] if stage.pop("shared") else 0
        del record["seconds"], record["machine"]
        kept[record["key"]] = json.dumps(record, sort_keys=True)
    return kept, shared


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        run(root / "alone", "--jobs", "1", "--no-sharing")
        expected, shared = records(root / "alone")
        assert len(expected) == CELLS, len(expected)
        assert shared == 0, "cells that share nothing say that they did"
        assert len(set(expected.values())) == CELLS

        text = run(root / "together", "--jobs", "2")
        found, shared = records(root / "together")
        assert found == expected, "processes that share stages have other records"
        steps = sum(stage["steps"] for record in found.values() for stage in json.loads(record)["stages"])
        assert shared >= steps / 3, f"{shared} of {steps} steps are shared"
        assert f"Steps: {steps} in all cells, of which {shared} " in text, text
        assert "Findings" in text and "(iii)" in text, text

        lines = (root / "together" / "records.jsonl").read_text()
        run(root / "together", "--jobs", "2")
        assert (root / "together" / "records.jsonl").read_text() == lines, "a finished study ran again"
        run(root / "together", "--jobs", "2", budgets="8,20,30")
        assert len(records(root / "together")[0]) == CELLS * 3 // 2, "a study that grew did not run what was missing"

        chance = random.Random(20)
        kills = studies = 0
        longest = 2.0  # seconds before a kill; shorter where studies end first, so that kills land on any machine
        while kills < KILLS:
            studies += 1
            out = root / f"killed-{studies}"
            for _ in range(KILLS):
                process = subprocess.Popen(command(out, "--jobs", "2"), start_new_session=True,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    process.wait(timeout=chance.uniform(0.1, longest))
                    longest = max(0.3, longest / 2)
                    break
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    kills += 1
            time.sleep(0.1)  # workers of the group die with it, but not in the same moment
            run(out, "--jobs", "2")
            assert records(out)[0] == expected, "a study that was killed has other records"
        print(f"{CELLS} cells: the same records alone, together, and in {studies} studies after {kills} kills")

        refused = subprocess.run(command(root / "no", shares="0.2"), capture_output=True, text=True)
        assert refused.returncode == 1 and "a share of the grid" in refused.stderr, refused.stderr


main()
