#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes the folders families/mistral and families/qwen3: tiny random checkpoints, and what transformers makes of them.

    make_family_cases.py [--check]

Made with transformers 5.23 and torch 2.13. Mistral: float16, several files with an index, a window of 24 tokens that the
cases do not pass. Qwen3: bfloat16, norms of heads whose weights are not 1, a head size that is not hidden / heads, a tied
head. expected.json has float64 logits of every position, and the greedy tokens. --check compares with what is there.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, MistralConfig, Qwen3Config

SIZES = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=96, bos_token_id=1, eos_token_id=[2, 5])
FAMILIES = {
    "mistral": (MistralConfig(**SIZES, sliding_window=24, rms_norm_eps=1e-5, rope_parameters=dict(
        rope_type="default", rope_theta=300.0)), torch.float16),
    "qwen3": (Qwen3Config(**SIZES, head_dim=12, tie_word_embeddings=True, rope_parameters=dict(
        rope_type="default", rope_theta=700.0)), torch.bfloat16),
}


def random_model(config, dtype, seed):
    model = AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        # Every weight matters: matrices keep the size of what they read, norms are around 1.
        weight.data = 1 + 0.3 * noise if "norm" in name else noise * (weight.shape[-1] ** -0.5)
        if "embed" in name or "lm_head" in name:
            weight.data = noise * 0.7
    return model.to(dtype).eval()


def expected(folder, seed):
    # Read again: converting a model halves the precision of its rotary frequencies too, which loading does not.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).double()
    generator = torch.Generator().manual_seed(seed)
    cases = []
    for length in (1, 7, 20):
        ids = torch.randint(6, 64, (1, length), generator=generator)
        with torch.no_grad():
            logits = model(ids).logits[0]
            greedy = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_length=24,
                                    eos_token_id=None, pad_token_id=0)[0, length:]
        cases.append({"ids": ids[0].tolist(), "logits": [[round(x, 9) for x in row] for row in logits.tolist()],
                      "greedy": greedy.tolist()})
    return cases


def main():
    here = pathlib.Path(__file__).parent / "families"
    for seed, (name, (config, dtype)) in enumerate(FAMILIES.items()):
        folder = here / name
        if "--check" in sys.argv:
            was = json.loads((folder / "expected.json").read_text())
            now = expected(folder, 10 + seed)
            for a, b in zip(was, now, strict=True):
                assert a["ids"] == b["ids"] and a["greedy"] == b["greedy"]
                assert torch.allclose(torch.tensor(a["logits"]), torch.tensor(b["logits"]), atol=1e-6), name
            continue
        model = random_model(config, dtype, seed)
        model.save_pretrained(folder, max_shard_size="30KB" if name == "mistral" else "5GB")
        (folder / "expected.json").write_text(json.dumps(expected(folder, 10 + seed), separators=(",", ":")) + "\n")


main()
