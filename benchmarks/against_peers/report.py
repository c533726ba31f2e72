# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The figures of compare.py in words, as a table and as JSON."""
import importlib.metadata
import json
import statistics

import cases

PEERS = ("plain", "trl")

NOT_COMPARABLE = """\
- TRL computes an entropy, a mean logit and the top token of every position in each step, and scores prompts too; no
  switch turns that off. Its time has them.
- The library's side is `train_stage` with its checks and metrics; the plain loop computes its loss and nothing besides.
- The library feeds a pair's prompt once; both peers feed it with each completion. No two sequences differ in length, so
  nobody pays for padding.
- On a CPU, memory is the process's: beside tensors it has what libraries touch in their first steps, code and buffers.
  figures.json says how much of it is mapped files. It decides at shape T.
- In bfloat16 the adapter and its optimizer are float32 on every side. PEFT multiplies by it in float32, the library in
  bfloat16. Losses may then lie a tenth apart, which is nearly no check: that all sides compute the same in bfloat16 rests
  on their agreement in float32.
"""


def ratios(line, peer):
    """The peer's seconds over ours: of the medians of all steps, and the median of what each round gives."""
    ours, theirs = line["sides"].get("tithe"), line["sides"].get(peer)
    if not (ours and theirs and ours["rounds"] and theirs["rounds"]):
        return None
    median = lambda answer: statistics.median(answer["seconds"])
    by_round = [median(t) / median(o) for o, t in zip(ours["rounds"], theirs["rounds"])]
    return theirs["seconds"] / ours["seconds"], statistics.median(by_round)


def seconds(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def apart_text(line):
    return "–" if line["apart"] is None else f"{line['apart']:.0e}"


def side_text(side):
    if side["failure"]:
        return "failed"
    return f"{seconds(side['seconds'])} s, {side['peak_mb']:.0f} MB" if side["rounds"] else "not measured"


def sentence(line):
    parts = [f"{line['shape']} {line['method']} {line['dtype']}: losses {apart_text(line)} apart"]
    if not line["agree"]:
        reason = f"too far, between {line['between']}" if line["between"] else "not all of them finite"
        parts += [f"{reason}: {line['losses']}"]
    if exact := line.get("from_float32"):
        parts[0] += " (from float32 " + ", ".join(f"{name} {far:.1e}" for name, far in exact.items()) + ")"
    for name, side in line["sides"].items():
        parts += [f"{name} {side['failure'] or side_text(side)}"]
    for peer in PEERS:
        if found := ratios(line, peer):
            parts += [f"{peer}/tithe {found[0]:.2f} ({found[1]:.2f})"]
    return "; ".join(parts)


def table(lines):
    rows = [
        "| shape | method | dtype | losses apart | tithe | plain | TRL | time: plain / tithe | TRL / tithe "
        "| memory: tithe / plain | tithe / TRL |",
        "|" + "---|" * 11,
    ]
    for line in lines:
        sides, times, memory = line["sides"], [], []
        for peer in PEERS:
            found = ratios(line, peer)
            times += [f"{found[0]:.2f} ({found[1]:.2f})" if found else "–"]
            memory += [f"{sides['tithe']['peak_mb'] / sides[peer]['peak_mb']:.2f}" if found else "–"]
        cells = [line["shape"], line["method"], line["dtype"], apart_text(line)]
        cells += [side_text(sides[name]) if name in sides else "–" for name in ("tithe", *PEERS)]
        rows += ["| " + " | ".join(cells + times + memory) + " |"]
    return "\n".join(rows)


def page(given, lines):
    clock = "the process's processors" if given.device == "cpu" else "the clock"
    paragraphs = [
        f"Medians of {given.rounds} rounds of {given.steps} steps: seconds of {clock} a step, and the peak of memory\n"
        f"beside the loaded model with its adapter, of rank {cases.RANK} on all seven maps. Ratios are of the medians;\n"
        "in brackets, the median of the rounds' ratios.\n"
        f"Device {given.device}, {given.threads} thread(s), {versions()}.",
        "\n".join(f"- {name}: {cases.SHAPES[name].said()}" for name in given.shapes),
        table(lines),
        "Not comparable:",
        NOT_COMPARABLE,
    ]
    failures = [
        f"- {line['shape']} {line['method']} {line['dtype']}, {name}: {side['failure']}"
        for line in lines
        for name, side in line["sides"].items()
        if side["failure"]
    ]
    return "\n\n".join(paragraphs + (["Failed:", "\n".join(failures) + "\n"] if failures else []))


def versions():
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "transformers", "peft", "trl"))


def write(given, lines):
    (given.out / "figures.md").write_text(page(given, lines))
    settings = {name: str(value) for name, value in vars(given).items()}
    content = {"settings": settings, "versions": versions(), "lines": lines}
    (given.out / "figures.json").write_text(json.dumps(content, indent=1) + "\n")
