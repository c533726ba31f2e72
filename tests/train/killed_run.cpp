// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// Kills whole runs with SIGKILL at random points, resumes them, and compares the bits with a run that was left alone.
//
//     killed_run                     the test
//     killed_run run FOLDER OUT [resume [STAGES]]   one run, as the test starts it, which may share its stages; with
//                                    "fresh-seed" in place of "resume" the negative control: it goes on with another seed
//                                    than the run began with
#include <ATen/Parallel.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "small_data.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/schedule/sft_fraction.hpp"

extern char** environ;

namespace {

using namespace tithe;
namespace fs = std::filesystem;

/// Two stages of many small steps that accumulate, saved after every pass, so that a kill lands in a step, between
/// steps, between stages, or in the saving itself.
int run(const fs::path& folder, const fs::path& out, const std::string& mode, const fs::path& stages) {
  at::set_num_threads(1);
  using Recipe = Pipeline<SftFraction<0.5>, Dpo<0.1>, FrozenSft>;
  RunOptions options;
  for (StageOptions* stage : {&options.sft, &options.preference}) {
    stage->learning_rate = {.peak = 1e-2, .decay = LearningRateDecay::cosine, .warmup = 0.1};
    stage->batch_size = 3;
    stage->accumulate = 2;
    stage->epochs = 2;
  }
  options.seed = Seed{mode == "fresh-seed" ? std::uint64_t{4} : std::uint64_t{3}};
  options.checkpoint = {.folder = folder, .every = Steps{1}, .within_steps = true, .resume = !mode.empty()};
  options.shared_stages = stages;
  const Decoder model = test::small_decoder();
  Recipe::Trainer(model, test::small_encoding(), Tokens{64})
      .fit(test::small_dataset(120, 120), Budget::examples(200), options);
  write_safetensors(out, model.weights());
  return 0;
}

/// The exit code of a run that the library refuses.
constexpr int refused = 3;

struct Exit {
  bool killed = false;
  int code = 0;
};

/// Starts this program anew and, unless `after` is zero, kills it then.
Exit start(std::vector<std::string> arguments, std::chrono::milliseconds after) {
  arguments.insert(arguments.begin(), "killed_run");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  pid_t child = 0;
  if (posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, argv.data(), environ) != 0)
    return {.code = 127};
  if (after.count() != 0) {
    std::this_thread::sleep_for(after);
    kill(child, SIGKILL);  // too late for a child that is done: then it is no kill
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, WIFEXITED(status) ? WEXITSTATUS(status) : -1};
}

std::string bytes_of(const fs::path& path) {
  std::ifstream file{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{file}, {}};
}

int fail(const std::string& text) {
  std::cout << "FAILED: " << text << std::endl;
  return 1;
}

int test_kills() {
  const fs::path root = fs::temp_directory_path() / ("tithe-killed-run-" + std::to_string(getpid()));
  fs::create_directories(root);
  const auto begun = std::chrono::steady_clock::now();
  if (start({"run", root / "whole", root / "whole.safetensors"}, {}).code != 0) return fail("the run itself");
  const auto whole_time =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  const std::string expected = bytes_of(root / "whole.safetensors");

  SplitMix64 random{Seed{20}};
  int kills = 0, runs = 0, kills_with_checkpoint = 0;
  for (int trial = 0; kills_with_checkpoint < 20; ++trial) {
    if (trial == 200) return fail("kills never landed within a run");
    const fs::path folder = root / std::to_string(trial);
    const fs::path out = root / (std::to_string(trial) + ".safetensors");
    for (bool done = false; !done; ++runs) {
      const auto most = static_cast<std::uint64_t>(whole_time.count());
      std::vector<std::string> arguments{"run", folder, out, "resume"};
      if (trial % 2 == 1) arguments.push_back(folder.string() + "-stages");
      const Exit exit = start(std::move(arguments), std::chrono::milliseconds{1 + random.below(most)});
      done = !exit.killed;
      if (done && exit.code != 0) return fail("a resumed run ended with code " + std::to_string(exit.code));
      kills += exit.killed ? 1 : 0;
      kills_with_checkpoint += exit.killed && fs::exists(folder / "latest") ? 1 : 0;
    }
    if (bytes_of(out) != expected) return fail("trial " + std::to_string(trial) + " has other bits");
    std::size_t entries = 0;
    for ([[maybe_unused]] const auto& entry : fs::directory_iterator{folder}) ++entries;
    if (entries < 2) return fail("no checkpoint is left");
  }

  // The negative control: without the generator's state, the seed, a run must not go on; the same checkpoint with it must.
  // (That other bits would come of it, resume_test shows for every part of the state.)
  const fs::path control = root / "control";
  for (std::uint64_t wait = 10; !fs::exists(control / "latest"); wait += 10) {
    fs::remove_all(control);
    start({"run", control, root / "control.safetensors", "resume"},
          whole_time / 2 + std::chrono::milliseconds{wait});
  }
  if (start({"run", control, root / "control.safetensors", "fresh-seed"}, {}).code != refused) {
    return fail("a run without its generator's state went on");
  }
  if (start({"run", control, root / "control.safetensors", "resume"}, {}).code != 0 ||
      bytes_of(root / "control.safetensors") != expected) {
    return fail("the control's twin did not end with the same bits");
  }
  fs::remove_all(root);
  std::cout << kills << " kills in " << runs << " runs, " << kills_with_checkpoint
            << " of them with a checkpoint to go on from, all bits equal" << std::endl;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    if (arguments.empty()) return test_kills();
    const auto further = [&](std::size_t i) { return arguments.size() > i ? arguments[i] : std::string{}; };
    return run(arguments.at(1), arguments.at(2), further(3), further(4));
  } catch (const Error& error) {
    std::cout << error.what() << std::endl;
    return refused;
  }
}
