#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Runs the example small_study as one process, as two at once and as two shards, and expects the same records.

usage: run_small_study.py PROGRAM
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

CELLS = 24


def start(*arguments):
    return subprocess.Popen([sys.argv[1], *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                            text=True, env=dict(os.environ, OMP_NUM_THREADS="1"))


def end(process):
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


def records(text):
    """What of the records may not differ between two runs, by key."""
    found = {}
    for line in text.splitlines():
        record = json.loads(line)
        for varies in ("seconds", "machine"):
            del record[varies]
        for stage in record["stages"]:
            del stage["shared"]
        assert record["key"] not in found, "a cell was recorded twice"
        found[record["key"]] = record
    assert len(found) == CELLS, f"{len(found)} cells"
    return found


def main():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        first = end(start(root / "one"))
        assert first.startswith(f"{CELLS} cells run, 0 found, 0 failed; "), first
        assert not first.split("; ")[1].startswith("0 of"), "no steps were shared: " + first
        one = records((root / "one/records.jsonl").read_text(encoding="utf-8"))
        assert all(record["error"] == "" and record["scores"] for record in one.values())
        again = end(start(root / "one"))
        assert again.startswith(f"0 cells run, {CELLS} found, "), again

        for process in [start(root / "two"), start(root / "two")]:
            end(process)
        assert records((root / "two/records.jsonl").read_text(encoding="utf-8")) == one, "two processes differ from one"

        for process in [start(root / "a", "1/2"), start(root / "b", "2/2")]:
            end(process)
        joined = "".join((root / shard / "records.jsonl").read_text(encoding="utf-8") for shard in "ab")
        assert records(joined) == one, "shards differ from one process"
        (root / "joined").mkdir()
        (root / "joined/records.jsonl").write_text(joined, encoding="utf-8")
        assert end(start(root / "joined")).startswith(f"0 cells run, {CELLS} found, "), "joined shards are not found"


if __name__ == "__main__":
    main()
