# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The figures of compare.py in words, as tables and as JSON."""
import importlib.metadata
import json
import platform
import statistics

import cases

NOT_COMPARABLE = """\
- TRL computes an entropy, a mean logit and the top token of every position in each step, and scores prompts too; no
  switch turns that off. Its time has them.
- The library's side is `train_stage` with its checks and metrics; the plain loop computes its loss and nothing besides.
- The library feeds a pair's prompt once; both peers feed it with each completion.
- On the CPU, memory is the process's: beside tensors it has code and buffers of libraries that the first steps touch, some
  tens of MB, which decide at shape T.
- In bfloat16 all adapters are float32. PEFT multiplies by them in float32, the library in bfloat16 with float32 sums.
"""


def ratio(line, peer):
    """Of the peer's seconds over ours: the median of all steps over the median, and of each round over that beside it."""
    ours, theirs = line["sides"].get("tithe"), line["sides"].get(peer)
    if not (ours and theirs and ours["rounds"] and theirs["rounds"]):
        return None
    rounds = [
        statistics.median(t["seconds"]) / statistics.median(o["seconds"])
        for o, t in zip(ours["rounds"], theirs["rounds"])
    ]
    return {"medians": theirs["seconds"] / ours["seconds"], "rounds": statistics.median(rounds)}


def seconds(value):
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def sentence(line):
    what = f"{line['method']} {line['dtype']} at {line['shape']}: losses at most {line['apart']:.1e} apart"
    if not line["agree"]:
        what += f", too far, between {line['apart_between']}: {line['losses']}"
    for name, side in line["sides"].items():
        if side["failure"]:
            what += f"; {name} {side['failure']}"
        elif side["rounds"]:
            what += f"; {name} {seconds(side['seconds'])} s, {side['peak_mb']:.0f} MB"
    for peer in ("plain", "trl"):
        if found := ratio(line, peer):
            what += f"; {peer}/tithe {found['medians']:.2f} ({found['rounds']:.2f} by rounds)"
    return what


def cell(line, name):
    side = line["sides"].get(name)
    if side is None:
        return "–"
    if side["failure"]:
        return "failed"
    return f"{seconds(side['seconds'])}, {side['peak_mb']:.0f} MB" if side["rounds"] else "not measured"


def table(lines):
    rows = [
        "| shape | method | dtype | losses apart | tithe | plain | TRL | plain / tithe | TRL / tithe | memory: tithe / plain, / TRL |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for line in lines:
        ratios, memory = [], []
        for peer in ("plain", "trl"):
            found = ratio(line, peer)
            ratios.append(f"{found['medians']:.2f} ({found['rounds']:.2f})" if found else "–")
            memory.append(
                f"{line['sides']['tithe']['peak_mb'] / line['sides'][peer]['peak_mb']:.2f}" if found else "–"
            )
        cells = [line["shape"], line["method"], line["dtype"], f"{line['apart']:.0e}"]
        cells += [cell(line, name) for name in ("tithe", "plain", "trl")] + ratios + [", ".join(memory)]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def versions():
    names = ("torch", "transformers", "peft", "trl")
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def write(given, lines):
    clock = "seconds of the process's processors" if given.device == "cpu" else "seconds of the clock"
    shapes = "\n".join(f"- {name}: {cases.SHAPES[name].said()}" for name in given.shapes)
    failures = "\n".join(
        f"- {line['shape']} {line['method']} {line['dtype']}: {name} {side['failure']}"
        for line in lines
        for name, side in line["sides"].items()
        if side["failure"]
    )
    given.out.joinpath("figures.md").write_text(
        f"Medians of {given.rounds} rounds of {given.steps} steps, {clock} a step and the peak of memory in MB beside the loaded\n"
        f"model with its adapter; {given.device}, {given.threads} thread(s), {platform.machine()}, {versions()}. Ratios are of\n"
        f"medians; in brackets the median of the rounds' ratios. Adapters of rank {cases.RANK} on all seven maps.\n\n{shapes}\n\n"
        f"{table(lines)}\n\n" + (f"Failed:\n\n{failures}\n\n" if failures else "") + f"Not comparable:\n\n{NOT_COMPARABLE}"
    )
    settings = {name: str(value) for name, value in vars(given).items()}
    given.out.joinpath("figures.json").write_text(
        json.dumps({"settings": settings, "versions": versions(), "lines": lines}, indent=1) + "\n"
    )
