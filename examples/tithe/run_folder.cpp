// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <utility>

#include "tithe/core/durable_file.hpp"
#include "tithe/core/error.hpp"
#include "tithe/train/checkpoint.hpp"

namespace program {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw tithe::FileError{
      {"tithe train", std::string{"to "} + what, std::generic_category().message(error), {}},
      tithe::Location{.file = path.string()}};
}

/// Bytes of the first lines of a file, and how many of them there are.
std::pair<std::uintmax_t, std::int64_t> front_of(const std::filesystem::path& path, std::int64_t lines) {
  std::ifstream file{path, std::ios::binary};
  std::uintmax_t bytes = 0;
  std::int64_t count = 0;
  for (std::string line; count < lines && std::getline(file, line) && !file.eof(); ++count)
    bytes += line.size() + 1;
  return {bytes, count};
}

}  // namespace

RunFolder::~RunFolder() {
  if (metrics_file_ >= 0) {
    ::close(metrics_file_);
    return;
  }
  // The run was refused before it began: the checkpoints' folder, if it is empty, was made for nothing.
  std::error_code ignored;
  if (std::filesystem::remove(checkpoint(), ignored)) std::filesystem::remove(folder_, ignored);
}

bool RunFolder::is_used() const {
  for (const auto& path : {metrics(), findings(), record(), model(), adapter()}) {
    if (std::filesystem::exists(path)) return true;
  }
  return std::filesystem::exists(checkpoint()) && !std::filesystem::is_empty(checkpoint());
}

std::optional<SavedPlace> RunFolder::saved() const {
  const tithe::CheckpointStore store{checkpoint()};
  if (!store.exists()) return std::nullopt;
  const tithe::Checkpoint loaded = store.load();
  return SavedPlace{loaded.state.at("slice"), loaded.state.at("stage").at("step"),
                    loaded.state.at("records")};
}

void RunFolder::begin(const std::optional<SavedPlace>& go_on) {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) fail(folder_, "make the folder", error.value());
  metrics_file_ = ::open(metrics().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (metrics_file_ < 0) fail(metrics(), "open the file", errno);
  if (::flock(metrics_file_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw tithe::FileError{{"tithe train", "a folder for itself", "another process that trains into it",
                            "Wait for it, or choose another --out"},
                           tithe::Location{.file = folder_.string()}};
  }
  // The record goes first: from here on the run is not finished.
  std::filesystem::remove(record());
  if (!go_on) {  // emptied, not removed: the pipeline has opened it by now
    std::filesystem::remove_all(checkpoint());
    std::filesystem::create_directories(checkpoint());
  }
  std::filesystem::remove_all(model());
  std::filesystem::remove_all(adapter());
  const auto [bytes, lines] = front_of(metrics(), go_on ? go_on->records : 0);
  if (go_on && lines < go_on->records) {
    throw tithe::FileError{
        {"tithe train", std::to_string(go_on->records) + " lines, as the checkpoint counts",
         std::to_string(lines), "Put the file back, or begin anew with --force"},
        tithe::Location{.file = metrics().string()}};
  }
  if (::ftruncate(metrics_file_, static_cast<off_t>(bytes)) != 0) fail(metrics(), "shorten the file", errno);
  if (::fsync(metrics_file_) != 0) fail(metrics(), "sync", errno);
  tithe::sync_folder(folder_);
}

void RunFolder::write_findings(const tithe::Ledger& ledger) const {
  std::string text;
  for (const tithe::Stage stage : {tithe::Stage::sft, tithe::Stage::preference}) {
    for (const tithe::Finding& finding : ledger.findings(stage))
      text += tithe::to_json(finding, stage).dump() + '\n';
  }
  tithe::write_durably(findings(), text);
}

void RunFolder::append(const tithe::StepRecord& record, bool durable) {
  const std::string line = tithe::to_json(record).dump() + '\n';
  for (std::string_view rest = line; !rest.empty();) {
    const ssize_t count = ::write(metrics_file_, rest.data(), rest.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(metrics(), "write", errno);
    rest.remove_prefix(static_cast<std::size_t>(count));
  }
  if (durable && ::fdatasync(metrics_file_) != 0) fail(metrics(), "sync", errno);
}

std::vector<tithe::StepRecord> RunFolder::steps() const {
  std::vector<tithe::StepRecord> records;
  std::ifstream file{metrics()};
  for (std::string line; std::getline(file, line);) {
    tithe::StepRecord record;
    const auto json = nlohmann::ordered_json::parse(line);
    for (const auto& [key, value] : json.items()) {
      if (key == "slice") {
        record.slice = value;
      } else if (key == "stage") {
        record.stage = value;
      } else if (key == "step") {
        record.step = value;
      } else {
        // JSON has no number for what is not finite, and says null.
        record.metrics.push_back(
            {key, value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>()});
      }
    }
    records.push_back(std::move(record));
  }
  return records;
}

void RunFolder::finish(const tithe::RecordJson& record) const {
  tithe::write_durably(this->record(), record.dump(2) + '\n');
  std::filesystem::remove_all(checkpoint());
}

MemoryUse memory_use() {
  MemoryUse use;
  std::ifstream file{"/proc/self/status"};
  for (std::string line; std::getline(file, line);) {
    // "VmHWM:     1234 kB"
    const auto read = [&](const char* key, std::optional<std::int64_t>& bytes) {
      if (line.starts_with(key)) bytes = std::stoll(line.substr(line.find(':') + 1)) * 1024;
    };
    read("VmRSS:", use.resident);
    read("VmHWM:", use.peak);
  }
  return use;
}

// 5 is the code for the peak of resident memory (proc(5)).
void reset_memory_peak() { std::ofstream{"/proc/self/clear_refs"} << 5; }

}  // namespace program
