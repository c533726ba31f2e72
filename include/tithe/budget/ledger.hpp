// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tithe/budget/budget.hpp"
#include "tithe/budget/compute.hpp"
#include "tithe/budget/paid_labels.hpp"
#include "tithe/budget/plan.hpp"
#include "tithe/budget/saturated.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/units.hpp"

/// What was really spent: each label once, by id and content.
namespace tithe {

namespace detail {

template <class Source, class... Model>
concept GivesLabels = requires(Source& source, const Slice& slice, Examples drawn, Model&... model) {
  source.draw(slice, drawn, model...).front().content;
};

}  // namespace detail

/// Draws the slices of a plan from sources of examples (concept ExampleSource), pays for every label that it
/// gets, and refuses to pay twice or past the plan. `entries()` is all its state: a ledger that is made from
/// them goes on where they end.
class Ledger {
 public:
  /// Throws BudgetError for a plan that costs more than the budget, and for entries that no ledger of this
  /// plan can have written.
  Ledger(const Budget& budget, const Plan& plan, std::vector<LedgerEntry> entries = {})
      : budget_{budget}, plan_{plan} {
    budget.require_covered(plan, "Ledger");
    for (std::size_t first = 0; first < entries.size();) {
      const std::size_t slice = entries[first].slice;
      std::size_t last = first;
      while (last < entries.size() && entries[last].slice == slice) ++last;
      if (slice != next_slice_ || slice >= plan.size() ||
          static_cast<std::int64_t>(last - first) > plan[slice].count.value()) {
        fail_entry("entries in the order of the plan, and no more than it holds", entries[first]);
      }
      std::vector<LedgerEntry> batch(entries.begin() + static_cast<std::ptrdiff_t>(first),
                                     entries.begin() + static_cast<std::ptrdiff_t>(last));
      for (const LedgerEntry& entry : batch) {
        if (entry.stage != plan[slice].stage) fail_entry("the stage that the plan has for the slice", entry);
        if (entry.price < Money{} || (budget.by_tokens() && entry.price.parts() > budget.amount()))
          fail_entry("prices from 0 to all the money", entry);
      }
      if (const std::size_t payable = payable_of(batch); payable < batch.size())
        fail_entry("labels that cost no more than the budget", batch[payable]);
      pay(std::move(batch));
      first = last;
    }
  }

  /// Takes down what a source found unusable, and throws BudgetError if the plan asks for more labels than
  /// the source can ever give, or if labels cost by their tokens and a slice would come when nothing is left for its first
  /// label. Call it before anything is trained, also when a run goes on.
  template <class Source>
  void require_available(const Source& source) {
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      findings_[index(stage)] = source.findings(stage);
    }
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      const std::optional<Examples> available = source.available(stage);
      if (!available || planned(stage) <= *available) continue;
      std::map<Outcome, std::int64_t> unusable;
      for (const Finding& finding : findings(stage)) unusable[finding.outcome] += finding.drawable ? 0 : 1;
      std::string why;
      for (const auto& [outcome, count] : unusable) {
        if (count != 0)
          why += (why.empty() ? ", not counting " : ", ") + std::to_string(count) + ' ' +
                 std::string{name(outcome)};
      }
      throw BudgetError{{.who = "Ledger::require_available",
                         .required = std::to_string(planned(stage).value()) + " labels for the " +
                                     std::string{name(stage)} + " stage",
                         .found = std::to_string(available->value()) + why,
                         .fix = "Add labels, lower the budget, or give this stage a smaller share"}};
    }
    require_payable(source);
  }

  /// The labels of the plan's next slice, which are now paid for. `model` goes on to a source that needs one.
  ///
  /// Throws BudgetError, and pays nothing, for a slice out of the plan's order, and for a source that gives
  /// more than the slice asks for, nothing at all, or a label that was paid before. A source that makes
  /// labels on demand may give fewer; then `paid` stays under `planned`. So it does where labels cost by their tokens and
  /// turn out longer than planned: as many are taken as the money pays for, and the others stay with the source.
  template <class Source, class... Model>
  auto draw(Source&& source, const Slice& slice, Model&... model) {
    return draw_unless(std::stop_token{}, source, slice, model...).value();  // nobody can request that stop
  }

  /// The same in a run that can be stopped: nothing, and nothing is paid, where `stop` was requested by the
  /// time the source is done and it gives fewer labels than the slice asks for. Drawn again by the run that
  /// goes on, the slice is whole.
  template <class Source, class... Model>
  auto draw_unless(const std::stop_token& stop, Source&& source, const Slice& slice, Model&... model) {
    static_assert(
        detail::GivesLabels<Source, Model...>,
        "Ledger: a source of examples has draw(slice, drawn, model...), which gives labels. Pass the model "
        "behind the slice to a source that samples from it; make a Pool of a Dataset.");
    if (next_slice_ == plan_.size() || slice != plan_[next_slice_]) {
      throw BudgetError{{.who = "Ledger::draw",
                         .required = next_slice_ == plan_.size()
                                         ? std::string{"no more slices: the plan is done"}
                                         : "the plan's slice " + std::to_string(next_slice_) + ", " +
                                               in_words(plan_[next_slice_]),
                         .found = in_words(slice),
                         .fix = "Draw each slice of the plan once, in its order"}};
    }
    auto drawn = std::optional{source.draw(slice, paid(slice.stage), model...)};
    const auto& labels = *drawn;
    if (stop.stop_requested() && std::cmp_less(labels.size(), slice.count.value())) {
      drawn.reset();
      return drawn;
    }
    if (labels.empty() || std::cmp_greater(labels.size(), slice.count.value())) {
      throw BudgetError{{.who = "Ledger::draw",
                         .required = "at least 1 and at most " + in_words(slice),
                         .found = std::to_string(labels.size()),
                         .fix = "An ExampleSource gives as many labels as the slice asks for"}};
    }
    std::vector<LedgerEntry> batch = detail::entries_of(labels, slice.stage, next_slice_, budget_);
    const std::size_t payable = payable_of(batch);
    if (payable == 0) fail_unpaid("Ledger::draw", slice.stage);
    batch.resize(payable);
    drawn->erase(drawn->begin() + static_cast<std::ptrdiff_t>(payable), drawn->end());
    pay(std::move(batch));
    return drawn;
  }

  /// The labels of a slice that was paid for already, once more and for nothing: for a run that goes on in
  /// the middle of it. Throws BudgetError if the source no longer gives the same ones, as when its file was
  /// edited.
  template <class Source, class... Model>
  auto draw_again(Source&& source, std::size_t slice, Model&... model) const {
    if (slice >= next_slice_) {
      throw BudgetError{{.who = "Ledger::draw_again",
                         .required = "a slice that was paid for, under " + std::to_string(next_slice_),
                         .found = std::to_string(slice),
                         .fix = "Use draw for the next one"}};
    }
    const auto begin =
        std::find_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e.slice == slice; });
    const auto end = std::find_if(begin, entries_.end(), [&](const auto& e) { return e.slice != slice; });
    const auto before =
        std::count_if(entries_.begin(), begin, [&](const auto& e) { return e.stage == begin->stage; });
    auto labels = source.draw(Slice{begin->stage, Examples{end - begin}}, Examples{before}, model...);
    const auto is_same = [](const LedgerEntry& entry, const auto& label) {
      return entry.origin.id == label.origin.id && entry.content == label.content;
    };
    const auto [entry, label] = std::mismatch(begin, end, labels.begin(), labels.end(), is_same);
    if (entry != end || label != labels.end()) {
      throw BudgetError{
          {.who = "Ledger::draw_again",
           .required =
               "the labels that were paid for" +
               (entry != end ? ", the next one being " + detail::address(entry->origin) : std::string{}),
           .found = label != labels.end() ? detail::address(label->origin) : std::string{"no label"},
           .fix = "Resume with the data, the seed and the limits that the run began with"}};
    }
    return labels;
  }

  /// What was paid and what is left of the budget, in the unit of Budget::amount.
  [[nodiscard]] std::int64_t spent() const { return spent(Stage::sft) + spent(Stage::preference); }
  [[nodiscard]] std::int64_t spent(Stage stage) const { return spent_[index(stage)]; }
  [[nodiscard]] std::int64_t left() const { return budget_.amount() - spent(); }

  [[nodiscard]] Examples planned(Stage stage) const { return plan_.count(stage); }
  [[nodiscard]] Examples paid(Stage stage) const { return paid_[index(stage)]; }
  /// How many of the paid labels had this outcome.
  [[nodiscard]] Examples paid(Stage stage, Outcome outcome) const {
    return Examples{std::count_if(entries_.begin(), entries_.end(),
                                  [&](const auto& e) { return e.stage == stage && e.outcome == outcome; })};
  }

  /// What training was planned to take, where the budget says what a label takes, and what it took, where somebody told:
  /// a pipeline does at the end of a run, by the rows and the steps that there were.
  [[nodiscard]] Compute planned_compute(Stage stage) const {
    return budget_.label_compute().value_or(StageCompute{}).of(stage) * planned(stage);
  }
  [[nodiscard]] Compute spent_compute(Stage stage) const { return compute_[index(stage)]; }
  void add_compute(Stage stage, Compute spent) { compute_[index(stage)] += spent; }

  /// The examples that the source found not simply usable, drawn or not: dropped, truncated, degenerate,
  /// duplicate, with the reason of each.
  [[nodiscard]] const std::vector<Finding>& findings(Stage stage) const { return findings_[index(stage)]; }

  [[nodiscard]] const Budget& budget() const { return budget_; }
  [[nodiscard]] const Plan& plan() const { return plan_; }
  /// How many labels were drawn for a slice: the plan's number, or fewer from a source that makes them on demand.
  [[nodiscard]] Examples drawn(std::size_t slice) const {
    return Examples{
        std::count_if(entries_.begin(), entries_.end(), [&](const auto& e) { return e.slice == slice; })};
  }
  /// How many slices were drawn; the index of the next one.
  [[nodiscard]] std::size_t slices_drawn() const { return next_slice_; }
  /// Every paid label, in the order of payment.
  [[nodiscard]] const std::vector<LedgerEntry>& entries() const { return entries_; }

 private:
  static constexpr std::size_t index(Stage stage) { return static_cast<std::size_t>(stage); }
  static std::string in_words(const Slice& slice) {
    return std::to_string(slice.count.value()) + " labels for the " + std::string{name(slice.stage)} +
           " stage";
  }
  [[noreturn]] static void fail_entry(std::string required, const LedgerEntry& entry) {
    throw BudgetError{{.who = "Ledger",
                       .required = std::move(required),
                       .found = "slice " + std::to_string(entry.slice) + " (" +
                                std::string{name(entry.stage)} + ") at " + detail::address(entry.origin),
                       .fix = "Restore a ledger with the budget and the plan that it was kept for"}};
  }

  [[noreturn]] void fail_unpaid(const char* who, Stage stage) const {
    throw BudgetError{
        {.who = who,
         .required = "money for at least one label of the " + std::string{name(stage)} + " stage",
         .found = std::to_string(Money::from_parts(left()).units()),
         .fix = "Make the plan by the prices of the very labels, with priced_on"}};
  }

  /// Draws the rest of the plan on a copy, where labels cost by their tokens and a source has them all: no run is to end
  /// with a slice that the mean lengths promised and nothing is left for.
  template <class Source>
  void require_payable(const Source& source) const {
    if constexpr (requires { source.draw(Slice{}, Examples{}); }) {
      if (!budget_.by_tokens() || !source.available(Stage::sft) || !source.available(Stage::preference))
        return;
      Ledger trial = *this;
      while (trial.next_slice_ < plan_.size()) {
        const Slice& slice = plan_[trial.next_slice_];
        auto batch = detail::entries_of(source.draw(slice, trial.paid(slice.stage)), slice.stage,
                                        trial.next_slice_, budget_);
        batch.resize(trial.payable_of(batch));
        if (batch.empty()) trial.fail_unpaid("Ledger::require_available", slice.stage);
        trial.pay(std::move(batch));
      }
    }
  }

  /// How many of the labels, from the front, what is left pays for.
  [[nodiscard]] std::size_t payable_of(const std::vector<LedgerEntry>& batch) const {
    if (!budget_.by_tokens()) return batch.size();  // the plan is covered, whatever labels there are
    std::int64_t left_over = left();
    std::size_t payable = 0;
    while (payable < batch.size() && cost_of(batch[payable]) <= left_over) {
      left_over -= cost_of(batch[payable++]);
    }
    return payable;
  }
  /// What a paid label took of the first limit: its annotation, and its training where the money pays for that too.
  [[nodiscard]] std::int64_t cost_of(const LedgerEntry& entry) const {
    const std::int64_t planned = budget_.price(entry.stage);
    if (!budget_.by_tokens()) return planned;
    return detail::saturated_sum(planned - budget_.annotation().of(entry.stage).parts(), entry.price.parts());
  }

  /// Enters one slice's labels, all or none.
  void pay(std::vector<LedgerEntry> batch) {
    labels_.enter(batch);
    const std::size_t stage = index(batch.front().stage);
    paid_[stage] += Examples{static_cast<std::int64_t>(batch.size())};
    for (const LedgerEntry& entry : batch) spent_[stage] += cost_of(entry);
    std::move(batch.begin(), batch.end(), std::back_inserter(entries_));
    ++next_slice_;
  }

  Budget budget_;
  Plan plan_;
  std::vector<LedgerEntry> entries_{};
  std::size_t next_slice_ = 0;
  std::array<Examples, 2> paid_{};
  std::array<std::vector<Finding>, 2> findings_{};
  std::array<std::int64_t, 2> spent_{};
  std::array<Compute, 2> compute_{};
  detail::PaidLabels labels_{};
};

}  // namespace tithe
