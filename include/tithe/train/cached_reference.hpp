// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "tithe/core/error.hpp"
#include "tithe/data/batches.hpp"
#include "tithe/data/pack.hpp"
#include "tithe/data/row.hpp"
#include "tithe/logprob/head.hpp"
#include "tithe/logprob/logprob_cache.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/reference_cache.hpp"

/// A reference that is asked once.
namespace tithe {

/// Where a stage's cached log-probabilities come from.
template <class Source>
struct CacheSource {
  /// What they are computed from; let go as soon as they are.
  std::shared_ptr<const Source> model;
  /// Rows that will be asked for besides the stage's own.
  Rows more{};
  /// As a checkpoint kept them.
  std::optional<at::Tensor> saved{};
  /// A folder to share them with other runs; empty for none.
  std::filesystem::path folder{};
  /// The reference strategy's name, and what else decides the numbers' bits.
  std::string strategy{};
  Fingerprint machine{};
};

/// The reference that `Cached` makes of a stage: `prepare` finds the log-probabilities of all rows before the first step,
/// `token_logprobs` looks them up. A handle: copies share the numbers.
template <class Source>
class CachedReference {
 public:
  /// What a checkpoint calls the numbers.
  static constexpr const char* saved_name = "logprobs";

  explicit CachedReference(CacheSource<Source> source)
      : state_{std::make_shared<State>(State{std::move(source), std::nullopt})} {}

  /// Finds the log-probabilities of all rows that the stage will ask for: in its checkpoint, on disk, or by asking the
  /// reference, which is then let go. Once `stop` is requested, nothing is found and nothing is kept.
  ///
  /// Throws CacheError for a checkpoint's numbers that are not those of the rows, and for a file that is damaged or stale;
  /// OptionError for a model that cannot be named on disk; FileError.
  void prepare(Rows rows, const PassLimits& limits, const HeadOptions& head,
               const std::stop_token& stop = {}) const {
    if (state_->cache) return;
    CacheSource<Source>& source = state_->source;
    rows.insert(rows.end(), source.more.begin(), source.more.end());
    rows = rows_to_cache(std::move(rows));
    CompletionIndex index{rows};
    std::optional<at::Tensor> values =
        source.saved ? std::exchange(source.saved, {}) : from_disk_or_model(rows, index, limits, head, stop);
    if (!values) return;
    state_->cache.emplace(std::move(index), *std::move(values));
    source = {};
  }

  /// log p of every predicted token, [predicted_tokens]. Throws CacheError for a completion that was not prepared.
  [[nodiscard]] at::Tensor token_logprobs(const PackedRows& rows) const {
    if (state_->cache) return state_->cache->token_logprobs(rows);
    throw CacheError{{.who = "CachedReference",
                      .required = "log-probabilities that were prepared",
                      .found = "none",
                      .fix = "Call prepare with the stage's rows; train_stage does"}};
  }

  /// The numbers, for checkpoints; nothing before they are there.
  [[nodiscard]] NamedTensors weights() const {
    if (!state_->cache) return {};
    return {{saved_name, state_->cache->values()}};
  }

 private:
  struct State {
    CacheSource<Source> source;
    std::optional<LogProbCache> cache;
  };

  [[nodiscard]] std::optional<at::Tensor> from_disk_or_model(const Rows& rows, const CompletionIndex& index,
                                                             const PassLimits& limits,
                                                             const HeadOptions& head,
                                                             const std::stop_token& stop) const {
    const CacheSource<Source>& source = state_->source;
    const auto compute = [&] { return logprobs_of_all(*source.model, rows, index, limits, head, stop); };
    if (source.folder.empty()) return compute();
    const ReferenceCacheFolder folder{source.folder};
    LogProbIdentity identity{{"format", "tithe: log-probabilities of a reference, 2"},
                             {"reference", source.strategy},
                             {"model", digest_of_model(*source.model).hex()},
                             {"rows", digest_of(rows).hex()},
                             {"passes", std::to_string(limits.rows) + " rows, " +
                                            std::to_string(limits.tokens.value()) + " tokens"},
                             {"head_workspace", std::to_string(head.workspace.value())}};
    for (const auto& [name, value] : source.machine) identity.emplace("machine: " + name, value);
    std::optional<at::Tensor> values = folder.find(identity);
    if (!values) {
      values = compute();
      if (values) folder.keep(identity, *values);
    }
    return values;
  }

  std::shared_ptr<State> state_;
};

}  // namespace tithe
