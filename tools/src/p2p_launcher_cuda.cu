// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <ringer/control_plane.hpp>
#include <ringer/cuda/check.cuh>
#include <ringer/cuda/cuda_memory.hpp>

#include "p2p_launcher.hpp"

namespace ringer::tools {

namespace {

class CudaP2pLauncher : public P2pLauncher {
 public:
  CudaP2pLauncher() {
    const char* trouble = "";
    if (cuda::count_gpus(&trouble) == 0) throw BackendError(std::string("device cuda: ") + trouble);
    memory_ = cuda::make_cuda_memory(0, cuda::WindowPlacement::pinned_host);
    cuda::check(cudaSetDevice(0), "cudaSetDevice");
    cudaStream_t stream = nullptr;
    cuda::check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    stream_.reset(stream);
  }

  KernelMemory& memory() override { return *memory_; }

  void post(const p2p::PostArgs& args, const p2p::PolicyChoice& policy,
            const p2p::PostShape& shape) override {
    p2p::launch_post(args, policy, shape, stream_.get());
    cuda::check(cudaStreamSynchronize(stream_.get()), "post");
  }

  void ping_pong(const p2p::PingPongArgs& args, RecordOrder record) override {
    p2p::launch_ping_pong(args, record, stream_.get());
    cuda::check(cudaStreamSynchronize(stream_.get()), "ping_pong");
  }

 private:
  std::unique_ptr<KernelMemory> memory_;
  std::unique_ptr<CUstream_st, decltype(&cudaStreamDestroy)> stream_{nullptr, &cudaStreamDestroy};
};

}  // namespace

std::unique_ptr<P2pLauncher> make_cuda_p2p_launcher() {
  return std::make_unique<CudaP2pLauncher>();
}

}  // namespace ringer::tools
