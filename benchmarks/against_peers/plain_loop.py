#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The step as a careful engineer writes it with transformers and PEFT; one side of compare.py.

usage: plain_loop.py FOLDER sft|dpo|kto float32|bfloat16 THREADS cpu|cuda

One batch padded on the right, so that causal attention needs no mask; chosen and rejected in one forward pass;
completion tokens selected before the head; the reference is the model with its adapter off, under inference mode;
gradients clipped; fused AdamW.
"""
import itertools
import json
import pathlib
import sys

import peft
import torch
import torch.nn.functional as F
import transformers

import cases
from turns import Turns


class Batch:
    """Sequences of (prompt, completion), padded on the right. The last token predicts nothing, so it is not fed."""

    def __init__(self, sequences, device):
        length = max(len(p) + len(c) for p, c in sequences) - 1
        ids, places, targets, owners = [], [], [], []
        for i, (prompt, completion) in enumerate(sequences):
            fed = (prompt + completion)[:-1]
            ids.append(fed + [cases.PAD] * (length - len(fed)))
            first = i * length + len(prompt) - 1
            places.extend(range(first, first + len(completion)))
            targets.extend(completion)
            owners.extend([i] * len(completion))
        self.count = len(sequences)
        self.ids, self.places, self.targets, self.owners = (
            torch.tensor(x, device=device) for x in (ids, places, targets, owners)
        )


def token_logprobs(model, batch):
    """log p of every completion's tokens, [C]."""
    llama = model.get_base_model()
    hidden = llama.model(batch.ids, use_cache=False).last_hidden_state
    logits = llama.lm_head(hidden.flatten(0, 1).index_select(0, batch.places))
    return -F.cross_entropy(logits.float(), batch.targets, reduction="none")


def sums(model, batch):
    """log p of every completion, [N]."""
    logprobs = token_logprobs(model, batch)
    return logprobs.new_zeros(batch.count).index_add(0, batch.owners, logprobs)


def reference_sums(model, batch):
    with torch.inference_mode(), model.disable_adapter():
        return sums(model, batch)


def sft_loss(model, rows, device):
    return -token_logprobs(model, Batch([(r["prompt"], r["completions"][0]) for r in rows], device)).mean()


def dpo_loss(model, rows, device):
    batch = Batch([(r["prompt"], r["completions"][k]) for k in (0, 1) for r in rows], device)
    reference = reference_sums(model, batch)
    chosen, rejected = (sums(model, batch) - reference).chunk(2)
    return -F.logsigmoid(cases.BETA * (chosen - rejected)).mean()


def kto_loss(model, rows, device):
    matched = [(r["prompt"], r["completions"][0]) for r in rows]
    mismatched = [(r["prompt"], rows[i - 1]["completions"][0]) for i, r in enumerate(rows)]
    reference, reference_mismatched = reference_sums(model, Batch(matched + mismatched, device)).chunk(2)
    with torch.inference_mode():
        baseline = (sums(model, Batch(mismatched, device)) - reference_mismatched).mean().clamp_min(0)
    ratios = sums(model, Batch(matched, device)) - reference
    sign = torch.tensor([1.0 if r["desirable"] else -1.0 for r in rows], device=device)
    return torch.sigmoid(sign * cases.BETA * (baseline - ratios)).mean()


LOSSES = {"sft": sft_loss, "dpo": dpo_loss, "kto": kto_loss}


def main(folder, method, dtype, threads, device):
    turns = Turns(device)
    torch.set_num_threads(int(threads))
    folder = pathlib.Path(folder)
    data = json.loads((folder / "rows.json").read_text())
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device)
    model = peft.PeftModel.from_pretrained(model, folder / "adapter", is_trainable=True)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=data["learning_rate"], weight_decay=0, fused=True)
    rows, size = data["rows"], data["batch_size"]
    batches = itertools.cycle([rows[i : i + size] for i in range(0, len(rows), size)])
    going = turns.begin(model)
    while going:
        loss = LOSSES[method](model, next(batches), device)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        going = turns.step_done(loss.item())


if __name__ == "__main__":
    main(*sys.argv[1:])
