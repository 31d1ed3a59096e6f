// SPDX-License-Identifier: Apache-2.0
// One kernel for each thing whose machine code is looked at; expected.txt says what must be there.
#include <ringer/cuda_platform.cuh>
#include <ringer/cuda_warp.cuh>
#include <ringer/endpoint.hpp>
#include <ringer/ep/combine.hpp>
#include <ringer/ep/dispatch.hpp>

using namespace ringer;

namespace {
template <Sharing kSharing, Placement kPlacement,
          RecordOrder kRecord = RecordOrder::before_doorbell, RungBy kRungBy = RungBy::poster>
using Queue =
    SendQueue<CudaPlatform, mlx5::Wire,
              QueuePolicy<kSharing, kPlacement, TailDoorbell, TailSignal, kRecord, kRungBy>>;
using SharedQueue = Queue<Sharing::gpu, Placement::host>;
using GpuMemoryQueue = Queue<Sharing::gpu, Placement::gpu>;
using ExclusiveQueue = Queue<Sharing::exclusive, Placement::host>;
using TrailingQueue = Queue<Sharing::gpu, Placement::host, RecordOrder::trailing>;
using TrailingExclusive = Queue<Sharing::exclusive, Placement::host, RecordOrder::trailing>;
using ServedQueue =
    Queue<Sharing::gpu, Placement::host, RecordOrder::before_doorbell, RungBy::server>;
using ServedExclusive =
    Queue<Sharing::exclusive, Placement::host, RecordOrder::before_doorbell, RungBy::server>;
}  // namespace

extern "C" {

__global__ void reserve_shared(const __grid_constant__ DeviceQp qp, Reserved* out) {
  *out = SharedQueue(CudaPlatform{}, qp).reserve(1, {});
}

__global__ void credit_shared(const __grid_constant__ DeviceQp qp, uint64_t* out) {
  *out = SharedQueue(CudaPlatform{}, qp).completions().cons_idx();
}

__global__ void write_wqe(const __grid_constant__ DeviceQp qp, uint64_t index, LocalRef local,
                          RemoteRef remote) {
  SharedQueue(CudaPlatform{}, qp)
      .write(index, mlx5::Wire::make_write({index, qp.qpn}, local, remote, 64));
}

// Queues that have reserved before: it depends on that which way they publish.
__global__ void publish_shared(SharedQueue* queue, WqeRange range, Status* out) {
  *out = queue->publish(range, true, {});
}

__global__ void publish_shared_in_gpu_memory(GpuMemoryQueue* queue, WqeRange range, Status* out) {
  *out = queue->publish(range, true, {});
}

__global__ void publish_exclusive(const __grid_constant__ DeviceQp qp, WqeRange range,
                                  Status* out) {
  *out = ExclusiveQueue(CudaPlatform{}, qp).publish(range, true, {});
}

__global__ void publish_trailing(TrailingQueue* queue, WqeRange range, Status* out) {
  *out = queue->publish(range, true, {});
}

__global__ void publish_trailing_exclusive(const __grid_constant__ DeviceQp qp, WqeRange range,
                                           Status* out) {
  *out = TrailingExclusive(CudaPlatform{}, qp).publish(range, true, {});
}

__global__ void publish_served(const __grid_constant__ DeviceQp qp, WqeRange range, Status* out) {
  *out = ServedQueue(CudaPlatform{}, qp).publish(range, true, {});
}

__global__ void publish_served_exclusive(const __grid_constant__ DeviceQp qp, WqeRange range,
                                         Status* out) {
  *out = ServedExclusive(CudaPlatform{}, qp).publish(range, true, {});
}

__global__ void reserve_exclusive(const __grid_constant__ DeviceQp qp, Reserved* out) {
  *out = ExclusiveQueue(CudaPlatform{}, qp).reserve(1, {});
}

__global__ void poll_shared(const __grid_constant__ DeviceQp qp, Status* out) {
  *out = SharedQueue(CudaPlatform{}, qp).completions().poll();
}

__global__ void dispatch_send(const __grid_constant__ ep::DispatchArgs args) {
  ep::dispatch_send(CudaPlatform{}, CudaWarp{}, args);
}

__global__ void combine_send(const __grid_constant__ ep::CombineArgs args) {
  ep::combine_send(CudaPlatform{}, CudaWarp{}, args);
}

__global__ void combine_receive(const __grid_constant__ ep::CombineArgs args) {
  ep::combine_receive(CudaPlatform{}, CudaWarp{}, args);
}
}
