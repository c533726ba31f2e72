# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints the rates of transformers' schedules for the cases in learning_rate_test.cpp. Needs torch and transformers."""
import torch
from transformers import get_scheduler

PEAK = 2.0


def rates(name, warmup, total):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=PEAK)
    scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=total)
    seen = []
    for _ in range(total):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


for name in ("constant_with_warmup", "linear", "cosine"):
    for warmup, total in ((0, 5), (2, 7)):
        print(name, warmup, total, rates(name, warmup, total))
