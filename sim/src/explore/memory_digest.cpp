// SPDX-License-Identifier: Apache-2.0
// When two memories are the same: what nobody can see any more, and what everybody knows, is left
// out, and ranks and clocks count only in relation to each other.
#include <algorithm>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

// Drops stores older than what every actor still running has seen: no load can return them, and no
// store can slip in before them.
void MemoryModel::forget_unseen() {
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    Location& location = locations_[l];
    if (location.stores.size() < 2) continue;
    auto oldest = static_cast<uint32_t>(location.stores.size() - 1);
    for (uint32_t a = 0; a < actors_.size(); ++a) {
      if (!actors_[a].retired) oldest = std::min(oldest, seen(a, l));
    }
    if (oldest == 0) continue;
    for (uint32_t i = 0; i < oldest; ++i) {
      for (ViewId& message : location.stores[i].message) share(message, 0);
    }
    location.stores.erase(location.stores.begin(), location.stores.begin() + oldest);
    location.first_rank += oldest;
  }
}

// An access to plain data matters as long as somebody does not know of it.
void MemoryModel::list_facts() {
  facts_.clear();
  const auto list = [&](const Access& access) {
    if (access.clock == 0 || std::find(facts_.begin(), facts_.end(), access) != facts_.end()) {
      return;
    }
    const bool common = std::all_of(actors_.begin(), actors_.end(), [&](const Actor& actor) {
      return actor.retired || known(actor.view, access);
    });
    if (!common) facts_.push_back(access);
  };
  for (size_t c = 0; c < cells_.size(); c += cell_words_) {
    list({cells_[c + kWriter], cells_[c + kWritten]});
    for (uint32_t a = 0; a < actors_.size(); ++a) list({a, cells_[c + kReads + a]});
  }
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

uint64_t MemoryModel::digest_of_cells() const {
  const auto fact_of = [&](const Access& access) -> uint64_t {
    if (access.clock == 0) return 0;
    const auto fact = std::find(facts_.begin(), facts_.end(), access);
    return fact == facts_.end() ? 0 : static_cast<uint64_t>(fact - facts_.begin()) + 1;
  };
  uint64_t digest = 0;
  for (size_t c = 0; c < cells_.size(); c += cell_words_) {
    const uint64_t written = fact_of({cells_[c + kWriter], cells_[c + kWritten]});
    if (written != 0) digest += mix(c, mix(written, cells_[c + kWriter]));
    for (uint32_t a = 0; a < actors_.size(); ++a) {
      const uint64_t read = fact_of({a, cells_[c + kReads + a]});
      if (read != 0) digest += mix(c + kReads + a, read);
    }
  }
  return digest;
}

// The value of a lone store stands in the memory itself.
uint64_t MemoryModel::digest_of_location(uint32_t location) const {
  const std::vector<Store>& stores = locations_[location].stores;
  uint64_t digest = 0;
  for (size_t i = 0; i < stores.size(); ++i) {
    const Store& store = stores[i];
    uint64_t messages = 0;
    for (uint32_t kin = 0; kin < kLevels; ++kin) {
      const uint64_t message = view_digests_[store.message[kin]];
      if (message != 0) messages = mix(messages + kin + 1, message);
    }
    const bool told = messages != 0 || (scopes_required_ && store.age != 0);
    if (told) messages = mix(mix(messages, store.writer), static_cast<uint64_t>(store.scope));
    if (stores.size() > 1) messages = mix(messages, mix(store.value, i > 0 && store.follows_read));
    if (messages != 0) digest = mix(digest + i + 1, messages);
  }
  return digest;
}

uint64_t MemoryModel::digest() {
  forget_unseen();
  list_facts();
  view_digests_.assign(owners_.size(), 0);
  for (ViewId v = 1; v < owners_.size(); ++v) {
    if (owners_[v] != 0) view_digests_[v] = digest_of_view(v);
  }
  uint64_t digest = digest_of_cells();
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
