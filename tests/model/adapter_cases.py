#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""What PEFT makes of low-rank adapters on a small model, for adapter_files_test.cpp.

    adapter_cases.py                  writes adapter_cases.json: logits, and files that PEFT saved, as their parts
    adapter_cases.py --check PROGRAM  the test program writes its adapters, which PEFT then loads, and reads those that
                                      PEFT just saved; exit status 77 where there is no PEFT

Made with peft 0.21, transformers 5.23 and torch 2.13. No weights are stored: element (i, j) of the k-th weight by name is a
sine of i, j and k (`numbers`), which the test computes as well.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

try:
    import peft
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"SKIPPED: {missing}")
    sys.exit(77)

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 32, "hidden_size": 16,
    "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "tie_word_embeddings": False, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
ROPE_THETA = 50.0
IDS = [3, 17, 8, 29, 1, 22, 5]
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# Adapters that tithe makes: settings by the names of PEFT, which are the same in LoraOptions; "layer" is the only one that is
# adapted; "rounds" adapters are trained, all but the last of them merged.
OURS = {
    "all modules": {"r": 3, "lora_alpha": 5},
    "rslora": {"r": 3, "lora_alpha": 5, "use_rslora": True},
    "queries and values": {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "v_proj"]},
    "output maps": {"r": 2, "lora_alpha": 2.5, "target_modules": ["o_proj", "down_proj"]},
    "one layer": {"r": 3, "lora_alpha": 5, "layer": 1},
    "merged and fresh": {"r": 3, "lora_alpha": 5, "rounds": 2},
    "merged and fresh, rslora": {"r": 3, "lora_alpha": 5, "use_rslora": True, "rounds": 2, "target_modules": ["k_proj", "up_proj"]},
    "bfloat16 base": {"r": 3, "lora_alpha": 5, "base": "bfloat16"},
    "bfloat16 base, merged and fresh": {"r": 3, "lora_alpha": 5, "base": "bfloat16", "rounds": 2},
}  # fmt: skip
# Adapters that PEFT makes, by the settings that its users write; "saved" is the dtype of its file.
THEIRS = {
    "list": {"r": 3, "lora_alpha": 5, "target_modules": ["v_proj", "q_proj", "down_proj"]},
    "whole names": {"r": 3, "lora_alpha": 5, "target_modules": ["model.layers.0.mlp.up_proj", "layers.1.self_attn.k_proj"]},
    "regular expression": {"r": 2, "lora_alpha": 16, "target_modules": r".*\.(self_attn\.q_proj|mlp\.gate_proj)"},
    "one layer": {"r": 2, "lora_alpha": 4, "target_modules": r"model\.layers\.1\..*_proj"},
    "all-linear": {"r": 3, "lora_alpha": 5, "target_modules": "all-linear"},
    "rslora": {"r": 3, "lora_alpha": 5, "target_modules": ALL, "use_rslora": True},
    "dropout": {"r": 2, "lora_alpha": 4, "target_modules": ["o_proj"], "lora_dropout": 0.1},
    "bfloat16 file": {"r": 3, "lora_alpha": 5, "target_modules": ALL, "saved": "bfloat16"},
}  # fmt: skip
OWN_WORDS = ("layer", "rounds", "base", "saved")


def numbers(shape, k):
    """The k-th weight: sines, whose products of i and j make the rank full; norms are about 1."""
    i = torch.arange(shape[0] if len(shape) == 2 else 1, dtype=torch.float64)[:, None]
    j = torch.arange(shape[-1], dtype=torch.float64)[None, :]
    sines = torch.sin(0.3 * i + 0.7 * j + 0.11 * i * j + k)
    return (0.3 * sines if len(shape) == 2 else 1 + 0.3 * sines).reshape(shape)


@torch.no_grad()
def fill(named, first=0):
    for k, (name, weight) in enumerate(sorted(named)):
        weight.copy_(numbers(weight.shape, first + k))


def base_model(dtype="float32"):
    config = transformers.LlamaConfig(
        **{key: value for key, value in CONFIG.items() if key != "architectures"},
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    fill(model.named_parameters())
    return model.to(getattr(torch, dtype)).eval()


def adapt(model, settings, first=100):
    """A PEFT model with weights by the formula."""
    settings = {"target_modules": ALL, **settings}
    if "layer" in settings:
        settings["target_modules"] = rf"model\.layers\.{settings['layer']}\..*_proj"
    lora = {key: value for key, value in settings.items() if key not in OWN_WORDS}
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **lora)).eval()
    fill([(name, weight) for name, weight in adapted.named_parameters() if "lora_" in name], first)
    return adapted


@torch.no_grad()
def logits(model):
    """Of the last two positions."""
    return model(torch.tensor([IDS])).logits[0, -2:].float()


def of_ours(settings):
    model = base_model(settings.get("base", "float32"))
    for done in range(settings.get("rounds", 1) - 1):
        model = adapt(model, settings, 100 * (done + 1)).merge_and_unload()
    return logits(adapt(model, settings, 100 * settings.get("rounds", 1)))


def save_theirs(settings, folder):
    model = adapt(base_model(), settings)
    if "saved" in settings:
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.data = weight.data.to(getattr(torch, settings["saved"])).to(torch.float32)
    expected = logits(model)
    if "saved" in settings:
        model = model.to(getattr(torch, settings["saved"]))
    model.save_pretrained(folder)
    return expected


def files_of(folder):
    """adapter_config.json as it is, and the tensors without their numbers."""
    tensors = load_file(folder / "adapter_model.safetensors")
    config = json.loads((folder / "adapter_config.json").read_text())
    if isinstance(config["target_modules"], list):
        config["target_modules"].sort()  # PEFT's order is another one in each run
    return {
        "adapter_config": config,
        "tensors": {name: [str(t.dtype).removeprefix("torch."), *t.shape] for name, t in sorted(tensors.items())},
    }


def rounded(values):
    return [[round(float(value), 6) for value in row] for row in values]


def initial_quantiles():
    """Of a fresh A, in units of 1/√in, over many draws."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(vocab_size=8, hidden_size=256, intermediate_size=64, num_hidden_layers=1)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model = peft.get_peft_model(model, peft.LoraConfig(r=256, lora_alpha=1, target_modules=["q_proj", "down_proj"]))
    for name, weight in model.named_parameters():
        assert "lora_B" not in name or weight.abs().max() == 0
    drawn = [weight.detach().flatten() * weight.shape[1] ** 0.5 for name, weight in model.named_parameters() if "lora_A" in name]
    levels = torch.linspace(0, 1, 11, dtype=torch.float64)
    return {"draws": sum(map(len, drawn)), "quantiles": [round(v, 4) for v in torch.cat(drawn).double().quantile(levels).tolist()]}


def write():
    cases = {
        "versions": {module.__name__: module.__version__ for module in (peft, torch, transformers)},
        "config": {**CONFIG, "rope_theta": ROPE_THETA},
        "ids": IDS,
        "without": rounded(logits(base_model())),
        "initial_a": initial_quantiles(),
        "ours": {name: {**settings, "logits": rounded(of_ours(settings))} for name, settings in OURS.items()},
        "theirs": {},
    }
    for name, settings in THEIRS.items():
        with tempfile.TemporaryDirectory() as folder:
            expected = save_theirs(settings, folder)
            cases["theirs"][name] = {**files_of(pathlib.Path(folder)), "logits": rounded(expected)}
    text = json.dumps(cases, indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda list_: re.sub(r"\s+", " ", list_[0]), text)  # lists of numbers, a line each
    pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")


def check(program):
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, settings in THEIRS.items():
            save_theirs(settings, folder / "theirs" / name)
        environment = {**os.environ, "TITHE_PEFT_FOLDER": str(folder)}
        subprocess.run([program, "[peft]"], env=environment, check=True)
        for name, settings in OURS.items():
            saved = folder / "ours" / name
            model = peft.PeftModel.from_pretrained(base_model(settings.get("base", "float32")), saved).eval()
            keys = model.load_adapter(saved, "default")
            assert not keys.missing_keys and not keys.unexpected_keys, (name, keys)
            ours = torch.tensor(json.loads((saved / "logits.json").read_text()))
            gap = (logits(model) - ours).abs().max().item()
            # Both round each product to bfloat16, but not in the same places.
            assert gap < (0.2 if "base" in settings else 1e-4), (name, gap)
            worst = max(worst, 0 if "base" in settings else gap)
            print(f"{name}: {gap:.1e}")
    print(f"{len(OURS)} adapters of tithe's load in PEFT; logits differ by {worst:.1e} at most")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", metavar="PROGRAM")
    program = parser.parse_args().check
    check(program) if program else write()
