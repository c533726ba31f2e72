// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "tithe/core/example.hpp"
#include "tithe/core/sha256.hpp"

/// What an example is, whatever file it stands in: the ledger counts by it, and splits are made by it.
namespace tithe {
namespace detail {

inline void hash_content(Sha256& hash, const Content& content) {
  if (const auto* text = std::get_if<std::string>(&content)) {
    hash.update("text").update(std::uint64_t{text->size()}).update(std::string_view{*text});
  } else if (const auto* ids = std::get_if<TokenIds>(&content)) {
    hash.update("ids").update(std::uint64_t{ids->size()});
    for (const std::int64_t id : *ids) hash.update(static_cast<std::uint64_t>(id));
  } else {
    const auto& messages = std::get<Messages>(content);
    hash.update("messages").update(std::uint64_t{messages.size()});
    const auto add = [&](std::string_view part) { hash.update(std::uint64_t{part.size()}).update(part); };
    for (const Message& message : messages) {
      add(message.role);
      add(message.content);
    }
  }
}

}  // namespace detail

/// The digest of a prompt, completion or any other content on its own.
inline Digest content_hash(const Content& content) {
  Sha256 hash;
  detail::hash_content(hash, content);
  return hash.finish();
}

/// The digest of a whole example: its kind and its contents, not its origin.
inline Digest content_hash(const Demonstration& example) {
  Sha256 hash;
  hash.update("demonstration");
  detail::hash_content(hash, example.prompt);
  detail::hash_content(hash, example.completion);
  return hash.finish();
}

inline Digest content_hash(const PreferencePair& example) {
  Sha256 hash;
  hash.update("preference");
  detail::hash_content(hash, example.prompt);
  detail::hash_content(hash, example.chosen);
  detail::hash_content(hash, example.rejected);
  return hash.finish();
}

inline Digest content_hash(const LabeledCompletion& example) {
  Sha256 hash;
  hash.update(example.desirable ? "desirable" : "undesirable");
  detail::hash_content(hash, example.prompt);
  detail::hash_content(hash, example.completion);
  return hash.finish();
}

}  // namespace tithe
