// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <stdexcept>

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
    : max_locations_(max_locations),
      view_words_(max_locations + static_cast<uint32_t>(actors.size())),
      cell_words_(kReads + static_cast<uint32_t>(actors.size())),
      actors_(actors.size()) {
  for (const ActorFacts& a : actors) {
    actor_names_.push_back(a.name);
    for (const ActorFacts& b : actors) kinship_.push_back(kinship_of(a.place, b.place));
  }
  reset();
}

void MemoryModel::reset() {
  views_.assign(view_words_, 0);
  owners_.assign(1, 1);
  free_views_.clear();
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    actors_[a] = {};
    own(actors_[a].view)[max_locations_ + a] = actors_[a].clock;
  }
  for (Location& location : locations_) {
    location.first_rank = 0;
    location.stores.clear();
  }
  std::fill(cells_.begin(), cells_.end(), 0);
  stores_made_ = 0;
  race_.clear();
}

void MemoryModel::save(State& state) const {
  state.views = views_;
  state.owners = owners_;
  state.free_views = free_views_;
  state.actors = actors_;
  state.locations = locations_;
  state.stores_made = stores_made_;
  state.cells = cells_;
}

void MemoryModel::restore(const State& state) {
  views_ = state.views;
  owners_ = state.owners;
  free_views_ = state.free_views;
  actors_ = state.actors;
  locations_ = state.locations;
  stores_made_ = state.stores_made;
  cells_ = state.cells;
  race_.clear();
}

uint32_t MemoryModel::location(const void* at, uint32_t bytes) {
  const auto [entry, fresh] =
      location_index_.try_emplace(at, static_cast<uint32_t>(location_index_.size()));
  const uint32_t id = entry->second;
  if (fresh) {
    check_alone(at, bytes);
    address_of_.push_back(at);
    bytes_of_.push_back(bytes);
  } else if (bytes_of_[id] != bytes) {
    throw std::invalid_argument("a shared word has two sizes");
  }
  if (id >= max_locations_) throw std::length_error("more shared words than an exploration holds");
  if (id >= locations_.size()) {
    locations_.resize(id + 1);
    use_.words.resize(id + 1);
  }
  // Everybody has seen what was there before the run.
  if (locations_[id].stores.empty()) {
    Store first;
    std::memcpy(&first.value, at, bytes);
    locations_[id].stores.push_back(first);
  }
  return id;
}

// Accesses of mixed sizes are not modelled.
void MemoryModel::check_alone(const void* at, uint32_t bytes) const {
  const auto* word = static_cast<const std::byte*>(at);
  const auto known = [&](const std::byte* other) { return location_index_.count(other) != 0; };
  const bool upper_half =
      bytes == 4 && known(word - 4) && bytes_of_[location_index_.at(word - 4)] == 8;
  if ((bytes == 8 && known(word + 4)) || upper_half) {
    throw std::invalid_argument("shared words overlap");
  }
}

MemoryModel::ViewId MemoryModel::new_view() {
  ViewId id;
  if (free_views_.empty()) {
    id = static_cast<ViewId>(owners_.size());
    owners_.push_back(1);
    views_.resize(views_.size() + view_words_);
  } else {
    id = free_views_.back();
    free_views_.pop_back();
    owners_[id] = 1;
  }
  return id;
}

uint32_t* MemoryModel::own(ViewId& view) {
  if (view == 0 || owners_[view] > 1) {
    const ViewId copy = new_view();
    std::copy_n(words(view), view_words_, &views_[size_t{copy} * view_words_]);
    if (view != 0) --owners_[view];
    view = copy;
  }
  return &views_[size_t{view} * view_words_];
}

void MemoryModel::share(ViewId& to, ViewId from) {
  if (to == from) return;
  if (to != 0 && --owners_[to] == 0) free_views_.push_back(to);
  to = from;
  if (from != 0) ++owners_[from];
}

void MemoryModel::join(ViewId& into, ViewId from) {
  if (from == 0 || into == from) return;
  if (into == 0) return share(into, from);
  const uint32_t* theirs = words(from);
  const uint32_t* ours = words(into);
  bool news = false;
  for (uint32_t i = 0; i < view_words_; ++i) news |= theirs[i] > ours[i];
  if (!news) return;
  uint32_t* joined = own(into);
  theirs = words(from);  // own() may have moved the pool
  for (uint32_t i = 0; i < view_words_; ++i) joined[i] = std::max(joined[i], theirs[i]);
}

void MemoryModel::see(uint32_t actor, uint32_t location, uint32_t index) {
  const uint32_t rank = locations_[location].first_rank + index;
  if (words(actors_[actor].view)[location] == rank) return;
  own(actors_[actor].view)[location] = rank;
}

// The actor has read a store: it sees nothing older of this location (read-read coherence), and
// what the store's release carries if both are in each other's scope.
void MemoryModel::take(uint32_t actor, uint32_t location, uint32_t index, Scope scope,
                       bool acquire) {
  see(actor, location, index);
  use_.words[location].reads[static_cast<uint32_t>(scope)] |= bit_of(actor);
  const Store& read = locations_[location].stores[index];
  const uint32_t kin = kinship(actor, read.writer);
  const bool mutual = reaches(scope, kin) && reaches(read.scope, kin);
  if (scopes_required_ && !mutual && read.age != 0 && race_.empty()) {
    race_ = actor_names_[actor] + " reads what " + actor_names_[read.writer] +
            " has stored, out of scope: " + name_of(address_of_[location]);
  }
  if (!reaches(scope, kin) || read.message[kin] == 0) return;
  Actor& a = actors_[actor];
  if (acquire) {
    join(a.view, read.message[kin]);
  } else {
    join(a.pending[kin], read.message[kin]);
  }
}

uint32_t MemoryModel::load_choices(uint32_t actor, uint32_t location) const {
  return static_cast<uint32_t>(locations_[location].stores.size()) - seen(actor, location);
}

uint64_t MemoryModel::load(uint32_t actor, uint32_t location, uint32_t choice, Scope scope,
                           Order order) {
  use_.words[location].loads |= bit_of(actor);
  const std::vector<Store>& stores = locations_[location].stores;
  const auto index = static_cast<uint32_t>(stores.size()) - 1 - choice;
  take(actor, location, index, scope, acquires(order));
  return stores[index].value;
}

uint32_t MemoryModel::store_choices(uint32_t actor, uint32_t location) const {
  const std::vector<Store>& stores = locations_[location].stores;
  uint32_t choices = 1;
  for (size_t i = seen(actor, location) + 1; i < stores.size(); ++i) {
    if (!stores[i].follows_read) ++choices;
  }
  return choices;
}

void MemoryModel::store(uint32_t actor, uint32_t location, uint32_t choice, uint64_t value,
                        Scope scope, Order order) {
  use_.words[location].stores |= bit_of(actor);
  const std::vector<Store>& stores = locations_[location].stores;
  auto index = static_cast<uint32_t>(stores.size());
  while (choice > 0) {
    if (!stores[--index].follows_read) --choice;
  }
  insert(actor, location, index, value, scope, releases(order), nullptr);
}

// What another read-modify-write follows can only be read by one that stores nothing.
uint32_t MemoryModel::update_choices(uint32_t actor, uint32_t location,
                                     const Update& update) const {
  const std::vector<Store>& stores = locations_[location].stores;
  uint32_t choices = 0;
  for (size_t i = seen(actor, location); i < stores.size(); ++i) {
    const bool taken = i + 1 < stores.size() && stores[i + 1].follows_read;
    if (!taken || !update.stores(stores[i].value)) ++choices;
  }
  return choices;
}

uint32_t MemoryModel::nth_candidate(uint32_t actor, uint32_t location, const Update& update,
                                    uint32_t choice) const {
  const std::vector<Store>& stores = locations_[location].stores;
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
  // One that stores nothing now may store another time.
  use_.words[location].stores |= bit_of(actor);
  if (update.kind == Update::Kind::compare_exchange) use_.words[location].loads |= bit_of(actor);
  const uint32_t index = nth_candidate(actor, location, update, choice);
  const Store read = locations_[location].stores[index];
  const bool stores = update.stores(read.value);
  take(actor, location, index, scope, stores && acquires(order));
  if (stores) {
    insert(actor, location, index + 1, update.after(read.value), scope, releases(order), &read);
  }
  return read.value;
}

void MemoryModel::insert(uint32_t actor, uint32_t location, uint32_t index, uint64_t value,
                         Scope scope, bool release, const Store* read) {
  Location& l = locations_[location];
  const uint32_t rank = l.first_rank + index;
  if (index < l.stores.size()) {
    // Slipped in: who has seen what comes behind it has seen one more.
    for (ViewId v = 1; v < owners_.size(); ++v) {
      uint32_t& seen_rank = views_[size_t{v} * view_words_ + location];
      if (seen_rank >= rank) ++seen_rank;
    }
  }
  Actor& a = actors_[actor];
  own(a.view)[location] = rank;
  Store store;
  store.value = value;
  store.writer = actor;
  store.scope = scope;
  store.age = ++stores_made_;
  store.follows_read = read != nullptr;
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    share(store.message[kin], release ? a.view : a.released[kin]);
    if (read == nullptr) continue;
    // Carried on to whoever is as near to the first writer as the release reaches.
    const uint32_t far = std::max(kin, kinship(actor, read->writer));
    if (reaches(scope, far)) join(store.message[kin], read->message[far]);
  }
  l.stores.insert(l.stores.begin() + index, store);
  // What the actor does from now on is not covered by this release.
  if (release) own(a.view)[max_locations_ + actor] = ++a.clock;
}

void MemoryModel::fence(uint32_t actor, Scope scope, Order order) {
  Actor& a = actors_[actor];
  if (acquires(order)) {
    for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
      join(a.view, a.pending[kin]);
      share(a.pending[kin], 0);
    }
  }
  if (!releases(order)) return;
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    share(a.released[kin], a.view);
  }
  own(a.view)[max_locations_ + actor] = ++a.clock;
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
  const std::vector<Store>& stores = locations_[location].stores;
  return stores[stores.size() - 1 - choice].age;
}

uint32_t MemoryModel::age_of_update(uint32_t actor, uint32_t location, uint32_t choice,
                                    const Update& update) const {
  return locations_[location].stores[nth_candidate(actor, location, update, choice)].age;
}

uint64_t MemoryModel::younger_than(uint32_t location, uint32_t age) const {
  const std::vector<Store>& stores = locations_[location].stores;
  uint64_t digest = 0;
  for (size_t i = 0; i < stores.size(); ++i) {
    if (stores[i].age > age) digest += mix(location, stores.size() - i);
  }
  return digest;
}

MemoryModel::Eyes MemoryModel::hold(uint32_t actor) {
  const Actor& a = actors_[actor];
  Eyes eyes{0, {}};
  share(eyes.view, a.view);
  for (uint32_t kin = 0; kin < kLevels; ++kin) share(eyes.pending[kin], a.pending[kin]);
  return eyes;
}

void MemoryModel::put_back(uint32_t actor, const Eyes& eyes) {
  Actor& a = actors_[actor];
  share(a.view, eyes.view);
  for (uint32_t kin = 0; kin < kLevels; ++kin) share(a.pending[kin], eyes.pending[kin]);
  let_go(eyes);
}

void MemoryModel::let_go(const Eyes& eyes) {
  ViewId view = eyes.view;
  share(view, 0);
  for (ViewId pending : eyes.pending) share(pending, 0);
}

}  // namespace ringer::sim
