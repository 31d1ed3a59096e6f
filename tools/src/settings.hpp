// SPDX-License-Identifier: Apache-2.0
// Options of a subcommand that can also come from the environment. The command line wins; whoever
// gave a bad value is named. Commands see nothing else of CLI11, whose headers compile for seconds.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "output_file.hpp"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace ringer::tools {

/// The text of one option and where it comes from.
class Setting {
 public:
  Setting(std::string text, std::string origin, bool given)
      : text_(std::move(text)), origin_(std::move(origin)), given_(given) {}

  const std::string& text() const { return text_; }
  bool given() const { return given_; }

  /// Throws UsageError "<option or variable>: <reason>".
  [[noreturn]] void reject(const std::string& reason) const;

  uint64_t number(uint64_t min, uint64_t max) const;
  uint32_t number32(uint32_t min, uint32_t max) const {
    return static_cast<uint32_t>(number(min, max));
  }
  bool boolean() const;
  template <class T>
  T one_of(std::initializer_list<std::pair<const char*, T>> choices) const {
    std::string names;
    for (const auto& [name, value] : choices) {
      if (text_ == name) return value;
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    reject("'" + text_ + "' is none of " + names);
  }

 private:
  std::string text_;
  std::string origin_;
  bool given_;
};

/// The file that a result goes to as well, as the option says; none for stdout ("-") or no name.
/// Throws UsageError, naming the option, if it cannot be written.
std::optional<OutputFile> open_output(const Setting& file);

/// A subcommand: declares its options and, once the command line is parsed, finds each one's value:
/// command line, else environment (an empty variable counts as unset), else default.
class Settings {
 public:
  /// Adds the subcommand `name` to `parent`, which outlives it.
  Settings(CLI::App& parent, const std::string& name, const std::string& about,
           std::string environment_prefix);

  /// What stands below the options in its help.
  void footer(const std::string& text);
  /// Words that are no options of it are kept for `extras` instead of refused.
  void allow_extras();
  /// Whether the command line names the subcommand.
  bool chosen() const;
  std::vector<std::string> extras() const;

  /// An option `--name VALUE`. `fallback` is its default; help shows `shown` instead if not empty.
  /// `letter`: also `-x VALUE`.
  void add(const std::string& name, const std::string& value_name, const std::string& fallback,
           const std::string& help, const std::string& group, const std::string& shown = "",
           const std::string& letter = "");
  /// A flag `--name`; with `negatable` also `--no-name`.
  void add_flag(const std::string& name, bool fallback, const std::string& help,
                const std::string& group, bool negatable = false, const std::string& letter = "");

  Setting get(const std::string& name) const;
  /// All values but that of `except`, as text.
  std::string text(const std::string& except) const;

 private:
  struct Entry {
    CLI::Option* option;
    std::string fallback;
    bool is_flag;
  };
  std::string variable(const std::string& name) const;

  CLI::App* app_;
  std::string prefix_;
  std::map<std::string, Entry> entries_;
};

}  // namespace ringer::tools
