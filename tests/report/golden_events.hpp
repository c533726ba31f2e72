// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
// Written by golden_events.py.
#pragma once

#include <string_view>

namespace golden {

inline constexpr std::string_view header =
    "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9";

inline constexpr std::string_view event =
    "3500000000000000d6c55de60900006040fc54d94110ac022a270a0f0a087366742f6c6f7373151872313f0a140a0d73"
    "66742f677261645f6e6f726d15ccbc8c2b3c69ef91";

inline constexpr std::string_view special =
    "46000000000000007235b9a509000000000000e03f10012a390a210a1a707265666572656e63652f726577617264732f"
    "6d617267696e7315000080ff0a140a0d707265666572656e63652fc3a9150000008078f8ec8f";

}  // namespace golden
