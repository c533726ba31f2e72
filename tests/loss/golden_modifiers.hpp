// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>

// clang-format off: written by golden_modifiers.py; do not edit.
namespace tithe::test::golden {

inline constexpr std::array<double, 2> dpo_forward_kl{
    3.63392411325727e-07, 1.1143034805599843};
inline constexpr std::array<double, 2> dpo_jensen_shannon{
    0.47863249795475205, 0.7940502840368313};
inline constexpr std::array<double, 2> dpo_alpha_half{
    0.08997291180265661, 0.9427501667609807};
inline constexpr std::array<double, 2> dpo_alpha_two{
    0.3906615997869852, 0.9338948010590797};
inline constexpr std::array<double, 2> chosen_sum{
    -12.0, -30.0};
inline constexpr std::array<double, 2> chosen_tail{
    -4.75, -9.5};
inline constexpr std::array<double, 2> rejected_sum{
    -20.0, -18.0};
inline constexpr std::array<double, 2> rejected_tail{
    0.0, 0.0};
inline constexpr std::array<double, 2> ref_chosen_sum{
    -14.0, -28.0};
inline constexpr std::array<double, 2> ref_chosen_tail{
    -4.5, -9.0};
inline constexpr std::array<double, 2> ref_rejected_sum{
    -15.0, -19.5};
inline constexpr std::array<double, 2> ref_rejected_tail{
    0.0, 0.0};
inline constexpr std::array<double, 2> length_desensitized{
    0.3970034602702044, 0.8615548622706682};
inline constexpr std::array<double, 2> policy_length_desensitized{
    0.29844206950913016, 0.5282338064773698};
inline constexpr std::array<double, 2> wpo_sum{
    -2.302585092994046, -2.2256240518579173};
inline constexpr std::array<double, 2> wpo_collision{
    -1.5970153924355432, -2.002747202772252};
inline constexpr std::array<double, 2> wpo_weight{
    0.7027283689263065, 0.9284002985301317};
inline constexpr std::array<double, 1> wpo_dpo{
    0.4228028222020892};
inline constexpr std::array<double, 1> mpo_mean{
    5.445425125461643};

}  // namespace tithe::test::golden
