// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "task.hpp"
#include "tithe/core/random.hpp"
#include "vocabulary.hpp"

/// A task of style: an answer names the words of a request, and is liked for five features.
///
///     request  R w3 w0 w7 w12 :
///     answer   hello w3 , w0 , w7 , w12 because r3 thanks $
///
/// The base model has read careful answers, which have most features, and more careless ones, which have few; so its own
/// answers differ from the start in what is liked. Where arithmetic has a form that must be learnt before preferences say
/// anything, here the contrast is of degree.
namespace miniature {

inline constexpr std::size_t words_per_request = 4;

/// What an answer is liked for: whether it greets, names all the words in order, sets commas between them, gives the reason
/// that belongs to the first, and thanks.
struct Features {
  static constexpr std::size_t count = 5;
  std::array<bool, count> has{};

  [[nodiscard]] bool greeting() const { return has[0]; }
  [[nodiscard]] bool completeness() const { return has[1]; }
  [[nodiscard]] bool commas() const { return has[2]; }
  [[nodiscard]] bool reason() const { return has[3]; }
  [[nodiscard]] bool thanking() const { return has[4]; }
  [[nodiscard]] double share() const {
    return static_cast<double>(std::ranges::count(has, true)) / static_cast<double>(count);
  }

  /// Each with a probability.
  static Features draw(double probability, SplitMix64& random) {
    Features features;
    for (bool& has : features.has) has = random.uniform() < probability;
    return features;
  }
};

inline bool is_word(std::int64_t token) { return token >= first_word && token < first_word + words; }
/// The reason that belongs to a word: two words share one.
inline std::int64_t reason_of(std::int64_t word) { return first_reason + (word - first_word) % reasons; }

/// An answer with these features. One that is not complete lacks one of the words.
inline TokenIds styled(const TokenIds& request, const Features& features, SplitMix64& random) {
  TokenIds named(request.begin() + 1, request.end() - 1);
  const std::int64_t first = named.front();
  if (!features.completeness()) {
    named.erase(named.begin() + static_cast<std::ptrdiff_t>(random.below(words_per_request)));
  }
  TokenIds answer;
  if (features.greeting()) answer.push_back(greets);
  for (const std::int64_t word : named) {
    if (features.commas() && !answer.empty() && is_word(answer.back())) answer.push_back(comma);
    answer.push_back(word);
  }
  if (features.reason()) answer.insert(answer.end(), {because, reason_of(first)});
  if (features.thanking()) answer.push_back(thanks);
  answer.push_back(ends);
  return answer;
}

/// The features of any answer; one that does not end has none.
inline Features features_of(const TokenIds& request, std::span<const std::int64_t> answer) {
  Features features;
  if (answer.size() < 2 || answer.back() != ends) return features;
  TokenIds named;
  bool separated = true;
  for (std::size_t i = 0; i < answer.size(); ++i) {
    if (!is_word(answer[i])) continue;
    separated = separated && (named.empty() || (answer[i - 1] == comma && is_word(answer[i - 2])));
    named.push_back(answer[i]);
  }
  const auto because_at = std::ranges::find(answer, because);
  features.has = {
      answer.front() == greets,
      std::ranges::equal(named, std::span{request}.subspan(1, words_per_request)),
      separated && named.size() > 1,
      because_at < answer.end() - 1 && *(because_at + 1) == reason_of(request[1]),
      answer[answer.size() - 2] == thanks,
  };
  return features;
}

/// The task. Its corpus is requests, four in ten of them answered carefully, and lists of words' reasons;
/// demonstrations lack each feature with probability `slip`, and a scorer counts them.
class Style final : public Task {
 public:
  [[nodiscard]] std::string name() const override { return "style"; }
  [[nodiscard]] TokenIds prompt(bool held_out, SplitMix64& random) const override {
    TokenIds request;
    do {
      request = {requests};
      while (request.size() <= words_per_request) {
        const auto word = first_word + static_cast<std::int64_t>(random.below(words));
        if (std::ranges::find(request, word) == request.end()) request.push_back(word);
      }
      request.push_back(requested);
    } while (is_held_out(request) != held_out);
    return request;
  }
  [[nodiscard]] TokenIds document(SplitMix64& random) const override {
    constexpr std::uint64_t lists_in_ten = 2;
    if (random.below(10) < lists_in_ten) return list_of_reasons(random);
    TokenIds text = prompt(false, random);
    const bool is_careful = random.below(10) < 4;
    const TokenIds answer = styled(text, Features::draw(is_careful ? 0.9 : 0.1, random), random);
    text.insert(text.end(), answer.begin(), answer.end());
    return text;
  }

  [[nodiscard]] TokenIds demonstration(const TokenIds& prompt, double slip,
                                       SplitMix64& random) const override {
    return styled(prompt, Features::draw(1 - slip, random), random);
  }
  [[nodiscard]] double usual_slip() const override { return 0.15; }
  /// Each feature is lost half of the time, one at least.
  [[nodiscard]] TokenIds corrupted(const TokenIds& prompt, SplitMix64& random) const override {
    Features features;
    do {
      features = Features::draw(0.5, random);
    } while (features.share() == 1);
    return styled(prompt, features, random);
  }

  [[nodiscard]] double score(const TokenIds& prompt, std::span<const std::int64_t> answer) const override {
    return features_of(prompt, answer).share();
  }
  [[nodiscard]] std::int64_t samples_per_prompt() const override { return 2; }

  [[nodiscard]] std::int64_t opening() const override { return greets; }
  [[nodiscard]] TokenIds format_tokens() const override { return {greets, comma, because, thanks, ends}; }

 private:
  static TokenIds list_of_reasons(SplitMix64& random) {
    TokenIds list{lists};
    for (int i = 0; i < 4; ++i) {
      const auto word = first_word + static_cast<std::int64_t>(random.below(words));
      list.insert(list.end(), {word, because, reason_of(word), stop});
    }
    list.push_back(ends);
    return list;
  }
};

}  // namespace miniature
