// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"

/// What a low-rank adapter is made of (LoRA: Hu et al. 2021), by the names of PEFT's LoraConfig.
namespace tithe {

/// The linear maps of a layer that an adapter can change, by the last part of their names; a layer's order.
inline constexpr std::array<std::string_view, 7> lora_targets{"q_proj",    "k_proj",  "v_proj",   "o_proj",
                                                              "gate_proj", "up_proj", "down_proj"};

/// An adapter: every chosen map W of every layer becomes W + scaling · B A, of which B and A alone are trained.
struct LoraOptions {
  /// Columns of B and rows of A; 0 for no adapter.
  std::int64_t rank = 0;
  /// The scaling is alpha / rank, or alpha / √rank if `use_rslora`.
  double alpha = 0;
  /// Rank-stabilised scaling (Kalajdzievski 2023).
  bool use_rslora = false;
  /// Some of `lora_targets`, in any order; "all-linear" alone stands for all of them.
  std::vector<std::string> target_modules{lora_targets.begin(), lora_targets.end()};
  /// Must be 0: preference losses compare two passes over the same row, which dropout would make differ by chance.
  double dropout = 0;
  /// Of what A begins with.
  Seed seed{};

  [[nodiscard]] double scaling() const {
    const auto r = static_cast<double>(rank);
    return alpha / (use_rslora ? std::sqrt(r) : r);
  }
  [[nodiscard]] bool targets(std::string_view module) const {
    return std::ranges::find(target_modules, module) != target_modules.end() ||
           (target_modules.size() == 1 && target_modules.front() == "all-linear");
  }

  /// Throws OptionError, naming the option, for what is out of range or not supported.
  void validate() const {
    const auto require = [](bool holds, const char* option, std::string required, std::string found,
                            std::string fix) {
      if (holds) return;
      throw OptionError{{.who = "LoraOptions",
                         .required = std::move(required),
                         .found = std::move(found),
                         .fix = std::move(fix)},
                        {.field = option}};
    };
    require(rank >= 1 && rank <= 65'536, "rank", "a rank from 1 to 65,536", std::to_string(rank), {});
    require(alpha > 0 && std::isfinite(alpha), "alpha", "an alpha above 0", std::to_string(alpha),
            "Set it; rank itself makes a scaling of 1");
    require(dropout == 0, "dropout", "no dropout", std::to_string(dropout),
            "Leave it out: the two passes that a preference loss compares must be of the same model");
    require(!target_modules.empty(), "target_modules", "at least one module", "none", {});
    if (target_modules.size() == 1 && target_modules.front() == "all-linear") return;
    for (const std::string& module : target_modules) {
      require(std::ranges::find(lora_targets, module) != lora_targets.end(), "target_modules",
              "modules out of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj",
              '"' + module + '"', "Adapters of other modules are not supported");
      require(std::ranges::count(target_modules, module) == 1, "target_modules", "each module once",
              '"' + module + "\" twice", {});
    }
  }

  friend bool operator==(const LoraOptions&, const LoraOptions&) = default;
};

}  // namespace tithe
