#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Writes golden_events.hpp: the bytes that TensorBoard's own package writes for what tensorboard_test.cpp writes.

usage: golden_events.py            with the packages tensorboard and protobuf (made with tensorboard 2.21)
       golden_events.py --read F   reads an event file with TensorBoard's loader and prints its scalars
"""
import pathlib
import struct
import sys

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import masked_crc32c


def record(event):
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    checksum = lambda part: struct.pack("<I", masked_crc32c(part))
    return length + checksum(length) + data + checksum(data)


def scalars(step, time, values):
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values])
    return record(Event(wall_time=time, step=step, summary=summary))


def hexadecimal(name, data):
    text = data.hex()
    lines = [f'    "{text[i:i + 96]}"' for i in range(0, len(text), 96)]
    return f"inline constexpr std::string_view {name} =\n" + "\n".join(lines) + ";\n"


def main():
    if sys.argv[1:2] == ["--read"]:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        for event in EventFileLoader(sys.argv[2]).Load():
            print(event.step, [(value.tag, list(value.tensor.float_val) or value.simple_value) for value in event.summary.value])
        return
    body = ["// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.",
            "// Written by golden_events.py.", "#pragma once", "", "#include <string_view>", "", "namespace golden {", "",
            hexadecimal("header", record(Event(wall_time=1700000000.25, file_version="brain.Event:2"))),
            hexadecimal("event", scalars(300, 1700000001.5, [("sft/loss", 0.6931471805599453), ("sft/grad_norm", 1e-12)])),
            hexadecimal("special", scalars(1, 0.5, [("preference/rewards/margins", float("-inf")), ("preference/é", -0.0)])),
            "}  // namespace golden", ""]
    (pathlib.Path(__file__).parent / "golden_events.hpp").write_text("\n".join(body), encoding="utf-8")


if __name__ == "__main__":
    main()
