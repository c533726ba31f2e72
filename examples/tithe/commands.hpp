// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <functional>

#include "json_lines.hpp"
#include "session.hpp"

namespace program {

/// A subcommand and what it does; `run` returns the exit code.
struct Command {
  CLI::App* app = nullptr;
  std::function<int(const Session&)> run;
};

Command add_tokenize(CLI::App& app);
Command add_score(CLI::App& app);
Command add_generate(CLI::App& app);
Command add_train(CLI::App& app);
Command add_evaluate(CLI::App& app);
Command add_merge(CLI::App& app);
Command add_study(CLI::App& app);
Command add_recommend(CLI::App& app);
Command add_report(CLI::App& app);

/// Ranges of numbers, told in words: CLI11's own tell the largest double, and fill --help with it.
CLI::Validator at_least(double least);
CLI::Validator above(double limit);
CLI::Validator share();
CLI::Validator positive_share();

/// --input, --output and --keep-going.
void add_line_flags(CLI::App& command, LineOptions& options);
/// --threads; 0 stands for all cores.
void add_threads_flag(CLI::App& command, int& threads);

}  // namespace program
