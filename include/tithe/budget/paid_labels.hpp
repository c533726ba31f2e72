// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/prices.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/units.hpp"

/// The labels that were paid for, and none of them twice.
namespace tithe {

/// One label that was paid for.
struct LedgerEntry {
  Stage stage = Stage::sft;
  std::size_t slice = 0;  ///< index into the plan
  Origin origin{};
  Digest content{};
  Outcome outcome = Outcome::usable;
  std::string reason{};
  Money price{};  ///< of its annotation, where that follows from its tokens; else the budget's price holds
};

/// The tokens that a label is priced by: its prompt's, once, and those of all its completions, before and after a chat's
/// other turns alike. A label that is cut to the model's length counts as it was cut.
template <class Label>
[[nodiscard]] LabelTokens tokens_of(const Label& label) {
  LabelTokens tokens;
  if (label.rows.empty()) return tokens;
  tokens.prompt = static_cast<double>(label.rows.front().prompt.size());
  for (const auto& row : label.rows) {
    for (const auto& completion : row.completions)
      tokens.completion += static_cast<double>(completion.size());
  }
  return tokens;
}

namespace detail {

/// What a label's annotation costs, where that follows from its tokens. One that came without rows has none to count: it
/// costs what the plan has for it.
template <class Label>
Money price_of(const Budget& budget, Stage stage, const Label& label) {
  if (!budget.by_tokens()) return {};
  if constexpr (requires { label.rows.front().completions; }) {
    if (!label.rows.empty()) return budget.by_tokens()->of(stage).of(tokens_of(label));
  }
  return budget.annotation().of(stage);
}

/// The labels of a slice as a ledger enters them.
template <class Labels>
std::vector<LedgerEntry> entries_of(const Labels& labels, Stage stage, std::size_t slice,
                                    const Budget& budget) {
  std::vector<LedgerEntry> batch;
  batch.reserve(labels.size());
  for (const auto& label : labels) {
    batch.push_back({stage, slice, label.origin, label.content, label.outcome, label.reason,
                     price_of(budget, stage, label)});
  }
  return batch;
}

/// "the id", and where it stands.
inline std::string address(const Origin& origin) {
  const std::string place = origin.file + ':' + std::to_string(origin.line);
  return '"' + origin.id + '"' + (origin.file.empty() || origin.id == place ? "" : " at " + place);
}

/// What was paid, to refuse a second payment. Ids are unique within a stage only: two files may both count from 1.
class PaidLabels {
 public:
  /// Enters one slice's labels, all or none. Throws BudgetError for a label that was paid before.
  void enter(const std::vector<LedgerEntry>& batch) {
    std::map<Digest, Origin> contents;
    std::set<std::string> ids;
    for (const LedgerEntry& entry : batch) {
      const auto before = contents_.find(entry.content);
      const auto beside = contents.find(entry.content);
      if (before != contents_.end() || beside != contents.end()) {
        fail_twice(entry, "the same content was paid as " +
                              address(before != contents_.end() ? before->second : beside->second));
      }
      if (ids_of(entry.stage).contains(entry.origin.id) || !ids.insert(entry.origin.id).second) {
        fail_twice(entry, "a label with this id was paid");
      }
      contents.emplace(entry.content, entry.origin);
    }
    contents_.merge(contents);
    ids_of(batch.front().stage).merge(ids);
  }

 private:
  [[noreturn]] static void fail_twice(const LedgerEntry& entry, std::string found) {
    throw BudgetError{
        {.who = "Ledger::draw",
         .required = "labels that were not paid before",
         .found = address(entry.origin) + ", though " + std::move(found),
         .fix = "Give each label once"},
        Location{.file = entry.origin.file, .line = static_cast<std::size_t>(entry.origin.line)}};
  }
  std::set<std::string>& ids_of(Stage stage) { return ids_.at(static_cast<std::size_t>(stage)); }

  std::map<Digest, Origin> contents_{};
  std::array<std::set<std::string>, 2> ids_{};
};

}  // namespace detail

}  // namespace tithe
