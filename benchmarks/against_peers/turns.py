# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""A side that takes turns: it waits for a line with a number of steps, takes them, and answers with what they took."""
import json
import os
import sys

from measure import CudaMeasure, ProcessorMeasure


class Turns:
    """Call `begin` once the model with its adapter is there, then `step_done` after every step, until it gives False.

    Answers go to what standard output was; whatever else is printed goes to standard error.
    """

    def __init__(self, device):
        self.measure = CudaMeasure() if device == "cuda" else ProcessorMeasure()
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def begin(self, model):
        for weight in model.parameters():
            weight.detach().sum().item()  # a file that is mapped is read now, not in the first step
        self.loaded, self.files = self.measure.held(), self.measure.files()
        self.answer({"ready": True, "loaded_mb": self.loaded})
        return self.wait()

    def wait(self):
        line = sys.stdin.readline()
        if not line.strip():
            return False
        self.left = int(line)
        self.seconds, self.losses = [], []
        self.measure.forget_peak()
        self.since = self.measure.now()
        return True

    def step_done(self, loss):
        now = self.measure.now()
        self.seconds.append(now - self.since)
        self.losses.append(loss)
        self.left -= 1
        self.since = now
        if self.left > 0:
            return True
        self.answer({
            "seconds": self.seconds,
            "losses": self.losses,
            "peak_mb": self.measure.peak() - self.loaded,
            "files_mb": self.measure.files() - self.files,
        })
        return self.wait()

    def answer(self, what):
        print(json.dumps(what), file=self.answers, flush=True)
