#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Saves every family with tithe and holds what transformers and safetensors read against the source.

    TITHE_DATA=... check_saved.py TESTS_MODEL

TESTS_MODEL is the test program. Run with transformers 4.57 and 5.23. Without TITHE_DATA, Llama 3 and Qwen2.5 are left out.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM

HERE = pathlib.Path(__file__).parent
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def source_of(name):
    own = HERE / "families" / name
    return own if own.exists() else pathlib.Path(os.environ["TITHE_DATA"]) / "hf" / name


def tensors_of(folder):
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            assert file.metadata() == {"format": "pt"}, path
            for name in file.keys():
                assert name not in found, (path, name)
                found[name] = file.get_tensor(name)
    return found


def check(folder):
    name, dtype = folder.name.split("-")
    source = source_of(name)
    before, after = tensors_of(source), tensors_of(folder)
    assert before.keys() == after.keys()
    for key, tensor in before.items():
        assert after[key].dtype == DTYPES[dtype]
        assert torch.equal(tensor.to(DTYPES[dtype]), after[key]), key

    was, now = AutoConfig.from_pretrained(source), AutoConfig.from_pretrained(folder)
    assert type(was) is type(now)
    assert now.architectures == was.architectures
    ignored = {"dtype", "torch_dtype", "transformers_version", "_name_or_path", "max_window_layers", "sliding_window",
               "initializer_range", "use_mrope", "pad_token_id", "head_dim", "rope_scaling", "rope_parameters", "rope_theta"}  # positions: see the logits
    a, b = was.to_dict(), now.to_dict()
    for key in a.keys() - ignored:
        assert a[key] == b.get(key), (key, a[key], b.get(key))
    assert name != "mistral" or now.sliding_window == was.sliding_window == 24

    # Loaded in the dtype that config.json says, and, to compare, both in float32.
    assert AutoModelForCausalLM.from_pretrained(folder, torch_dtype="auto").dtype == DTYPES[dtype]
    model, info = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.float32, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    cases = json.loads((source / "expected.json").read_text())
    is_own = isinstance(cases, list)
    largest = 0.0
    for case in cases if is_own else cases["cases"]:
        with torch.no_grad():
            logits = model(torch.tensor([case["ids" if is_own else "input_ids"]])).logits[0]
        rows = enumerate(case["logits"]) if is_own else ((x["position"], x["values"]) for x in case["logits"])
        for position, values in rows:
            largest = max(largest, (logits[position] - torch.tensor(values)).abs().max().item())
    # Every dtype holds all of what one as wide or wider held; the others round.
    exact = dtype == "float32" or (name, dtype) in {("mistral", "float16"), ("qwen3", "bfloat16")}
    assert largest < (5e-4 if exact else 0.5), largest
    generation = json.loads((folder / "generation_config.json").read_text())
    assert model.generation_config.eos_token_id == generation["eos_token_id"]
    print(f"{folder.name}: {len(after)} tensors equal, logits within {largest:.1e}")


with tempfile.TemporaryDirectory() as out:
    subprocess.run([sys.argv[1], "[.save]"], env={**os.environ, "TITHE_SAVE_TO": out}, check=True)
    print("transformers", transformers.__version__)
    for each in sorted(pathlib.Path(out).iterdir()):
        check(each)
