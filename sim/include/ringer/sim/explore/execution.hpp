// SPDX-License-Identifier: Apache-2.0
// A few actors between two shared accesses each: which moves there are, and what one move does.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>
#include <ringer/sim/explore/mutation.hpp>
#include <ringer/sim/fiber.hpp>

namespace ringer::sim {

class SimPlatform;

/// One thread of an explored program. Between two accesses its body owns nothing: a state is saved
/// and left as plain bytes. It depends on nothing but what it reads through its platform, and
/// writes nothing but its stack and the program's memory. Whoever waits does so by wait_until: a
/// loop of loads is a livelock. A wait's predicate is asked more often than it is answered: it only
/// loads, and what it writes to the stack it writes each time that it is asked.
struct ActorSpec {
  std::string name;
  Place place;
  std::function<void(SimPlatform)> body;
};

struct Program {
  std::vector<ActorSpec> actors;
  /// What all actors share, with what they leave there for `check`; plain data.
  std::byte* memory = nullptr;
  size_t memory_bytes = 0;
  /// Puts `memory` into its first state.
  std::function<void()> reset;
  /// Looks at `memory` when all actors have ended: what is wrong, or nothing.
  std::function<std::string()> check;
  uint32_t max_locations = 32;   ///< shared words
  bool scopes_required = false;  ///< see MemoryModel::require_scopes()
  uint64_t max_steps = 1000;     ///< of an execution; one that takes more is a livelock
  bool may_stop = false;         ///< stop words and queue errors may be set: waits look at them
  /// So many of the first actors differ in nothing but their numbers. Each begins by a
  /// read-modify-write, all of the same word; a search follows only executions in which they make
  /// those in the order of their numbers. An actor that begins otherwise is a std::logic_error.
  uint32_t alike = 0;
  /// Names of memory, for reports.
  struct Name {
    const void* at;
    size_t bytes;
    std::string text;
  };
  std::vector<Name> names;
  const Mutation* mutation = nullptr;  ///< what is weakened
  SiteList* sites = nullptr;           ///< gathers what the actors come by
};

/// A program that owns what it runs on.
class Scenario {
 public:
  virtual ~Scenario() = default;
  Program& program() { return program_; }

 protected:
  template <class World>
  void run_on(World& world) {
    static_assert(std::is_trivially_copyable_v<World>, "it is saved and compared as bytes");
    program_.memory = reinterpret_cast<std::byte*>(&world);
    program_.memory_bytes = sizeof(world);
  }

  Program program_;
};

/// One step that can be taken: an actor's next access and which of its outcomes, with all that he
/// stores after it. Outcome 0 takes the newest store. Nobody needs to move before a store: with it,
/// loads may still return older ones, and other stores slip in before it.
struct Move {
  /// The actor leaves the stores that are there and waits for a newer one (see read_moves()).
  static constexpr uint32_t kDefer = ~uint32_t{0};
  /// Of a wait: what it waits for has come and gone before it looked. It has seen the newest
  /// stores.
  static constexpr uint32_t kMiss = kDefer - 1;

  uint32_t actor;
  uint32_t outcome;
};

class Execution {
 public:
  /// `program` must outlive it, and has at most MemoryModel::kMaxActors.
  explicit Execution(const Program& program);
  ~Execution();
  Execution(const Execution&) = delete;
  Execution& operator=(const Execution&) = delete;

  /// Back to the beginning.
  void restart();
  /// What can be done now; whoever moved last comes first, the newest store before older ones.
  /// Empty at the end: all actors have ended, an oracle or a race has failed, or nobody can move.
  const std::vector<Move>& moves();
  /// The moves of one actor that are enough to come to every end there is: he reads a store that is
  /// there, at once, since it makes no difference to anybody when he does, or he defers, and reads
  /// one that is still to come. There is a sense in it only where others store, as assume() has it.
  /// Empty also where who has deferred waits in vain: dead_end().
  const std::vector<Move>& read_moves(bool oldest_first = false);
  bool dead_end() const { return dead_end_; }
  bool anybody_deferred() const;
  /// From now on nobody is expected to access what nobody has accessed in any execution so far. Who
  /// is about to do so all the same ends as_assumed(): what can follow has been forgotten.
  void assume() { memory_.assume(); }
  bool as_assumed() const { return memory_.as_assumed(); }
  void take(const Move& move);
  /// What is wrong at the end; empty if nothing is. Runs the program's check.
  std::string verdict();

  uint32_t last_actor() const { return last_; }
  uint64_t steps() const { return steps_; }
  /// A state, as far as it counts for what can follow. Only where Fiber::savable().
  struct Identity {
    /// Digest of the stacks, of who has deferred what, and of what last stores have left.
    uint64_t place = 0;
    MemoryModel::Summary memory;

    /// Equal for states from which the same can follow.
    uint64_t digest() const { return mix(memory.digest(), place); }
  };
  /// Forgets stores that nobody can see any more. Only after will_identify().
  void identify(Identity& identity);
  /// Before the first restart(): what calls leave on the stacks is wiped off from now on, as it
  /// would tell states apart that are the same.
  void will_identify() { wiping_ = true; }
  /// At one place: whether whatever can follow upon `other` can follow upon a state with the memory
  /// `one`.
  bool covers(std::span<const uint32_t> one, const Identity& other) const {
    return memory_.covers(one, other.memory.words);
  }
  /// Of the moves taken, what they read and what they wrote: the same run has the same hash.
  uint64_t run_hash() const { return run_hash_; }
  /// From now on each access is told to `trace`, a line each.
  void trace_to(std::vector<std::string>* trace) { trace_ = trace; }
  /// A line of its own in the trace.
  void remark(const std::string& text) {
    if (trace_ != nullptr) trace_->push_back(text);
  }

  struct State;
  void save(State& state) const;
  void restore(const State& state);
  /// As restore(), for the last time: it leaves in `state` what is no state, but to be saved to.
  void take_back(State& state);

 private:
  friend class SimPlatform;

  using Look = bool (*)(void* context);
  struct Request {
    enum class Kind : uint8_t { load, store, update, await, fence, write_data, read_data };
    Kind kind = Kind::load;
    Scope scope = Scope::sys;
    Order order = Order::relaxed;
    void* at = nullptr;
    uint32_t location = 0;  // of `at`
    Update update;          // or a store's bytes and operand, or as operand the bytes of plain data
    Source source;
    // await
    const char* site = nullptr;
    Look look = nullptr;
    void* context = nullptr;

    uint64_t digest() const;
  };
  static constexpr uint32_t kMaxWatched = 8;
  enum class Parked : uint8_t {
    no,
    blocked,   // what it awaits is not there
    deferred,  // it wants a store that is not there
  };
  // All that an actor has done and seen, and what it does next.
  struct Actor {
    Request next;
    bool ended = false;
    bool begun = false;  // has made its first access
    Parked parked = Parked::no;
    uint32_t parked_at = 0;  // stores made by then
    uint64_t result = 0;
    // Of a wait, when its outcomes were listed last, in stores made; for stores younger than what;
    // and which ones there were.
    static constexpr uint32_t kNever = ~uint32_t{0};
    static constexpr uint32_t kListed = 63;  // outcomes; the last bit is kMiss
    uint32_t listed_at = kNever;
    uint32_t listed_age = 0;
    uint64_t listed = 0;
    // Of the first outcomes, which store each load of the look takes, a byte each; kUnknown if they
    // are too many.
    static constexpr uint64_t kUnknown = ~uint64_t{0};
    std::array<uint64_t, 4> ways{};
    uint32_t watched = 0;  // locations that its next access reads
    uint32_t watches[kMaxWatched] = {};
    uint64_t stack = 0;  // digest
    bool stack_changed = true;
    uint64_t run = 0;  // of all times that anything has run on the stack, the last
  };
  // One way through the loads of a look.
  struct Glance {
    Request next;
    static constexpr size_t kMaxLoads = 16;
    std::array<uint32_t, kMaxLoads> choices;
    std::array<uint32_t, kMaxLoads> options;
    size_t chosen = 0;      // loads that are told what to take; the others take the newest store
    size_t at = 0;          // loads made
    uint32_t youngest = 0;  // age of the youngest store read
    std::optional<MemoryModel::Eyes> eyes;  // before a second load
    bool certain = false;                   // it is made, not only tried
  };

  // On an actor's stack.
  uint64_t request(uint32_t actor, Request::Kind kind, Scope scope, Order order, const void* at,
                   const Update& update, const Source& source);
  void await(uint32_t actor, Look look, void* context, const char* site, const Source& source);
  // What an access, and a step of a program, leave below them on a stack.
  static constexpr size_t kAccessBytes = 1024;
  static constexpr size_t kStepBytes = 4096;
  template <size_t kBytes>
  static void wipe_stack();
  void fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }
  // Somebody wants to know, or to change, what the program does.
  bool interfered() const { return program_.sites != nullptr || program_.mutation != nullptr; }
  bool guard(const char* name, bool holds) const {
    return interfered() ? note_guard(name, holds) : holds;
  }
  bool note_guard(std::string_view name, bool holds) const;

  void restore_rest(const State& state);
  void run_to_choice(uint32_t actor);
  bool perform_at_once(uint32_t actor);
  void stack_ran(uint32_t actor);
  uint64_t digest_of_stack(uint32_t actor);
  void prepare(Request& request);
  void list_outcomes(uint32_t actor, uint32_t age, std::vector<Move>& moves);
  void list_looks(uint32_t actor, uint32_t age, std::vector<Move>& moves);
  bool relist_looks(uint32_t actor, uint32_t age, std::vector<Move>& moves) const;
  bool glance(uint32_t actor);
  bool next_glance();
  uint64_t packed_choices() const;
  bool know_way(const Actor& actor, uint32_t outcome);
  bool find_way(uint32_t actor, uint32_t outcome);
  void look_away(uint32_t actor);
  void see_last(uint32_t actor);
  uint64_t load_at_glance(uint32_t actor, Scope scope, Order order, const void* at, uint8_t bytes,
                          const Source& source);
  bool list_pending_store();
  void list_reads(uint32_t actor, std::vector<Move>& moves);
  bool is_held_back(uint32_t actor) const {
    return actor != 0 && actor < program_.alike && !actors_[actor - 1].begun;
  }
  void arrive(uint32_t actor);
  void require_alike(uint32_t actor) const;
  bool others_store(uint32_t actor) const;
  bool any_news(const Actor& actor, uint32_t since) const;
  // Nobody has stored since to what the actor looks at: its outcomes are as they were listed.
  bool as_listed(const Actor& actor) const {
    return actor.listed_at != Actor::kNever && !any_news(actor, actor.listed_at);
  }
  void watch(Actor& actor, uint32_t location);
  void perform(uint32_t actor, uint32_t outcome);
  void look_for_race();
  void perform_look(uint32_t actor, uint32_t outcome);
  void stored(const Request& request);
  void tell(uint32_t actor, const Request& request, uint32_t outcome, uint64_t told);
  std::string deadlock() const;
  std::string livelock() const;
  void trace(uint32_t actor, const std::string& what, const Source& source);
  void trace_plain(uint32_t actor);
  void trace_access(uint32_t actor, const Request& request, uint32_t outcome, uint64_t told);

  const Program& program_;
  MemoryModel memory_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Actor> actors_;
  uint32_t last_ = 0;
  uint64_t steps_ = 0;
  uint64_t run_hash_ = 0;
  std::string failure_;
  std::vector<Move> moves_;
  std::vector<std::vector<Move>> reads_;  // by actor
  bool dead_end_ = false;
  uint64_t runs_ = 0;
  Glance glance_;
  bool glancing_ = false;
  bool wiping_ = false;
  std::optional<uint64_t> program_digest_;  // until anybody moves
  std::vector<std::string>* trace_ = nullptr;
};

/// An execution between two moves. Only where Fiber::savable().
struct Execution::State {
  MemoryModel::State memory;
  std::vector<Fiber::Image> fibers;
  std::vector<Actor> actors;
  std::vector<std::byte> program_memory;
  uint32_t last = 0;
  uint64_t steps = 0;
  uint64_t run_hash = 0;
};

}  // namespace ringer::sim
