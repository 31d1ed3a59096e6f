// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include <cuda.h>

#include <ringer/cuda/check.cuh>
#include <ringer/cuda/cuda_memory.hpp>

namespace ringer::cuda {

namespace {

// Exported memory goes by pages of this size: nothing else may share one with a window.
constexpr size_t kExportedPage = size_t{2} << 20;

/// Makes `device` current for a scope.
class DeviceScope {
 public:
  explicit DeviceScope(int device) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    check(cudaSetDevice(device), "cudaSetDevice");
  }
  ~DeviceScope() { cudaSetDevice(before_); }
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int before_ = 0;
};

class CudaMemory : public KernelMemory {
 public:
  CudaMemory(int device, WindowPlacement windows) : device_(device), windows_(windows) {
    const DeviceScope scope(device_);
    // A stream that waits for no kernel: copies must get through while one spins.
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    enable_peers();
  }
  ~CudaMemory() override { cudaStreamDestroy(stream_); }
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  void* allocate(size_t bytes, MemoryUse use) override {
    const DeviceScope scope(device_);
    void* at = nullptr;
    if (on_gpu(use)) {
      if (use == MemoryUse::shared_window) {
        bytes = (bytes + kExportedPage - 1) / kExportedPage * kExportedPage;
      }
      check(cudaMalloc(&at, bytes), "cudaMalloc");
      check(cudaMemsetAsync(at, 0, bytes, stream_), "cudaMemsetAsync");
      check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    } else {
      check(cudaHostAlloc(&at, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
            "cudaHostAlloc");
      std::memset(at, 0, bytes);
    }
    return at;
  }

  void release(void* at, size_t /*bytes*/, MemoryUse use) noexcept override {
    if (on_gpu(use)) {
      cudaFree(at);
    } else {
      cudaFreeHost(at);
    }
  }

  void write(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  void read(void* to, const void* from, size_t bytes) override { copy(to, from, bytes); }
  bool host_reachable() const override { return false; }

  // The driver exports whole pages of the host; what stands beside the range is not registered.
  DmaBuf export_dmabuf(const void* at, size_t bytes) override {
    const DeviceScope scope(device_);
    cudaPointerAttributes facts;
    check(cudaPointerGetAttributes(&facts, at), "cudaPointerGetAttributes");
    if (facts.type != cudaMemoryTypeDevice) return {};  // pinned: NICs reach it by its address
    const ExportRange export_range = find_export_range();
    if (export_range == nullptr) throw BackendError("this CUDA driver exports no memory");
    const auto address = reinterpret_cast<uintptr_t>(at);
    const uintptr_t first = address / kHostPage * kHostPage;
    const uintptr_t end = (address + bytes + kHostPage - 1) / kHostPage * kHostPage;
    int fd = -1;
    const CUresult error =
        export_range(&fd, first, end - first, CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0);
    if (error != CUDA_SUCCESS) {
      throw BackendError("cuMemGetHandleForAddressRange: CUDA error " + std::to_string(error));
    }
    return {fd, address - first};
  }

  // Not the host's own domain: neither kind opens the other's windows.
  uint64_t sharing_domain() const override {
    return windows_ == WindowPlacement::gpu ? host_identity() ^ kCudaDomain : 0;
  }

  WindowHandle share(void* window) override {
    if (windows_ != WindowPlacement::gpu) {
      throw BackendError("share: other processes cannot open windows in pinned host memory");
    }
    const DeviceScope scope(device_);
    // Names the whole allocation, which begins at `window`: each window has its own.
    cudaIpcMemHandle_t exported;
    check(cudaIpcGetMemHandle(&exported, window), "cudaIpcGetMemHandle");
    WindowHandle handle{};
    static_assert(sizeof(exported) <= sizeof(handle));
    std::memcpy(handle.bytes.data(), &exported, sizeof(exported));
    return handle;
  }

  void* open(const WindowHandle& handle) override {
    const DeviceScope scope(device_);
    cudaIpcMemHandle_t exported;
    std::memcpy(&exported, handle.bytes.data(), sizeof(exported));
    void* opened = nullptr;
    const cudaError_t error =
        cudaIpcOpenMemHandle(&opened, exported, cudaIpcMemLazyEnablePeerAccess);
    if (error != cudaSuccess) {
      throw BackendError("cudaIpcOpenMemHandle on GPU " + std::to_string(device_) + ": " +
                         cudaGetErrorString(error) +
                         " (is there peer access to the GPU that the window is on?)");
    }
    return opened;
  }

  void close(void* opened) noexcept override {
    int before = 0;
    cudaGetDevice(&before);
    cudaSetDevice(device_);
    cudaIpcCloseMemHandle(opened);
    cudaSetDevice(before);
  }

  // A NIC's registers are I/O memory, which the driver maps only where it was told that it may; an
  // emulated NIC's are plain memory, which it must not be told to be I/O.
  void* map_registers(void* page, size_t bytes) override {
    const DeviceScope scope(device_);
    constexpr unsigned kFlags = cudaHostRegisterPortable | cudaHostRegisterMapped;
    cudaError_t error = cudaHostRegister(page, bytes, kFlags | cudaHostRegisterIoMemory);
    if (error == cudaErrorInvalidValue) {
      cudaGetLastError();
      error = cudaHostRegister(page, bytes, kFlags);
    }
    check(error, "cudaHostRegister of a NIC's registers (PeerMappingOverride=1 lets the driver)");
    void* mapped = nullptr;
    check(cudaHostGetDevicePointer(&mapped, page, 0), "cudaHostGetDevicePointer");
    return mapped;
  }

  void unmap_registers(void* page) noexcept override {
    if (cudaHostUnregister(page) != cudaSuccess) cudaGetLastError();
  }

 private:
  using ExportRange = CUresult (*)(void*, CUdeviceptr, size_t, CUmemRangeHandleType,
                                   unsigned long long);
  static constexpr size_t kHostPage = 4096;

  // Part of the driver, which is not linked with. Null: it is too old.
  static ExportRange find_export_range() {
    constexpr const char* kName = "cuMemGetHandleForAddressRange";
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result;
#if CUDART_VERSION >= 12050
    constexpr unsigned kSince = 11070;
    const cudaError_t error =
        cudaGetDriverEntryPointByVersion(kName, &found, kSince, cudaEnableDefault, &result);
#else
    const cudaError_t error = cudaGetDriverEntryPoint(kName, &found, cudaEnableDefault, &result);
#endif
    if (error != cudaSuccess || result != cudaDriverEntryPointSuccess) {
      cudaGetLastError();
      return nullptr;
    }
    return reinterpret_cast<ExportRange>(found);
  }

  static constexpr uint64_t kCudaDomain = 0x63756461;  // "cuda"

  bool on_gpu(MemoryUse use) const {
    const bool window = use == MemoryUse::window || use == MemoryUse::shared_window;
    return use == MemoryUse::kernel || use == MemoryUse::near_queue ||
           (window && windows_ == WindowPlacement::gpu);
  }

  void copy(void* to, const void* from, size_t bytes) {
    const DeviceScope scope(device_);
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  }

  void enable_peers() const {
    int devices = 0;
    check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
    for (int peer = 0; peer < devices; ++peer) {
      int reachable = 0;
      if (peer == device_) continue;
      check(cudaDeviceCanAccessPeer(&reachable, device_, peer), "cudaDeviceCanAccessPeer");
      if (reachable == 0) continue;
      const cudaError_t error = cudaDeviceEnablePeerAccess(peer, 0);
      if (error == cudaErrorPeerAccessAlreadyEnabled) {
        cudaGetLastError();  // not ours to report
      } else {
        check(error, "cudaDeviceEnablePeerAccess");
      }
    }
  }

  int device_;
  WindowPlacement windows_;
  cudaStream_t stream_ = nullptr;
};

}  // namespace

uint32_t count_gpus(const char** trouble) {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices > 0) return static_cast<uint32_t>(devices);
  *trouble = error == cudaSuccess ? "no CUDA device" : cudaGetErrorString(error);
  return 0;
}

std::unique_ptr<KernelMemory> make_cuda_memory(int device, WindowPlacement windows) {
  return std::make_unique<CudaMemory>(device, windows);
}

}  // namespace ringer::cuda
