// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>

// clang-format off: written by golden_losses.py; do not edit.
namespace tithe::test::golden {

inline constexpr std::array<double, 7> log_sigmoid_at{
    -1000.0, -30.0, -1.0, 0.0, 1.0, 30.0, 700.0};
inline constexpr std::array<double, 7> log_sigmoid{
    -1000.0, -30.000000000000092, -1.3132616875182228, -0.6931471805599453, -0.3132616875182228,
    -9.357622968839737e-14, -9.85967654375977e-305};
inline constexpr std::array<double, 2> dpo{
    0.4031860488854579, 0.8833821554187771};
inline constexpr std::array<double, 3> dpo_scaled_margin_0_1_2{
    0.6931471805599453, 0.3132616875182228, 0.1269280110429725};
inline constexpr std::array<double, 1> dpo_margin_6{
    0.4374879504858856};
inline constexpr std::array<double, 4> kto{
    0.4675456936126812, 0.5670929049654543, 0.3612368248511581, 0.5199893401555817};
inline constexpr std::array<double, 1> kto_baseline{
    0.7};
inline constexpr std::array<double, 1> kto_mean{
    0.47896619089621884};
inline constexpr std::array<double, 4> kto_weighted{
    0.6218357725048661, 0.7542335636040542, 0.3612368248511581, 0.5199893401555817};
inline constexpr std::array<double, 1> kto_weighted_baseline{
    0.7};
inline constexpr std::array<double, 1> kto_weighted_mean{
    0.564323875278915};
inline constexpr std::array<double, 4> kto_clamped{
    0.4501660026875221, 0.549833997312478, 0.37754066879814546, 0.5374298453437496};
inline constexpr std::array<double, 1> kto_clamped_baseline{
    0.0};
inline constexpr std::array<double, 1> kto_clamped_mean{
    0.4787426285354737};

}  // namespace tithe::test::golden
