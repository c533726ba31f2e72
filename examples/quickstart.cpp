// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include <iostream>

#include "tithe/data/split.hpp"
#include "tithe/loss/dpo.hpp"
#include "tithe/pipeline.hpp"
#include "tithe/reference/frozen_sft.hpp"
#include "tithe/report/table.hpp"
#include "tithe/schedule/sft_fraction.hpp"

using namespace tithe;
using Recipe = Pipeline<SftFraction<0.1>, Dpo<0.1>, FrozenSft>;

int main(int argc, char** argv) try {
  if (argc != 5) throw std::invalid_argument{"usage: quickstart MODEL DEMONSTRATIONS PREFERENCES OUT"};
  const Pretrained model = load_pretrained(argv[1]);
  const Split data = split_held_out(read_jsonl({argv[2], argv[3]}), Share{0.05}, Seed{1});

  RunOptions options{.sft = {.learning_rate = {.peak = 1e-3}}, .held_out = data.held_out};
  options.on_step = [](const auto& s) { std::cerr << s.stage << ' ' << s.step << '/' << s.steps << '\n'; };
  const RunReport report = Recipe::Trainer(model).fit(data.train, Budget::examples(200), options);

  std::cout << report.pipeline << " spent " << report.ledger.spent() << " labels\n";
  for (const auto& figure : report.after) std::cout << figure.name << ' ' << estimate_text(figure) << '\n';
  save_pretrained(argv[4], model);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
