// SPDX-License-Identifier: Apache-2.0
#include <ringer/control_plane.hpp>
#include <ringer/sim/memory_keys.hpp>

namespace ringer::sim {

uint32_t MemoryKeys::add(uint64_t address, uint64_t bytes, uint32_t access) {
  if (address + bytes < address) throw BackendError("register_memory: range wraps around");
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
  e.key = (slot << 8) | e.variant;
  e.access = access;
  e.start = address;
  e.bytes = bytes;
  ++live_;
  return e.key;
}

void MemoryKeys::remove(uint32_t key) {
  const uint32_t slot = key >> 8;
  if (slot >= entries_.size() || entries_[slot].key != key || key == kUnused) {
    throw BackendError("deregister_memory: key " + std::to_string(key) + " is not registered");
  }
  entries_[slot].key = kUnused;
  free_.push_back(slot);
  --live_;
}

}  // namespace ringer::sim
