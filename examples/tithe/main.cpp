// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// tithe: the library as a command line.
#include <fcntl.h>

#include <CLI/Error.hpp>
#include <cerrno>
#include <csignal>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "commands.hpp"
#include "interrupt.hpp"
#include "output.hpp"
#include "session.hpp"
#include "tithe/core/error.hpp"

namespace program {
namespace {

constexpr const char* description =
    R"(tithe: post-training of language models under a fixed annotation budget.
A model is a folder with config.json, model.safetensors and tokenizer.json.)";

constexpr const char* footer = R"(Examples
  tithe recommend --prices demonstration=2,preference=1 --budget 20000
  tithe train --model base --demonstrations sft.jsonl --preferences pairs.jsonl \
              --budget 1000 --sft-fraction 0.1 --out run
  echo '{"prompt": "Once upon a time"}' | tithe generate --model run/model --greedy

Lines go in and out as JSON, one object a line. Standard output holds results and nothing else.
Exit codes: 0 done, 1 something went wrong, 2 the command line cannot be meant, 130 interrupted.)";

/// Opens what the caller closed of the three standard streams, so that no file or pipe of ours gets their
/// numbers. The wrong way round: whoever reads or writes one is told so, as if it still were closed.
void hold_standard_streams() {
  for (const int descriptor : {0, 1, 2}) {
    if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    (void)::open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY);  // gives the lowest number that is free
  }
}

int complain(const std::string& who, const std::string& what, ExitCode code) {
  std::cerr << who << ": " << what << '\n';
  return code;
}

/// CLI11 knows which of its errors are a call for help.
int explain(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    const int code = app.exit(error, std::cout, std::cerr);
    require_printed();
    return code;
  }
  std::string command = "tithe";
  for (const CLI::App* chosen : app.get_subcommands()) command += ' ' + chosen->get_name();
  return complain(command, std::string{error.what()} + "\nRun " + command + " --help", wrong_usage);
}

int run(const Command& command, const Session& session) {
  const std::string who = "tithe " + command.app->get_name();
  try {
    return command.run(session);
  } catch (const UsageError& error) {
    return complain(who, std::string{error.what()} + "\nRun " + who + " --help", wrong_usage);
  } catch (const CLI::ParseError& error) {  // from a settings' file
    return complain(who, error.what(), wrong_usage);
  } catch (const tithe::OptionError& error) {
    return complain(who, error.what(), wrong_usage);
  } catch (const std::exception& error) {
    return complain(who, error.what(), failure);
  }
}

int run(int argc, char** argv) {
  const Interrupt interrupt;
  CLI::App app{description, "tithe"};
  app.footer(footer);
  app.set_version_flag("--version", TITHE_VERSION);
  app.require_subcommand(1);
  const std::vector<Command> commands{add_tokenize(app),  add_score(app),    add_generate(app),
                                      add_train(app),     add_evaluate(app), add_merge(app),
                                      add_recommend(app), add_study(app),    add_report(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return explain(app, error);
  }
  for (const Command& command : commands) {
    if (!command.app->parsed()) continue;
    Session session = interrupt.session();
    session.arguments.assign(argv, argv + argc);
    return run(command, session);
  }
  return wrong_usage;
}

}  // namespace
}  // namespace program

int main(int argc, char** argv) {
  program::hold_standard_streams();
  // A log that nobody reads any more must not end a run; results that nobody reads are an error of writing.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return program::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "tithe: " << error.what() << '\n';
    return program::failure;
  }
}
