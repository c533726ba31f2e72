// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// The loops in which tests spend their time, compiled with -O2 for programs that are not: of an inline function that
// several objects define the linker takes the first, and this object comes first.
#include <cstdint>
#include <span>
#include <tuple>

#include "tithe/core/sha256.hpp"
#include "tithe/model/dense_attention.hpp"
#include "tithe/model/sweeps.hpp"
#include "tithe/train/adamw_sweep.hpp"

namespace {

using namespace tithe;

// What is named here the compiler must write out.
[[gnu::used]] const std::tuple loops{
    &detail::norm_forward,
    &detail::norm_backward,
    &detail::swiglu_forward,
    &detail::swiglu_backward,
    &detail::rotate_,
    &detail::dense_forward<float>,
    &detail::dense_backward<float>,
    &detail::dense_forward<double>,
    &detail::dense_backward<double>,
    &detail::adamw_sweep<float>,
    &detail::squares<float>,
    static_cast<Sha256& (Sha256::*)(std::span<const std::uint8_t>)>(&Sha256::update),
};

}  // namespace
