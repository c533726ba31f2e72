// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tithe/core/text.hpp"
#include "tithe/model/tokenizer/pre_tokenizer.hpp"
#include "tithe/model/tokenizer/read_model.hpp"
#include "tithe/model/tokenizer/text_steps.hpp"

/// Reading the steps around the model: what is done to a text before it, and to tokens after it.
namespace tithe::detail {

/// A step may take more memory than its text.
template <class Steps>
void check_count(const TokenizerFile& step, const Steps& steps) {
  constexpr std::size_t limit = 256;
  if (steps.size() > limit) step.fail_here("at most 256 steps", "more");
}

/// Steps multiply: sixty that double a text would make a letter fill all memory.
inline void check_growth(const TokenizerFile& step, double factor, double& growth) {
  constexpr double limit = 1024;
  growth *= factor;
  if (growth > limit) step.fail_here("steps that make a text at most 1024 times longer", "more");
}

inline Replace read_replace(const TokenizerFile& step, double& growth) {
  const TokenizerFile pattern = step.object("pattern");
  if (!pattern.has("String")) {
    pattern.fail_here("a \"String\"", in_quotes(pattern.json().dump()),
                      "Regular expressions are not supported here");
  }
  Replace replace{pattern.require<std::string>("String"), step.require<std::string>("content")};
  if (replace.pattern.empty()) pattern.fail("String", "a pattern that is not empty", "an empty one");
  if (replace.content.size() > replace.pattern.size()) {
    check_growth(step,
                 static_cast<double>(replace.content.size()) / static_cast<double>(replace.pattern.size()),
                 growth);
  }
  return replace;
}

inline void read_normalizer(const TokenizerFile& step, Normalizer& steps, double& growth) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("normalizers")) read_normalizer(inner, steps, growth);
  } else if (type == "Prepend") {
    const auto content = step.require<std::string>("prepend");
    check_growth(step, 1 + static_cast<double>(content.size()), growth);  // of a text of one letter
    steps.emplace_back(Prepend{content});
  } else if (type == "Replace") {
    steps.emplace_back(read_replace(step, growth));
  } else if (type == "NFC") {
    check_growth(step, 3, growth);  // the most that it takes in UTF-8, says UAX 15
    steps.emplace_back(Nfc{});
  } else {
    refuse_type(step, "a normalizer among Sequence, NFC, Prepend and Replace");
  }
  check_count(step, steps);
}

inline void read_decoder(const TokenizerFile& step, std::vector<DecoderStep>& steps, double& growth) {
  const auto type = step.require<std::string>("type");
  if (type == "Sequence") {
    for (const TokenizerFile& inner : step.objects("decoders")) read_decoder(inner, steps, growth);
  } else if (type == "Replace") {
    steps.emplace_back(ReplaceInTokens{read_replace(step, growth)});
  } else if (type == "ByteFallback") {
    steps.emplace_back(ByteFallback{});
  } else if (type == "Fuse") {
    steps.emplace_back(Fuse{});
  } else if (type == "Strip") {
    const auto content = step.require<std::string>("content");
    const Utf8Piece character = next_utf8(content);
    if (content.empty() || character.length != content.size()) {
      step.fail("content", "one character", in_quotes(content));
    }
    const auto count = [&](const char* key) {
      const auto number = step.require<std::int64_t>(key);
      if (number < 0) step.fail(key, "a count from 0", std::to_string(number));
      return static_cast<std::size_t>(number);
    };
    steps.emplace_back(Strip{content, count("start"), count("stop")});
  } else if (type == "ByteLevel") {
    steps.emplace_back(JoinBytes{});
  } else {
    refuse_type(step, "a decoder among Sequence, ByteLevel, Replace, ByteFallback, Fuse and Strip");
  }
  check_count(step, steps);
}

/// A pattern that matches a text itself.
inline std::string escape_pattern(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool is_special = std::string_view{"\\|.*+?(){}[]^$"}.find(c) != std::string_view::npos;
    if (is_special) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

inline Split read_split(const TokenizerFile& step) {
  refuse_others(step, {"type", "pattern", "behavior", "invert"});
  constexpr std::array<std::pair<std::string_view, SplitBehavior>, 5> behaviors{
      {{"Removed", SplitBehavior::removed},
       {"Isolated", SplitBehavior::isolated},
       {"MergedWithPrevious", SplitBehavior::merged_with_previous},
       {"MergedWithNext", SplitBehavior::merged_with_next},
       {"Contiguous", SplitBehavior::contiguous}}};
  const auto name = step.require<std::string>("behavior");
  const auto behavior = std::find_if(behaviors.begin(), behaviors.end(),
                                     [&](const auto& known) { return known.first == name; });
  if (behavior == behaviors.end()) {
    step.fail("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
              in_quotes(name));
  }
  const TokenizerFile pattern = step.object("pattern");
  const char* kind = pattern.has("Regex") ? "Regex" : "String";
  const auto text = pattern.require<std::string>(kind);
  refuse_others(pattern, {kind});
  try {
    return {.pattern = Regex{kind == std::string_view{"Regex"} ? text : escape_pattern(text)},
            .behavior = behavior->second,
            .is_inverted = step.get_or("invert", false)};
  } catch (const PatternError& error) {
    pattern.fail(kind, "a pattern that is supported", in_quotes(text) + ": " + error.what());
  }
}

/// Metaspace as files have it since 2024, and before, when `add_prefix_space` said what `prepend_scheme` says now.
inline Metaspace read_metaspace(const TokenizerFile& step) {
  refuse_others(step, {"type", "replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"});
  if (const auto mark = step.require<std::string>("replacement"); mark != Metaspace::mark) {
    step.fail("replacement", in_quotes(Metaspace::mark), in_quotes(mark), "Other marks are not supported");
  }
  Metaspace metaspace{.splits = step.get_or("split", true)};
  const bool has_prefix = step.get_or("add_prefix_space", true);
  if (!has_prefix) metaspace.prepend = Metaspace::Prepend::never;
  if (const auto scheme = step.get<std::string>("prepend_scheme")) {
    if (*scheme == "always") {
      metaspace.prepend = Metaspace::Prepend::always;
    } else if (*scheme == "first") {
      metaspace.prepend = Metaspace::Prepend::first;
    } else if (*scheme == "never") {
      metaspace.prepend = Metaspace::Prepend::never;
    } else {
      step.fail("prepend_scheme", "always, first or never", in_quotes(*scheme));
    }
    if (!has_prefix && *scheme != "never") {
      step.fail("add_prefix_space", "true, as prepend_scheme says", "false");
    }
  }
  return metaspace;
}

/// Reads the steps before the model, and says whether texts are encoded as bytes.
inline bool read_pre_tokenizer(const TokenizerFile& step, PreTokenizer& steps) {
  const auto type = step.require<std::string>("type");
  bool is_byte_level = false;
  if (type == "Sequence") {
    refuse_others(step, {"type", "pretokenizers"});
    for (const TokenizerFile& inner : step.objects("pretokenizers")) {
      if (is_byte_level) inner.fail_here("ByteLevel as the last step", "a step after it");
      is_byte_level = read_pre_tokenizer(inner, steps);
    }
  } else if (type == "Split") {
    steps.add(read_split(step));
  } else if (type == "Metaspace") {
    steps.add(read_metaspace(step));
  } else if (type == "Digits") {
    refuse_others(step, {"type", "individual_digits"});
    const bool each = step.require<bool>("individual_digits");
    steps.add(Split{.pattern = Regex{each ? R"(\p{N})" : R"(\p{N}+)"}});
  } else if (type == "ByteLevel") {
    refuse_others(step, {"type", "add_prefix_space", "trim_offsets", "use_regex"});
    (void)step.get<bool>("trim_offsets");  // concerns offsets, which we do not give
    if (step.require<bool>("add_prefix_space")) steps.add(PrefixSpace{});
    if (step.get_or("use_regex", true)) {
      // GPT-2's, which ByteLevel brings along.
      constexpr std::string_view pattern =
          R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
      steps.add(Split{.pattern = Regex{pattern}});
    }
    is_byte_level = true;
  } else {
    refuse_type(step, "a pre-tokenizer among Sequence, Split, Digits, ByteLevel and Metaspace");
  }
  if (steps.size() > 1 && steps.has_metaspace()) {
    step.fail_here("Metaspace alone", "it among other steps", "Such a combination is not supported");
  }
  // Each step that cuts is a call inside the one before.
  if (steps.size() > 32) step.fail_here("at most 32 steps", "more");
  return is_byte_level;
}

}  // namespace tithe::detail
