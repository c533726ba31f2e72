// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "tithe/core/content_hash.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/example.hpp"
#include "tithe/core/finding.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/dataset.hpp"
#include "tithe/data/encode.hpp"
#include "tithe/data/row.hpp"

/// Where a slice's labels come from.
namespace tithe {

/// What is paid for once: one annotated example, ready for the model.
struct Label {
  Origin origin{};
  Digest content{};
  Outcome outcome = Outcome::usable;
  std::string reason{};
  Rows rows{};
};

/// The rows of some labels, in their order.
inline Rows rows_of(std::vector<Label> labels) {
  Rows rows;
  for (Label& label : labels) std::move(label.rows.begin(), label.rows.end(), std::back_inserter(rows));
  return rows;
}

/// Gives labels for slices. A source has no position of its own: `draw` gets the number of labels that were
/// drawn for the stage before, so that the ledger alone says where a run stands, and a resume needs nothing
/// else.
///
/// - `available(stage)`: how many labels there are in all, or nothing for a source that makes them on demand;
/// - `findings(stage)`: the examples that are not simply usable, known before anything is spent;
/// - `draw(slice, drawn, model…)`: the next `slice.count` labels. A source that samples completions from the
///   current model takes the model as its last argument; what is random in it is a function of its seed and of
///   `drawn`. A label that was paid and turned out useless has no rows and an outcome that says why.
template <class S, class... Model>
concept ExampleSource = requires(S& source, const std::remove_const_t<S>& fixed, const Slice& slice,
                                 Examples drawn, Model&... model) {
  { fixed.available(slice.stage) } -> std::same_as<std::optional<Examples>>;
  { fixed.findings(slice.stage) } -> std::convertible_to<std::vector<Finding>>;
  { source.draw(slice, drawn, model...) } -> std::same_as<std::vector<Label>>;
};

/// A dataset, encoded whole, so that everything that cannot be used is known before anything is spent. It
/// never changes, and copies share their labels.
///
/// Labels come in the order of the dataset (preferences before labelled completions), or shuffled.
class Pool {
 public:
  /// `preference` says what the loss of the preference stage reads: pairs, or verdicts. As RowKind::labeled,
  /// preference pairs and labelled completions serve; as RowKind::pair, only pairs do.
  ///
  /// An example without an id gets one, "sft#1" for the first demonstration. Throws DataError if two
  /// different examples of a stage have the same id, and whatever `encode` throws.
  Pool(const Dataset& dataset, const Encoding& encoding, const Limits& limits,
       RowKind preference = RowKind::pair) {
    if (preference == RowKind::demonstration) {
      throw OptionError{
          {.who = "Pool",
           .required = "RowKind::pair or RowKind::labeled for the preference stage",
           .found = "RowKind::demonstration",
           .fix = "Leave it out to get pairs; demonstrations are always those of the sft stage"}};
    }
    detail::require_valid(encoding, limits);
    Filler sft{.stage = Stage::sft};
    for (const Demonstration& example : dataset.demonstrations) {
      sft.add(example, [&] { return encode(example, encoding, limits); });
    }
    Filler preferences{.stage = Stage::preference};
    for (const PreferencePair& example : dataset.preferences) {
      preferences.add(example, [&] { return encode(example, encoding, limits, preference); });
    }
    for (const LabeledCompletion& example : dataset.labeled) {
      preferences.add(example, [&]() -> Encoded {
        if (preference == RowKind::labeled) return encode(example, encoding, limits);
        return {.outcome = Outcome::wrong_kind, .reason = "a verdict on one completion is no pair"};
      });
    }
    shelves_ = std::make_shared<const Shelves>(Shelves{std::move(sft.shelf), std::move(preferences.shelf)});
  }

  /// The same labels in an order that depends on the seed, the stage and the usable labels alone. Slices take
  /// it from the front, so that a larger budget buys all that a smaller one does.
  [[nodiscard]] Pool shuffled(Seed seed) const {
    Pool pool = *this;
    for (const Stage stage : {Stage::sft, Stage::preference}) {
      pool.order_[index(stage)] = permutation(shelf(stage).labels.size(), derive(seed, {index(stage)}));
    }
    return pool;
  }

  /// How many labels of a stage may be drawn in all.
  [[nodiscard]] std::optional<Examples> available(Stage stage) const {
    return Examples{static_cast<std::int64_t>(shelf(stage).labels.size())};
  }

  /// Every example of a stage that is not simply usable, in the order of the dataset.
  [[nodiscard]] const std::vector<Finding>& findings(Stage stage) const { return shelf(stage).findings; }

  /// The labels that follow the first `drawn` of the slice's stage; they do not depend on the model. Throws
  /// BudgetError if there are not as many.
  template <class... Model>
  [[nodiscard]] std::vector<Label> draw(const Slice& slice, Examples drawn, const Model&...) const {
    const std::vector<Label>& labels = shelf(slice.stage).labels;
    const std::vector<std::size_t>& order = order_[index(slice.stage)];
    const auto size = static_cast<std::int64_t>(labels.size());
    if (drawn < Examples{} || slice.count < Examples{} || drawn.value() > size ||
        slice.count.value() > size - drawn.value()) {
      throw BudgetError{{.who = "Pool::draw",
                         .required = std::to_string(slice.count.value()) + " labels for the " +
                                     std::string{name(slice.stage)} + " stage behind the first " +
                                     std::to_string(drawn.value()),
                         .found = std::to_string(size) + " in all",
                         .fix = "Call Ledger::require_available before training"}};
    }
    std::vector<Label> drawn_now;
    drawn_now.reserve(static_cast<std::size_t>(slice.count.value()));
    for (std::int64_t i = drawn.value(); i < drawn.value() + slice.count.value(); ++i) {
      const auto place = static_cast<std::size_t>(i);
      drawn_now.push_back(labels[order.empty() ? place : order[place]]);
    }
    return drawn_now;
  }

 private:
  /// What there is for one stage.
  struct Shelf {
    std::vector<Label> labels{};
    std::vector<Finding> findings{};
  };
  using Shelves = std::array<Shelf, 2>;

  /// Fills a shelf, example by example, and knows what it has seen.
  struct Filler {
    Stage stage;
    Shelf shelf{};
    std::map<Digest, std::string> seen{};  // contents, to the id that had them first
    std::map<std::string, Origin> ids{};
    std::int64_t read = 0;

    template <class Example, class Encode>
    void add(const Example& example, const Encode& encode_it) {
      ++read;
      Origin origin = example.origin;
      if (origin.id.empty()) origin.id = std::string{name(stage)} + '#' + std::to_string(read);
      const Digest content = content_hash(example);

      const auto [first, is_new] = seen.try_emplace(content, origin.id);
      if (!is_new) {
        shelf.findings.push_back(
            {std::move(origin), Outcome::duplicate, false, "duplicate of " + first->second});
        return;
      }
      const auto [other, is_free] = ids.try_emplace(origin.id, origin);
      if (!is_free) {
        throw DataError{{.who = "Pool",
                         .required = "one id for each example of a stage",
                         .found = in_quotes(origin.id) + " here and at " + other->second.file + ':' +
                                  std::to_string(other->second.line),
                         .fix = "Make the ids differ, or leave them out to get \"file:line\""},
                        detail::location_of(origin, "id")};
      }
      Encoded encoded = encode_it();
      const bool drawable = !encoded.rows.empty();
      if (encoded.outcome != Outcome::usable) {
        shelf.findings.push_back({origin, encoded.outcome, drawable, encoded.reason});
      }
      if (!drawable) return;
      for (Row& row : encoded.rows) row.id = origin.id;
      shelf.labels.push_back({.origin = std::move(origin),
                              .content = content,
                              .outcome = encoded.outcome,
                              .reason = std::move(encoded.reason),
                              .rows = std::move(encoded.rows)});
    }
  };

  static constexpr std::size_t index(Stage stage) { return static_cast<std::size_t>(stage); }
  [[nodiscard]] const Shelf& shelf(Stage stage) const { return (*shelves_)[index(stage)]; }

  std::shared_ptr<const Shelves> shelves_{};
  std::array<std::vector<std::size_t>, 2> order_{};  // of a stage's labels; empty: as they stand
};

static_assert(ExampleSource<Pool> && ExampleSource<const Pool>);

}  // namespace tithe
