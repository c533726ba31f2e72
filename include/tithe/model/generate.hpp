// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/gather.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/error.hpp"
#include "tithe/core/random.hpp"
#include "tithe/core/text.hpp"
#include "tithe/core/units.hpp"
#include "tithe/data/device.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/cache.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/sampling.hpp"

/// Completions from a model.
namespace tithe {

/// Token ids to text.
using Decoding = std::function<std::string(std::span<const std::int64_t>)>;

/// How completions are generated, and where they end.
struct GenerationOptions {
  Sampling sampling{};
  Tokens max_new_tokens{256};
  /// Any of these ends a completion, and is its last token.
  TokenIds stop_ids{};
  /// Any of these in the completion's text ends it; needs `decode`.
  std::vector<std::string> stop_strings{};
  Decoding decode{};
  /// Completions of each prompt, which is fed and kept once for all that grow side by side; a prompt's results follow upon
  /// each other.
  std::int64_t samples_per_prompt = 1;
  /// What is chosen is a function of the seed, of the token's index and of the completion's: of the prompt's index times
  /// `samples_per_prompt` plus the sample's. Neither the other prompts nor the batches change it (but for the rounding of
  /// the model's own sums, which may differ in the last digit).
  Seed seed{};
  /// The index of the first prompt, where one list is generated in parts.
  std::uint64_t first_index = 0;
  /// Of a prompt and its completion together; 0 for as many positions as the model has.
  Tokens max_length{0};
  /// Completions that grow side by side.
  std::int64_t batch_size = 64;
  /// Checked before every token.
  std::stop_token stop{};

  /// Throws OptionError for what is out of range or does not go together.
  void validate() const {
    sampling.validate();
    const auto require = [](bool holds, std::string required, std::string found, std::string fix) {
      if (!holds)
        throw OptionError{{"GenerationOptions", std::move(required), std::move(found), std::move(fix)}};
    };
    require(max_new_tokens >= Tokens{}, "max_new_tokens of 0 or more", std::to_string(max_new_tokens.value()),
            {});
    require(max_length >= Tokens{}, "a max_length of 0 or more", std::to_string(max_length.value()), {});
    require(samples_per_prompt > 0, "samples_per_prompt of 1 or more", std::to_string(samples_per_prompt),
            {});
    require(batch_size > 0, "a positive batch_size", std::to_string(batch_size), {});
    require(stop_strings.empty() || decode, "decode, since stop_strings are text", "none",
            "Let it call the tokenizer's decode");
    require(std::ranges::find(stop_strings, "") == stop_strings.end(),
            "stop_strings of at least one character", "an empty one", "Leave it out");
    for (const std::string& text : stop_strings) {
      require(is_valid_utf8(text), "stop_strings in UTF-8, as decoded text is", in_quotes(text),
              "Encode it as UTF-8, or stop at ids");
    }
  }
};

/// Throws OptionError in the name of `who`, which has a number of samples of its own or takes one completion of each prompt.
inline void require_one_sample(const GenerationOptions& options, const std::string& who, std::string fix) {
  if (options.samples_per_prompt == 1) return;
  throw OptionError{{who, "generation options with samples_per_prompt of 1",
                     std::to_string(options.samples_per_prompt), std::move(fix)}};
}

/// Why a completion ends where it does.
enum class FinishReason : std::uint8_t {
  stop_id,      ///< the model chose a stop id, such as the end of sequence
  stop_string,  ///< a stop string stood in the text
  length,       ///< max_new_tokens, or the end of the model's positions
  cancelled,    ///< the stop token asked for it
};

/// One completion.
struct Generation {
  /// As the model chose them: with the stop id that ended it, or up to the token that completed a stop string.
  TokenIds ids{};
  /// log p of each under the model itself: at temperature 1, before top_p.
  std::vector<double> logprobs{};
  /// What `decode` makes of the ids, without stop id and stop string; empty if there is no `decode`.
  std::string text{};
  FinishReason finish = FinishReason::length;

  [[nodiscard]] double logprob() const { return std::accumulate(logprobs.begin(), logprobs.end(), 0.0); }
};

namespace detail {

/// Some samples of some prompts on their way. A completion's number is its prompt's times `samples_per_prompt`, plus its own.
template <LanguageModel M>
class GeneratingBatch {
 public:
  GeneratingBatch(std::span<const TokenIds> prompts, const GenerationOptions& options,
                  std::int64_t max_length, std::vector<Generation>& results)
      : prompts_{prompts}, options_{options}, max_length_{max_length}, results_{results} {}

  /// Generates the samples from `first` on, `count` of each of the prompts of these indices.
  void run(const M& model, std::span<const std::size_t> indices, std::size_t first, std::size_t count) {
    std::vector<const TokenIds*> prompts;
    std::int64_t room = 0;
    for (const std::size_t index : indices) {
      if (room_for(index) == 0) continue;
      for (std::size_t i = first; i < first + count; ++i) live_.push_back(index * samples() + i);
      prompts.push_back(&prompts_[index]);
      room = std::max(room, room_for(index));
    }
    if (live_.empty()) return;
    if (options_.stop.stop_requested()) return cancel();
    constexpr std::int64_t reserve = 128;  // most answers are shorter; a longer one makes the cache grow
    at::Tensor logits =
        sequences_.begin(model, prompts, static_cast<std::int64_t>(count), std::min(room, reserve));
    for (std::uint64_t step = 0;; ++step) {
      const TokenIds tokens = take_tokens(logits, step);
      if (tokens.empty()) return;
      if (options_.stop.stop_requested()) return cancel();
      logits = sequences_.append(model, tokens);
    }
  }

 private:
  [[nodiscard]] std::size_t samples() const { return static_cast<std::size_t>(options_.samples_per_prompt); }
  [[nodiscard]] std::int64_t room_for(std::size_t prompt) const {
    return std::min(options_.max_new_tokens.value(), max_length_ - std::ssize(prompts_[prompt]));
  }

  /// Chooses a token for every live completion, drops those that it finishes, and gives the tokens of the others.
  TokenIds take_tokens(const at::Tensor& logits, std::uint64_t step) {
    std::vector<double> uniforms;
    for (const std::size_t one : live_) {
      const std::uint64_t number = options_.first_index * samples() + one;
      uniforms.push_back(SplitMix64{derive(options_.seed, {number, step})}.uniform());
    }
    const at::Tensor drawn = on_device(logits.device(), at::tensor(uniforms, at::kDouble));
    const at::Tensor picked = choose_tokens(logits, options_.sampling, drawn);
    const auto wide = at::promote_types(logits.scalar_type(), at::kFloat);
    const at::Tensor logprobs =
        logits.log_softmax(1, wide).gather(1, picked.unsqueeze(1)).squeeze(1).to(at::kCPU, at::kDouble);
    const at::Tensor chosen = picked.to(at::kCPU);
    const auto* token = chosen.const_data_ptr<std::int64_t>();
    const auto* logprob = logprobs.const_data_ptr<double>();

    TokenIds tokens{token, token + live_.size()};
    for (std::size_t place = live_.size(); place-- > 0;) {  // backwards: the last takes a dropped one's place
      const std::size_t prompt = live_[place] / samples();
      if (!std::isfinite(logprob[place])) fail_not_finite(prompt);
      Generation& result = results_[live_[place]];
      result.ids.push_back(token[place]);
      result.logprobs.push_back(logprob[place]);
      if (!finish(result, room_for(prompt))) continue;
      sequences_.remove(place);
      live_[place] = live_.back();
      live_.pop_back();
      tokens[place] = tokens.back();
      tokens.pop_back();
    }
    return tokens;
  }

  /// Whether a completion ends with its newest token; if so, says why and gives it its text.
  bool finish(Generation& result, std::int64_t room) const {
    const std::span<const std::int64_t> ids{result.ids};
    if (std::ranges::find(options_.stop_ids, ids.back()) != options_.stop_ids.end()) {
      return end(result, FinishReason::stop_id, text_of(ids.first(ids.size() - 1)));
    }
    if (!options_.stop_strings.empty()) {
      std::string text = text_of(ids);
      std::size_t cut = text.npos;
      for (const std::string& stop : options_.stop_strings) cut = std::min(cut, text.find(stop));
      if (cut != text.npos) return end(result, FinishReason::stop_string, text.substr(0, cut));
    }
    return std::ssize(ids) >= room && end(result, FinishReason::length, text_of(ids));
  }

  static bool end(Generation& result, FinishReason reason, std::string text) {
    result.finish = reason;
    result.text = std::move(text);
    return true;
  }
  [[nodiscard]] std::string text_of(std::span<const std::int64_t> ids) const {
    return options_.decode ? options_.decode(ids) : std::string{};
  }
  void cancel() {
    for (const std::size_t one : live_)
      end(results_[one], FinishReason::cancelled, text_of(results_[one].ids));
  }
  [[noreturn]] void fail_not_finite(std::size_t prompt) const {
    const std::string row = "prompt " + std::to_string(options_.first_index + prompt);
    throw NonFiniteError{{.who = "generate",
                          .required = "finite logits",
                          .found = "NaN or infinity after " + row,
                          .fix = "Check the model's weights"},
                         {row}};
  }

  std::span<const TokenIds> prompts_;
  const GenerationOptions& options_;
  std::int64_t max_length_;
  std::vector<Generation>& results_;
  decltype(no_sequences<M>()) sequences_ = no_sequences<M>();
  std::vector<std::size_t> live_{};  ///< numbers of completions, in the order of `sequences_`
};

/// Throws ShapeError for a prompt without tokens or that leaves no position, or with an id that the model lacks.
template <LanguageModel M>
void require_prompts(const M& model, std::span<const TokenIds> prompts, std::int64_t max_length) {
  const auto fail = [](std::size_t index, std::string required, std::string found, std::string fix) {
    throw ShapeError{{.who = "generate",
                      .required = std::move(required) + " in prompt " + std::to_string(index),
                      .found = std::move(found),
                      .fix = std::move(fix)}};
  };
  std::int64_t vocabulary = std::numeric_limits<std::int64_t>::max();
  if constexpr (HiddenStateModel<M>) vocabulary = at::Tensor{model.head()}.size(0);
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty())
      fail(i, "at least one token", "none", "Begin it with the beginning-of-sequence token");
    if (std::ssize(prompts[i]) >= max_length) {
      fail(i, "fewer than " + std::to_string(max_length) + " tokens", std::to_string(prompts[i].size()),
           "Shorten it");
    }
    for (const std::int64_t id : prompts[i]) {
      if (id < 0 || id >= vocabulary) {
        fail(i, "ids from 0 to " + std::to_string(vocabulary - 1), std::to_string(id),
             "Use the tokenizer that belongs to the model");
      }
    }
  }
}

}  // namespace detail

/// Completes every prompt, `samples_per_prompt` times; results come in the prompts' order. Batches are made of prompts of
/// like length, a finished completion costs nothing more, and keys and values are kept where the model can
/// (CacheableModel).
///
/// Throws OptionError for options, ShapeError for prompts that cannot be, and NonFiniteError for a model that gives no
/// probabilities.
template <LanguageModel M>
std::vector<Generation> generate(const M& model, std::span<const TokenIds> prompts,
                                 const GenerationOptions& options) {
  options.validate();
  std::int64_t max_length = std::numeric_limits<std::int64_t>::max();
  if (options.max_length > Tokens{}) max_length = options.max_length.value();
  if constexpr (CacheableModel<M>) max_length = std::min(max_length, model.config().positions());
  detail::require_prompts(model, prompts, max_length);

  const at::NoGradGuard no_grad;
  std::vector<std::size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t index) { return prompts[index].size(); });
  const auto samples = static_cast<std::size_t>(options.samples_per_prompt);
  const auto batch_size = static_cast<std::size_t>(options.batch_size);
  // More samples than grow side by side are cut into equal parts.
  const std::size_t parts = (samples + batch_size - 1) / batch_size;
  const std::size_t samples_at_once = (samples + parts - 1) / parts;
  const std::size_t prompts_at_once = batch_size / samples_at_once;
  std::vector<Generation> results(prompts.size() * samples);
  for (std::size_t first = 0; first < order.size(); first += prompts_at_once) {
    const std::span some = std::span{order}.subspan(first, std::min(prompts_at_once, order.size() - first));
    for (std::size_t sample = 0; sample < samples; sample += samples_at_once) {
      detail::GeneratingBatch<M>{prompts, options, max_length, results}.run(
          model, some, sample, std::min(samples_at_once, samples - sample));
    }
  }
  return results;
}

}  // namespace tithe
