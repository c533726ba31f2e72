// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
//
// LoRA-DPO's step and each of its parts over the time of their matrix products at this machine's measured peak, on one
// thread: Markdown tables, and JSON. A part is run through all layers, as a step runs it: as the reference is asked, without
// adapter and gradient, and as the policy, forward and backward. In a round the peak, every part and a step take turns.
// usage: roofline [--shapes T S S384 M qwen] [--dtypes float32 bfloat16] [--rounds 7] [--rank 32] [--json FILE]
#include <ATen/Parallel.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/randn.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "process.hpp"
#include "roofline_parts.hpp"
#include "shapes.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/model/decoder.hpp"
#include "tithe/reference/adapter_off.hpp"
#include "tithe/train/objective.hpp"
#include "tithe/train/stage.hpp"

namespace {

using bench::median, bench::number, bench::Part;

/// What everything is held against: a large square product, and a sum that streams through memory.
std::vector<Part> limits(at::ScalarType dtype) {
  constexpr std::int64_t n = 2048, streamed = std::int64_t{1} << 25;
  const at::Tensor a = at::randn({n, n}).to(dtype), b = at::randn({n, n}).to(dtype), c = at::empty_like(a);
  const at::Tensor x = at::ones({streamed}), y = at::ones({streamed});
  return {{.name = "peak",
           .operations = 2.0 * n * n * n,
           .run =
               [=] {
                 at::Tensor out = c;
                 at::mm_out(out, a, b);
               }},
          {.name = "bandwidth", .bytes = 3.0 * 4 * streamed, .run = [=] { x.add_(y); }}};
}

nlohmann::ordered_json measure(const std::string& name, const std::string& dtype, std::int64_t rank,
                               std::int64_t rounds) {
  const bench::Shape shape = bench::shape_of(name);
  const at::ScalarType type = dtype == "float32" ? at::kFloat : at::kBFloat16;
  std::vector<Part> limit = limits(type);
  const bench::StepParts step{shape, type, rank};
  std::vector<Part> parts = step.parts();
  tithe::Decoder model = tithe::Decoder::initialize(shape.config(), {}, tithe::Seed{1}, type);
  model.add_adapter({.rank = rank, .alpha = number(rank)});

  Part whole{.name = "whole step"};
  for (const Part& part : parts) whole.operations += part.operations;
  double since = 0;
  std::int64_t done = 0;
  const tithe::StageHooks hooks{.on_step = [&](const tithe::StepRecord&) {
    // The first step makes what later ones find.
    if (done++ > 0) whole.seconds.push_back(bench::processor_seconds() - since);
    for (Part& one : limit) one.take();
    for (Part& one : parts) one.take();
    since = bench::processor_seconds();
  }};
  tithe::train_stage(
      model, tithe::PreferenceObjective{tithe::Dpo<0.1>{}, tithe::AdapterOff{}.snapshot(model)}, shape.rows(),
      {.learning_rate = {.peak = 1e-5}, .epochs = rounds + 1, .batch_size = shape.pairs}, hooks);

  const double peak = limit[0].operations / median(limit[0].seconds);
  const double bandwidth = limit[1].bytes / median(limit[1].seconds);
  nlohmann::ordered_json report{{"shape", name},
                                {"dtype", dtype},
                                {"rank", rank},
                                {"peak_gflops", peak / 1e9},
                                {"bandwidth_gb_a_second", bandwidth / 1e9},
                                {"parts", nlohmann::ordered_json::array()}};
  double sum = 0;
  const auto add = [&](const std::string& part, double operations, double bytes, double seconds) {
    const double least = operations / peak + bytes / bandwidth;
    report["parts"].push_back({{"part", part},
                               {"gflop", operations / 1e9},
                               {"mb", bytes / 1e6},
                               {"seconds", seconds},
                               {"over_limit", least > 0 ? seconds / least : 0}});
  };
  for (const Part& part : parts) {
    add(part.name, part.operations, part.bytes, median(part.seconds));
    sum += median(part.seconds);
  }
  add("everything else", 0, 0, median(whole.seconds) - sum);
  add(whole.name, whole.operations, 0, median(whole.seconds));
  return report;
}

void print(const nlohmann::ordered_json& report) {
  std::printf("\n%s, %s: %.0f GFLOP/s, %.1f GB/s\n\n", report["shape"].get<std::string>().c_str(),
              report["dtype"].get<std::string>().c_str(), report["peak_gflops"].get<double>(),
              report["bandwidth_gb_a_second"].get<double>());
  std::puts("| part | GFLOP | ms | over its limit | of the step |\n|---|---|---|---|---|");
  const double step = report["parts"].back()["seconds"];
  for (const auto& part : report["parts"]) {
    const double operations = part["gflop"], over = part["over_limit"], seconds = part["seconds"];
    const auto unless_none = [](const char* format, double value) {
      char text[32] = "";
      if (value > 0) std::snprintf(text, sizeof text, format, value);
      return std::string{text};
    };
    std::printf("| %s | %s | %.3g | %s | %.0f%% |\n", part["part"].get<std::string>().c_str(),
                unless_none("%.3g", operations).c_str(), 1e3 * seconds, unless_none("%.2f", over).c_str(),
                100 * seconds / step);
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> names{"S"}, dtypes{"float32", "bfloat16"};
  std::int64_t rank = 32, rounds = 7;
  std::string file;
  CLI::App app{"Parts of a step over the time of their matrix products"};
  app.add_option("--shapes", names)->check(CLI::IsMember(bench::shape_names()));
  app.add_option("--dtypes", dtypes)->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option("--rank", rank);
  app.add_option("--rounds", rounds, "of which the medians are taken");
  app.add_option("--json", file, "where all figures go");
  CLI11_PARSE(app, argc, argv);
  at::set_num_threads(1);
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const std::string& name : names) {
    for (const std::string& dtype : dtypes) {
      all.push_back(measure(name, dtype, rank, rounds));
      print(all.back());
    }
  }
  if (!file.empty()) std::ofstream{file} << all.dump(2) << '\n';
}
