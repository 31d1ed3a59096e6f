// SPDX-License-Identifier: Apache-2.0
// Where kernels run, as far as memory goes: what they, the NICs and the host can reach.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>

namespace ringer {

/// What a piece of memory is for; a place for kernels decides by it where to put it.
enum class MemoryUse : uint32_t {
  window,         ///< payload and flags: written by peers and NICs, read by this rank's kernels
  shared_window,  ///< a window that other processes may open
  queue,          ///< rings, records, completion queues, doorbells: of kernels, NIC and host
  near_queue,     ///< the same as near to the kernels as can be: the host uses read() and write()
  kernel,         ///< touched by this rank's kernels only, while they run
};

/// By what another process opens a shared window. Plain bytes; what they mean is the business of
/// the kind of memory that they come from.
struct WindowHandle {
  std::array<std::byte, 64> bytes;
};

/// Where a NIC finds memory that the host does not reach, as a dma-buf.
struct DmaBuf {
  int fd = -1;          ///< of whoever asked, who closes it; -1: there is none
  uint64_t offset = 0;  ///< of the range in it
};

/// Allocates memory for one rank's kernels. Not on the way of a put; throws BackendError.
class KernelMemory {
 public:
  virtual ~KernelMemory() = default;
  /// Zeroed, aligned to a page.
  virtual void* allocate(size_t bytes, MemoryUse use) = 0;
  virtual void release(void* at, size_t bytes, MemoryUse use) noexcept = 0;
  /// Copies from the host to kernel memory, and back. Kernels may be running.
  virtual void write(void* to, const void* from, size_t bytes) = 0;
  virtual void read(void* to, const void* from, size_t bytes) = 0;
  /// True if the host may use all of it by its address.
  virtual bool host_reachable() const = 0;

  /// The dma-buf that holds `bytes` at `at`; none where a NIC reaches it by its address. Errors:
  /// BackendError if the driver cannot export it.
  virtual DmaBuf export_dmabuf(const void* at, size_t bytes);

  /// Memories with the same domain, unless it is 0, can open each other's shared windows from
  /// different processes.
  virtual uint64_t sharing_domain() const { return 0; }
  /// The handle of an allocated shared_window. Errors: BackendError, if nobody could open it.
  virtual WindowHandle share(void* window);
  /// Maps the window of another process for this memory's kernels. It must not be released there
  /// before it is closed here. Errors: BackendError.
  virtual void* open(const WindowHandle& handle);
  virtual void close(void* opened) noexcept;

  /// Lets kernels store to a NIC's registers that this process has mapped at `page`; returns the
  /// address that they know them by. Errors: BackendError where the machine does not allow it.
  virtual void* map_registers(void* page, size_t bytes);
  virtual void unmap_registers(void* page) noexcept;
};

/// Hash of what processes must have in common to open each other's memory: the running system, the
/// process namespace and the user. Never 0.
uint64_t host_identity();

/// The host's own memory: kernels are fibers or threads of this process.
KernelMemory& host_memory();

/// An array in kernel memory. Its elements are all zero bytes at first.
template <class T>
class KernelArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  KernelArray() = default;
  KernelArray(KernelMemory& memory, size_t count, MemoryUse use = MemoryUse::kernel)
      : memory_(&memory), count_(count), use_(use) {
    if (count != 0) data_ = static_cast<T*>(memory.allocate(count * sizeof(T), use));
  }
  ~KernelArray() {
    if (data_ != nullptr) memory_->release(data_, count_ * sizeof(T), use_);
  }
  KernelArray(KernelArray&& other) noexcept { swap(other); }
  KernelArray& operator=(KernelArray&& other) noexcept {
    swap(other);
    return *this;
  }

  /// The address that kernels know it by.
  T* data() const { return data_; }
  size_t size() const { return count_; }
  /// Leaves the memory to the end of the process: somebody may still write there.
  void abandon() { data_ = nullptr; }
  void write(std::span<const T> values, size_t first = 0) {
    if (!values.empty()) memory_->write(data_ + first, values.data(), values.size_bytes());
  }
  void read(std::span<T> values, size_t first = 0) const {
    if (!values.empty()) memory_->read(values.data(), data_ + first, values.size_bytes());
  }

 private:
  void swap(KernelArray& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(use_, other.use_);
  }

  KernelMemory* memory_ = nullptr;
  T* data_ = nullptr;
  size_t count_ = 0;
  MemoryUse use_ = MemoryUse::kernel;
};

}  // namespace ringer
