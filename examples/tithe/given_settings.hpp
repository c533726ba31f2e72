// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#pragma once

#include <CLI/App.hpp>
#include <cstddef>
#include <string>
#include <vector>

#include "presets.hpp"

namespace program {

/// A setting that somebody gave, and who: "the command line", "study.toml:3" or "preset paper".
struct GivenSetting {
  std::string name;
  std::vector<std::string> values;
  std::string source;
};

/// The settings of a command that are not their defaults' business: flags first, then a file for what they do not say,
/// then a preset for what neither does.
class GivenSettings {
 public:
  /// Those of the command line, which are parsed already.
  explicit GivenSettings(CLI::App& command);

  /// A TOML file with the flags' names. Throws UsageError for a name that is none, and for a value that its flag refuses.
  void read_file(const std::string& path);
  /// A preset, but for settings that `leave_out` names.
  void take(const Preset& preset, const std::vector<std::string>& leave_out);
  /// Sets everything once more in the order in which flags are defined: a stage's own setting counts before one for both,
  /// wherever each was given.
  void settle() const;

  /// Whether anybody gave a setting.
  [[nodiscard]] bool has(const std::string& name) const;
  /// Whether it comes from a preset.
  [[nodiscard]] bool is_of_preset(const std::string& name) const;
  /// In the order of --help.
  [[nodiscard]] std::vector<GivenSetting> list() const;
  /// As a settings' file, each line with its source.
  [[nodiscard]] std::string as_toml() const;

 private:
  void give(CLI::Option* option, const std::vector<std::string>& values, const std::string& source,
            const std::string& where);

  CLI::App* command_;
  std::vector<GivenSetting> given_;
};

}  // namespace program
