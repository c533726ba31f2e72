#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes trl_steps.json: what TRL's trainers log over ten full-batch steps on a real model, for trl_test.cpp and
trl_lora_test.cpp.

usage: trl_steps.py STORIES260K      the folder with config.json, model.safetensors and tokenizer.json

Needs torch, transformers, peft, trl and datasets; the versions that made the file are written into it. The rows are made up
here; the file has them as the token ids that TRL's collators gave to the model, which is what tithe is given then.
What varies in a trainer but is no part of its mathematics is pinned: float32, CPU, one thread, one batch of all rows in
their order, no warm-up, a constant rate.
"""
import json
import pathlib
import sys
import tempfile

import datasets
import peft
import torch
import transformers
import trl

# Every setting differs from either program's default. With the rate ten steps move each loss visibly, and none to 0 or
# through it. Decay and epsilon are far larger than anyone's, so that ten steps show them; and without a large epsilon
# Adam would not show how gradients are clipped, since it takes their scale out.
SETTINGS = {
    "steps": 10,
    "learning_rate": 2e-5,
    "weight_decay": 10.0,
    "adam_beta1": 0.8,
    "adam_beta2": 0.98,
    "adam_epsilon": 1e-4,
    "max_grad_norm": 0.5,
}

# Prompt, chosen and rejected, of lengths that differ; and the verdict, which says which of the two is the row's one
# labelled completion. The longest prompt has the longest completion: no mismatched row is longer than every other.
PAIRS = [
    ("Tom has 3 red cars and 4 blue cars. How many?", " Tom has 3 + 4 = 7 cars.", " Tom has 3 cars.", True),
    ("Lily had 9 cakes. She ate 2. How many now?", " 9 - 2 = 7 cakes are left.", " She ate 9 + 2 = 11 cakes.", False),
    ("Ben sees 5 birds. Then 5 more come.", " There are 5 + 5 = 10 birds in the tree.", " No birds.", True),
    ("A box holds 6 balls. How many do two boxes hold?", " 12.", " Two boxes hold 6 + 2 = 8 balls. A: 8", True),
    ("Mum gave Sam 1 apple and dad gave him 2.", " Sam has 1 + 2 = 3 apples now.", " Sam has 2, and is sad.", False),
    ("Anna walked 4 steps, and 4 steps back.", " She walked 8 steps and was happy.", " She is 4 steps away.", True),
    ("The cat has 4 legs. The bird has 2 legs.", " Together they have 4 + 2 = 6 legs.", " 4 legs.", False),
    ("There were 10 flowers. Sue took half of them home to her mom.",
     " Half of 10 is 5, so she took 10 / 2 = 5 flowers to her mom.", " Sue took 10.", True),
]  # fmt: skip


def sft(loss_type="nll", **config):
    return trl.SFTTrainer, trl.SFTConfig, {"loss_type": loss_type, "shuffle_dataset": False, **config}


def dpo(*loss_types, **config):
    return trl.DPOTrainer, trl.DPOConfig, {"loss_type": list(loss_types), "beta": 0.1, **config}


def kto(loss_type="kto", **config):
    return trl.KTOTrainer, trl.KTOConfig, {"loss_type": loss_type, "beta": 0.1, **config}


ALPHA = {"f_divergence_type": "alpha_divergence", "f_alpha_divergence_coef": 0.5}
JS = {"f_divergence_type": "js_divergence"}
FORWARD = {"f_divergence_type": "forward_kl"}
RUNS = {
    "sft": sft(),
    "sft/all_tokens": sft(completion_only_loss=False),
    "sft/dft": sft("dft"),
    "sft/label_smoothing": sft(label_smoothing_factor=0.1),
    "dpo/sigmoid": dpo("sigmoid"),
    "dpo/hinge": dpo("hinge"),
    "dpo/ipo": dpo("ipo"),
    "dpo/exo_pair": dpo("exo_pair", label_smoothing=0.1),
    "dpo/nca_pair": dpo("nca_pair"),
    "dpo/robust": dpo("robust", label_smoothing=0.1),
    "dpo/bco_pair": dpo("bco_pair"),
    "dpo/sppo_hard": dpo("sppo_hard"),
    "dpo/aot": dpo("aot", label_smoothing=0.1),
    "dpo/aot_unpaired": dpo("aot_unpaired", label_smoothing=0.1),
    "dpo/apo_zero": dpo("apo_zero"),
    "dpo/apo_down": dpo("apo_down"),
    "dpo/discopop": dpo("discopop"),
    "dpo/sigmoid_norm": dpo("sigmoid_norm"),
    "dpo/sigmoid js": dpo("sigmoid", **JS),
    "dpo/sigmoid forward_kl": dpo("sigmoid", **FORWARD),
    "dpo/sigmoid alpha": dpo("sigmoid", **ALPHA),
    "dpo/ipo js": dpo("ipo", **JS),
    "dpo/sigmoid_norm forward_kl": dpo("sigmoid_norm", **FORWARD),
    "dpo/hinge js": dpo("hinge", **JS),
    "dpo/sigmoid ld_alpha": dpo("sigmoid", ld_alpha=0.5),
    "dpo/sigmoid use_weighting": dpo("sigmoid", use_weighting=True),
    "dpo/sigmoid bco_pair sft": dpo("sigmoid", "bco_pair", "sft", loss_weights=[0.8, 0.2, 1.0]),
    "kto": kto(),
    "kto/weights": kto(desirable_weight=1.25, undesirable_weight=0.75),
    "kto/apo_zero_unpaired": kto("apo_zero_unpaired"),
}

# Adapters: settings of PEFT's LoraConfig, and how large the numbers are that A and B begin with (`begin`). The rate moves a
# loss as far as that of the whole model does.
ALL_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA_RATE = 5e-4
LORA = {
    "plain": {"r": 4, "lora_alpha": 8, "target_modules": ALL_MODULES, "a": 0.125, "b": 0.0},
    "rslora": {"r": 4, "lora_alpha": 8, "target_modules": ALL_MODULES, "use_rslora": True, "a": 0.125, "b": 0.0},
    "subset": {"r": 3, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj", "down_proj"], "a": 0.125, "b": 0.0},
    "trained": {"r": 4, "lora_alpha": 8, "target_modules": ALL_MODULES, "a": 0.125, "b": 0.02},
}
LORA_RUNS = {
    **{f"dpo/lora {name}": (*dpo("sigmoid", learning_rate=LORA_RATE), name) for name in LORA},
    "sft/lora plain": (*sft(learning_rate=LORA_RATE), "plain"),
    "kto/lora subset": (*kto(learning_rate=LORA_RATE), "subset"),
}


def texts(trainer_type):
    """The rows as the trainer's users write them."""
    if trainer_type is trl.DPOTrainer:
        return [{"prompt": p, "chosen": c, "rejected": r} for p, c, r, _ in PAIRS]
    if trainer_type is trl.KTOTrainer:
        return [{"prompt": p, "completion": c if good else r, "label": good} for p, c, r, good in PAIRS]
    return [{"prompt": p, "completion": c} for p, c, _, _ in PAIRS]


def cut(batch, predicted, prefix=""):
    """The sequences of a padded batch, each as (ids of the prompt, ids that are predicted)."""
    rows = []
    for ids, attended, mask in zip(
        batch[prefix + "input_ids"].tolist(), batch[prefix + "attention_mask"].tolist(), predicted.tolist()
    ):
        length, prompt = sum(attended), sum(attended) - sum(mask)
        assert attended == [1] * length + [0] * (len(ids) - length), "padding stands on the right"
        assert mask == [0] * prompt + [1] * (length - prompt) + [0] * (len(ids) - length), "one completion, to the end"
        rows.append((ids[:prompt], ids[prompt:length]))
    return rows


def rows_of(batch):
    """What a collated batch holds, as the file has it."""
    if "labels" in batch:
        rows = cut(batch, (batch["labels"] != -100).long())
        return [{"prompt": prompt, "completions": [completion]} for prompt, completion in rows]
    rows = cut(batch, batch["completion_mask"])
    if "label" in batch:
        return [
            {"prompt": prompt, "completions": [completion], "desirable": bool(good)}
            for (prompt, completion), good in zip(rows, batch["label"])
        ]
    half = len(rows) // 2
    assert all(chosen[0] == rejected[0] for chosen, rejected in zip(rows[:half], rows[half:]))
    return [{"prompt": w[0], "completions": [w[1], l[1]]} for w, l in zip(rows[:half], rows[half:])]


def check_mismatched(batch):
    """Row i has the completion of the row before it, as in tithe's Order::file, and no such row is cut."""
    rows, mismatched = cut(batch, batch["completion_mask"]), cut(batch, batch["KL_completion_mask"], "KL_")
    assert mismatched == [(prompt, rows[i - 1][1]) for i, (prompt, _) in enumerate(rows)]
    assert max(len(p) + len(c) for p, c in mismatched) <= max(len(p) + len(c) for p, c in rows)


@torch.no_grad()
def begin(model, a, b):
    """Gives the k-th tensor of an adapter, by name, a size times sin(0.3 i + 0.7 j + 0.11 i j + k) at (i, j)."""
    adapter = sorted((name, weight) for name, weight in model.named_parameters() if "lora_" in name)
    for k, (name, weight) in enumerate(adapter):
        i = torch.arange(weight.shape[0], dtype=torch.float64)[:, None]
        j = torch.arange(weight.shape[1], dtype=torch.float64)[None, :]
        weight.copy_((a if "lora_A" in name else b) * torch.sin(0.3 * i + 0.7 * j + 0.11 * i * j + k))


def train(folder, tokenizer, trainer_type, config_type, config, lora=None):
    """The rows of every step's batch, which are the same, and what each step logged."""
    with tempfile.TemporaryDirectory() as output:
        arguments = config_type(
            output_dir=output,
            max_steps=SETTINGS["steps"],
            **{**{name: value for name, value in SETTINGS.items() if name != "steps"}, **config},
            per_device_train_batch_size=len(PAIRS),
            optim="adamw_torch",
            lr_scheduler_type="constant",
            train_sampling_strategy="sequential",
            max_length=None,
            bf16=False,
            use_cpu=True,
            gradient_checkpointing=False,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        adapter = {name: value for name, value in LORA.get(lora, {}).items() if name not in "ab"}
        trainer = trainer_type(
            model=model,
            args=arguments,
            processing_class=tokenizer,
            train_dataset=datasets.Dataset.from_list(texts(trainer_type)),
            peft_config=peft.LoraConfig(task_type="CAUSAL_LM", **adapter) if lora else None,
        )
        if lora:
            begin(trainer.model, LORA[lora]["a"], LORA[lora]["b"])
        collate, batches = trainer.data_collator, []

        def collated(examples):
            batch = collate(examples)
            batches.append(rows_of(batch))
            if "KL_input_ids" in batch:
                check_mismatched(batch)
            return batch

        trainer.data_collator = collated
        trainer.train()
    assert len(batches) >= SETTINGS["steps"] and all(batch == batches[0] for batch in batches)
    for row, text in zip(batches[0], texts(trainer_type)):
        completions = [text[field] for field in ("completion", "chosen", "rejected") if field in text]
        whole = [tokenizer(text["prompt"] + completion + "</s>")["input_ids"] for completion in completions]
        assert [row["prompt"] + completion for completion in row["completions"]] == whole
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [entry["learning_rate"] for entry in steps] == [arguments.learning_rate] * SETTINGS["steps"]
    return batches[0], {name: [float(entry[name]) for entry in steps] for name in ("loss", "grad_norm")}


def lines(values, indent):
    """A JSON object of values that are JSON already, one a line."""
    items = ",\n".join(f"{indent}  {json.dumps(key)}: {value}" for key, value in values.items())
    return "{\n" + items + "\n" + indent + "}"


def rows_text(rows):
    return "[\n" + ",\n".join(f"      {json.dumps(row)}" for row in rows) + "]"


def main(folder):
    torch.set_num_threads(1)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=f"{folder}/tokenizer.json", bos_token="<s>", eos_token="</s>", pad_token="<unk>"
    )
    rows, runs = {}, {}
    for name, run in {**RUNS, **LORA_RUNS}.items():
        seen, steps = train(folder, tokenizer, *run)
        if name == "sft/all_tokens":
            assert [row["completions"] for row in seen] == [[r["prompt"] + r["completions"][0]] for r in rows["sft"]]
        else:
            assert rows.setdefault(name.split("/")[0], seen) == seen
        runs[name] = json.dumps(steps)
    file = {
        "versions": json.dumps({module.__name__: module.__version__ for module in (torch, transformers, peft, trl)}),
        "settings": json.dumps(SETTINGS),
        "lora_learning_rate": json.dumps(LORA_RATE),
        "lora": lines({name: json.dumps(settings) for name, settings in LORA.items()}, "  "),
        "rows": lines({kind: rows_text(of) for kind, of in rows.items()}, "  "),
        "runs": lines(runs, "  "),
    }
    pathlib.Path(__file__).with_suffix(".json").write_text(lines(file, "") + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
