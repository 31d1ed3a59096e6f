// SPDX-License-Identifier: Apache-2.0
#include "settings.hpp"

#include <cctype>
#include <charconv>
#include <cstdlib>

#include <CLI/CLI.hpp>

#include "routing.hpp"

namespace ringer::tools {

void Setting::reject(const std::string& reason) const { throw UsageError(origin_ + ": " + reason); }

uint64_t Setting::number(uint64_t min, uint64_t max) const {
  uint64_t value = 0;
  const char* end = text_.data() + text_.size();
  const auto [rest, error] = std::from_chars(text_.data(), end, value);
  if (error != std::errc{} || rest != end || value < min || value > max) {
    const std::string range = max == ~uint64_t{0}
                                  ? "of at least " + std::to_string(min)
                                  : "from " + std::to_string(min) + " to " + std::to_string(max);
    reject("'" + text_ + "' is not a whole number " + range);
  }
  return value;
}

bool Setting::boolean() const {
  return one_of<bool>({{"1", true},
                       {"0", false},
                       {"true", true},
                       {"false", false},
                       {"yes", true},
                       {"no", false},
                       {"on", true},
                       {"off", false}});
}

std::optional<OutputFile> open_output(const Setting& file) {
  if (file.text().empty() || file.text() == "-") return std::nullopt;
  try {
    return OutputFile(file.text());
  } catch (const UsageError& e) {
    file.reject(e.what());
  }
}

Settings::Settings(CLI::App& parent, const std::string& name, const std::string& about,
                   std::string environment_prefix)
    : app_(parent.add_subcommand(name, about)), prefix_(std::move(environment_prefix)) {}

void Settings::footer(const std::string& text) { app_->footer(text); }

void Settings::allow_extras() { app_->allow_extras(); }

bool Settings::chosen() const { return app_->parsed(); }

std::vector<std::string> Settings::extras() const { return app_->remaining(); }

std::string Settings::variable(const std::string& name) const {
  std::string text = prefix_;
  for (const char c : name) {
    text += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return text;
}

void Settings::add(const std::string& name, const std::string& value_name,
                   const std::string& fallback, const std::string& help, const std::string& group,
                   const std::string& shown, const std::string& letter) {
  const std::string& stands = shown.empty() ? fallback : shown;
  const std::string text =
      help + (stands.empty() ? "" : " [" + stands + "]") + "\n" + variable(name);
  CLI::Option* option = app_->add_option(letter + (letter.empty() ? "--" : ",--") + name, text);
  option->type_name(value_name)->group(group)->expected(1);
  entries_[name] = {option, fallback, false};
}

void Settings::add_flag(const std::string& name, bool fallback, const std::string& help,
                        const std::string& group, bool negatable, const std::string& letter) {
  const std::string text = help + (fallback ? " [on]" : " [off]") + "\n" + variable(name);
  const std::string names =
      letter + (letter.empty() ? "--" : ",--") + name + (negatable ? ",!--no-" + name : "");
  CLI::Option* option = app_->add_flag(names, text);
  option->group(group)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  entries_[name] = {option, fallback ? "true" : "false", true};
}

std::string Settings::text(const std::string& except) const {
  std::string all;
  for (const auto& [name, entry] : entries_) {
    if (name != except) all += name + "=" + get(name).text() + "\n";
  }
  return all;
}

Setting Settings::get(const std::string& name) const {
  const Entry& entry = entries_.at(name);
  const std::string option = "--" + name;
  if (entry.option->count() != 0) {
    const std::string& text = entry.option->results().back();
    return {text, option, true};
  }
  const std::string from = variable(name);
  const char* value = std::getenv(from.c_str());
  if (value != nullptr && *value != '\0') return {value, from, true};
  return {entry.fallback, option, false};
}

}  // namespace ringer::tools
