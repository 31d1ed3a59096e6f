// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

namespace {
constexpr uint32_t kCellBytes = 16;
}

MemoryModel::MemoryModel(Choices& choices, const std::vector<ActorFacts>& actors)
    : choices_(choices) {
  for (const ActorFacts& facts : actors) actors_.push_back({facts.name, facts.place, {}, {}, {}});
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    actors_[a].view.clock.assign(actors_.size(), 0);
    actors_[a].view.clock[a] = 1;
  }
}

uint32_t MemoryModel::location_of(const void* at, uint64_t initial) {
  const auto [entry, fresh] = index_.try_emplace(at, static_cast<uint32_t>(locations_.size()));
  if (fresh) {
    // Everybody has seen what was there before the run.
    locations_.push_back({at, {Store{}}, {0}});
    locations_.back().stores[0].value = initial;
  }
  return entry->second;
}

uint32_t MemoryModel::kinship(uint32_t a, uint32_t b) const {
  const Place& x = actors_[a].place;
  const Place& y = actors_[b].place;
  if (x.gpu != y.gpu) return 2;
  return x.cta == y.cta ? 0 : 1;
}

uint32_t MemoryModel::seen_rank(const View& view, uint32_t location) const {
  const uint32_t id = location < view.seen.size() ? view.seen[location] : 0;
  return locations_[location].stores[id].rank;
}

void MemoryModel::join(View& into, const View& from) const {
  if (into.seen.size() < from.seen.size()) into.seen.resize(from.seen.size());
  for (uint32_t l = 0; l < from.seen.size(); ++l) {
    if (seen_rank(from, l) > seen_rank(into, l)) into.seen[l] = from.seen[l];
  }
  if (into.clock.size() < from.clock.size()) into.clock.resize(from.clock.size());
  for (size_t a = 0; a < from.clock.size(); ++a) {
    into.clock[a] = std::max(into.clock[a], from.clock[a]);
  }
}

// The actor has read `store`: it sees nothing older of this location (read-read coherence), and
// what the store's release carries if both are in each other's scope.
void MemoryModel::take(uint32_t actor, uint32_t location, uint32_t store, Scope scope,
                       bool acquire) {
  Actor& a = actors_[actor];
  const Store& read = locations_[location].stores[store];
  if (a.view.seen.size() <= location) a.view.seen.resize(location + 1);
  a.view.seen[location] = store;
  const uint32_t kin = kinship(actor, read.writer);
  if (!reaches(scope, kin) || !read.released[kin]) return;
  join(a.pending[kin], read.message[kin]);
  if (acquire) join(a.view, read.message[kin]);
}

uint64_t MemoryModel::load(uint32_t actor, const void* at, uint64_t initial, Scope scope,
                           Order order) {
  const uint32_t l = location_of(at, initial);
  const Location& location = locations_[l];
  const uint32_t oldest = seen_rank(actors_[actor].view, l);
  const auto newest = static_cast<uint32_t>(location.order.size() - 1);
  const uint32_t id = location.order[newest - choices_.choose(newest - oldest + 1)];
  take(actor, l, id, scope, acquires(order));
  return location.stores[id].value;
}

void MemoryModel::store(uint32_t actor, void* at, uint64_t initial, uint64_t value, Scope scope,
                        Order order) {
  const uint32_t l = location_of(at, initial);
  const Location& location = locations_[l];
  const uint32_t first = seen_rank(actors_[actor].view, l) + 1;
  std::vector<uint32_t> ranks{static_cast<uint32_t>(location.order.size())};
  for (auto rank = static_cast<uint32_t>(location.order.size()); rank-- > first;) {
    if (!location.stores[location.order[rank]].follows_read) ranks.push_back(rank);
  }
  const uint32_t rank = ranks[choices_.choose(static_cast<uint32_t>(ranks.size()))];
  insert(actor, l, rank, value, scope, releases(order), nullptr);
}

uint64_t MemoryModel::update(uint32_t actor, void* at, uint64_t initial, Scope scope, Order order,
                             const std::function<Updated(uint64_t)>& update) {
  const uint32_t l = location_of(at, initial);
  const uint32_t first = seen_rank(actors_[actor].view, l);
  std::vector<uint32_t> candidates;
  for (auto rank = static_cast<uint32_t>(locations_[l].order.size()); rank-- > first;) {
    const Location& location = locations_[l];
    const uint32_t id = location.order[rank];
    const bool taken =
        rank + 1 < location.order.size() && location.stores[location.order[rank + 1]].follows_read;
    // What another read-modify-write follows can only be read by one that stores nothing.
    if (!taken || !update(location.stores[id].value).stores) candidates.push_back(id);
  }
  const uint32_t id = candidates[choices_.choose(static_cast<uint32_t>(candidates.size()))];
  const uint64_t before = locations_[l].stores[id].value;
  const Updated updated = update(before);
  take(actor, l, id, scope, updated.stores && acquires(order));
  if (updated.stores) {
    const Store read = locations_[l].stores[id];
    insert(actor, l, read.rank + 1, updated.value, scope, releases(order), &read);
  }
  return before;
}

uint32_t MemoryModel::insert(uint32_t actor, uint32_t l, uint32_t rank, uint64_t value, Scope scope,
                             bool release, const Store* read) {
  Location& location = locations_[l];
  Actor& a = actors_[actor];
  const auto id = static_cast<uint32_t>(location.stores.size());
  location.stores.push_back({value, actor, rank, read != nullptr, {}, {}});
  location.order.insert(location.order.begin() + rank, id);
  for (uint32_t r = rank + 1; r < location.order.size(); ++r) {
    location.stores[location.order[r]].rank = r;
  }
  if (a.view.seen.size() <= l) a.view.seen.resize(l + 1);
  a.view.seen[l] = id;
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    const bool fenced = !a.released[kin].clock.empty();
    const bool carried = read != nullptr && read->released[kin];
    if (!release && !fenced && !carried) continue;
    Store& store = location.stores[id];
    store.released[kin] = true;
    if (release) {
      join(store.message[kin], a.view);
    } else if (fenced) {
      join(store.message[kin], a.released[kin]);
    }
    if (carried) join(store.message[kin], read->message[kin]);
  }
  // What the actor does from now on is not covered by this release.
  if (release) ++a.view.clock[actor];
  return id;
}

void MemoryModel::fence(uint32_t actor, Scope scope, Order order) {
  Actor& a = actors_[actor];
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    if (acquires(order)) join(a.view, a.pending[kin]);
  }
  for (uint32_t kin = 0; kin < kLevels && reaches(scope, kin); ++kin) {
    if (releases(order)) a.released[kin] = a.view;
  }
  if (releases(order)) ++a.view.clock[actor];
}

std::string MemoryModel::name_of(uintptr_t at) const {
  for (const Region& region : names_) {
    if (at - region.at < region.bytes) {
      return region.text + " + " + std::to_string(at - region.at);
    }
  }
  return "unnamed memory";
}

void MemoryModel::report(uint32_t actor, uint32_t other, uint64_t cell, const char* what) {
  if (!race_.empty()) return;
  race_ = actors_[actor].name + " " + what + " " + actors_[other].name +
          " unordered: " + name_of(cell * kCellBytes);
}

template <class F>
void MemoryModel::for_each_cell(const void* at, uint32_t bytes, F&& f) {
  const auto first = reinterpret_cast<uint64_t>(at) / kCellBytes;
  const auto last = (reinterpret_cast<uint64_t>(at) + bytes - 1) / kCellBytes;
  for (uint64_t c = first; c <= last; ++c) f(c, cells_[c]);
}

void MemoryModel::write_data(uint32_t actor, const void* at, uint32_t bytes) {
  const Actor& a = actors_[actor];
  for_each_cell(at, bytes, [&](uint64_t c, Cell& cell) {
    if (!known(a, cell.writer, cell.written)) {
      report(actor, cell.writer, c, "writes what is written by");
    }
    for (uint32_t reader = 0; reader < cell.reads.size(); ++reader) {
      if (!known(a, reader, cell.reads[reader])) report(actor, reader, c, "writes what is read by");
    }
    cell.reads.clear();
    cell.writer = actor;
    cell.written = a.view.clock[actor];
  });
}

void MemoryModel::read_data(uint32_t actor, const void* at, uint32_t bytes) {
  const Actor& a = actors_[actor];
  for_each_cell(at, bytes, [&](uint64_t c, Cell& cell) {
    if (!known(a, cell.writer, cell.written)) {
      report(actor, cell.writer, c, "reads what is written by");
    }
    if (cell.reads.size() <= actor) cell.reads.resize(actor + 1);
    cell.reads[actor] = a.view.clock[actor];
  });
}

bool MemoryModel::has_newer(uint32_t actor, const void* at) const {
  const uint32_t l = index_.at(at);
  return seen_rank(actors_[actor].view, l) + 1 < locations_[l].order.size();
}

void MemoryModel::skip_one(uint32_t actor, const void* at) {
  const uint32_t l = index_.at(at);
  View& view = actors_[actor].view;
  const uint32_t rank = seen_rank(view, l);
  if (view.seen.size() <= l) view.seen.resize(l + 1);
  view.seen[l] = locations_[l].order[rank + 1];
}

uint64_t MemoryModel::final_value(const void* at) const {
  const Location& location = locations_[index_.at(at)];
  return location.stores[location.order.back()].value;
}

}  // namespace ringer::sim
