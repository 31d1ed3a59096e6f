// SPDX-License-Identifier: Apache-2.0
// Where explored code accesses shared memory, by name, and what can be weakened there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ringer/memory_order.hpp>

namespace ringer::sim {

/// A place in the source; as a default argument, here() is where the call stands.
struct Source {
  static constexpr Source here(const char* file = __builtin_FILE(),
                               uint32_t line = __builtin_LINE(),
                               const char* function = __builtin_FUNCTION()) {
    return {file, line, function};
  }

  const char* file = "";
  uint32_t line = 0;
  const char* function = "";

  std::string text() const;  ///< send_queue.hpp:42 publish
};

/// One access weakened, or one guard off.
struct Mutation {
  enum class Kind : uint8_t {
    no_acquire,  ///< the order without its acquire
    no_release,  ///< the order without its release
    narrow,      ///< one scope less
    drop,        ///< a fence that is not there
    guard_off,   ///< the condition does not hold
  };
  Kind kind = Kind::drop;
  std::string file;  ///< without its path; of an access
  uint32_t line = 0;
  std::string guard;  ///< of a guard
  std::string name;   ///< what it is called

  bool at(const Source& source) const;
  /// The access as it is under this mutation.
  void weaken(const Source& source, Scope& scope, Order& order) const;
  bool drops(const Source& source) const { return kind == Kind::drop && at(source); }
};

/// Gathers the accesses and guards that explored code has come by; names their mutations.
class SiteList {
 public:
  enum class Access : uint8_t { load, store, update, fence };
  void saw(const Source& source, Access access, Scope scope, Order order);
  void saw_guard(std::string_view name);
  void add(const SiteList& other);
  /// All that can be weakened, sorted by name. A name is file.function.access[number].mutation, the
  /// number counting accesses of that kind in the function from the second on.
  std::vector<Mutation> mutations() const;

 private:
  struct Site {
    std::string file;
    std::string function;
    uint32_t line;
    Access access;
    Scope scope;    // one line of a template may stand for several: the widest
    bool acquires;  // in any of them
    bool releases;
  };
  void add(const Site& site);

  std::vector<Site> sites_;
  std::vector<std::string> guards_;
};

}  // namespace ringer::sim
