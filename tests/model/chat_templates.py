#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints what the tests and model/chat_template.hpp hold about chat templates that models are published with.

usage: chat_templates.py > chat_templates.jsonl     (needs transformers 5.23 and trl 1.16, whose package has the templates)

One line a published template: its name, the digest by which it is recognised, and what it makes of some conversations
without tools. The templates themselves are not copied.
"""
import hashlib
import json
import pathlib
import re

import trl
from transformers.utils.chat_template_utils import _compile_jinja_template

FOLDER = pathlib.Path(trl.__file__).parent / "chat_templates"
NAMES = ["qwen2_5", "qwen3_instruct_2507", "llama3", "llama3_1"]
USER = {"role": "user", "content": " Add 17 and 25.\n"}
CASES = [
    [USER],
    [USER, {"role": "assistant", "content": "\t17 + 25 = 42. "}],
    [{"role": "system", "content": "\u00a0Be brief. "}, USER, {"role": "assistant", "content": "42"}],
    [USER, {"role": "assistant", "content": "42"}, {"role": "system", "content": "Now in words."}, USER],
]


def digest(template):
    """Of the text with one kind of line end, without those that Jinja takes off its end (the last newline, and one behind a
    block), and without the default system message."""
    text = template.replace("\r\n", "\n").removesuffix("\n")
    if text.endswith("%}\n"):
        text = text.removesuffix("\n")
    default = re.search(r"'<\|im_start\|>system\\n([^'\"{}\\]+)<\|im_end\|>\\n'", text)
    if default:
        text = text.replace(default[1], "")
    return hashlib.sha256(text.encode()).hexdigest()


for name in NAMES:
    template = (FOLDER / f"{name}.jinja").read_text()
    compiled = _compile_jinja_template(template)
    cases = []
    for messages in CASES:
        generate = messages[-1]["role"] != "assistant"
        text = compiled.render(messages=messages, add_generation_prompt=generate, bos_token="<|begin_of_text|>",
                               tools=None)
        cases.append({"messages": messages, "add_generation_prompt": generate, "text": text})
    print(json.dumps({"name": name, "digest": digest(template), "cases": cases}))
