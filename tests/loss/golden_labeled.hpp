// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>

// clang-format off: written by golden_labeled.py; do not edit.
namespace tithe::test::golden {

inline constexpr std::array<double, 4> upward{
    1.0, -0.5, 2.0, 0.3};
inline constexpr std::array<double, 1> mean_then_clamp_upward{
    0.7};
inline constexpr std::array<double, 1> non_zero_mean_then_clamp_upward{
    0.7};
inline constexpr std::array<double, 6> clamp_then_mean_upward{
    0.7, 0.7, 0.7, 0.825, 0.825, 0.825};
inline constexpr std::array<double, 4> downward{
    -1.0, -0.5, -2.0, 0.3};
inline constexpr std::array<double, 1> mean_then_clamp_downward{
    0.0};
inline constexpr std::array<double, 1> non_zero_mean_then_clamp_downward{
    0.0};
inline constexpr std::array<double, 6> clamp_then_mean_downward{
    0.0, 0.0, 0.0, 0.075, 0.075, 0.075};
inline constexpr std::array<double, 6> with_zeros{
    0.0, 1.5, 0.0, -0.25, 0.0, 1.0};
inline constexpr std::array<double, 1> mean_then_clamp_with_zeros{
    0.375};
inline constexpr std::array<double, 1> non_zero_mean_then_clamp_with_zeros{
    0.75};
inline constexpr std::array<double, 6> clamp_then_mean_with_zeros{
    0.375, 0.375, 0.4166666666666667, 0.4166666666666667, 0.4166666666666667, 0.4166666666666667};
inline constexpr std::array<double, 5> five{
    -3.0, 1.0, -2.0, 4.0, 2.5};
inline constexpr std::array<double, 1> mean_then_clamp_five{
    0.5};
inline constexpr std::array<double, 1> non_zero_mean_then_clamp_five{
    0.5};
inline constexpr std::array<double, 6> clamp_then_mean_five{
    0.5, 1.625, 1.1666666666666667, 1.1666666666666667, 1.5, 1.5};
inline constexpr std::array<double, 4> kto_non_zero{
    0.46879062662624377, 0.5683199834782481, 0.36008390326226586, 0.5187412158785353};
inline constexpr std::array<double, 4> kto_two_ranks{
    0.49062609847833927, 0.5896454785627312, 0.3401782450279425, 0.4968750406894684};
inline constexpr std::array<double, 4> kto_both_weights{
    0.6218357725048661, 0.7542335636040542, 0.28898945988092645, 0.4159914721244654};
inline constexpr std::array<double, 4> apo_zero_unpaired{
    0.4501660026875221, 0.549833997312478, 0.37754066879814546, 0.5374298453437496};
inline constexpr std::array<double, 1> bco_first_shift{
    -0.0875};
inline constexpr std::array<double, 4> bco_first{
    0.559693823045451, 0.7509783782388968, 0.5080176029777267, 0.8189314526868343};
inline constexpr std::array<double, 1> bco_later_shift{
    0.540625};
inline constexpr std::array<double, 4> bco_later{
    0.8778932779737398, 1.1305132919753353, 0.3024971663334694, 0.5167881203981086};
inline constexpr std::array<double, 3> token_target{
    -0.4607734891568512, -1.3862943611198906, -60.00000000000013};
inline constexpr std::array<double, 3> token_vocabulary_mean{
    -1.8357734891568511, -1.3862943611198906, -30.687500000000124};
inline constexpr std::array<double, 3> dft{
    0.2906538634067267, 0.34657359027997264, 5.253906457617267e-25};
inline constexpr std::array<double, 3> label_smoothed{
    0.5982734891568512, 1.3862943611198906, 57.06875000000012};

}  // namespace tithe::test::golden
