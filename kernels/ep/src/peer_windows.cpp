// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <thread>

#include <ringer/ep/peer_windows.hpp>
#include <ringer/host_platform.hpp>

namespace ringer::ep {

PeerWindows::PeerWindows(KernelMemory& memory, KernelArray<uint8_t>& window, uint32_t rank,
                         uint32_t ranks, uint64_t timeout_ns)
    : memory_(memory),
      window_(window),
      board_(host_memory(), ranks, MemoryUse::shared_window),
      rank_(rank),
      timeout_ns_(timeout_ns) {
  opened_.reserve(ranks);
  peers_.reserve(ranks);
}

PeerWindows::~PeerWindows() {
  close();
  constexpr std::chrono::microseconds kNap{100};
  const HostPlatform host;
  const uint64_t expires_ns = host.now_ns() + timeout_ns_;
  while (!std::all_of(peers_.begin(), peers_.end(), [this](uint32_t p) { return has_closed(p); })) {
    if (host.now_ns() >= expires_ns) {
      window_.abandon();
      return;
    }
    std::this_thread::sleep_for(kNap);
  }
}

PeerWindows::Handles PeerWindows::share() {
  return {memory_.share(window_.data()), host_memory().share(board_.data())};
}

uint8_t* PeerWindows::open(uint32_t peer, const Handles& handles) {
  void* board = host_memory().open(handles.board);
  void* window = nullptr;
  try {
    window = memory_.open(handles.window);
  } catch (const std::exception&) {
    host_memory().close(board);
    throw;
  }
  opened_.push_back({window, board});
  peers_.push_back(peer);
  return static_cast<uint8_t*>(window);
}

void PeerWindows::close() noexcept {
  const HostPlatform host;
  for (const Opened& opened : opened_) {
    memory_.close(opened.window);
    // Only now may the owner release it; pairs with has_closed(): acquire.
    host.store<Scope::sys, Order::release>(static_cast<uint64_t*>(opened.board) + rank_,
                                           uint64_t{1});
    host_memory().close(opened.board);
  }
  opened_.clear();
}

bool PeerWindows::has_closed(uint32_t peer) const {
  // pairs with close(): release
  return HostPlatform{}.load<Scope::sys, Order::acquire>(board_.data() + peer) != 0;
}

}  // namespace ringer::ep
