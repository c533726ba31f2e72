// Copyright the tithe authors. Distributed under the Boost Software License, Version 1.0.
#include "given_settings.hpp"

#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <fstream>
#include <set>

#include "session.hpp"

namespace program {
namespace {

/// The line of a file that gives a key, for messages; CLI11's reader does not say.
std::size_t line_of(const std::string& path, const std::string& key) {
  std::ifstream file{path};
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    const std::size_t begin = line.find_first_not_of(" \t\"");
    if (begin != line.npos && line.compare(begin, key.size(), key) == 0) return number;
  }
  return 0;
}

std::string name_of(const CLI::Option& option) { return option.get_single_name(); }

std::string toml_of(const std::string& value) {
  double number = 0;
  if (value == "true" || value == "false" || CLI::detail::lexical_cast(value, number)) return value;
  std::string quoted = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

GivenSettings::GivenSettings(CLI::App& command) : command_{&command} {
  for (const CLI::Option* option : command.get_options()) {
    if (option->count() == 0 || name_of(*option) == "help") continue;
    given_.push_back({name_of(*option), option->results(), "the command line"});
  }
}

bool GivenSettings::has(const std::string& name) const {
  return std::ranges::find(given_, name, &GivenSetting::name) != given_.end();
}

bool GivenSettings::is_of_preset(const std::string& name) const {
  const auto at = std::ranges::find(given_, name, &GivenSetting::name);
  return at != given_.end() && at->source.starts_with("preset ");
}

void GivenSettings::give(CLI::Option* option, const std::vector<std::string>& values,
                         const std::string& source, const std::string& where) {
  try {
    option->add_result(values);
    option->run_callback();
  } catch (const CLI::ParseError& error) {
    throw UsageError{where + error.what()};
  }
  given_.push_back({name_of(*option), values, source});
}

void GivenSettings::read_file(const std::string& path) {
  std::ifstream file{path};
  if (!file) throw UsageError{"--config: " + path + " cannot be opened"};
  std::set<CLI::Option*> in_file;
  for (const CLI::ConfigItem& item : CLI::ConfigTOML{}.from_config(file)) {
    if (item.name == "++" || item.name == "--") continue;  // where a section begins and ends
    const std::string place = path + ':' + std::to_string(line_of(path, item.name));
    const bool ours =
        item.parents.empty() || (item.parents.size() == 1 && item.parents.front() == command_->get_name());
    std::string name = item.name;
    for (char& c : name) c = c == '_' ? '-' : c;
    CLI::Option* option = ours ? command_->get_option_no_throw("--" + name) : nullptr;
    if (option == nullptr || name == "config" || name == "help") {
      throw UsageError{place + ": " + item.fullname() + " is no setting of tithe " + command_->get_name()};
    }
    if (!in_file.insert(option).second) throw UsageError{place + ": " + item.name + " stands here twice"};
    if (option->count() != 0) continue;
    std::vector<std::string> values = item.inputs;
    if (option->get_expected_max() == 0) {
      try {
        values = {option->get_flag_value(name, CLI::ConfigTOML{}.to_flag(item))};
      } catch (const CLI::ParseError& error) {
        throw UsageError{place + ": " + error.what()};
      }
    }
    give(option, values, place, place + ": ");
  }
}

void GivenSettings::take(const Preset& preset, const std::vector<std::string>& leave_out) {
  const std::string source = "preset " + std::string{preset.name};
  for (const auto& [name, value] : preset.settings) {
    CLI::Option* option = command_->get_option("--" + name);
    if (option->count() != 0 || std::ranges::find(leave_out, name) != leave_out.end()) continue;
    give(option, {value}, source, source + ": ");
  }
}

void GivenSettings::settle() const {
  for (CLI::Option* option : command_->get_options()) {
    if (option->count() != 0) option->run_callback();
  }
}

std::vector<GivenSetting> GivenSettings::list() const {
  std::vector<GivenSetting> sorted;
  for (const CLI::Option* option : command_->get_options()) {
    const auto at = std::ranges::find(given_, name_of(*option), &GivenSetting::name);
    if (at != given_.end()) sorted.push_back(*at);
  }
  return sorted;
}

std::string GivenSettings::as_toml() const {
  std::vector<std::pair<std::string, std::string>> lines;  // and their sources
  std::size_t width = 0;
  for (const GivenSetting& setting : list()) {
    if (setting.name == "config" || setting.name == "print-settings" || setting.name == "preset") continue;
    std::string line = setting.name + " = ";
    if (setting.values.size() != 1) line += '[';
    for (std::size_t i = 0; i < setting.values.size(); ++i) {
      line += (i == 0 ? "" : ", ") + toml_of(setting.values[i]);
    }
    if (setting.values.size() != 1) line += ']';
    width = std::max(width, line.size());
    lines.emplace_back(std::move(line), setting.source);
  }
  std::string text;
  for (const auto& [line, source] : lines) {
    text += line + std::string(width - line.size(), ' ') + "  # " + source + '\n';
  }
  return text + "# Everything else is its default; record.json of a run holds all settings.\n";
}

}  // namespace program
