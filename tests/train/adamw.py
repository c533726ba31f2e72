# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Prints what torch.optim.AdamW makes of the case in stage_test.cpp. Decay on the matrix alone."""
import torch

matrix = torch.tensor([[0.5, -1.0], [2.0, 0.25]], dtype=torch.float64, requires_grad=True)
vector = torch.tensor([1.0, -2.0], dtype=torch.float64, requires_grad=True)
groups = [{"params": [matrix], "weight_decay": 0.1}, {"params": [vector], "weight_decay": 0.0}]
adamw = torch.optim.AdamW(groups, lr=0.01)
for _ in range(2):
    adamw.zero_grad()
    ((matrix * matrix).sum() * 3 + (vector**3).sum()).backward()
    print("norm", repr(torch.nn.utils.clip_grad_norm_([matrix, vector], 1.0).item()))
    adamw.step()
print([repr(x) for x in matrix.flatten().tolist()], [repr(x) for x in vector.tolist()])
