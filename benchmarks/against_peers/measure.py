# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Seconds and memory of this process, or of its share of a GPU. Memory is in MB."""
import ctypes
import gc
import pathlib
import time

import torch


class ProcessorMeasure:
    def now(self):
        """Seconds of this process's processors."""
        return time.process_time()

    def held(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return status("VmRSS")

    def forget_peak(self):
        pathlib.Path("/proc/self/clear_refs").write_text("5")

    def peak(self):
        return status("VmHWM")

    def files(self):
        """What of the resident set is files: the code of libraries, for the most part."""
        return status("RssFile")


class CudaMeasure:
    def now(self):
        """Seconds of the clock, once the GPU has done its work."""
        torch.cuda.synchronize()
        return time.perf_counter()

    def held(self):
        return torch.cuda.memory_allocated() / 1e6

    def forget_peak(self):
        torch.cuda.reset_peak_memory_stats()

    def peak(self):
        return torch.cuda.max_memory_allocated() / 1e6

    def files(self):
        return 0.0


def status(name):
    """A figure of /proc/self/status, which Linux has."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {name}")
