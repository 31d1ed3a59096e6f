// SPDX-License-Identifier: Apache-2.0
// One put and its signal from rank 0 to rank 1, on two software NICs.
#include <cstdio>
#include <cstring>
#include <vector>

#include <ringer/endpoint.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/soft/soft_backend.hpp>

namespace {

constexpr size_t kDataBytes = 1024;
constexpr size_t kFlagAt = kDataBytes;
constexpr uint64_t kTimeoutNs = 1'000'000'000;

/// A rank: its NIC, its registered window and its queue pair.
struct Rank {
  Rank(ringer::Backend& backend, uint32_t number)
      : window(kDataBytes / 8 + 1),
        nic(backend.open_nic(number)),
        region(nic->register_memory(window.data(), window.size() * 8, ringer::access::all)),
        qp(nic->create_queue_pair({})) {}

  uint64_t at(size_t offset) const { return reinterpret_cast<uint64_t>(window.data()) + offset; }

  std::vector<uint64_t> window;
  std::unique_ptr<ringer::Nic> nic;
  std::unique_ptr<ringer::MemoryRegion> region;
  std::unique_ptr<ringer::QueuePair> qp;
};

/// What a kernel does. It knows the platform, a queue pair and two references; nothing of the NIC.
template <class P>
ringer::Status send_block(P p, const ringer::DeviceQp& qp, ringer::LocalRef from,
                          ringer::RemoteRef to, ringer::RemoteRef flag, uint64_t* sequence) {
  ringer::Endpoint<P> endpoint(p, qp);
  const ringer::WaitLimit limit = ringer::limit_after(p, kTimeoutNs);
  // The put neither asks for a completion nor rings; the signal behind it does both, for both.
  const ringer::Posted put = endpoint.put(from, to, kDataBytes, {false, false}, limit);
  if (!put.status.ok()) return put.status;
  const ringer::Posted signal = endpoint.signal({flag, sequence}, {true, true}, limit);
  if (!signal.status.ok()) return signal.status;
  return endpoint.wait(signal.ticket, limit);
}

int run() {
  ringer::sim::Fabric fabric;
  ringer::soft::SoftBackend backend(fabric);
  Rank near(backend, 0), far(backend, 1);
  near.qp->connect(far.qp->address(), 1);
  far.qp->connect(near.qp->address(), 0);
  std::memset(near.window.data(), 0x5a, kDataBytes);

  const ringer::sim::NicThread engine(fabric);
  ringer::HostPlatform platform;
  const uint32_t rkey = far.region->rkey();
  uint64_t sequence = 0;
  const ringer::Status sent =
      send_block(platform, near.qp->device_view(), {near.at(0), near.region->lkey()},
                 {far.at(0), rkey}, {far.at(kFlagAt), rkey}, &sequence);
  const auto* flag = far.window.data() + kFlagAt / 8;
  const ringer::Status seen =
      ringer::wait_signal(platform, flag, 1, ringer::limit_after(platform, kTimeoutNs));
  const bool equal = std::memcmp(near.window.data(), far.window.data(), kDataBytes) == 0;
  std::printf("sent: %s, seen: %s, bytes %s, %llu violations\n", to_string(sent).c_str(),
              to_string(seen).c_str(), equal ? "equal" : "differ",
              static_cast<unsigned long long>(fabric.violation_count()));
  return sent.ok() && seen.ok() && equal && fabric.violation_count() == 0 ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "first_put: %s\n", e.what());
    return 1;
  }
}
