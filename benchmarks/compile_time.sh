#!/bin/sh
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# User seconds and object bytes of a file with 1, 2 and 5 pipelines of different losses and references, of their checks
# alone, and of one that includes ATen alone.
#
#   benchmarks/compile_time.sh BUILD_FOLDER [COMPILER]      (a configured build folder; the compiler is g++ by default)
set -eu
flags=$(cd "$1" && pwd)/include_flags.rsp
compiler=${2:-g++}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

measure() {  # name
  best=
  for _ in $(seq "${REPEATS:-3}"); do
    start=$(awk '{print $16}' /proc/$$/stat)  # user time of children that were waited for, in ticks
    "$compiler" -std=c++20 -O2 "@$flags" -c "$folder/$1.cpp" -o "$folder/$1.o"
    ticks=$(($(awk '{print $16}' /proc/$$/stat) - start))
    if [ -z "$best" ] || [ "$ticks" -lt "$best" ]; then best=$ticks; fi
  done
  seconds=$(awk "BEGIN {printf \"%.1f\", $best / $(getconf CLK_TCK)}")
  printf '%-14s %6s s user %9s bytes\n' "$1" "$seconds" "$(wc -c < "$folder/$1.o")"
}

includes() {
  for header in loss/dpo loss/hinge loss/kto loss/sim_po reference/cached reference/frozen_sft schedule/sft_count \
                schedule/sft_fraction "$1"; do
    printf '#include "tithe/%s.hpp"\n' "$header"
  done
  printf 'using namespace tithe;\n'
}

# Types that share no loss and reference both: an experiment's grid, one row each.
recipe() {  # number
  case $1 in
    1) echo 'SftFraction<0.1>, Dpo<0.1>, FrozenSft' ;;
    2) echo 'SftFraction<0.2>, Hinge<0.1>, FrozenSft' ;;
    3) echo 'SftCount<100>, Kto<0.1>, FrozenSft' ;;
    4) echo 'SftFraction<0.1>, SimPo<>' ;;
    5) echo 'SftFraction<0.1>, Dpo<0.1>, Cached<FrozenSft>' ;;
  esac
}

compositions() {  # count; checks alone, without LibTorch
  {
    includes composition
    for i in $(seq 1 "$1"); do printf 'Composition<%s> policies%s;\n' "$(recipe "$i")" "$i"; done
  } > "$folder/compositions_$1.cpp"
  measure "compositions_$1"
}

pipelines() {  # count
  {
    includes pipeline
    for i in $(seq 1 "$1"); do
      printf 'RunReport run%s(const Pretrained& model, const Dataset& data) {\n' "$i"
      printf '  return Pipeline<%s>::Trainer(model).fit(data, Budget::examples(100));\n}\n' "$(recipe "$i")"
    done
  } > "$folder/pipelines_$1.cpp"
  measure "pipelines_$1"
}

printf '#include <ATen/core/Tensor.h>\n' > "$folder/tensor.cpp"
printf '#include <ATen/ATen.h>\n' > "$folder/aten.cpp"
measure tensor
measure aten
compositions 1
compositions 5
pipelines 1
pipelines 2
pipelines 5
