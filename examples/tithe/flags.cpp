// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <string>

#include "commands.hpp"
#include "tithe/report/table.hpp"

namespace program {
namespace {

template <class Test>
CLI::Validator number_that(Test test, const std::string& required) {
  return CLI::Validator{[test, required](const std::string& text) {
                          double number = 0;
                          const bool holds = CLI::detail::lexical_cast(text, number) && test(number);
                          return holds ? std::string{} : "needs a number " + required + ", but found " + text;
                        },
                        ""};
}

}  // namespace

CLI::Validator at_least(double least) {
  return number_that([least](double number) { return number >= least; },
                     "from " + tithe::fixed_text(least, 0));
}
CLI::Validator above(double limit) {
  return number_that([limit](double number) { return number > limit; },
                     "above " + tithe::fixed_text(limit, 0));
}
CLI::Validator positive_share() {
  return number_that([](double number) { return number > 0 && number <= 1; }, "above 0 and at most 1");
}
CLI::Validator share() {
  return number_that([](double number) { return number >= 0 && number <= 1; }, "from 0 to 1");
}

void add_line_flags(CLI::App& command, LineOptions& options) {
  command.add_option("-i,--input", options.input, "JSON lines to read; - for standard input")
      ->type_name("FILE")
      ->default_str("-");
  command.add_option("-o,--output", options.output, "JSON lines to write; - for standard output")
      ->type_name("FILE")
      ->default_str("-");
  command.add_flag("--keep-going", options.keep_going,
                   "Answer a bad line with {\"error\": …} and go on; the exit code is then 1");
}

void add_threads_flag(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads to compute with; all cores unless given")
      ->check(at_least(1));
}

}  // namespace program
