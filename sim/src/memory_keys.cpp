// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <sys/mman.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/sim/memory_keys.hpp>

namespace ringer::sim {

namespace {

void require_no_wrap(const MemoryRange& range) {
  if (range.start + range.bytes < range.start) {
    throw BackendError("register_memory: range wraps around");
  }
}

}  // namespace

uint32_t MemoryKeys::add(const MemoryRange& range) {
  require_no_wrap(range);
  uint32_t slot = static_cast<uint32_t>(entries_.size());
  if (free_.empty()) {
    if (slot >= (1u << 24)) throw BackendError("register_memory: out of memory keys");
    entries_.emplace_back();
  } else {
    slot = free_.back();
    free_.pop_back();
  }
  Entry& e = entries_[slot];
  ++e.variant;
  e.key = (slot << 8) | range.key_variant.value_or(e.variant);
  e.range = range;
  e.window = false;
  ++live_;
  return e.key;
}

uint32_t MemoryKeys::add_window(uint32_t protection_domain) {
  MemoryRange nothing;
  nothing.protection_domain = protection_domain;
  const uint32_t key = add(nothing);
  entry(key, "allocate_window").window = true;
  return key;
}

// What the NIC's page fault would ask of the kernel. Pages that are there but may not be touched so
// (PROT_NONE, read-only) must be refused: touching them would end this process.
bool MemoryKeys::page_in(uint8_t* at, const Want& want) {
  constexpr uint32_t kWrites = access::local_write | access::remote_write | access::remote_atomic;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = reinterpret_cast<uint64_t>(at) / page * page;
  const uint64_t end = reinterpret_cast<uint64_t>(at) + std::max<uint64_t>(want.bytes, 1);
  const uint64_t bytes = (end - first + page - 1) / page * page;
  static const bool can_populate = madvise(nullptr, 0, MADV_POPULATE_READ) == 0;
  if (can_populate) {
    const bool writes = (want.access & kWrites) != 0;
    return madvise(reinterpret_cast<void*>(first), bytes,
                   writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0;
  }
  // Before Linux 5.14 only what is not mapped at all can be told.
  std::vector<unsigned char> resident(bytes / page);
  return mincore(reinterpret_cast<void*>(first), bytes, resident.data()) == 0;
}

bool MemoryKeys::bind(uint32_t key, uint8_t low_byte, const MemoryRange& range, bool must_be_free) {
  Entry* e = window(key);
  if (e == nullptr || (must_be_free && e->range.bytes != 0)) return false;
  e->key = (e->key & ~0xffu) | low_byte;
  const uint32_t protection_domain = e->range.protection_domain;
  e->range = range;
  e->range.protection_domain = protection_domain;
  return true;
}

void MemoryKeys::invalidate(uint32_t key, uint32_t protection_domain) {
  const Entry* e = window(key);
  if (e == nullptr || e->range.protection_domain != protection_domain) return;
  bind(key, static_cast<uint8_t>(key), {}, false);
}

std::vector<uint32_t> MemoryKeys::unbind_windows_of(uint32_t key) {
  std::vector<uint32_t> unbound;
  for (const Entry& e : entries_) {
    if (e.key == kUnused || !e.window || e.range.parent != key) continue;
    unbound.push_back(e.key);
  }
  for (const uint32_t window : unbound) bind(window, static_cast<uint8_t>(window), {}, false);
  return unbound;
}

MemoryKeys::Entry* MemoryKeys::window(uint32_t key) {
  const uint32_t slot = key >> 8;
  if (slot >= entries_.size() || entries_[slot].key != key || !entries_[slot].window)
    return nullptr;
  return &entries_[slot];
}

void MemoryKeys::change(uint32_t key, const MemoryRange& range) {
  require_no_wrap(range);
  entry(key, "change_range").range = range;
}

// A window's low byte is its users' business; its owner knows it by the rest.
void MemoryKeys::remove(uint32_t key) {
  const uint32_t slot = key >> 8;
  const bool window = slot < entries_.size() && entries_[slot].window;
  entry(window ? entries_[slot].key : key, "deregister_memory").key = kUnused;
  free_.push_back(key >> 8);
  --live_;
}

MemoryKeys::Entry& MemoryKeys::entry(uint32_t key, const char* verb) {
  const uint32_t slot = key >> 8;
  if (slot >= entries_.size() || entries_[slot].key != key || key == kUnused) {
    throw BackendError(std::string(verb) + ": key " + std::to_string(key) + " is not registered");
  }
  return entries_[slot];
}

}  // namespace ringer::sim
