// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tithe/model/tokenizer/piece_table.hpp"

namespace tithe::detail {

/// Tokens and their ids. Some thirty bytes a token beside its name, and nothing else: a file of short names must not
/// take many times its size.
class Vocabulary {
 public:
  /// Room for `tokens` of together `bytes`; more can be added.
  explicit Vocabulary(std::size_t tokens = 0, std::size_t bytes = 0)
      : special(tokens),
        in_model(tokens),
        names_(tokens),
        slots_(std::bit_ceil(tokens + tokens / 2 + 2), none) {
    bytes_.reserve(bytes);
  }

  std::vector<std::uint8_t> special;  ///< by id, whether the token is special
  std::vector<std::uint8_t>
      in_model;  ///< by id, whether merges can make it: not of tokens that are only added

  /// One more than the largest id, of which some may have no token.
  [[nodiscard]] std::size_t size() const { return size_; }
  /// How many tokens there are.
  [[nodiscard]] std::size_t count() const { return count_; }
  /// The name of an id's token; empty if it has none.
  [[nodiscard]] std::string_view token(std::size_t id) const {
    return id < size_ ? std::string_view{bytes_}.substr(names_[id].begin, names_[id].size)
                      : std::string_view{};
  }
  [[nodiscard]] std::optional<std::uint32_t> find(std::string_view token) const {
    const std::uint32_t id = slots_[place(token)];
    return id == none ? std::nullopt : std::optional{id};
  }

  /// The same of the model's own tokens: what a text is encoded with unless an added token was cut out of it.
  [[nodiscard]] std::optional<std::uint32_t> find_in_model(std::string_view token) const {
    const auto id = find(token);
    return id && in_model[*id] != 0 ? id : std::nullopt;
  }

  /// Adds a token that is neither empty nor there yet, under an id that no other one has.
  void add(std::string_view token, std::uint32_t id) {
    if (3 * (count_ + 1) > 2 * slots_.size()) grow();
    if (id >= names_.size()) {
      names_.resize(std::size_t{id} + 1);
      special.resize(names_.size());
      in_model.resize(names_.size());
    }
    if (id >= size_) size_ = std::size_t{id} + 1;
    slots_[place(token)] = id;
    names_[id] = {static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(token.size())};
    bytes_ += token;
    ++count_;
  }

 private:
  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();
  struct Name {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };

  /// Where a token's id is, or would be. At least a third of the slots is free, so the search ends.
  [[nodiscard]] std::size_t place(std::string_view name) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = static_cast<std::size_t>(hash_of_piece(name)) & mask;
    while (slots_[at] != none && token(slots_[at]) != name) at = (at + 1) & mask;
    return at;
  }
  void grow() {
    slots_.assign(2 * slots_.size(), none);
    for (std::uint32_t id = 0; id < size_; ++id) {
      if (!token(id).empty()) slots_[place(token(id))] = id;
    }
  }

  std::string bytes_{};               // the names, side by side
  std::vector<Name> names_;           // by id
  std::vector<std::uint32_t> slots_;  // ids by their names' hash
  std::size_t size_ = 0;
  std::size_t count_ = 0;
};

}  // namespace tithe::detail
