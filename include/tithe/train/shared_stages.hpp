// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>

#include "tithe/core/artifact_store.hpp"
#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/core/mapped_file.hpp"
#include "tithe/core/sha256.hpp"
#include "tithe/core/stage.hpp"
#include "tithe/core/version.hpp"
#include "tithe/data/json.hpp"
#include "tithe/data/row.hpp"
#include "tithe/model/concept.hpp"
#include "tithe/model/safetensors.hpp"
#include "tithe/model/safetensors_writer.hpp"
#include "tithe/train/checkpoint.hpp"
#include "tithe/train/fingerprint.hpp"
#include "tithe/train/identity.hpp"
#include "tithe/train/reference_cache.hpp"
#include "tithe/train/run.hpp"
#include "tithe/train/run_state.hpp"
#include "tithe/train/stage.hpp"
#include "tithe/train/state_json.hpp"

/// Stages that several runs begin with, trained once.
namespace tithe {

/// All that decides the bits that a stage leaves, by name: the model as it comes to the stage, whatever made it; `objective`,
/// the policies with their numbers; the options, with the stage's own seed and order; the rows; the machine; and the library, which may train otherwise after an upgrade.
template <LanguageModel M>
nlohmann::json stage_identity(const M& model, const std::string& objective, const StageOptions& options,
                              const HeadOptions& head, const Rows& rows) {
  const at::Tensor weight = model.weights().front().tensor;
  nlohmann::json machine;
  for (const auto& [name, value] : fingerprint(weight)) machine[name] = value;
  return {{"format", "tithe: a trained stage, 1"},
          {"library", library_version},
          {"model", digest_of_model(model).hex()},
          {"objective", objective},
          {"options", to_json(options)},
          {"seed", options.seed.value},
          {"order", options.order == Order::shuffled ? "shuffled" : "file"},
          {"head_workspace", head.workspace.value()},
          {"rows", digest_of(rows).hex()},
          {"machine", machine}};
}

/// The weights that a stage changes: all, or under an adapter those of the adapter alone. What was merged before the stage is
/// in the model already, whoever trains it.
template <LanguageModel M>
NamedTensors trained_weights(const M& model) {
  if constexpr (RenewableModel<M>) {
    if (model.adapted()) return model.adapter_weights();
  }
  return model.weights();
}

/// A folder in which runs find stages that other runs have trained from the same model on the same rows, to the bit. It holds
/// for each the weights that it left and its report; ArtifactStore says how, and what a crash leaves.
class SharedStages {
 public:
  /// An empty folder shares nothing. Throws FileError for one that cannot be made, and OptionError for a model that could not
  /// be told from another one.
  template <LanguageModel M>
  SharedStages(const std::filesystem::path& folder, const M& model) {
    if (folder.empty()) return;
    require_identity(model, who);
    store_.emplace(folder);
  }

  [[nodiscard]] bool is_on() const { return store_.has_value(); }

  /// The report of the stage of this identity, whose weights the model then has: found, or made by `train`, called where
  /// nobody has trained it, and kept unless it was cancelled. Of processes that need the same stage one trains it, and the
  /// others wait; once `stop` is requested they wait no longer, and `train` is called to find that out.
  ///
  /// Throws CacheError, naming the file, for one that is damaged; FileError; and what `train` throws.
  template <LanguageModel M, class Train>
  SliceReport find_or_train(const nlohmann::json& identity, const M& model, const Train& train,
                            const std::stop_token& stop = {}) const {
    const std::string key = sha256(identity.dump()).hex();
    if (std::optional<SliceReport> found = find(key, identity, model)) return *std::move(found);
    const std::optional<FileLock> mine = store_->lock(key, stop);
    if (mine) {
      if (std::optional<SliceReport> found = find(key, identity, model)) return *std::move(found);
    }
    SliceReport report = train();
    if (mine && !report.training.cancelled) keep(key, identity, report, model);
    return report;
  }

 private:
  static constexpr const char* who = "RunOptions::shared_stages";
  static constexpr const char* weights_file = "weights.safetensors";
  static constexpr const char* report_file = "stage.json";

  template <LanguageModel M>
  [[nodiscard]] std::optional<SliceReport> find(const std::string& key, const nlohmann::json& identity,
                                                const M& model) const {
    if (!store_->has(key)) return std::nullopt;
    store_->verify(key);
    const std::filesystem::path file = store_->path(key) / report_file;
    const nlohmann::json stage =
        parse_json<CacheError>(read_file<CacheError>(file, who), Location{.file = file.string()}, who);
    if (stage.value("identity", nlohmann::json{}) != identity || !stage.contains("report")) {
      throw CacheError{{.who = who,
                        .required = "the stage that the folder is named for",
                        .found = "another one",
                        .fix = "Remove the folder; the stage is then trained anew"},
                       {.file = file.string()}};
    }
    // The tensors are views of the file: no second copy of the weights is made.
    const SafetensorsFile weights = SafetensorsFile::open(store_->path(key) / weights_file);
    NamedTensors saved;
    for (const std::string& name : weights.names()) saved.push_back({name, weights.tensor(name)});
    restore_tensors(saved, {}, trained_weights(model));
    SliceReport report = detail::slice_report_of(stage.at("report"));
    report.shared = true;
    return report;
  }

  template <LanguageModel M>
  void keep(const std::string& key, const nlohmann::json& identity, const SliceReport& report,
            const M& model) const {
    store_->put(key, [&](const std::filesystem::path& folder) {
      write_safetensors(folder / weights_file, trained_weights(model));
      const nlohmann::json stage{{"identity", identity}, {"report", detail::saved(report)}};
      write_durably(folder / report_file, stage.dump(2) + '\n');
    });
  }

  std::optional<ArtifactStore> store_;
};

}  // namespace tithe
