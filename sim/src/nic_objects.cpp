// SPDX-License-Identifier: Apache-2.0
#include "nic_objects.hpp"

#include <algorithm>
#include <cstring>

#include "nic_move.hpp"

namespace ringer::sim {

namespace {

constexpr uint32_t kSolicitedOnly = 1u << 24;  // of an arm request
constexpr uint32_t kEntryBytes = sizeof(mlx5::DataSeg);

}  // namespace

// The next CQE after an arm request is an event. Whoever arms polls once more before he waits:
// either he sees our CQE, or we see his request; pairs with the barrier in his arm call.
void NicCompletionQueue::signal(bool solicited) {
  if (events == nullptr) return;
  std::atomic_thread_fence(std::memory_order_seq_cst);
  uint32_t raw = arm_word().load(std::memory_order_acquire);
  if (raw == kUnarmed) return;
  if ((Be32{raw}.value() & kSolicitedOnly) != 0 && !solicited) return;
  if (arm_word().compare_exchange_strong(raw, kUnarmed, std::memory_order_acq_rel)) {
    events->completion(cookie);
  } else {
    signal(solicited);  // armed again meanwhile
  }
}

NicReceiveQueue::Taken NicReceiveQueue::take() {
  const uint64_t index = ring.linked ? next : taken;
  const uint8_t* wqe = ring.wqes + size_t{slot_of(index, ring.count)} * ring.stride;
  ++taken;
  if (!ring.linked) return {index, wqe, ring.stride / kEntryBytes};
  Be16 following;
  std::memcpy(&following, wqe + 2, sizeof(following));  // mlx5dv next_wqe_index
  next = following.value();
  if (limit != 0 && left() < limit) {
    limit = 0;
    if (events != nullptr) events->async(AsyncEvent::srq_limit_reached, cookie);
  }
  return {index, wqe + kEntryBytes, ring.stride / kEntryBytes - 1};
}

template <class Copy>
void PieceCursor::advance(uint64_t bytes, Copy&& copy) {
  while (bytes != 0 && at < count) {
    const auto part = static_cast<uint32_t>(std::min<uint64_t>(bytes, pieces[at].bytes - offset));
    copy(pieces[at].address + offset, part);
    offset += part;
    bytes -= part;
    if (offset == pieces[at].bytes) {
      offset = 0;
      ++at;
    }
  }
}

void PieceCursor::copy_to(uint8_t* to, uint64_t bytes) {
  advance(bytes, [&](const uint8_t* from, uint32_t part) {
    move_bytes(to, from, part);
    to += part;
  });
}

void PieceCursor::copy_from(const uint8_t* from, uint64_t bytes) {
  advance(bytes, [&](uint8_t* to, uint32_t part) {
    move_bytes(to, from, part);
    from += part;
  });
}

void PieceCursor::skip(uint64_t bytes) {
  advance(bytes, [](uint8_t*, uint32_t) {});
}

}  // namespace ringer::sim
