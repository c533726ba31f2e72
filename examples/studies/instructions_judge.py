#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""A judge for `tithe evaluate` that looks whether instructions are followed, as IFEval does.

    --judge 'python3 instructions_judge.py checks.py'

One of the two texts of every question is the reference, {"instructions": [...]}; the other is the model's answer. The file
that is named first has a function follows(instruction, answer) -> bool, where an instruction is whatever stands in the list;
it raises an exception for one that it does not know. The answer's share is that of the instructions which it follows.
"""

import importlib.util
import json
import sys


def instructions_of(text):
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found.get("instructions") if isinstance(found, dict) else None


def share_of_a(question, follows):
    lists = [instructions_of(question[name]) for name in ("a", "b")]
    if (lists[0] is None) == (lists[1] is None):
        sys.exit(f"instructions_judge: question {question['id']} needs instructions in one of its two texts")
    reference_is_b = lists[1] is not None
    instructions = lists[reference_is_b]
    answer = question["a" if reference_is_b else "b"]
    share = sum(bool(follows(one, answer)) for one in instructions) / len(instructions)
    return share if reference_is_b else 1 - share


def main():
    if len(sys.argv) != 2:
        sys.exit("instructions_judge: name one file with a function follows(instruction, answer)")
    spec = importlib.util.spec_from_file_location("checks", sys.argv[1])
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    for line in sys.stdin:
        question = json.loads(line)
        verdict = {"id": question["id"], "score": share_of_a(question, checks.follows)}
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    main()
