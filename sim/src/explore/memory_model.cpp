// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

namespace {

uint32_t kinship_of(const Place& a, const Place& b) {
  if (a.gpu != b.gpu) return 2;
  return a.cta == b.cta ? 0 : 1;
}

}  // namespace

uint64_t Update::after(uint64_t before) const {
  const uint64_t mask = bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * bytes)) - 1;
  switch (kind) {
    case Kind::add:
      return (before + operand) & mask;
    case Kind::max:
      return std::max(before, operand);
    case Kind::exchange:
    case Kind::compare_exchange:
      break;
  }
  return operand;
}

MemoryModel::MemoryModel(const std::vector<ActorFacts>& actors, uint32_t max_locations)
    : max_locations_(max_locations) {
  if (actors.size() > kMaxActors) throw std::length_error("too many actors for one memory");
  now_.actors.resize(actors.size());
  for (uint32_t a = 0; a < actors.size(); ++a) {
    actor_names_.push_back(actors[a].name);
    std::array<uint64_t, kLevels> kin{};
    for (uint32_t b = 0; b < actors.size(); ++b) {
      kinship_.push_back(kinship_of(actors[a].place, actors[b].place));
      kin[kinship_.back()] |= bit_of(b);
    }
    kin_.push_back(kin);
  }
  cells_per_word_ = 64 / kinds_of_facts();
  reset();
}

void MemoryModel::reset() {
  now_.views.reset();
  std::fill(now_.actors.begin(), now_.actors.end(), Actor{});
  std::fill(now_.locations.begin(), now_.locations.end(), Location{});
  std::fill(now_.first_ranks.begin(), now_.first_ranks.end(), Ranks{});
  now_.stores.clear();
  std::fill(now_.facts.begin(), now_.facts.end(), 0);
  std::fill(now_.read_since.begin(), now_.read_since.end(), 0);
  now_.stores_made = 1;  // what was there before: nobody is set aside at no store at all
  changed();
  race_.clear();
}

void MemoryModel::save(State& state) const { state.contents = now_; }

void MemoryModel::restore(const State& state) {
  now_ = state.contents;
  race_.clear();
}

void MemoryModel::take_back(State& state) {
  std::swap(now_, state.contents);
  race_.clear();
}

uint32_t MemoryModel::location(const void* at, uint32_t bytes) {
  const uint64_t address = reinterpret_cast<uintptr_t>(at);
  uint32_t id = location_at_.find_number(address);
  if (id == kNone) {
    check_alone(at, bytes);
    if (location_at_.size() == max_locations_) {
      throw std::length_error("more shared words than an exploration holds");
    }
    id = location_at_.number_of(address);
    bytes_of_.push_back(bytes);
    use_.words.resize(id + 1);
    use_grown_ = true;
  } else if (bytes_of_[id] != bytes) {
    throw std::invalid_argument("a shared word has two sizes");
  }
  if (id >= now_.locations.size()) hold_locations(id + 1);
  // Everybody has seen what was there before the run.
  if (now_.locations[id].stores == 0) {
    Store first;
    std::memcpy(&first.value, at, bytes);
    changed();
    add_store(id, 0, first);
  }
  return id;
}

void MemoryModel::hold_locations(uint32_t locations) {
  now_.locations.resize(locations, {static_cast<uint32_t>(now_.stores.size()), 0, 0});
  const uint32_t blocks = (locations + Ranks::kLanes - 1) / Ranks::kLanes;
  if (blocks <= now_.first_ranks.size()) return;
  now_.first_ranks.resize(blocks);
  now_.views.widen(blocks, now_.views.fact_words());
}

// Accesses of mixed sizes are not modelled.
void MemoryModel::check_alone(const void* at, uint32_t bytes) {
  const uint64_t before = reinterpret_cast<uintptr_t>(at) - 4;
  const uint64_t behind = before + 8;
  const uint32_t lower = location_at_.find_number(before);
  const bool upper_half = bytes == 4 && lower != kNone && bytes_of_[lower] == 8;
  if ((bytes == 8 && location_at_.find_number(behind) != kNone) || upper_half) {
    throw std::invalid_argument("shared words overlap");
  }
}

void MemoryModel::see(uint32_t actor, uint32_t location, uint32_t index) {
  const uint32_t rank = first_rank(location) + index;
  ViewId& view = now_.actors[actor].view;
  if (now_.views.rank(view, location) != rank) now_.views.set_rank(view, location, rank);
}

// The actor has read a store: it sees nothing older of this location (read-read coherence), and
// what the store's release carries if both are in each other's scope.
void MemoryModel::take(uint32_t actor, uint32_t location, uint32_t index, Scope scope,
                       bool acquire) {
  changed();
  see(actor, location, index);
  const Store& read = stores_of(location)[index];
  const uint32_t kin = kinship(actor, read.writer);
  const bool mutual = reaches(scope, kin) && reaches(read.scope, kin);
  if (scopes_required_ && !mutual && read.age != 0 && race_.empty()) {
    race_ = actor_names_[actor] + " reads what " + actor_names_[read.writer] +
            " has stored, out of scope: " + name_of(address_of(location));
  }
  if (!reaches(scope, kin) || read.message[kin] == 0) return;
  Actor& a = now_.actors[actor];
  now_.views.join(acquire ? a.view : a.pending[kin], read.message[kin]);
}

uint32_t MemoryModel::load_choices(uint32_t actor, uint32_t location) const {
  return now_.locations[location].stores - seen(actor, location);
}

uint64_t MemoryModel::load(uint32_t actor, uint32_t location, uint32_t choice, Scope scope,
                           Order order) {
  will_load(actor, location, scope);
  const std::span<const Store> stores = stores_of(location);
  const auto index = static_cast<uint32_t>(stores.size()) - 1 - choice;
  take(actor, location, index, scope, acquires(order));
  return stores[index].value;
}

uint32_t MemoryModel::store_choices(uint32_t actor, uint32_t location) const {
  const std::span<const Store> stores = stores_of(location);
  uint32_t choices = 1;
  for (size_t i = seen(actor, location) + 1; i < stores.size(); ++i) {
    if (!stores[i].follows_read) ++choices;
  }
  return choices;
}

void MemoryModel::store(uint32_t actor, uint32_t location, uint32_t choice, uint64_t value,
                        Scope scope, Order order) {
  will_store(actor, location);
  const std::span<const Store> stores = stores_of(location);
  auto index = static_cast<uint32_t>(stores.size());
  while (choice > 0) {
    if (!stores[--index].follows_read) --choice;
  }
  insert(actor, location, index, value, scope, releases(order), nullptr);
}

// What another read-modify-write follows can only be read by one that stores nothing.
uint32_t MemoryModel::update_choices(uint32_t actor, uint32_t location,
                                     const Update& update) const {
  const std::span<const Store> stores = stores_of(location);
  uint32_t choices = 0;
  for (size_t i = seen(actor, location); i < stores.size(); ++i) {
    const bool taken = i + 1 < stores.size() && stores[i + 1].follows_read;
    if (!taken || !update.stores(stores[i].value)) ++choices;
  }
  return choices;
}

uint32_t MemoryModel::nth_candidate(uint32_t actor, uint32_t location, const Update& update,
                                    uint32_t choice) const {
  const std::span<const Store> stores = stores_of(location);
  auto index = static_cast<uint32_t>(stores.size());
  for (;;) {
    --index;
    const bool taken = index + 1 < stores.size() && stores[index + 1].follows_read;
    if (taken && update.stores(stores[index].value)) continue;
    if (choice-- == 0 || index == seen(actor, location)) return index;
  }
}

uint64_t MemoryModel::update(uint32_t actor, uint32_t location, uint32_t choice,
                             const Update& update, Scope scope, Order order) {
  will_update(actor, location, update, scope);
  const uint32_t index = nth_candidate(actor, location, update, choice);
  const Store read = stores_of(location)[index];
  const bool stores = update.stores(read.value);
  take(actor, location, index, scope, stores && acquires(order));
  if (stores) {
    insert(actor, location, index + 1, update.after(read.value), scope, releases(order), &read);
  }
  return read.value;
}

void MemoryModel::add_store(uint32_t location, uint32_t index, const Store& store) {
  Location& l = now_.locations[location];
  now_.stores.insert(now_.stores.begin() + l.first + index, store);
  ++l.stores;
  l.youngest = store.age;
  for (size_t i = location + 1; i < now_.locations.size(); ++i) ++now_.locations[i].first;
}

void MemoryModel::insert(uint32_t actor, uint32_t location, uint32_t index, uint64_t value,
                         Scope scope, bool release, const Store* read) {
  changed();
  const uint32_t rank = first_rank(location) + index;
  const Location& l = now_.locations[location];
  if (first_rank(location) + l.stores > Ranks::kMax) {
    throw TooManyStores("too many stores to a shared word");
  }
  // Slipped in: who has seen what comes behind it has seen one more.
  if (index < l.stores) now_.views.make_room(location, rank);
  Actor& a = now_.actors[actor];
  now_.views.set_rank(a.view, location, rank);
  Store store;
  store.value = value;
  store.writer = static_cast<uint16_t>(actor);
  store.scope = scope;
  store.age = ++now_.stores_made;
  store.follows_read = read != nullptr;
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    now_.views.share(store.message[kin], release ? a.view : a.released[kin]);
    if (read == nullptr) continue;
    // Carried on to whoever is as near to the first writer as the release reaches.
    const uint32_t far = std::max(kin, kinship(actor, read->writer));
    if (reaches(scope, far)) now_.views.join(store.message[kin], read->message[far]);
  }
  add_store(location, index, store);
}

void MemoryModel::fence(uint32_t actor, Scope scope, Order order) {
  changed();
  Actor& a = now_.actors[actor];
  if (acquires(order)) {
    for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
      now_.views.join(a.view, a.pending[kin]);
      now_.views.share(a.pending[kin], 0);
    }
  }
  if (!releases(order)) return;
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    now_.views.share(a.released[kin], a.view);
  }
}

void MemoryModel::name(const void* at, size_t bytes, const std::string& text) {
  regions_.push_back({reinterpret_cast<uintptr_t>(at), bytes, text});
}

std::string MemoryModel::name_of(const void* at) const {
  const auto address = reinterpret_cast<uintptr_t>(at);
  for (const Region& region : regions_) {
    if (address - region.at >= region.bytes) continue;
    const size_t offset = address - region.at;
    return offset == 0 ? region.text : region.text + " + " + std::to_string(offset);
  }
  return "unnamed memory";
}

uint32_t MemoryModel::age_of_load(uint32_t location, uint32_t choice) const {
  const std::span<const Store> stores = stores_of(location);
  return stores[stores.size() - 1 - choice].age;
}

uint64_t MemoryModel::value_of_load(uint32_t location, uint32_t choice) const {
  const std::span<const Store> stores = stores_of(location);
  return stores[stores.size() - 1 - choice].value;
}

uint32_t MemoryModel::age_of_update(uint32_t actor, uint32_t location, uint32_t choice,
                                    const Update& update) const {
  return stores_of(location)[nth_candidate(actor, location, update, choice)].age;
}

uint64_t MemoryModel::younger_than(uint32_t location, uint32_t age) const {
  if (now_.locations[location].youngest <= age) return 0;
  const std::span<const Store> stores = stores_of(location);
  uint64_t digest = 0;
  for (size_t i = 0; i < stores.size(); ++i) {
    if (stores[i].age > age) digest += mix(location, stores.size() - i);
  }
  return digest;
}

MemoryModel::Eyes MemoryModel::hold(uint32_t actor) {
  const Actor& a = now_.actors[actor];
  Eyes eyes{now_.version, 0, {}};
  now_.views.share(eyes.view, a.view);
  for (uint32_t kin = 0; kin < kLevels; ++kin) now_.views.share(eyes.pending[kin], a.pending[kin]);
  return eyes;
}

void MemoryModel::put_back(uint32_t actor, const Eyes& eyes) {
  now_.version = eyes.version;
  Actor& a = now_.actors[actor];
  now_.views.share(a.view, eyes.view);
  for (uint32_t kin = 0; kin < kLevels; ++kin) now_.views.share(a.pending[kin], eyes.pending[kin]);
  ViewId view = eyes.view;
  now_.views.share(view, 0);
  for (ViewId pending : eyes.pending) now_.views.share(pending, 0);
}

}  // namespace ringer::sim
