# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""What all sides train, written once: a Llama of random weights, an adapter over it, and rows of random ids.

usage: cases.py SHAPE FOLDER
"""
import dataclasses
import json
import pathlib
import random
import sys
import warnings

import peft
import safetensors.torch
import tokenizers
import torch
import transformers

PAD, END = 0, 1  # ids; the other words of the tokenizer are the ids themselves
RANK = 32
LEARNING_RATE = 1e-4
BETA = 0.1
BATCHES = 8  # after which the rows begin again


@dataclasses.dataclass(frozen=True)
class Shape:
    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    intermediate: int
    vocabulary: int
    prompt: int
    completion: int  # chosen and rejected alike
    pairs: int  # of one step

    def said(self):
        return (
            f"{self.layers} layers, hidden {self.hidden}, {self.heads} heads over {self.key_value_heads}, "
            f"intermediate {self.intermediate:,}, vocabulary {self.vocabulary:,} tied, "
            f"{self.prompt}/{self.completion}/{self.completion} tokens, {self.pairs} pairs"
        )


S = Shape(6, 512, 8, 4, 1_408, 32_000, 128, 128, 4)
SHAPES = {
    "T": Shape(2, 64, 4, 2, 176, 512, 24, 24, 16),
    "S": S,
    "S384": dataclasses.replace(S, prompt=384),
    "M": dataclasses.replace(S, layers=12, vocabulary=152_064, prompt=256, pairs=2),
}


def write_case(shape, folder):
    """A folder as from_pretrained takes it, with `adapter` in PEFT's files and rows.json."""
    folder = pathlib.Path(folder)
    model = write_model(shape, folder)
    write_adapter(model, folder / "adapter")
    write_tokenizer(shape, folder)
    (folder / "rows.json").write_text(json.dumps({
        "batch_size": shape.pairs,
        "learning_rate": LEARNING_RATE,
        "rows": rows_of(shape),
    }))


def write_model(shape, folder):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=1_024,
        tie_word_embeddings=True,
        # Maps that keep the size of what they are given; logits are then about as large as 1.
        initializer_range=shape.hidden**-0.5,
        pad_token_id=PAD,
        bos_token_id=None,
        eos_token_id=END,
    )
    model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model


def lora():
    return peft.LoraConfig(
        r=RANK,
        lora_alpha=RANK,
        lora_dropout=0.0,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        task_type="CAUSAL_LM",
    )


def write_adapter(model, folder):
    """An adapter that changes what the model says: with B = 0 it would begin as the reference."""
    adapted = peft.get_peft_model(model, lora())
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    adapted.save_pretrained(folder)


def read_adapter(adapted, folder):
    """Into an adapter that is there."""
    state = safetensors.torch.load_file(folder / "adapter" / "adapter_model.safetensors")
    missing = peft.set_peft_model_state_dict(adapted, state).missing_keys
    assert not [name for name in missing if "lora_" in name]


def write_tokenizer(shape, folder):
    """Words are the ids, parted by spaces; </s> is END: a trainer that ends its texts finds them ended."""
    words = {"<pad>": PAD, "</s>": END, **{str(i): i for i in range(2, shape.vocabulary)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>"
    ).save_pretrained(folder)


def text_of(ids):
    return "".join(" </s>" if i == END else f" {i}" for i in ids)


def rows_of(shape):
    """Pairs of random ids. Every completion ends; the two of a pair begin differently: they share the prompt alone."""
    draw = random.Random(1)
    ids = lambda count: [draw.randrange(2, shape.vocabulary) for _ in range(count)]
    rows = []
    while len(rows) < BATCHES * shape.pairs:
        chosen, rejected = ids(shape.completion - 1) + [END], ids(shape.completion - 1) + [END]
        if chosen[0] != rejected[0]:
            row = {"prompt": ids(shape.prompt), "completions": [chosen, rejected]}
            rows.append(row | {"desirable": len(rows) % 2 == 0})
    return rows


if __name__ == "__main__":
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    write_case(SHAPES[sys.argv[1]], sys.argv[2])
