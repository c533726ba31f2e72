#!/usr/bin/env python3
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
"""Compiles a file as far as its types, with every compiler named, and checks what the compiler says.

Without --case the file must compile without a word. With it, the compiler must give exactly one error, a static
assertion whose first line holds --text, in at most ten lines: the reader of a wrong composition sees our sentence and
little else. The text is matched literally, so any other breakage of the file fails the test.

With --headers, the run without --case leaves the headers that the file begins with there, precompiled, and runs with
--case read them: half the time, and the compiler says no less.
"""
import argparse
import os
import re
import subprocess
import sys

LINES_ALLOWED = 10


def flags_of(arguments):
    """Of the language and the folders of headers."""
    flags = ["-std=c++20"]
    for folder in filter(None, arguments.includes.split(",")):
        if os.path.normpath(folder) == "/usr/include":
            continue  # named again, it would come before the compiler's own headers, which include its files
        own = os.path.exists(os.path.join(folder, "tithe"))
        flags += ["-I" if own else "-isystem", folder]
    return flags


def prefix_of(compiler, arguments):
    """Where the headers that the file begins with are kept for a compiler, which finds the precompiled ones beside."""
    name = os.path.basename(os.path.dirname(arguments.file)) + "-" + os.path.basename(compiler)
    return os.path.join(arguments.headers, name + ".hpp")


def precompile(compiler, arguments):
    """Leaves those headers there."""
    includes = []
    with open(arguments.file, encoding="utf-8") as file:
        for line in file:
            if line.startswith("#include"):
                includes.append(line)
            elif line.startswith("#"):
                break
    prefix = prefix_of(compiler, arguments)
    os.makedirs(arguments.headers, exist_ok=True)
    with open(prefix, "w", encoding="utf-8") as file:
        file.writelines(includes)
    output = prefix + (".pch" if "clang" in os.path.basename(compiler) else ".gch")
    beside = ["-iquote", os.path.dirname(arguments.file)]
    command = [compiler, *flags_of(arguments), *beside, "-x", "c++-header", prefix, "-o", output + ".new"]
    subprocess.run(command, check=True)
    os.replace(output + ".new", output)  # another run of the tests may be reading it


def complaints(compiler, arguments):
    """What is wrong with one compiler's answer, as a list of sentences; and the answer."""
    command = [compiler, "-fsyntax-only", *flags_of(arguments)]
    if arguments.case:
        command.append("-D" + arguments.case)
        if arguments.headers and os.path.exists(prefix_of(compiler, arguments)):
            command += ["-include", prefix_of(compiler, arguments)]
    command.append(arguments.file)
    environment = dict(os.environ, LC_ALL="C")
    # A terminal's width or colours must not change the count of lines.
    if "clang" in os.path.basename(compiler):
        command += ["-fno-caret-diagnostics", "-fno-color-diagnostics"]
    else:
        command += ["-fno-diagnostics-show-caret", "-fdiagnostics-color=never"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True)
    output = answer.stdout + answer.stderr

    if not arguments.case:
        return ([] if answer.returncode == 0 and not output else ["it should compile without a word"]), output
    wrong = []
    if answer.returncode == 0:
        wrong.append("it compiles, and should not")
    # clang's count of errors at the end is no error of its own.
    errors = re.findall(r"\berror: .*", output)
    if len(errors) != 1:
        wrong.append(f"{len(errors)} errors, not 1")
    if not re.search(r"error: static.assert[a-z ]+failed[^\n]*" + re.escape(arguments.text), output):
        wrong.append(f"no static assertion that says: {arguments.text}")
    lines = [line for line in output.splitlines() if line and not re.match(r"^\d+ errors? generated\.$", line)]
    if len(lines) > LINES_ALLOWED:
        wrong.append(f"{len(lines)} lines, more than {LINES_ALLOWED}")
    return wrong, output


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compilers", required=True, help="comma-separated")
    parser.add_argument("--includes", default="", help="comma-separated folders")
    parser.add_argument("--headers", default="", help="a folder for precompiled headers")
    parser.add_argument("--case", default="", help="the macro of the case that is refused")
    parser.add_argument("--text", default="", help="what the refusal says")
    parser.add_argument("file")
    arguments = parser.parse_args()
    if arguments.case and not arguments.text:
        parser.error("a case needs --text: a refusal for any reason is no test")

    failed = False
    for compiler in arguments.compilers.split(","):
        wrong, output = complaints(compiler, arguments)
        for sentence in wrong:
            print(f"{compiler}: {sentence}")
        if wrong:
            failed = True
            print(output)
        elif arguments.headers and not arguments.case:
            precompile(compiler, arguments)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
