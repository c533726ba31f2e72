// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// A program that trains an adapter on a thread of its own, as a server or an application with windows would: it shows how far
// training is, cancels it when Enter is pressed, and goes on with it when it is started again. The library prints nothing;
// every line is this program's.
// usage: embedding MODEL DATA.jsonl... OUT
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <iostream>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "recipe.hpp"
#include "tithe/model/adapter_file.hpp"

using namespace tithe;

/// A run on a thread of its own. Whoever holds it may ask how far it is, stop it, and wait for its report.
class BackgroundRun {
 public:
  // docs: background
  BackgroundRun(Pretrained model, Dataset data, const Budget& budget, RunOptions options)
      : report_{finished_.get_future()} {
    options.on_step = [this](const StepRecord& step) {
      const std::scoped_lock lock{mutex_};
      latest_ = step.stage + ' ' + std::to_string(step.step) + '/' + std::to_string(step.steps) + ", loss " +
                std::to_string(step.at("loss"));
    };
    thread_ = std::jthread{[this, model = std::move(model), data = std::move(data), budget,
                            options = std::move(options)](const std::stop_token& stop) mutable {
      try {
        options.stop = stop;
        finished_.set_value(Recipe::Trainer(model).fit(data, budget, options));
      } catch (...) {  // whoever waits gets it
        finished_.set_exception(std::current_exception());
      }
    }};
  }
  // docs: end

  [[nodiscard]] std::string latest() const {
    const std::scoped_lock lock{mutex_};
    return latest_;
  }
  [[nodiscard]] bool done() const {
    return report_.wait_for(std::chrono::seconds{0}) == std::future_status::ready;
  }
  /// Before the next pass through the model; the run is saved first.
  void cancel() { thread_.request_stop(); }
  /// Waits; throws what the run threw.
  RunReport report() { return report_.get(); }

 private:
  mutable std::mutex mutex_;
  std::string latest_ = "loading data";
  std::promise<RunReport> finished_;
  std::future<RunReport> report_;
  std::jthread thread_;  // last: it is joined before the rest goes
};

int main(int argc, char** argv) try {
  if (argc < 4) throw std::invalid_argument{"usage: embedding MODEL DATA.jsonl... OUT"};
  // docs: program
  const std::filesystem::path out = argv[argc - 1];
  const std::vector<std::filesystem::path> files(argv + 2, argv + argc - 1);
  const Pretrained model = load_pretrained(argv[1], {.lora = {.rank = 8, .alpha = 16}});

  BackgroundRun run{model,
                    read_jsonl(files),
                    Budget::examples(64),
                    {.sft = {.learning_rate = {.peak = 1e-3}},
                     .preference = {.learning_rate = {.peak = 1e-4}},
                     .checkpoint = {.folder = out / "checkpoints", .resume = true}}};
  for (pollfd keyboard{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}; !run.done();) {
    std::cerr << '\r' << run.latest() << "  (Enter stops)" << std::flush;
    if (poll(&keyboard, 1, /*milliseconds=*/100) <= 0) continue;
    if (std::cin.get() == '\n') run.cancel();
    keyboard.fd = -1;  // once is enough
  }
  const RunReport report = run.report();
  std::cerr << '\n' << (report.cancelled ? "stopped; start it again to go on\n" : "done\n");
  if (!report.cancelled) save_adapter(out / "adapter", model.model, argv[1]);
  // docs: end
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
