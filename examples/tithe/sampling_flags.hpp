// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

#include "commands.hpp"
#include "tithe/model/sampling.hpp"

/// How a command chooses tokens.
namespace program {

/// --greedy, --temperature, --top-p and --seed; what they are set to is their default. Gives --greedy, for what does not go
/// with it.
inline CLI::Option* add_sampling_flags(CLI::App& command, tithe::Sampling& sampling, bool& greedy,
                                       std::uint64_t& seed) {
  CLI::Option* always_likeliest = command.add_flag("--greedy", greedy, "Always take the likeliest token");
  command.add_option("--temperature", sampling.temperature, "Logits are divided by it")
      ->check(at_least(0))
      ->capture_default_str()
      ->excludes(always_likeliest);
  command.add_option("--top-p", sampling.top_p, "Choose among the likeliest tokens of this probability only")
      ->check(positive_share())
      ->capture_default_str()
      ->excludes(always_likeliest);
  command.add_option("--seed", seed, "Of the sampling")->capture_default_str();
  return always_likeliest;
}

}  // namespace program
