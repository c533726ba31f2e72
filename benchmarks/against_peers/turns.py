# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""A side that takes turns: it waits for a line with a number of steps, takes them, and answers with what they took."""
import ctypes
import gc
import json
import os
import pathlib
import sys
import time

import torch


def memory_mb(name):
    """A figure of /proc/self/status."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {name}")


class Turns:
    """Call `begin` once the model with its adapter is there, then `step_done` after every step, until it gives False.

    Answers go to what standard output was; whatever else is printed goes to standard error.
    """

    def __init__(self, device):
        self.cuda = device == "cuda"
        self.answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def begin(self, model):
        for weight in model.parameters():
            weight.detach().sum().item()  # a file that is mapped is read now, not in the first step
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        self.before = torch.cuda.memory_allocated() / 1e6 if self.cuda else memory_mb("VmRSS")
        self.answer({"ready": True, "loaded_mb": self.before})
        return self.wait()

    def wait(self):
        line = sys.stdin.readline()
        if not line.strip():
            return False
        self.left = int(line)
        self.result = {"seconds": [], "losses": []}
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
        self.since = self.now()
        return True

    def step_done(self, loss):
        now = self.now()
        self.result["seconds"].append(now - self.since)
        self.result["losses"].append(loss)
        self.left -= 1
        if self.left == 0:
            peak = torch.cuda.max_memory_allocated() / 1e6 if self.cuda else memory_mb("VmHWM")
            self.answer({**self.result, "peak_mb": peak - self.before})
            return self.wait()
        self.since = now
        return True

    def now(self):
        """Seconds of this process's processors; on a GPU, of the clock, once it has done its work."""
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def answer(self, what):
        print(json.dumps(what), file=self.answers, flush=True)
