// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "commands.hpp"

namespace program {

void add_line_flags(CLI::App& command, LineOptions& options) {
  command.add_option("-i,--input", options.input, "JSON lines to read; - for standard input")->default_str("-");
  command.add_option("-o,--output", options.output, "JSON lines to write; - for standard output")->default_str("-");
  command.add_flag("--keep-going", options.keep_going,
                   "Answer a bad line with {\"error\": …} and go on; the exit code is then 1");
}

void add_threads_flag(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads to compute with; all cores unless given")
      ->check(CLI::Range(1, 4096));
}

}  // namespace program
