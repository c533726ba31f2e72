#!/bin/sh
# Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#
# User seconds and object bytes of files that include parts of LibTorch or of the library and no more; of files that use 1, 2
# and 5 pipelines of different losses and references; of one whose pipeline another file instantiates; and of checks alone.
#
#   benchmarks/compile_time.sh BUILD_FOLDER [COMPILER] [NAME...]
#
# BUILD_FOLDER is a configured one; the compiler is g++ by default; names choose among the lines. REPEATS (3) runs each.
set -eu
flags=$(cd "$1" && pwd)/include_flags.rsp
compiler=${2:-g++}
shift $(($# < 2 ? $# : 2))
wanted=" $* "
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

measure() {  # name, and the command that writes its file
  name=$1
  shift
  case $wanted in *" $name "* | "  ") ;; *) return 0 ;; esac
  "$@" > "$folder/$name.cpp"
  best=
  for _ in $(seq "${REPEATS:-3}"); do
    start=$(awk '{print $16}' /proc/$$/stat)  # user time of children that were waited for, in ticks
    "$compiler" -std=c++20 -O2 "@$flags" -c "$folder/$name.cpp" -o "$folder/$name.o"
    ticks=$(($(awk '{print $16}' /proc/$$/stat) - start))
    if [ -z "$best" ] || [ "$ticks" -lt "$best" ]; then best=$ticks; fi
  done
  seconds=$(awk "BEGIN {printf \"%.1f\", $best / $(getconf CLK_TCK)}")
  printf '%-16s %6s s user %9s bytes\n' "$name" "$seconds" "$(wc -c < "$folder/$name.o")"
}

include() {  # headers; angle brackets for LibTorch's
  for header; do
    case $header in
      *.h) printf '#include <%s>\n' "$header" ;;
      *) printf '#include "tithe/%s.hpp"\n' "$header" ;;
    esac
  done
}
policies='loss/dpo loss/hinge loss/kto loss/sim_po reference/cached reference/frozen_sft schedule/sft_count
          schedule/sft_fraction'

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
  include $policies composition
  printf 'using namespace tithe;\n'
  for i in $(seq 1 "$1"); do printf 'Composition<%s> policies%s;\n' "$(recipe "$i")" "$i"; done
}

use() {  # number
  printf 'RunReport run%s(const Pretrained& model, const Dataset& data) {\n' "$1"
  printf '  return Pipeline<%s>::Trainer(model).fit(data, Budget::examples(100));\n}\n' "$(recipe "$1")"
}

pipelines() {  # count
  include $policies pipeline
  printf 'using namespace tithe;\n'
  for i in $(seq 1 "$1"); do use "$i"; done
}

# Of two files one instantiates a pipeline's run, and the other, which says `extern`, uses it.
instantiation() {  # extern or nothing
  include $policies pipeline
  printf 'using namespace tithe;\nusing Recipe = Pipeline<%s>;\n' "$(recipe 1)"
  printf '%s template class tithe::PipelineTrainer<Recipe::Policies, tithe::Decoder>;\n' "$1"
  if [ -n "$1" ]; then use 1; fi
}

measure tensor include ATen/core/Tensor.h
measure aten include ATen/ATen.h
measure custom_function include torch/csrc/autograd/custom_function.h
measure torch include torch/torch.h
measure compositions_1 compositions 1
measure compositions_5 compositions 5
measure recommend include allocation/recommend
measure tokenizer include model/tokenizer
measure decoder include model/decoder
measure stage include $policies train/stage
measure pipeline include pipeline
measure pipelines_1 pipelines 1
measure pipelines_2 pipelines 2
measure pipelines_5 pipelines 5
measure extern instantiation extern
measure instantiation instantiation ''
