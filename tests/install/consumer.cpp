// SPDX-License-Identifier: Apache-2.0
// Uses what is installed, and only that: a put through the software NIC, and the EP layout.
#include <cstdio>
#include <cstring>
#include <numeric>
#include <vector>

#include <ringer/endpoint.hpp>
#include <ringer/ep/config.hpp>
#include <ringer/host_platform.hpp>
#include <ringer/soft/soft_backend.hpp>

int main() {
  constexpr uint64_t kTimeoutNs = 10'000'000'000;
  std::vector<uint8_t> source(4096), target(4096);
  std::iota(source.begin(), source.end(), uint8_t{1});

  ringer::sim::Fabric fabric;
  ringer::soft::SoftBackend backend(fabric);
  const auto near = backend.open_nic(0), far = backend.open_nic(1);
  const auto local = near->register_memory(source.data(), source.size(), ringer::access::all);
  const auto remote = far->register_memory(target.data(), target.size(), ringer::access::all);
  const auto near_qp = near->create_queue_pair({}), far_qp = far->create_queue_pair({});
  near_qp->connect(far_qp->address(), 1);
  far_qp->connect(near_qp->address(), 0);

  const ringer::sim::NicThread engine(fabric);
  ringer::HostPlatform platform;
  const ringer::DeviceQp view = near_qp->device_view();
  ringer::Endpoint<ringer::HostPlatform> endpoint(platform, view);
  const ringer::WaitLimit limit = ringer::limit_after(platform, kTimeoutNs);
  const ringer::Posted put = endpoint.put(
      {reinterpret_cast<uint64_t>(source.data()), local->lkey()},
      {reinterpret_cast<uint64_t>(target.data()), remote->rkey()}, source.size(), {}, limit);
  const ringer::Status done = put.status.ok() ? endpoint.wait(put.ticket, limit) : put.status;
  if (!done.ok() || source != target) {
    std::printf("consumer: %s, bytes %s\n", to_string(done).c_str(),
                source == target ? "equal" : "differ");
    return 1;
  }
  return ringer::ep::make_layout({}).window_bytes > 0 ? 0 : 1;
}
