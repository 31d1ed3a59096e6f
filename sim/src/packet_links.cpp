// SPDX-License-Identifier: Apache-2.0
#include "packet_links.hpp"

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <new>
#include <string>

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <ringer/control_plane.hpp>

#include "wire_packet.hpp"

namespace ringer::sim {

namespace {

constexpr int kRingSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr uint64_t kAskAgainNs = 1'000'000;  // whether somebody has come where nobody was

uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// In the abstract namespace: the kernel takes the name back when the process ends.
socklen_t address_of(uint32_t process, sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::string name = "ringer-" + std::to_string(getuid()) + "-" + std::to_string(process);
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
}

// Not close(), which a preloaded front-end has taken over and guards with locks of its own: this is
// called inside the gate, and they may be held by whoever waits for it. A test sees to it that the
// engine calls no such function.
void close_file(int fd) { syscall(SYS_close, fd); }

int new_socket() { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }

bool same_user(int fd) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) == 0 && peer.uid == getuid();
}

PacketRing* map_ring(int memory) {
  // Whoever has made it can no longer take pages away under us.
  const int seals = fcntl(memory, F_GET_SEALS);
  if (seals < 0 || (seals & kRingSeals) != kRingSeals) return nullptr;
  if (lseek(memory, 0, SEEK_END) != off_t{sizeof(PacketRing)}) return nullptr;
  void* at = mmap(nullptr, sizeof(PacketRing), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                  memory, 0);
  return at == MAP_FAILED ? nullptr : static_cast<PacketRing*>(at);
}

// One byte, and the ring's memory with it.
struct RingMessage {
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr header{};

  RingMessage() {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
  }
};

bool send_ring(int socket, int memory) {
  RingMessage message;
  cmsghdr* c = CMSG_FIRSTHDR(&message.header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &memory, sizeof(int));
  return sendmsg(socket, &message.header, MSG_NOSIGNAL) == 1;
}

// Null with errno EAGAIN: not there yet.
PacketRing* receive_ring(int socket) {
  RingMessage message;
  if (recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC) <= 0) return nullptr;
  errno = EPROTO;
  const cmsghdr* c = CMSG_FIRSTHDR(&message.header);
  if (c == nullptr || c->cmsg_type != SCM_RIGHTS) return nullptr;
  int memory;
  std::memcpy(&memory, CMSG_DATA(c), sizeof(int));
  PacketRing* ring = map_ring(memory);
  close_file(memory);
  return ring;
}

// Reads away what has woken us. False: the other end has gone.
bool still_there(int socket) {
  constexpr int kAtOnce = 64;  // who sends more without end is not waited for
  char bytes[16];
  for (int i = 0; i < kAtOnce; ++i) {
    const ssize_t n = recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n <= 0) return n < 0 && (errno == EAGAIN || errno == EINTR);
  }
  return true;
}

constexpr uint32_t padded(uint32_t bytes) { return (bytes + 15) & ~15u; }

}  // namespace

uint8_t* PacketRing::reserve(uint32_t bytes) {
  uint64_t begin = head.load(std::memory_order_relaxed);
  const uint64_t read = tail.load(std::memory_order_acquire);  // pairs with pop()
  const auto at = static_cast<uint32_t>(begin % kBytes);
  const uint32_t to_end = kBytes - at;
  if (padded(bytes) <= to_end) {
    return begin + padded(bytes) - read > kBytes ? nullptr : data + at;
  }
  if (begin + to_end + padded(bytes) - read > kBytes) return nullptr;
  std::memset(data + at, 0, sizeof(uint32_t));  // no packet: it goes on at the start
  head.store(begin + to_end, std::memory_order_release);
  return data;
}

void PacketRing::commit(uint32_t bytes) {
  // pairs with front()
  head.store(head.load(std::memory_order_relaxed) + padded(bytes), std::memory_order_release);
}

const uint8_t* PacketRing::front(uint32_t* bytes) {
  for (;;) {
    const uint64_t begin = tail.load(std::memory_order_relaxed);
    const uint64_t end = head.load(std::memory_order_acquire);  // pairs with commit()
    if (begin == end) return nullptr;
    if (end - begin > kBytes || end % 16 != 0) {
      tail.store(end, std::memory_order_release);  // no writer of ours: nothing in it is to be had
      return nullptr;
    }
    const auto at = static_cast<uint32_t>(begin % kBytes);
    std::memcpy(bytes, data + at, sizeof(*bytes));
    if (*bytes != 0 && *bytes <= kMaxPacketBytes && *bytes <= kBytes - at) return data + at;
    // The rest up to the end is empty; a length that is none makes all of it so.
    tail.store(*bytes == 0 ? begin + kBytes - at : end, std::memory_order_release);
  }
}

void PacketRing::pop() {
  uint32_t bytes;
  const uint64_t begin = tail.load(std::memory_order_relaxed);
  std::memcpy(&bytes, data + begin % kBytes, sizeof(bytes));
  tail.store(begin + padded(bytes), std::memory_order_release);
}

bool PacketRing::empty() const {
  return tail.load(std::memory_order_relaxed) == head.load(std::memory_order_acquire);
}

PacketLinks::PacketLinks()
    : loop_(std::make_unique<PacketRing>()),
      outgoing_(kMaxProcesses + 1),
      refused_ns_(kMaxProcesses + 1) {
  listener_ = new_socket();
  sockaddr_un address;
  for (own_ = 1; own_ <= kMaxProcesses; ++own_) {
    const socklen_t bytes = address_of(own_, address);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), bytes) == 0) break;
  }
  if (own_ > kMaxProcesses || listen(listener_, kMaxProcesses) != 0) {
    if (listener_ >= 0) close_file(listener_);
    throw BackendError("open device: " + std::to_string(kMaxProcesses) +
                       " processes of this user have emulated devices open, or no socket is left");
  }
  poll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  watch(listener_);
  watch(wake_fd_);
}

PacketLinks::~PacketLinks() { abandon(); }

void PacketLinks::abandon() {
  for (Link& link : outgoing_) close(link);
  for (Link& link : incoming_) close(link);
  incoming_.clear();
  for (int* fd : {&listener_, &wake_fd_, &poll_fd_}) {
    if (*fd >= 0) close_file(*fd);
    *fd = -1;
  }
}

void PacketLinks::close(Link& link) {
  if (link.ring != nullptr) munmap(link.ring, sizeof(PacketRing));
  if (link.socket >= 0) close_file(link.socket);
  link = {};
}

void PacketLinks::watch(int fd) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  event.data.fd = fd;
  epoll_ctl(poll_fd_, EPOLL_CTL_ADD, fd, &event);
}

bool PacketLinks::connect(uint32_t process) {
  Link link{new_socket(), nullptr};
  sockaddr_un address;
  const socklen_t bytes = address_of(process, address);
  if (::connect(link.socket, reinterpret_cast<sockaddr*>(&address), bytes) == 0 &&
      same_user(link.socket)) {
    const int memory = memfd_create("ringer-packets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (memory >= 0 && ftruncate(memory, sizeof(PacketRing)) == 0 &&
        fcntl(memory, F_ADD_SEALS, kRingSeals) == 0) {
      link.ring = map_ring(memory);
    }
    if (link.ring != nullptr && !send_ring(link.socket, memory)) close(link);
    if (memory >= 0) close_file(memory);
  }
  if (link.ring == nullptr) {
    close(link);
    return false;
  }
  watch(link.socket);
  outgoing_[process] = link;
  return true;
}

PacketLinks::Room PacketLinks::reserve(uint32_t process, uint32_t bytes, uint8_t** packet) {
  if (process == own_) {
    *packet = loop_->reserve(bytes);
    return *packet == nullptr ? Room::full : Room::ready;
  }
  if (process == 0 || process > kMaxProcesses) return Room::nobody;
  Link& link = outgoing_[process];
  if (link.ring == nullptr) {
    if (now_ns() - refused_ns_[process] < kAskAgainNs) return Room::nobody;
    if (!connect(process)) {
      refused_ns_[process] = now_ns();
      return Room::nobody;
    }
  }
  *packet = link.ring->reserve(bytes);
  return *packet == nullptr ? Room::full : Room::ready;
}

void PacketLinks::commit(uint32_t process, uint32_t bytes) {
  const Link& link = outgoing_[process];
  if (capture_) capture_->write((process == own_ ? *loop_ : *link.ring).reserved());
  if (process == own_) return loop_->commit(bytes);
  link.ring->commit(bytes);
  // Either the reader sees the packet before it sleeps, or we see that it does; pairs with
  // ask_to_be_woken().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (link.ring->sleeping.load(std::memory_order_relaxed) == 0) return;
  if (link.ring->sleeping.exchange(0, std::memory_order_relaxed) == 0) return;
  const char byte = 1;
  (void)!send(link.socket, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool PacketLinks::receive(uint32_t budget,
                          const std::function<void(const uint8_t*, uint32_t)>& take) {
  bool any = false;
  const auto drain = [&](PacketRing& ring) {
    uint32_t bytes;
    for (uint32_t n = 0; n < budget; ++n) {
      const uint8_t* packet = ring.front(&bytes);
      if (packet == nullptr) return;
      take(packet, bytes);
      ring.pop();
      any = true;
    }
  };
  drain(*loop_);
  for (size_t i = 0; i < incoming_.size(); ++i) {
    if (incoming_[i].ring != nullptr) drain(*incoming_[i].ring);
  }
  return any;
}

void PacketLinks::look_around(const std::function<void(uint32_t)>& gone) {
  for (;;) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) break;
    if (same_user(fd)) {
      incoming_.push_back({fd, nullptr});
      watch(fd);
    } else {
      close_file(fd);
    }
  }
  std::erase_if(incoming_, [](Link& link) {
    if (link.ring == nullptr) {
      link.ring = receive_ring(link.socket);
      if (link.ring == nullptr && errno != EAGAIN) close(link);
    } else if (!still_there(link.socket) && link.ring->empty()) {
      close(link);
    }
    return link.socket < 0;
  });
  for (uint32_t process = 0; process < outgoing_.size(); ++process) {
    Link& link = outgoing_[process];
    if (link.ring == nullptr || still_there(link.socket)) continue;
    close(link);
    gone(process);
  }
}

void PacketLinks::ask_to_be_woken() {
  for (const Link& link : incoming_) {
    if (link.ring != nullptr) link.ring->sleeping.store(1, std::memory_order_relaxed);
  }
  std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with commit()
}

bool PacketLinks::packets_waiting() const {
  if (!loop_->empty()) return true;
  for (const Link& link : incoming_) {
    if (link.ring != nullptr && !link.ring->empty()) return true;
  }
  return false;
}

bool PacketLinks::sleep(uint64_t timeout_ns) {
  pollfd any{poll_fd_, POLLIN, 0};
  const timespec timeout{static_cast<time_t>(timeout_ns / 1'000'000'000),
                         static_cast<long>(timeout_ns % 1'000'000'000)};
  if (ppoll(&any, 1, &timeout, nullptr) <= 0) return false;
  epoll_event events[16];
  while (epoll_wait(poll_fd_, events, 16, 0) == 16) continue;
  uint64_t count;
  (void)!read(wake_fd_, &count, sizeof(count));
  return true;
}

void PacketLinks::wake() {
  const uint64_t one = 1;
  (void)!write(wake_fd_, &one, sizeof(one));
}

}  // namespace ringer::sim
