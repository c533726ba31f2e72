// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <string>
#include <vector>

#include "program.hpp"
#include "tithe/study/record_store.hpp"
#include "workplace.hpp"

/// What tests of `tithe study` share.
namespace tithe::test {

/// A study of seconds: what a workplace's runs are, scored on pairs of their own.
struct StudyPlace : Workplace {
  std::string held_out = out("held_out.jsonl");

  StudyPlace() {
    std::vector<Json> lines;
    for (int i = 0; i < 6; ++i) {
      lines.push_back({{"prompt", "problem " + std::to_string(i)},
                       {"chosen", "yes"},
                       {"rejected", "no " + std::to_string(i)}});
    }
    write_file(held_out, as_lines(lines));
  }

  [[nodiscard]] std::vector<std::string> study(const std::string& name,
                                               const std::vector<std::string>& more = {}) const {
    std::vector<std::string> words{"study",
                                   "--model",
                                   model,
                                   "--demonstrations",
                                   demonstrations,
                                   "--preferences",
                                   pairs,
                                   "--batch-size",
                                   "8",
                                   "--sft-lr",
                                   "0.01",
                                   "--preference-lr",
                                   "0.01",
                                   "--evaluate",
                                   "data=" + held_out,
                                   "--out",
                                   out(name)};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  }
  [[nodiscard]] std::vector<tithe::CellRecord> records(const std::string& name) const {
    return tithe::read_records(Path{out(name)} / "records.jsonl").records;
  }
  /// The records but for what may differ between two runs of one study.
  [[nodiscard]] std::string facts(const std::string& name) const {
    return tithe::canonical_lines(records(name), {}, false);
  }
};

inline std::vector<std::string> operator+(std::vector<std::string> a, const std::vector<std::string>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace tithe::test
