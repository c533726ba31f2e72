#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The library's training step beside the same step in PyTorch from Python, on the same weights and rows.

Runs the program `step_peer` (benchmarks/step_peer.cpp) and a careful hand-written PyTorch loop in turn, checks that
their losses agree, and prints the ratio of the medians, of wall and of processor time. The loop is what a good
engineer writes: a padded batch, chosen and rejected concatenated, completion tokens selected before the head, causal
attention without a mask (padding stands on the right), the reference's forward pass under inference mode, the fused
AdamW; written of modules, as models usually are, and again of plain functions with fused projections.

    python benchmarks/python_step.py build/release/benchmarks/step_peer [--model DIR --rows FILE] [--threads 1 2]
"""
import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import numpy
import torch
import torch.nn.functional as F


def read_safetensors(path):
    """Float32 tensors by name."""
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        body = file.read()
    tensors = {}
    for name, info in header.items():
        if name == "__metadata__":
            continue
        assert info["dtype"] == "F32", name
        begin, end = info["data_offsets"]
        array = numpy.frombuffer(body[begin:end], dtype=numpy.float32).reshape(info["shape"])
        tensors[name] = torch.from_numpy(array.copy())
    return tensors


class FunctionDecoder:
    """Llama on a right-padded batch, written with functions: a module costs a few microseconds a call."""

    def __init__(self, config, weights, trained):
        self.config = config
        w = weights
        self.layers = []
        for i in range(config["num_hidden_layers"]):
            p = f"model.layers.{i}."
            a, m = p + "self_attn.", p + "mlp."
            self.layers.append([
                w[p + "input_layernorm.weight"].clone(),
                torch.cat([w[a + "q_proj.weight"], w[a + "k_proj.weight"], w[a + "v_proj.weight"]]),
                w[a + "o_proj.weight"].clone(),
                w[p + "post_attention_layernorm.weight"].clone(),
                torch.cat([w[m + "gate_proj.weight"], w[m + "up_proj.weight"]]),
                w[m + "down_proj.weight"].clone(),
            ])
        self.embedding = w["model.embed_tokens.weight"].clone()
        self.norm = w["model.norm.weight"].clone()
        self.head = w["lm_head.weight"].clone() if "lm_head.weight" in w else self.embedding
        self.trained = [self.embedding, self.norm] + [t for layer in self.layers for t in layer]
        if self.head is not self.embedding:
            self.trained.append(self.head)
        for parameter in self.trained:
            parameter.requires_grad_(trained)
        self.rotary = Rotary(config)

    def parameters(self):
        return self.trained

    def __call__(self, ids, places, targets):
        """log p of targets [C] predicted at places [C] of the flattened [B · T]."""
        c, d = self.config, self.rotary.size
        heads, kv_heads, eps = c["num_attention_heads"], c["num_key_value_heads"], c["rms_norm_eps"]
        batch, length = ids.shape
        rotate = self.rotary.upto(length)
        x = F.embedding(ids, self.embedding)
        for input_norm, qkv, o, mlp_norm, gate_up, down in self.layers:
            h = F.linear(F.rms_norm(x, (x.shape[-1],), input_norm, eps), qkv)
            q, k, v = h.view(batch, length, -1, d).transpose(1, 2).split([heads, kv_heads, kv_heads], 1)
            h = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True, enable_gqa=heads != kv_heads)
            x = x + F.linear(h.transpose(1, 2).reshape(batch, length, -1), o)
            gate, up = F.linear(F.rms_norm(x, (x.shape[-1],), mlp_norm, eps), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        x = x.view(batch * length, -1).index_select(0, places)
        logits = F.linear(F.rms_norm(x, (x.shape[-1],), self.norm, eps), self.head)
        return logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)


class Rotary:
    """Cosines and sines of all positions, made once."""

    def __init__(self, config):
        self.size = size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        inverse = 1.0 / config["rope_theta"] ** (torch.arange(0, size, 2).float() / size)
        angles = torch.arange(config["max_position_embeddings"]).float()[:, None] * inverse
        self.cosine = torch.cat([angles.cos()] * 2, 1)
        self.sine = torch.cat([-angles.sin(), angles.sin()], 1)

    def upto(self, length):
        cosine, sine, half = self.cosine[:length], self.sine[:length], self.size // 2
        return lambda x: torch.addcmul(x * cosine, torch.cat([x[..., half:], x[..., :half]], -1), sine)


class Layer(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        d, m, size = c["hidden_size"], c["intermediate_size"], c["head_dim"]
        self.size, self.gqa = size, c["num_attention_heads"] != c["num_key_value_heads"]
        linear = lambda i, o: torch.nn.Linear(i, o, bias=False)
        self.input_layernorm = torch.nn.RMSNorm(d, c["rms_norm_eps"])
        self.q_proj = linear(d, c["num_attention_heads"] * size)
        self.k_proj = linear(d, c["num_key_value_heads"] * size)
        self.v_proj = linear(d, c["num_key_value_heads"] * size)
        self.o_proj = linear(c["num_attention_heads"] * size, d)
        self.post_attention_layernorm = torch.nn.RMSNorm(d, c["rms_norm_eps"])
        self.gate_proj, self.up_proj, self.down_proj = linear(d, m), linear(d, m), linear(m, d)

    def forward(self, x, rotate):
        batch, length, _ = x.shape
        split = lambda y: y.view(batch, length, -1, self.size).transpose(1, 2)
        h = self.input_layernorm(x)
        q, k, v = rotate(split(self.q_proj(h))), rotate(split(self.k_proj(h))), split(self.v_proj(h))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.gqa)
        x = x + self.o_proj(h.transpose(1, 2).reshape(batch, length, -1))
        h = self.post_attention_layernorm(x)
        return x + self.down_proj(F.silu(self.gate_proj(h)) * self.up_proj(h))


class ModuleDecoder(torch.nn.Module):
    """The same of modules, as models are usually written."""

    def __init__(self, config, weights, trained):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(config["vocab_size"], config["hidden_size"])
        self.layers = torch.nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.norm = torch.nn.RMSNorm(config["hidden_size"], config["rms_norm_eps"])
        self.lm_head = torch.nn.Linear(config["hidden_size"], config["vocab_size"], bias=False)
        if "lm_head.weight" not in weights:
            self.lm_head.weight = self.embed_tokens.weight
        names = {name.replace("self_attn.", "").replace("mlp.", "").removeprefix("model."): w
                 for name, w in weights.items()}
        self.load_state_dict(names, strict="lm_head.weight" in weights)
        self.requires_grad_(trained)
        self.rotary = Rotary(config)

    def forward(self, ids, places, targets):
        x, rotate = self.embed_tokens(ids), self.rotary.upto(ids.shape[1])
        for layer in self.layers:
            x = layer(x, rotate)
        logits = self.lm_head(self.norm(x.flatten(0, 1).index_select(0, places)))
        return logits.log_softmax(-1).gather(1, targets[:, None]).squeeze(1)


STYLES = {"functions": FunctionDecoder, "modules": ModuleDecoder}


def collate(pairs):
    """Sequences (prompt, completion) as a right-padded batch: ids, places, targets, owner of each target."""
    # The last token predicts nothing, so it is not fed.
    length = max(len(p) + len(c) for p, c in pairs) - 1
    ids, places, targets, owner = [], [], [], []
    for i, (prompt, completion) in enumerate(pairs):
        fed = (prompt + completion)[:-1]
        ids.append(fed + [0] * (length - len(fed)))
        first = i * length + len(prompt) - 1
        places.extend(range(first, first + len(completion)))
        targets.extend(completion)
        owner.extend([i] * len(completion))
    return torch.tensor(ids), torch.tensor(places), torch.tensor(targets), torch.tensor(owner)


def sums(model, pairs, batch=None):
    ids, places, targets, owner = batch or collate(pairs)
    return torch.zeros(len(pairs)).index_add(0, owner, model(ids, places, targets))


def sft_loss(policy, reference, rows, before, beta):
    batch = collate([(r["prompt"], r["completions"][0]) for r in rows])
    return -policy(*batch[:3]).mean()


def dpo_loss(policy, reference, rows, before, beta):
    sequences = [(r["prompt"], r["completions"][0]) for r in rows] + [(r["prompt"], r["completions"][1]) for r in rows]
    batch = collate(sequences)
    with torch.inference_mode():
        rho_w, rho_l = sums(reference, sequences, batch).chunk(2)
    pi_w, pi_l = sums(policy, sequences, batch).chunk(2)
    return -F.logsigmoid(beta * ((pi_w - rho_w) - (pi_l - rho_l))).mean()


def kto_loss(policy, reference, rows, before, beta):
    sequences = [(r["prompt"], r["completions"][0]) for r in rows]
    mismatched = [(r["prompt"], rows[i - 1]["completions"][0]) for i, r in enumerate(rows)]
    both = collate(sequences + mismatched)
    with torch.inference_mode():
        rho, rho_m = sums(reference, sequences + mismatched, both).chunk(2)
        baseline = (sums(policy, mismatched) - rho_m).mean().clamp_min(0)
    ratio = sums(policy, sequences) - rho
    sign = torch.tensor([1.0 if r["desirable"] else -1.0 for r in rows])
    return torch.sigmoid(sign * (beta * (baseline - ratio))).mean()


LOSSES = {"sft": sft_loss, "dpo": dpo_loss, "kto": kto_loss}


def python_steps(style, config, weights, rows, setting, loss_name, steps):
    """Runs steps; gives seconds of wall and processor time a step, and the losses."""
    policy = STYLES[style](config, weights, True)
    reference = None if loss_name == "sft" else STYLES[style](config, weights, False)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=setting["learning_rate"], betas=(0.9, 0.999), eps=1e-8,
                                  weight_decay=0, fused=True)
    size, losses = setting["batch_size"], []
    wall, cpu = time.perf_counter(), time.process_time()
    for step in range(steps):
        first = step * size % len(rows)
        loss = LOSSES[loss_name](policy, reference, rows[first:first + size], None, setting["beta"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps, losses


class Library:
    """The program step_peer, asked line by line."""

    def __init__(self, program, folder, arguments):
        self.process = subprocess.Popen([program, folder, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        assert json.loads(self.process.stdout.readline())["ready"]

    def steps(self, loss_name, threads, steps):
        self.process.stdin.write(f"{loss_name} {threads} {steps}\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        return reply["wall"], reply["cpu"], reply["losses"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("program")
    arguments.add_argument("--model", help="folder of a checkpoint; otherwise the miniature's shape")
    arguments.add_argument("--rows", help="a JSONL file of preferences, for --model")
    arguments.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    arguments.add_argument("--losses", nargs="+", default=["dpo", "sft", "kto"], choices=list(LOSSES))
    arguments.add_argument("--styles", nargs="+", default=["modules", "functions"], choices=list(STYLES))
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--steps", type=int, default=20, help="of one round")
    given = arguments.parse_args()

    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder:
        more = [given.model, given.rows] if given.model else []
        library = Library(given.program, folder, more)
        config = json.load(open(os.path.join(folder, "config.json")))
        if "rope_parameters" in config:
            config.setdefault("rope_theta", config["rope_parameters"]["rope_theta"])
        weights = read_safetensors(os.path.join(folder, "model.safetensors"))
        data = json.load(open(os.path.join(folder, "rows.json")))
        rows, setting = data["rows"], data["setting"]
        for threads in given.threads:
            torch.set_num_threads(threads)
            for loss in given.losses:
                # Warm-up, and the proof that all do the same.
                ours = library.steps(loss, threads, 8)[2]
                for style in given.styles:
                    theirs = python_steps(style, config, weights, rows, setting, loss, 8)[2]
                    apart = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
                    if not apart <= 1e-4:
                        sys.exit(f"{loss}, {style}: losses differ by {apart:.1e}:\n{ours}\n{theirs}")
                runs = []
                for _ in range(given.rounds):
                    runs.append([library.steps(loss, threads, given.steps)[:2]] + [
                        python_steps(style, config, weights, rows, setting, loss, given.steps)[:2]
                        for style in given.styles])
                ms = lambda peer, kind: round(1e3 * statistics.median(run[peer][kind] for run in runs), 3)
                result = {"loss": loss, "threads": threads, "losses_apart": apart, "tithe_ms": ms(0, 0),
                          "tithe_cpu_ms": ms(0, 1)}
                for peer, style in enumerate(given.styles, 1):
                    result[style] = {"ms": ms(peer, 0), "cpu_ms": ms(peer, 1), "ratio": round(ms(0, 0) / ms(peer, 0), 3),
                                     "cpu_ratio": round(ms(0, 1) / ms(peer, 1), 3)}
                print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
