// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <iostream>

#include "tithe/data/split.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/report/table.hpp"
#include "tithe/schedule/sft_fraction.hpp"

using Recipe = tithe::Pipeline<tithe::SftFraction<0.1>, tithe::Dpo<0.1>, tithe::FrozenSft>;

int main(int argc, char** argv) try {
  if (argc != 5) throw std::invalid_argument{"usage: quickstart MODEL DEMONSTRATIONS PREFERENCES OUT"};
  const auto model = tithe::load_pretrained(argv[1]);
  const auto data = tithe::split_held_out(tithe::read_jsonl({argv[2], argv[3]}), tithe::Share{0.05}, tithe::Seed{1});

  tithe::RunOptions options{.sft = {.learning_rate = {.peak = 1e-3}}, .held_out = data.held_out};
  options.on_step = [](const auto& step) { std::cerr << step.stage << ' ' << step.step << '/' << step.steps << '\n'; };
  const auto report = Recipe::Trainer(model).fit(data.train, tithe::Budget::examples(200), options);

  std::cout << report.pipeline << " spent " << report.ledger.spent() << " labels\n";
  for (const auto& figure : report.after) std::cout << figure.name << ' ' << tithe::estimate_text(figure) << '\n';
  tithe::save_pretrained(argv[4], model);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
