// SPDX-License-Identifier: Apache-2.0
// When two memories are the same: what nobody can see any more, and what everybody knows, is left
// out, and ranks and clocks count only in relation to each other.
#include <algorithm>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

// Of the location's stores, the oldest that somebody who accesses it and still runs can return, or
// slip in before. Who never loads sees only where another store may follow.
uint32_t MemoryModel::oldest_in_reach(uint32_t location) const {
  const std::vector<Store>& stores = locations_[location].stores;
  const auto last = static_cast<uint32_t>(stores.size() - 1);
  const MemoryUse::Word use = assumed_.word(location);
  uint32_t oldest = last;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (actors_[a].retired || ((use.loads | use.stores) & bit_of(a)) == 0) continue;
    uint32_t first = seen(a, location);
    if ((use.loads & bit_of(a)) == 0) {
      while (first < last && stores[first + 1].follows_read) ++first;
    }
    oldest = std::min(oldest, first);
  }
  return oldest;
}

void MemoryModel::forget_unseen() {
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    Location& location = locations_[l];
    if (location.stores.size() < 2) continue;
    const uint32_t oldest = oldest_in_reach(l);
    if (oldest == 0) continue;
    for (uint32_t i = 0; i < oldest; ++i) {
      for (ViewId& message : location.stores[i].message) share(message, 0);
    }
    location.stores.erase(location.stores.begin(), location.stores.begin() + oldest);
    location.first_rank += oldest;
  }
}

// An access to plain data matters as long as somebody who conflicts with it does not know of it.
// Who writes must know all reads, and with one the write that it has read.
bool MemoryModel::matters(uint32_t cell, const Access& access, bool write) const {
  if (access.clock == 0) return false;
  const MemoryUse::Cell use = assumed_.cell(cell);
  const uint32_t* reads = &cells_[size_t{cell} * cell_words_ + kReads];
  const bool read = std::any_of(reads, reads + actors_.size(), [](uint32_t at) { return at != 0; });
  const uint64_t conflicting = !write ? use.writes : read ? use.reads : use.reads | use.writes;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (actors_[a].retired || (conflicting & bit_of(a)) == 0) continue;
    if (!known(actors_[a].view, access)) return true;
  }
  return false;
}

// Returns a digest of where they are.
uint64_t MemoryModel::list_facts() {
  facts_.clear();
  uint64_t digest = 0;
  const auto list = [&](size_t at, const Access& access) {
    const auto fact = std::find(facts_.begin(), facts_.end(), access);
    digest += mix(at, static_cast<uint64_t>(fact - facts_.begin()) + 1);
    if (fact == facts_.end()) facts_.push_back(access);
  };
  for (uint32_t c = 0; size_t{c} * cell_words_ < cells_.size(); ++c) {
    const size_t at = size_t{c} * cell_words_;
    const Access written{cells_[at + kWriter], cells_[at + kWritten]};
    if (matters(c, written, true)) list(at, written);
    for (uint32_t a = 0; a < actors_.size(); ++a) {
      const Access read{a, cells_[at + kReads + a]};
      if (matters(c, read, false)) list(at + kReads + a, read);
    }
  }
  return digest;
}

// 0 for a view that knows nothing which not everybody knows.
uint64_t MemoryModel::digest_of_view(ViewId view) const {
  if (view == 0) return 0;
  uint64_t digest = 0;
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    const Location& location = locations_[l];
    if (location.stores.size() < 2) continue;
    const uint32_t rank = words(view)[l];
    if (rank > location.first_rank) digest += mix(l + 1, rank - location.first_rank);
  }
  for (uint32_t f = 0; f < facts_.size(); ++f) {
    if (known(view, facts_[f])) digest += mix(~uint64_t{0}, f + 1);
  }
  return digest;
}

// What a store is to those who may still read it: what they would take over, and where that would
// be out of scope.
uint64_t MemoryModel::digest_for_readers(const Store& store, const MemoryUse::Word& use) const {
  uint64_t digest = 0;
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (actors_[a].retired || (use.readers() & bit_of(a)) == 0) continue;
    const uint32_t kin = kinship(a, store.writer);
    uint64_t taken = 0;
    for (uint32_t k = 0; k < kLevels; ++k) {
      const uint64_t message = view_digests_[store.message[std::max(k, kin)]];
      if (message != 0) taken = mix(taken + k + 1, message);
      const bool mutual = reaches(static_cast<Scope>(k), kin) && reaches(store.scope, kin);
      const bool race = scopes_required_ && store.age != 0 && !mutual;
      if (race && (use.reads[k] & bit_of(a)) != 0) taken = mix(taken, k + 1);
    }
    if (taken != 0) digest = mix(digest + a + 1, taken);
  }
  return digest;
}

// The value of a lone store stands in the memory itself.
uint64_t MemoryModel::digest_of_location(uint32_t location) const {
  const std::vector<Store>& stores = locations_[location].stores;
  const MemoryUse::Word use = assumed_.word(location);
  uint64_t digest = 0;
  for (size_t i = 0; i < stores.size(); ++i) {
    uint64_t store = digest_for_readers(stores[i], use);
    if (stores.size() > 1) {
      store = mix(store, mix(stores[i].value, i > 0 && stores[i].follows_read));
    }
    if (store != 0) digest = mix(digest + i + 1, store);
  }
  return digest;
}

uint64_t MemoryModel::digest() {
  forget_unseen();
  uint64_t digest = list_facts();
  view_digests_.assign(owners_.size(), 0);
  for (ViewId v = 1; v < owners_.size(); ++v) {
    if (owners_[v] != 0) view_digests_[v] = digest_of_view(v);
  }
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    const uint64_t location = digest_of_location(l);
    if (location != 0) digest = mix(digest + l, location);
  }
  for (const Actor& actor : actors_) {
    if (actor.retired) continue;
    digest = mix(digest, view_digests_[actor.view]);
    for (uint32_t kin = 0; kin < kLevels; ++kin) {
      digest = mix(digest, view_digests_[actor.released[kin]]);
      digest = mix(digest, view_digests_[actor.pending[kin]]);
    }
  }
  return digest;
}

}  // namespace ringer::sim
