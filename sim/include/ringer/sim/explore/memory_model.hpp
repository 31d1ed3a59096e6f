// SPDX-License-Identifier: Apache-2.0
// Shared memory as GPU threads, host and NIC see it: which store a load may return, and what an
// actor has seen. An operational form of the scoped release/acquire model of PTX 7.5 and C++20:
// Each location has one order of its stores; a store may slip in anywhere behind what its writer
// has seen of that location, and a load may return anything from there on. A release at a scope
// publishes what its actor has seen to those in the scope; an acquire whose scope includes the
// writer takes it over, and what was taken over is published in turn. Read-modify-writes follow
// directly upon what they have read and carry its release on. Not modelled: load buffering and
// values out of thin air (a load never returns a store that is still to come), fences of sequential
// consistency, accesses of mixed sizes.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <ringer/memory_order.hpp>
#include <ringer/sim/explore/memory_use.hpp>
#include <ringer/sim/explore/tuple_table.hpp>
#include <ringer/sim/explore/view_pool.hpp>

namespace ringer::sim {

/// Where an actor runs: who shares a scope with it. A NIC or a host thread shares no block and no
/// GPU with anybody: give it a number of its own.
struct Place {
  uint32_t gpu = 0;
  uint32_t cta = 0;  ///< block, counted over all GPUs
};

/// A read-modify-write. One that stores nothing (a failed compare_exchange) is a relaxed load.
struct Update {
  enum class Kind : uint8_t { add, max, exchange, compare_exchange };
  uint8_t bytes = 8;  ///< of the word
  Kind kind = Kind::add;
  uint64_t operand = 0;
  uint64_t expected = 0;  ///< compare_exchange

  bool stores(uint64_t before) const {
    return kind != Kind::compare_exchange || before == expected;
  }
  uint64_t after(uint64_t before) const;
};

/// What can be done is asked for as a number of choices; 0 is the least surprising one: the newest
/// store, the end of the order.
class MemoryModel {
 public:
  struct ActorFacts {
    std::string name;
    Place place;
  };
  /// A word holds for each actor whether it has read a cell, and one bit more.
  static constexpr uint32_t kMaxActors = 62;
  /// A word has been stored to more often than ranks can tell.
  struct TooManyStores : std::length_error {
    using std::length_error::length_error;
  };
  /// At most `max_locations` different words; std::length_error for one more, or for more than
  /// kMaxActors.
  MemoryModel(const std::vector<ActorFacts>& actors, uint32_t max_locations);

  /// From now on, who reads what another one has stored is a race unless the scopes of both reach.
  void require_scopes() { scopes_required_ = true; }

  /// What reports call the memory at `at`.
  void name(const void* at, size_t bytes, const std::string& text);
  std::string name_of(const void* at) const;

  /// Forgets all stores and views; names and numbers of locations stay.
  void reset();
  const void* address_of(uint32_t location) const {
    return reinterpret_cast<const void*>(static_cast<uintptr_t>(location_at_.at(location)));
  }
  /// The number of the word of `bytes` at `at`. Before all stores, its value is what stands there.
  uint32_t location(const void* at, uint32_t bytes);

  uint32_t load_choices(uint32_t actor, uint32_t location) const;
  uint64_t load(uint32_t actor, uint32_t location, uint32_t choice, Scope scope, Order order);
  uint32_t store_choices(uint32_t actor, uint32_t location) const;
  /// Errors, also of updates: TooManyStores.
  void store(uint32_t actor, uint32_t location, uint32_t choice, uint64_t value, Scope scope,
             Order order);
  uint32_t update_choices(uint32_t actor, uint32_t location, const Update& update) const;
  /// Returns the value before.
  uint64_t update(uint32_t actor, uint32_t location, uint32_t choice, const Update& update,
                  Scope scope, Order order);
  void fence(uint32_t actor, Scope scope, Order order);

  /// Plain accesses in 16-byte cells. A conflicting pair of which neither happens before the other
  /// is a race: `race()` then says who and where.
  void write_data(uint32_t actor, const void* at, uint64_t bytes);
  void read_data(uint32_t actor, const void* at, uint64_t bytes);
  const std::string& race() const { return race_; }
  void forgive() { race_.clear(); }

  /// Stores are counted as they are made, what was there before as one: the age of one is the count
  /// then. That of the one which a load or an update with this choice would read.
  uint32_t stores_made() const { return now_.stores_made; }
  uint32_t age_of_load(uint32_t location, uint32_t choice) const;
  uint64_t value_of_load(uint32_t location, uint32_t choice) const;
  uint32_t age_of_update(uint32_t actor, uint32_t location, uint32_t choice,
                         const Update& update) const;
  /// Age of the youngest store to the location that has ever been made.
  uint32_t youngest(uint32_t location) const { return now_.locations[location].youngest; }
  /// A digest of which stores to the location are younger than `age`; 0 if none is.
  uint64_t younger_than(uint32_t location, uint32_t age) const;

  /// What `actor` has seen, to take back loads that were only tried.
  struct Eyes;
  Eyes hold(uint32_t actor);
  void put_back(uint32_t actor, const Eyes& eyes);
  /// `actor` has ended: nobody looks through its eyes any more.
  void retire(uint32_t actor) {
    changed();
    now_.actors[actor].retired = true;
  }

  /// What the last store in the location's order has left there.
  uint64_t final_value(uint32_t location) const { return stores_of(location).back().value; }

  /// Somebody is about to access the location; that counts as having done so.
  void will_load(uint32_t actor, uint32_t location, Scope scope) {
    note(use_.words[location].loads, bit_of(actor));
    note(use_.words[location].reads[static_cast<uint32_t>(scope)], bit_of(actor));
  }
  void will_store(uint32_t actor, uint32_t location) {
    note(use_.words[location].stores, bit_of(actor));
  }
  /// One that stores nothing now may store another time.
  void will_update(uint32_t actor, uint32_t location, const Update& update, Scope scope) {
    will_store(actor, location);
    note(use_.words[location].reads[static_cast<uint32_t>(scope)], bit_of(actor));
    if (update.kind == Update::Kind::compare_exchange) will_load(actor, location, scope);
  }
  /// From now on nobody is expected to access what nobody has accessed since the model was made.
  /// When somebody has done so as_assumed() is false: digests since then may have been equal for
  /// memories that are not, and stores may be gone that somebody would still read.
  void assume();
  bool as_assumed() const { return !use_grown_; }
  const MemoryUse& assumed() const { return assumed_; }

  /// What may be told from two summaries at a glance.
  struct Extent {
    using Fields = int8_t __attribute__((vector_size(16)));
    static constexpr uint32_t kFields = 16;
    // How much is not known: a memory that covers another one has no less in any field. Locations
    // from the first field on, actors from the last one down; what meets in a field is added up.
    Fields fields{};
    // By location, four bits each for the first sixteen, what the last two stores are; 0 if there
    // is one. A memory that covers one with two or more has the same two.
    uint64_t last_two = 0;

    void add(uint32_t field, uint32_t much) {
      const auto before = static_cast<uint8_t>(fields[field % kFields]);
      fields[field % kFields] = static_cast<int8_t>(std::min(before + much, 127u));
    }
    bool may_cover(const Extent& other) const {
      const Fields less = fields < other.fields;
      uint64_t halves[2];
      std::memcpy(halves, &less, sizeof(halves));
      constexpr uint64_t kOnes = 0x1111111111111111;
      const uint64_t twos = other.last_two | other.last_two >> 1;
      const uint64_t any = (twos | twos >> 2) & kOnes;
      return (halves[0] | halves[1] | ((last_two ^ other.last_two) & any * 15)) == 0;
    }
  };
  /// All that counts for what can follow, as long as what was assumed holds.
  struct Summary;
  void summarise(Summary& summary);
  /// Whether, where all actors stand at the same places and each word's last store has left the
  /// same, whatever can follow upon `other` can follow upon `one`: nobody knows more there. Words
  /// of summaries.
  bool covers(std::span<const uint32_t> one, std::span<const uint32_t> other) const;

  /// Of states saved since the last assume().
  struct State;
  void save(State& state) const;
  void restore(const State& state);
  /// As restore(), for the last time: it leaves in `state` what is no state, but to be saved to.
  void take_back(State& state);

 private:
  static constexpr uint32_t kLevels = 3;  // of kinship: same block, same GPU, neither
  using ViewId = ViewPool::Id;

  struct Store {
    uint64_t value = 0;
    uint32_t age = 0;                       // stores made by then, itself included
    std::array<ViewId, kLevels> message{};  // released to readers of that kinship
    uint16_t writer = 0;
    Scope scope = Scope::sys;
    bool follows_read = false;  // of a read-modify-write: nothing may come in between
  };
  struct Location {
    uint32_t first = 0;  // of its stores, in the order of their ranks
    uint32_t stores = 0;
    uint32_t youngest = 0;  // age
  };
  struct Actor {
    bool retired = false;
    ViewId view = 0;
    std::array<ViewId, kLevels> released{};  // by the last release fence that reaches so far
    std::array<ViewId, kLevels> pending{};   // read relaxed: an acquire fence that reaches takes it
  };

  uint32_t kinship(uint32_t a, uint32_t b) const { return kinship_[a * actor_names_.size() + b]; }
  static bool reaches(Scope scope, uint32_t kinship) {
    return static_cast<uint32_t>(scope) >= kinship;
  }
  static bool acquires(Order order) { return order == Order::acquire || order == Order::acq_rel; }
  static bool releases(Order order) { return order == Order::release || order == Order::acq_rel; }

  std::span<const Store> stores_of(uint32_t location) const {
    const Location& l = now_.locations[location];
    return {now_.stores.data() + l.first, l.stores};
  }
  // Of the oldest store there is; older ones can be seen by nobody.
  uint32_t first_rank(uint32_t location) const {
    const Ranks& block = now_.first_ranks[location / Ranks::kLanes];
    return static_cast<uint32_t>(block.lanes[location % Ranks::kLanes]);
  }
  uint32_t seen(uint32_t actor, uint32_t location) const {
    const uint32_t rank = now_.views.rank(now_.actors[actor].view, location);
    const uint32_t first = first_rank(location);
    return rank < first ? 0 : rank - first;
  }
  void changed() { now_.version = ++versions_; }
  void note(uint64_t& actors, uint64_t actor) {
    use_grown_ |= (actors & actor) == 0;
    actors |= actor;
  }
  static uint64_t bit_of(uint32_t actor) { return uint64_t{1} << actor; }
  void check_alone(const void* at, uint32_t bytes);

  void take(uint32_t actor, uint32_t location, uint32_t index, Scope scope, bool acquire);
  void see(uint32_t actor, uint32_t location, uint32_t index);
  void add_store(uint32_t location, uint32_t index, const Store& store);
  void insert(uint32_t actor, uint32_t location, uint32_t index, uint64_t value, Scope scope,
              bool release, const Store* read);
  uint32_t nth_candidate(uint32_t actor, uint32_t location, const Update& update,
                         uint32_t choice) const;

  void hold_locations(uint32_t locations);

  // memory_data.cpp
  // A fact is that a cell was written last, or has been read since by an actor: so many bits of a
  // word for each cell.
  struct Facts {
    uint32_t word;
    uint32_t shift;
  };
  uint32_t kinds_of_facts() const { return 1 + static_cast<uint32_t>(actor_names_.size()); }
  Facts facts_of(uint32_t cell) const {
    return {cell / cells_per_word_, cell % cells_per_word_ * kinds_of_facts()};
  }
  void hold_cells(uint32_t cells);
  template <class F>
  void for_each_cell(const void* at, uint64_t bytes, F&& f);
  void report(uint32_t actor, uint32_t other, uint32_t cell, const char* what);

  // memory_summary.cpp
  // Parts of summaries, by their numbers. What the tuples are: of a view, by location a byte, how
  // far beyond the oldest store it has seen, then the facts that it knows; of an actor, its views;
  // of a location's stores, the newest one and the number of those before it.
  static constexpr uint32_t kNone = TupleTable::kNone;
  static constexpr size_t kEyes = 1 + 2 * kLevels;
  static constexpr size_t kEyesWords = (kEyes + 1) / 2;
  static constexpr size_t kStoreWords = 3;
  struct Parts {
    Parts(size_t ranks, size_t all_facts)
        : rank_words(ranks), fact_words(all_facts), facts(all_facts), views(ranks + all_facts) {}

    size_t rank_words;
    size_t fact_words;
    TupleTable facts;
    TupleTable views;
    TupleTable eyes{kEyesWords};
    TupleTable stores{kStoreWords};
    std::vector<uint32_t> stores_seen;  // by view: beyond the oldest ones, of all locations
  };
  // Two summaries under comparison, and what matters in the second one.
  struct Pair {
    const uint32_t* one;
    const uint32_t* other;
    const uint64_t* matter;
  };
  void forget_unseen();
  uint32_t oldest_in_reach(uint32_t location) const;
  void list_matter();
  void count_stores(std::vector<uint32_t>& words) const;
  uint32_t number_of(ViewId view);
  uint32_t number_of(ViewId view, ViewId other);
  uint32_t number_of_eyes(const Actor& actor);
  uint32_t behind(uint32_t view) const;
  uint32_t number_of_stores(uint32_t location, uint64_t running, Extent& extent);
  uint64_t tag_of(const Store& store, const MemoryUse::Word& use, uint64_t readers,
                  const std::array<uint64_t, kLevels>& told) const;
  bool within(uint32_t less, uint32_t more, const Pair& memories) const;
  bool covers_eyes(uint32_t one, uint32_t other, const Pair& memories) const;
  bool covers_stores(uint32_t one, uint32_t other, const Pair& memories) const;

  struct Region {
    uintptr_t at;
    size_t bytes;
    std::string text;
  };
  // Of the program.
  std::vector<std::string> actor_names_;
  std::vector<uint32_t> kinship_;
  std::vector<std::array<uint64_t, kLevels>> kin_;  // by actor, who is so near
  std::vector<Region> regions_;
  AddressTable location_at_;
  std::vector<uint32_t> bytes_of_;
  bool scopes_required_ = false;
  AddressTable cell_at_;         // addresses in cells
  uint32_t cells_per_word_ = 0;  // of facts
  uint32_t max_locations_;
  MemoryUse use_;
  bool use_grown_ = false;  // since it was assumed
  MemoryUse assumed_;
  // As assumed, by actor: the facts that it must know of before it may do what it does; and those
  // only where nobody has read what was written.
  std::vector<std::vector<uint64_t>> conflicts_;
  std::vector<std::vector<uint64_t>> overwrites_;
  // Of the execution.
  struct Contents {
    ViewPool views;
    std::vector<Actor> actors;
    std::vector<Location> locations;
    std::vector<Ranks> first_ranks;
    std::vector<Store> stores;  // of all locations
    uint32_t stores_made = 0;
    uint64_t version = 0;  // what has the same is the same
    // Of plain data: by cell, who has written it last; facts there are; and the write in each cell
    // that has been read since then.
    std::vector<uint32_t> writers;
    std::vector<uint64_t> facts;
    std::vector<uint64_t> read_since;
  };
  Contents now_;
  uint64_t versions_ = 0;
  std::string race_;
  // Of summaries.
  Parts parts_{0, 0};
  std::vector<uint64_t> matter_;        // the facts of which not everybody knows who should
  std::vector<uint32_t> view_numbers_;  // by view
  std::vector<uint64_t> tuple_;         // a view
};

/// By location, a byte each, how many stores there are; then numbers of parts, which mean the same
/// until something else is assumed: which accesses to plain data matter; by actor, what he knows;
/// by location, what its stores are to their readers.
struct MemoryModel::Summary {
  std::vector<uint32_t> words;
  Extent extent;
  uint64_t version = 0;  // of what it is about

  /// Equal for memories that nobody can tell apart from here on, up to collisions of 64 bits.
  uint64_t digest() const;
};

struct MemoryModel::Eyes {
  uint64_t version;
  ViewId view;
  std::array<ViewId, kLevels> pending;
};

/// A memory between two steps.
struct MemoryModel::State {
  Contents contents;
};

}  // namespace ringer::sim
