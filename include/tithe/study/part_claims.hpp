// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tithe/core/artifact_store.hpp"
#include "tithe/core/file_lock.hpp"
#include "tithe/study/study_folder.hpp"

/// Which of the parts that cells have in common are there, so that processes begin with cells that have none to wait for.
namespace tithe {

/// How a part stands.
enum class PartState : std::uint8_t {
  there,       ///< made, or of a cell that is finished
  free,        ///< nobody makes it
  begun,       ///< a cell runs that will make it, or has by now
  being_made,  ///< somebody makes it just now
};

/// The parts of a study, by key. A part need not be an artifact of the store: one that trainers keep elsewhere, such as a
/// shared stage, is told from its key alone.
class PartClaims {
 public:
  explicit PartClaims(const StudyFolder& folder) : parts_{folder.parts()}, folder_{folder} {}

  [[nodiscard]] const ArtifactStore& store() const { return parts_; }

  /// Of several parts, the state of the one that is farthest from being there.
  [[nodiscard]] PartState state(const std::vector<std::string>& keys) {
    PartState worst = PartState::there;
    for (const std::string& key : keys) {
      const auto [known, is_new] = seen_.try_emplace(key);
      if (is_new) known->second = look(key);
      worst = std::max(worst, known->second);
    }
    return worst;
  }
  /// Looks at every part anew from now on.
  void look_again() { seen_.clear(); }

  /// Says that a cell begins which needs these parts, as long as the locks live.
  [[nodiscard]] std::vector<FileLock> begin(const std::vector<std::string>& keys) const {
    std::vector<FileLock> locks;
    for (const std::string& key : keys) {
      if (is_there(key)) continue;
      if (std::optional<FileLock> lock = folder_.try_claim(name_of(key))) locks.push_back(*std::move(lock));
    }
    return locks;
  }
  /// Takes note that a cell which needs these parts is finished.
  void finished(const std::vector<std::string>& keys) { finished_.insert(keys.begin(), keys.end()); }

 private:
  static std::string name_of(const std::string& key) { return "part-" + key; }

  [[nodiscard]] bool is_there(const std::string& key) const {
    return finished_.contains(key) || parts_.has(key);
  }
  [[nodiscard]] PartState look(const std::string& key) const {
    if (is_there(key)) return PartState::there;
    if (parts_.is_being_made(key)) return PartState::being_made;
    return folder_.try_claim(name_of(key)) ? PartState::free : PartState::begun;
  }

  ArtifactStore parts_;
  StudyFolder folder_;
  std::set<std::string> finished_{};
  std::map<std::string, PartState> seen_{};
};

}  // namespace tithe
