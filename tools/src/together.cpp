// SPDX-License-Identifier: Apache-2.0
#include "together.hpp"

#include <algorithm>
#include <new>

#include "ep_runner.hpp"
#include "routing.hpp"

namespace ringer::tools {

namespace {

enum class Kind : char { none = '0', usage = 'u', environment = 'e', failed = 'f', other = 'o' };

/// What became of a step in one process, as it travels: a letter and a text.
struct Outcome {
  Kind kind = Kind::none;
  std::string text;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const std::function<void()>& step) {
  try {
    step();
    return {};
  } catch (const SharedMark&) {
    throw;  // known to all already
  } catch (const UsageError& e) {
    return {Kind::usage, e.what()};
  } catch (const std::invalid_argument& e) {
    return {Kind::usage, e.what()};
  } catch (const EpFailure& e) {
    return {Kind::failed, e.what()};
  } catch (const BackendError& e) {
    return {Kind::environment, e.what()};
  } catch (const std::bad_alloc&) {
    return {Kind::environment, "out of memory"};
  } catch (const std::system_error& e) {
    return {Kind::environment, e.what()};
  } catch (const std::exception& e) {
    return {Kind::other, e.what()};
  }
}

template <class E>
class Shared : public E, public SharedMark {
 public:
  using E::E;
};

[[noreturn]] void throw_shared(const Outcome& outcome) {
  switch (outcome.kind) {
    case Kind::usage:
      throw Shared<UsageError>(outcome.text);
    case Kind::environment:
      throw Shared<BackendError>(outcome.text);
    case Kind::failed:
      throw Shared<EpFailure>(outcome.text);
    case Kind::none:
    case Kind::other:
      break;
  }
  throw Shared<std::runtime_error>(outcome.text);
}

Outcome outcome_from(const std::string& text) {
  for (const Kind kind : {Kind::none, Kind::usage, Kind::environment, Kind::failed, Kind::other}) {
    if (!text.empty() && text[0] == static_cast<char>(kind)) return {kind, text.substr(1)};
  }
  throw BackendError("a process is at another step of the run");
}

}  // namespace

void together(Exchange* processes, const std::function<void()>& step) {
  if (processes == nullptr) return step();
  const Outcome mine = outcome_of(step);
  std::vector<Outcome> all;
  for (const std::string& text : all_texts(processes, static_cast<char>(mine.kind) + mine.text)) {
    all.push_back(outcome_from(text));
  }
  const auto failed = [](const Outcome& o) { return o.kind != Kind::none; };
  const auto first = std::find_if(all.begin(), all.end(), failed);
  if (first == all.end()) return;
  Outcome shared = *first;
  const bool same =
      std::all_of(all.begin(), all.end(), [&](const Outcome& o) { return o == shared; });
  if (!same) {
    shared.text = "process " + std::to_string(first - all.begin()) + ": " + shared.text;
  }
  throw_shared(shared);
}

void require_same(Exchange* processes, const std::string& text, const std::string& what) {
  const std::vector<std::string> all = all_texts(processes, text);
  for (size_t p = 0; p < all.size(); ++p) {
    if (all[p] == all[0]) continue;
    throw_shared({Kind::usage,
                  "process " + std::to_string(p) + " was given other " + what + " than process 0"});
  }
}

std::vector<std::string> all_texts(Exchange* processes, const std::string& mine) {
  if (processes == nullptr) return {mine};
  std::vector<std::string> all;
  for (const auto& part : processes->all_gather(std::as_bytes(std::span(mine)))) {
    all.emplace_back(reinterpret_cast<const char*>(part.data()), part.size());
  }
  return all;
}

void raise_to_slowest(Exchange* processes, std::vector<double>& us) {
  const std::vector<double> all = all_values<double>(processes, us);
  for (size_t i = 0; i < all.size() && !us.empty(); ++i) {
    us[i % us.size()] = std::max(us[i % us.size()], all[i]);
  }
}

}  // namespace ringer::tools
