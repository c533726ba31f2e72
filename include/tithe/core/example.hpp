// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

/// The three kinds of annotated example, as a person or a program labelled them.
namespace tithe {

/// Token ids, in the order in which the model reads them.
using TokenIds = std::vector<std::int64_t>;

/// One turn of a conversation. Roles are "system", "user" and "assistant"; a chat format says what else there is.
struct Message {
  std::string role;
  std::string content;

  friend bool operator==(const Message&, const Message&) = default;
  friend auto operator<=>(const Message&, const Message&) = default;
};

using Messages = std::vector<Message>;

/// Text that is still to be tokenised; ids that are taken as they are: nothing added, nothing removed; or a part of a
/// conversation, which a chat format makes ids of.
using Content = std::variant<std::string, TokenIds, Messages>;

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
