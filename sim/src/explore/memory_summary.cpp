// SPDX-License-Identifier: Apache-2.0
// When two memories are the same, or one can do all that another one can: what nobody can see any
// more, and what everybody knows, is left out, and ranks and clocks count only in relation to each
// other.
#include <algorithm>
#include <stdexcept>

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

// Which accesses to plain data matter: a bit for each cell's last write, and for each actor's read
// of it.
void MemoryModel::list_facts() {
  facts_.clear();
  const size_t kinds = 1 + actors_.size();
  const size_t cells = cells_.size() / cell_words_;
  matter_.assign((kinds * cells + 31) / 32, 0);
  const auto list = [&](size_t bit, const Access& access) {
    facts_.push_back({access, static_cast<uint32_t>(bit)});
    matter_[bit / 32] |= 1u << bit % 32;
  };
  for (uint32_t c = 0; c < cells; ++c) {
    const size_t at = size_t{c} * cell_words_;
    const Access written{cells_[at + kWriter], cells_[at + kWritten]};
    if (matters(c, written, true)) list(c * kinds, written);
    for (uint32_t a = 0; a < actors_.size(); ++a) {
      const Access read{a, cells_[at + kReads + a]};
      if (matters(c, read, false)) list(c * kinds + 1 + a, read);
    }
  }
}

// By location, a byte each, how many stores are newer than what the view has seen; then which facts
// it knows. What everybody has seen counts as the oldest store that is left.
uint32_t MemoryModel::number_of(ViewId view) {
  uint32_t& number = view_numbers_[view];
  if (number == kNoView) number = number_of(view, view);
  return number;
}

// Of two views together.
uint32_t MemoryModel::number_of(ViewId view, ViewId other) {
  sequence_.assign(behind_words() + matter_.size(), 0);
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    const Location& location = locations_[l];
    if (location.stores.size() < 2) continue;
    const uint32_t rank = std::max({words(view)[l], words(other)[l], location.first_rank});
    const size_t behind = location.first_rank + location.stores.size() - 1 - rank;
    if (behind > 127) throw std::length_error("too many old stores to a shared word");
    sequence_[l / 4] |= static_cast<uint32_t>(behind) << 8 * (l % 4);
  }
  for (const Fact& fact : facts_) {
    if (!known(view, fact.access) && !known(other, fact.access)) continue;
    sequence_[behind_words() + fact.bit / 32] |= 1u << fact.bit % 32;
  }
  return parts_.number_of(sequence_);
}

// What a store is to those who may still read it: its value, where it would be read out of scope,
// and what they would take over.
std::array<uint32_t, MemoryModel::kStoreWords> MemoryModel::summarise(const Store& store,
                                                                      const MemoryUse::Word& use,
                                                                      bool follows_read) {
  std::array<uint32_t, kStoreWords> words;
  words.fill(kNoView);
  uint64_t tag = mix(store.value, 1);
  for (uint32_t a = 0; a < actors_.size(); ++a) {
    if (actors_[a].retired || (use.readers() & bit_of(a)) == 0) continue;
    const uint32_t kin = kinship(a, store.writer);
    for (uint32_t k = 0; k < kLevels; ++k) {
      const uint32_t level = std::max(k, kin);
      words[2 + level] = number_of(store.message[level]);
      const bool mutual = reaches(static_cast<Scope>(k), kin) && reaches(store.scope, kin);
      const bool race = scopes_required_ && store.age != 0 && !mutual;
      if (race && (use.reads[k] & bit_of(a)) != 0) tag = mix(tag, a * kLevels + k + 1);
    }
  }
  words[0] = static_cast<uint32_t>(tag);
  words[1] = static_cast<uint32_t>(tag >> 32) << 1 | static_cast<uint32_t>(follows_read);
  return words;
}

void MemoryModel::summarise(Summary& summary) {
  // Words that nobody has accessed yet have what was there before the run, too.
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    if (locations_[l].stores.empty()) location(address_of_[l], bytes_of_[l]);
  }
  forget_unseen();
  list_facts();
  view_numbers_.assign(owners_.size(), kNoView);
  std::vector<uint32_t>& words = summary.words;
  words.clear();
  words.push_back(parts_.number_of(matter_));
  for (const Actor& actor : actors_) {
    if (actor.retired) {
      words.push_back(kNoView);
      continue;
    }
    std::array<uint32_t, kEyes> eyes{number_of(actor.view)};
    for (uint32_t kin = 0; kin < kLevels; ++kin) {
      eyes[1 + kin] = number_of(actor.released[kin]);
      // A fence adds it to what is known.
      const ViewId pending = actor.pending[kin];
      eyes[1 + kLevels + kin] = pending == 0 ? eyes[0] : number_of(actor.view, pending);
    }
    words.push_back(parts_.number_of(eyes));
  }
  for (uint32_t l = 0; l < locations_.size(); ++l) {
    const std::vector<Store>& stores = locations_[l].stores;
    const MemoryUse::Word use = assumed_.word(l);
    stores_.clear();
    for (size_t i = stores.size(); i-- > 0;) {
      const auto store = summarise(stores[i], use, i > 0 && stores[i].follows_read);
      stores_.insert(stores_.end(), store.begin(), store.end());
    }
    words.push_back(parts_.number_of(stores_));
  }
}

uint64_t MemoryModel::Summary::digest() const {
  return digest_bytes(words.data(), words.size() * sizeof(words[0]));
}

// Whether view `less` knows nothing that `more` does not, as far as it matters.
bool MemoryModel::within(uint32_t less, uint32_t more, std::span<const uint32_t> matter) const {
  if (less == more) return true;
  if (less == kNoView || more == kNoView) return false;
  const std::span<const uint32_t> a = parts_.at(less);
  const std::span<const uint32_t> b = parts_.at(more);
  constexpr uint32_t kTops = 0x80808080;  // of bytes below 128: borrowed from where one is less
  for (size_t i = 0; i < behind_words(); ++i) {
    if ((((a[i] | kTops) - b[i]) & kTops) != kTops) return false;
  }
  const size_t words = std::min(a.size() - behind_words(), matter.size());
  for (size_t i = 0; i < words; ++i) {
    const uint32_t known = behind_words() + i < b.size() ? b[behind_words() + i] : 0;
    if ((a[behind_words() + i] & matter[i] & ~known) != 0) return false;
  }
  return true;
}

bool MemoryModel::covers(std::span<const uint32_t> one, std::span<const uint32_t> other) const {
  if (one.size() != other.size()) return false;
  const std::span<const uint32_t> matter = parts_.at(other[0]);
  const std::span<const uint32_t> matter_here = parts_.at(one[0]);
  for (size_t i = 0; i < matter.size(); ++i) {
    if ((matter[i] & ~(i < matter_here.size() ? matter_here[i] : 0)) != 0) return false;
  }
  for (size_t i = 1; i < one.size(); ++i) {
    if (one[i] == other[i]) continue;
    if (one[i] == kNoView || other[i] == kNoView) return false;
    const auto a = parts_.at(one[i]);
    const auto b = parts_.at(other[i]);
    if (i > actors_.size() ? !covers_word(a, b, matter) : !covers_eyes(a, b, matter)) return false;
  }
  return true;
}

bool MemoryModel::covers_eyes(std::span<const uint32_t> one, std::span<const uint32_t> other,
                              std::span<const uint32_t> matter) const {
  for (size_t i = 0; i < kEyes; ++i) {
    if (!within(one[i], other[i], matter)) return false;
  }
  return true;
}

// The other's stores are the newest of ours. Nobody slips in before its oldest one.
bool MemoryModel::covers_word(std::span<const uint32_t> one, std::span<const uint32_t> other,
                              std::span<const uint32_t> matter) const {
  if (one.size() < other.size()) return false;
  for (size_t at = 0; at < other.size(); at += kStoreWords) {
    const uint32_t any = at + kStoreWords == other.size() ? 1 : 0;
    if (one[at] != other[at] || (one[at + 1] | any) != (other[at + 1] | any)) return false;
    for (size_t i = at + 2; i < at + kStoreWords; ++i) {
      if (!within(one[i], other[i], matter)) return false;
    }
  }
  return true;
}

}  // namespace ringer::sim
