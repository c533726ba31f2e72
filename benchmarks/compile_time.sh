#!/bin/sh
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# User seconds and object bytes of a file with 1, 2 and 5 pipelines, beside one that includes ATen alone.
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
  printf '%-12s %6s s user %9s bytes\n' "$1" "$seconds" "$(wc -c < "$folder/$1.o")"
}

pipelines() {  # count
  {
    printf '#include "tithe/loss/dpo.hpp"\n#include "tithe/pipeline.hpp"\n#include "tithe/reference/frozen_sft.hpp"\n'
    printf '#include "tithe/schedule/sft_fraction.hpp"\nusing namespace tithe;\n'
    for i in $(seq 1 "$1"); do
      printf 'RunReport run%s(const Pretrained& model, const Dataset& data) {\n' "$i"
      printf '  return Pipeline<SftFraction<0.%s>, Dpo<0.%s>, FrozenSft>::Trainer(model).fit(data, Budget::examples(%s));\n}\n' \
             "$i" "$i" "$i"
    done
  } > "$folder/pipelines_$1.cpp"
  measure "pipelines_$1"
}

printf '#include <ATen/core/Tensor.h>\n' > "$folder/tensor.cpp"
printf '#include <ATen/ATen.h>\n' > "$folder/aten.cpp"
measure tensor
measure aten
pipelines 1
pipelines 2
pipelines 5
