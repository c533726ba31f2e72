// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

/// The three kinds of annotated example, as a person or a program labelled them.
namespace tithe {

/// Token ids, in the order in which the model reads them.
using TokenIds = std::vector<std::int64_t>;

/// Text that is still to be tokenised, or ids that are taken as they are: nothing added, nothing removed.
using Content = std::variant<std::string, TokenIds>;

/// Who an example is and where it was read, for the ledger and for error messages.
struct Origin {
  /// The example's own "id" where it has one, otherwise "file:line"; unique within a pool.
  std::string id{};
  std::string file{};
  std::int64_t line = 0;
};

/// A prompt with the answer to imitate (supervised fine-tuning).
struct Demonstration {
  Content prompt;
  Content completion;
  Origin origin{};
};

/// A prompt with two answers, of which one was preferred (DPO and its kin).
struct PreferencePair {
  Content prompt;
  Content chosen;
  Content rejected;
  Origin origin{};
};

/// A prompt with one answer and a verdict (KTO and its kin).
struct LabeledCompletion {
  Content prompt;
  Content completion;
  bool desirable = true;
  Origin origin{};
};

}  // namespace tithe
