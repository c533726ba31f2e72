#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""The step of TRL's trainers; one side of compare.py.

usage: trl_trainer.py FOLDER sft|dpo|kto float32|bfloat16 THREADS cpu|cuda

Defaults as TRL has them but for what would make another computation of it: no checkpointing of activations, no autocast
over the checkpoint's dtype, no decay of the rate, rows in their order.
"""
import json
import pathlib
import sys
import tempfile

import datasets
import torch
import transformers
import trl

import cases
from turns import Turns

TRAINERS = {
    "sft": (trl.SFTTrainer, trl.SFTConfig, {"shuffle_dataset": False}),
    "dpo": (trl.DPOTrainer, trl.DPOConfig, {"beta": cases.BETA}),
    "kto": (trl.KTOTrainer, trl.KTOConfig, {"beta": cases.BETA}),
}


def texts(method, rows):
    for row in rows:
        prompt, completions = cases.text_of(row["prompt"]), [cases.text_of(c) for c in row["completions"]]
        if method == "dpo":
            yield {"prompt": prompt, "chosen": completions[0], "rejected": completions[1]}
        else:
            verdict = {"label": row["desirable"]} if method == "kto" else {}
            yield {"prompt": prompt, "completion": completions[0]} | verdict


def check_ids(method, batch, rows):
    """What the model is given is what the rows say, token for token."""
    sequences = [(r["prompt"], r["completions"][k]) for k in ((0, 1) if method == "dpo" else (0,)) for r in rows]
    assert batch["input_ids"].tolist() == [p + c for p, c in sequences]
    scored = batch["labels"] != -100 if "labels" in batch else batch["completion_mask"]
    assert scored.int().tolist() == [[0] * len(p) + [1] * len(c) for p, c in sequences]
    if method == "kto":
        mismatched = [r["prompt"] + rows[i - 1]["completions"][0] for i, r in enumerate(rows)]
        assert batch["KL_input_ids"].tolist() == mismatched


class Watch(transformers.TrainerCallback):
    """Stands between the trainer's steps."""

    def __init__(self, turns):
        self.turns, self.loss = turns, None

    def on_step_end(self, args, state, control, **others):
        if not self.turns.step_done(self.loss.item()):
            control.should_training_stop = True


def main(folder, method, dtype, threads, device):
    turns = Turns(device)
    torch.set_num_threads(int(threads))
    folder = pathlib.Path(folder)
    data = json.loads((folder / "rows.json").read_text())
    trainer_type, config_type, settings = TRAINERS[method]
    with tempfile.TemporaryDirectory() as output:
        trainer = trainer_type(
            model=transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype)),
            args=config_type(
                output_dir=output,
                max_steps=1_000_000,  # until no more steps are asked for
                learning_rate=data["learning_rate"],
                lr_scheduler_type="constant",
                per_device_train_batch_size=data["batch_size"],
                train_sampling_strategy="sequential",
                max_length=None,
                gradient_checkpointing=False,
                bf16=False,
                use_cpu=device == "cpu",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **settings,
            ),
            processing_class=transformers.AutoTokenizer.from_pretrained(folder),
            train_dataset=datasets.Dataset.from_list(list(texts(method, data["rows"]))),
            peft_config=cases.lora(),
        )
        cases.read_adapter(trainer.model, folder)
        watch = Watch(turns)
        take_step = trainer.training_step
        first = data["rows"][: data["batch_size"]]
        check_ids(method, next(iter(trainer.get_train_dataloader())), first)

        def training_step(*arguments, **named):
            watch.loss = take_step(*arguments, **named)
            return watch.loss

        trainer.training_step = training_step
        trainer.add_callback(watch)
        if turns.begin(trainer.model):
            trainer.train()


if __name__ == "__main__":
    main(*sys.argv[1:])
