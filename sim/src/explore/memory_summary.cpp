// SPDX-License-Identifier: Apache-2.0
// When two memories are the same, or one can do all that another one can: what nobody can see any
// more, and what everybody knows, is left out, and ranks count only in relation to each other.
#include <algorithm>
#include <stdexcept>

#include <ringer/sim/explore/digest.hpp>
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

namespace {

// A byte for each location.
constexpr uint32_t kMaxStores = 127;
// Whether no byte of `a`, all of them below 128, is less than the one of `b`: none has to borrow.
bool none_is_less(uint64_t a, uint64_t b) {
  constexpr uint64_t kTops = 0x8080808080808080;
  return (((a | kTops) - b) & kTops) == kTops;
}

uint64_t word_at(const uint32_t* halves, size_t i) {
  return halves[2 * i] | uint64_t{halves[2 * i + 1]} << 32;
}

uint32_t sum_of_bytes(uint64_t word) {
  const uint64_t sums = (word & 0x00ff00ff00ff00ff) + (word >> 8 & 0x00ff00ff00ff00ff);
  return static_cast<uint32_t>(sums * 0x0001000100010001 >> 48);
}

}  // namespace

void MemoryModel::assume() {
  changed();
  assumed_ = use_;
  use_grown_ = false;
  hold_locations(location_at_.size());
  hold_cells(static_cast<uint32_t>(use_.cells.size()));
  conflicts_.assign(actor_names_.size(), std::vector<uint64_t>(now_.facts.size()));
  overwrites_ = conflicts_;
  parts_ = Parts(now_.views.rank_blocks(), now_.facts.size());
  for (uint32_t cell = 0; cell < use_.cells.size(); ++cell) {
    const Facts facts = facts_of(cell);
    const uint64_t written = uint64_t{1} << facts.shift;
    const uint64_t reads = ((uint64_t{1} << kinds_of_facts()) - 2) << facts.shift;
    for (uint32_t a = 0; a < actor_names_.size(); ++a) {
      if ((use_.cells[cell].reads & bit_of(a)) != 0) conflicts_[a][facts.word] |= written;
      if ((use_.cells[cell].writes & bit_of(a)) == 0) continue;
      conflicts_[a][facts.word] |= reads;
      overwrites_[a][facts.word] |= written;
    }
  }
}

// Of the location's stores, the oldest that somebody who accesses it and still runs can return, or
// slip in before. Who never loads sees only where another store may follow.
uint32_t MemoryModel::oldest_in_reach(uint32_t location) const {
  const std::span<const Store> stores = stores_of(location);
  const auto last = static_cast<uint32_t>(stores.size() - 1);
  const MemoryUse::Word use = assumed_.word(location);
  uint32_t oldest = last;
  for (uint32_t a = 0; a < now_.actors.size(); ++a) {
    if (now_.actors[a].retired || ((use.loads | use.stores) & bit_of(a)) == 0) continue;
    uint32_t first = seen(a, location);
    if ((use.loads & bit_of(a)) == 0) {
      while (first < last && stores[first + 1].follows_read) ++first;
    }
    oldest = std::min(oldest, first);
  }
  return oldest;
}

void MemoryModel::forget_unseen() {
  uint32_t kept = 0;
  for (uint32_t l = 0; l < now_.locations.size(); ++l) {
    Location& location = now_.locations[l];
    const uint32_t oldest = location.stores > 1 ? oldest_in_reach(l) : 0;
    Store* const stores = &now_.stores[location.first];
    for (uint32_t i = 0; i < oldest; ++i) {
      for (ViewId& message : stores[i].message) now_.views.share(message, 0);
    }
    location.stores -= oldest;
    if (kept != location.first + oldest) {
      std::copy_n(stores + oldest, location.stores, &now_.stores[kept]);
    }
    location.first = kept;
    kept += location.stores;
    if (oldest == 0) continue;
    Ranks::Lanes& ranks = now_.first_ranks[l / Ranks::kLanes].lanes;
    ranks[l % Ranks::kLanes] = static_cast<int16_t>(first_rank(l) + oldest);
  }
  now_.stores.resize(kept);
}

// An access to plain data matters as long as somebody who conflicts with it does not know of it.
// Who writes must know all reads, and with one the write that it has read.
void MemoryModel::list_matter() {
  matter_.assign(parts_.fact_words, 0);
  for (uint32_t a = 0; a < now_.actors.size(); ++a) {
    if (now_.actors[a].retired) continue;
    const uint64_t* const known = now_.views.facts(now_.actors[a].view);
    for (size_t i = 0; i < matter_.size(); ++i) {
      const uint64_t conflicts = conflicts_[a][i] | (overwrites_[a][i] & ~now_.read_since[i]);
      matter_[i] |= now_.facts[i] & conflicts & ~known[i];
    }
  }
}

uint32_t MemoryModel::number_of(ViewId view) {
  uint32_t& number = view_numbers_[view];
  if (number == kNone) number = number_of(view, view);
  return number;
}

// Of two views together.
uint32_t MemoryModel::number_of(ViewId view, ViewId other) {
  using Bytes = int8_t __attribute__((vector_size(Ranks::kLanes)));
  const ViewPool& views = now_.views;
  tuple_.resize(parts_.rank_words + parts_.fact_words);
  for (size_t i = 0; i < parts_.rank_words; ++i) {
    const Ranks ranks = ViewPool::later(views.ranks(view)[i], views.ranks(other)[i]);
    const Ranks::Lanes beyond = ranks.lanes - now_.first_ranks[i].lanes;
    const Bytes bytes = __builtin_convertvector(beyond & (beyond > 0), Bytes);
    std::memcpy(&tuple_[i], &bytes, sizeof(bytes));
  }
  for (size_t i = 0; i < parts_.fact_words; ++i) {
    const uint64_t known = views.facts(view)[i] | views.facts(other)[i];
    tuple_[parts_.rank_words + i] = known & matter_[i];
  }
  const uint32_t number = parts_.views.number_of(tuple_.data());
  if (number == parts_.stores_seen.size()) {
    uint32_t seen = 0;
    for (size_t i = 0; i < parts_.rank_words; ++i) seen += sum_of_bytes(tuple_[i]);
    parts_.stores_seen.push_back(seen);
  }
  return number;
}

// What a store is to its readers besides what it tells them: its value; who is told what, for those
// who are near to one writer may be far from another one; and who reads it out of scope.
uint64_t MemoryModel::tag_of(const Store& store, const MemoryUse::Word& use, uint64_t readers,
                             const std::array<uint64_t, kLevels>& told) const {
  uint64_t tag = mix(store.value, 1);
  if (store.age == 0) return tag;
  const std::array<uint64_t, kLevels>& kin = kin_[store.writer];
  uint64_t near = 0;
  for (uint32_t level = 0; level + 1 < kLevels; ++level) {
    near |= readers & kin[level];
    if (told[level] != told[level + 1]) tag = mix(mix(tag, near), level);
  }
  for (uint32_t scope = 0; scope < kLevels; ++scope) {
    uint64_t outside = 0;
    for (uint32_t level = 0; level < kLevels; ++level) {
      const bool mutual = scope >= level && (!scopes_required_ || reaches(store.scope, level));
      if (!mutual) outside |= readers & use.reads[scope] & kin[level];
    }
    if (outside != 0) tag = mix(mix(tag, outside), kLevels + scope);
  }
  return tag;
}

// How many stores a view has not seen, of those that somebody may still read.
uint32_t MemoryModel::behind(uint32_t view) const {
  const size_t stores = now_.stores.size() - now_.locations.size();
  return static_cast<uint32_t>(stores) - parts_.stores_seen[view];
}

// What its stores are to those who may still read them: their tags, and what is taken over.
uint32_t MemoryModel::number_of_stores(uint32_t location, uint64_t running, Extent& extent) {
  const std::span<const Store> stores = stores_of(location);
  const MemoryUse::Word use = assumed_.word(location);
  const uint64_t readers = use.readers() & running;
  uint32_t number = kNone;
  std::array<uint64_t, 2> last_tags{};
  for (size_t i = 0; i < stores.size(); ++i) {
    const Store& store = stores[i];
    std::array<uint64_t, kLevels> told;
    uint64_t near = 0;
    for (uint32_t level = 0; level < kLevels; ++level) {
      near |= readers & kin_[store.writer][level];
      told[level] = near != 0 ? number_of(store.message[level]) : kNone;
    }
    extent.add(location, near != 0 ? behind(static_cast<uint32_t>(told[kLevels - 1])) + 1 : 1);
    const uint64_t follows = i > 0 && store.follows_read ? 1 : 0;
    last_tags = {last_tags[1], tag_of(store, use, readers, told) << 1};
    const std::array<uint64_t, kStoreWords> tuple{number | told[0] << 32, last_tags[1] | follows,
                                                  told[1] | told[2] << 32};
    number = parts_.stores.number_of(tuple.data());
  }
  if (stores.size() > 1 && location < Extent::kFields) {
    const uint64_t two = mix(last_tags[0], last_tags[1] | stores.back().follows_read);
    extent.last_two |= (1 + two % 15) << 4 * location;
  }
  return number;
}

uint32_t MemoryModel::number_of_eyes(const Actor& actor) {
  std::array<uint32_t, 2 * kEyesWords> eyes{number_of(actor.view)};
  for (uint32_t kin = 0; kin < kLevels; ++kin) {
    eyes[1 + kin] = number_of(actor.released[kin]);
    // A fence adds it to what is known.
    const ViewId pending = actor.pending[kin];
    eyes[1 + kLevels + kin] = pending == 0 ? eyes[0] : number_of(actor.view, pending);
  }
  std::array<uint64_t, kEyesWords> tuple;
  for (size_t i = 0; i < kEyesWords; ++i) tuple[i] = word_at(eyes.data(), i);
  return parts_.eyes.number_of(tuple.data());
}

void MemoryModel::count_stores(std::vector<uint32_t>& words) const {
  words.assign(2 * parts_.rank_words, 0);
  const auto locations =
      static_cast<uint32_t>(std::min(now_.locations.size(), Ranks::kLanes * parts_.rank_words));
  for (uint32_t l = 0; l < locations; ++l) {
    const uint32_t stores = now_.locations[l].stores;
    if (stores > kMaxStores) throw std::length_error("too many old stores to a shared word");
    words[l / 4] |= stores << 8 * (l % 4);
  }
}

void MemoryModel::summarise(Summary& summary) {
  if (summary.version == now_.version) return;
  // Words that nobody has accessed yet have what was there before the run, too.
  for (uint32_t l = 0; l < now_.locations.size(); ++l) {
    if (now_.locations[l].stores == 0) location(address_of(l), bytes_of_[l]);
  }
  forget_unseen();
  list_matter();
  view_numbers_.assign(now_.views.size(), kNone);
  std::vector<uint32_t>& words = summary.words;
  count_stores(words);
  words.push_back(parts_.facts.number_of(matter_.data()));
  summary.extent = {};
  uint64_t running = 0;
  for (uint32_t a = 0; a < now_.actors.size(); ++a) {
    const Actor& actor = now_.actors[a];
    if (!actor.retired) running |= bit_of(a);
    words.push_back(actor.retired ? kNone : number_of_eyes(actor));
    if (!actor.retired) summary.extent.add(Extent::kFields - 1 - a, behind(number_of(actor.view)));
  }
  for (uint32_t l = 0; l < now_.locations.size(); ++l) {
    words.push_back(number_of_stores(l, running, summary.extent));
  }
  summary.version = now_.version;
}

uint64_t MemoryModel::Summary::digest() const {
  return digest_bytes(words.data(), words.size() * sizeof(words[0]));
}

// Whether view `less` knows nothing that `more` does not, as far as it matters. Of each location
// the first memory may have older stores before those of the second one.
bool MemoryModel::within(uint32_t less, uint32_t more, const Pair& memories) const {
  if (less == more) return true;
  if (less == kNone || more == kNone) return false;
  const uint64_t* const a = parts_.views.at(less);
  const uint64_t* const b = parts_.views.at(more);
  for (size_t i = 0; i < parts_.rank_words; ++i) {
    const uint64_t older = word_at(memories.one, i) - word_at(memories.other, i);
    if (!none_is_less(b[i] + older, a[i])) return false;
  }
  for (size_t i = 0; i < parts_.fact_words; ++i) {
    const size_t at = parts_.rank_words + i;
    if ((a[at] & memories.matter[i] & ~b[at]) != 0) return false;
  }
  return true;
}

bool MemoryModel::covers(std::span<const uint32_t> one, std::span<const uint32_t> other) const {
  if (one.size() != other.size()) return false;
  for (size_t i = 0; i < parts_.rank_words; ++i) {
    if (!none_is_less(word_at(one.data(), i), word_at(other.data(), i))) return false;
  }
  size_t at = 2 * parts_.rank_words;
  const uint64_t* const matter_here = parts_.facts.at(one[at]);
  const Pair memories{one.data(), other.data(), parts_.facts.at(other[at])};
  for (size_t i = 0; i < parts_.fact_words; ++i) {
    if ((memories.matter[i] & ~matter_here[i]) != 0) return false;
  }
  const size_t words = ++at + actor_names_.size();
  for (; at < words; ++at) {
    if (one[at] != other[at] && !covers_eyes(one[at], other[at], memories)) return false;
  }
  for (; at < one.size(); ++at) {
    if (!covers_stores(one[at], other[at], memories)) return false;
  }
  return true;
}

bool MemoryModel::covers_eyes(uint32_t one, uint32_t other, const Pair& memories) const {
  if (one == kNone || other == kNone) return false;
  const uint64_t* const a = parts_.eyes.at(one);
  const uint64_t* const b = parts_.eyes.at(other);
  for (size_t i = 0; i < kEyesWords; ++i) {
    if (!within(static_cast<uint32_t>(a[i]), static_cast<uint32_t>(b[i]), memories) ||
        !within(static_cast<uint32_t>(a[i] >> 32), static_cast<uint32_t>(b[i] >> 32), memories)) {
      return false;
    }
  }
  return true;
}

// The other's stores are the newest of ours. Nobody slips in before its oldest one.
bool MemoryModel::covers_stores(uint32_t one, uint32_t other, const Pair& memories) const {
  while (one != other && other != kNone) {
    const uint64_t* const a = parts_.stores.at(one);
    const uint64_t* const b = parts_.stores.at(other);
    const uint64_t halves[][2] = {
        {a[0] >> 32, b[0] >> 32}, {a[2] & kNone, b[2] & kNone}, {a[2] >> 32, b[2] >> 32}};
    one = static_cast<uint32_t>(a[0]);
    other = static_cast<uint32_t>(b[0]);
    const uint64_t any = other == kNone ? 1 : 0;
    if ((a[1] | any) != (b[1] | any)) return false;
    for (const auto& [less, more] : halves) {
      if (!within(static_cast<uint32_t>(less), static_cast<uint32_t>(more), memories)) return false;
    }
  }
  return true;
}

}  // namespace ringer::sim
