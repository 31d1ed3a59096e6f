// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>
#include <ringer/sim/packet_capture.hpp>

#include "roce_frame.hpp"

namespace ringer::sim {

namespace {

// Blocks of pcapng (draft-ietf-opsawg-pcapng), in this machine's byte order as the first one says.
class Block {
 public:
  explicit Block(uint32_t type) { put(type).put(uint32_t{0}); }
  template <class T>
  Block& put(T value) {
    return put_bytes(&value, sizeof(value));
  }
  Block& put_bytes(const void* data, size_t count) {
    const auto* at = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), at, at + count);
    bytes_.resize((bytes_.size() + 3) / 4 * 4);
    return *this;
  }
  const std::vector<uint8_t>& finish() {
    const auto total = static_cast<uint32_t>(bytes_.size() + sizeof(uint32_t));
    std::memcpy(bytes_.data() + sizeof(uint32_t), &total, sizeof(total));
    put(total);
    return bytes_;
  }

 private:
  std::vector<uint8_t> bytes_;
};

constexpr uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr uint32_t kInterface = 1;
constexpr uint32_t kEnhancedPacket = 6;

}  // namespace

void begin_capture(const std::string& path) {
  constexpr uint32_t kByteOrder = 0x1a2b3c4d;
  constexpr uint32_t kVersion = 1;  // 1.0, minor number in the upper half
  constexpr uint32_t kEthernet = 1;
  constexpr uint32_t kWholeFrames = 0;
  constexpr uint32_t kResolution = 9;  // an option; its value: nanoseconds
  constexpr uint8_t kNanoseconds = 9;
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  const auto write = [&](Block block) {
    const auto& bytes = block.finish();
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  Block section(kSectionHeader);
  section.put(kByteOrder).put(kVersion).put(~uint64_t{0});
  write(section);
  Block interface(kInterface);
  interface.put(kEthernet).put(kWholeFrames);
  interface.put(kResolution | 1u << 16).put_bytes(&kNanoseconds, 1).put(uint32_t{0});
  write(interface);
  file.close();
  if (!file) throw BackendError("capture: cannot write '" + path + "'");
}

PacketCapture::PacketCapture(const char* path)
    : file_(
          static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CLOEXEC))) {}

PacketCapture::~PacketCapture() {
  if (file_ >= 0) syscall(SYS_close, file_);
}

// One call a packet: those of other processes come before it or behind it, never between.
void PacketCapture::write(const uint8_t* packet) {
  const std::vector<uint8_t> frame = roce_frame(packet);
  if (file_ < 0 || frame.empty()) return;
  const auto now = static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                             std::chrono::system_clock::now().time_since_epoch())
                                             .count());
  const auto size = static_cast<uint32_t>(frame.size());
  Block block(kEnhancedPacket);
  block.put(uint32_t{0}).put(static_cast<uint32_t>(now >> 32)).put(static_cast<uint32_t>(now));
  block.put(size).put(size).put_bytes(frame.data(), frame.size());
  const auto& bytes = block.finish();
  if (syscall(SYS_write, file_, bytes.data(), bytes.size()) == static_cast<long>(bytes.size())) {
    return;
  }
  std::fprintf(stderr, "ringer: the capture ends before its time: %s\n", std::strerror(errno));
  syscall(SYS_close, file_);
  file_ = -1;
}

}  // namespace ringer::sim
