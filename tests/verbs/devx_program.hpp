// SPDX-License-Identifier: Apache-2.0
// Queues made by firmware commands, as GPU stacks make them: everything that a WQE's way needs is
// memory of ours and a register, and no library posts or polls.
#pragma once

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "verbs_fixture.hpp"

namespace ringer::test {

/// A field as the programmer's manual names it: the word at byte `offset`, bits `high` to `low`.
struct PrmBits {
  uint32_t offset;
  uint32_t high;
  uint32_t low;
  constexpr PrmBits in(uint32_t base) const { return {base + offset, high, low}; }
};

/// A command or an answer.
template <size_t kBytes>
struct PrmRecord {
  uint8_t bytes[kBytes] = {};

  void set(PrmBits field, uint32_t value) {
    const uint32_t width = field.high - field.low + 1;
    REQUIRE((width == 32 || value >> width == 0));
    for (uint32_t i = 0; i < width; ++i) {  // bit 31 is the first byte's highest
      const uint32_t bit = field.low + i;
      uint8_t& byte = bytes[field.offset + 3 - bit / 8];
      const auto mask = static_cast<uint8_t>(1u << bit % 8);
      byte = static_cast<uint8_t>((value >> i & 1) != 0 ? byte | mask : byte & ~mask);
    }
  }
  void set64(uint32_t offset, uint64_t value) {
    for (uint32_t i = 0; i < 8; ++i)
      bytes[offset + i] = static_cast<uint8_t>(value >> (56 - 8 * i));
  }
  uint32_t get(PrmBits field) const {
    uint32_t word = 0;
    for (uint32_t i = 0; i < 4; ++i) word = word << 8 | bytes[field.offset + i];
    const uint32_t width = field.high - field.low + 1;
    return word >> field.low & (width == 32 ? ~0u : (1u << width) - 1);
  }
};

inline constexpr PrmBits kPrmOpcode = {0x00, 31, 16};
inline constexpr PrmBits kPrmOpMod = {0x04, 15, 0};
inline constexpr PrmBits kPrmNumber = {0x08, 23, 0};
inline constexpr PrmBits kPrmStatus = {0x00, 31, 24};

enum PrmOpcode : uint32_t {
  kQueryHcaCap = 0x100,
  kCreateMkey = 0x200,
  kCreateCq = 0x400,
  kCreateQp = 0x500,
  kRstToInit = 0x502,
  kInitToRtr = 0x503,
  kRtrToRts = 0x504,
  kToErr = 0x507,
  kToRst = 0x50a,
  kQueryQp = 0x50b,
};

/// States of a queue pair as the firmware numbers them.
enum PrmState : uint32_t { kRst = 0, kInit = 1, kRtr = 2, kRts = 3, kErr = 6 };

namespace prm_cqc {  // from byte 10h of CREATE_CQ
inline constexpr uint32_t kBase = 0x10;
inline constexpr PrmBits dbr_umem_valid = {0x00, 25, 25}, cqe_size = {0x00, 23, 21};
inline constexpr PrmBits collapsed = {0x00, 20, 20}, overrun_ignore = {0x00, 17, 17};
inline constexpr PrmBits dbr_umem = {0x04, 31, 0}, log_size = {0x0c, 28, 24};
inline constexpr PrmBits uar = {0x0c, 23, 0}, eqn = {0x14, 7, 0};
}  // namespace prm_cqc

namespace prm_qpc {  // from byte 18h of all that concerns queue pairs
inline constexpr uint32_t kBase = 0x18;
inline constexpr PrmBits state = {0x00, 31, 28}, st = {0x00, 23, 16}, pm_state = {0x00, 12, 11};
inline constexpr PrmBits pd = {0x04, 23, 0}, mtu = {0x08, 31, 29}, log_msg_max = {0x08, 28, 24};
inline constexpr PrmBits log_rq_size = {0x08, 22, 19}, log_rq_stride = {0x08, 18, 16};
inline constexpr PrmBits log_sq_size = {0x08, 14, 11}, uar = {0x0c, 23, 0};
inline constexpr PrmBits user_index = {0x10, 23, 0}, remote_qpn = {0x14, 23, 0};
inline constexpr PrmBits rlid = {0x1c, 15, 0}, ack_timeout = {0x20, 31, 27};
inline constexpr PrmBits src_addr_index = {0x20, 23, 16}, hop_limit = {0x20, 7, 0};
inline constexpr PrmBits rmac_high = {0x3c, 15, 0}, rmac_low = {0x40, 31, 0};
inline constexpr uint32_t kRgid = 0x28;
inline constexpr PrmBits port = {0x3c, 23, 16}, log_sra_max = {0x70, 23, 21};
inline constexpr PrmBits retry_count = {0x70, 18, 16}, rnr_retry = {0x70, 15, 13};
inline constexpr PrmBits next_send_psn = {0x78, 23, 0}, cqn_snd = {0x7c, 23, 0};
inline constexpr PrmBits log_rra_max = {0x90, 23, 21}, atomic_mode = {0x90, 19, 16};
inline constexpr PrmBits rre = {0x90, 15, 15}, rwe = {0x90, 14, 14}, rae = {0x90, 13, 13};
inline constexpr PrmBits min_rnr_nak = {0x94, 28, 24}, next_rcv_psn = {0x94, 23, 0};
inline constexpr PrmBits cqn_rcv = {0x9c, 23, 0}, rq_type = {0xac, 26, 24}, srqn = {0xac, 23, 0};
inline constexpr PrmBits dbr_umem_valid = {0xd0, 28, 28}, dbr_umem = {0xe4, 31, 0};
inline constexpr uint32_t kDbrAddress = 0xa0;
}  // namespace prm_qpc

using UmemHandle = Handle<mlx5dv_devx_umem>;
using ObjectHandle = Handle<mlx5dv_devx_obj>;

/// Page-aligned memory that the device knows as a umem.
struct DevxMemory {
  DevxMemory(ibv_context* context, size_t size)
      : bytes((size + 4095) / 4096 * 4096),
        data(static_cast<uint8_t*>(std::aligned_alloc(4096, bytes)), std::free) {
    REQUIRE(data != nullptr);
    std::memset(data.get(), 0, bytes);
    umem.reset(mlx5dv_devx_umem_reg(context, data.get(), bytes, IBV_ACCESS_LOCAL_WRITE));
    REQUIRE(umem != nullptr);
  }
  size_t bytes;
  std::unique_ptr<uint8_t, void (*)(void*)> data;
  UmemHandle umem{nullptr, mlx5dv_devx_umem_dereg};
};

/// The device with what DEVX programs ask of it first.
struct DevxDevice : VerbsDevice {
  explicit DevxDevice(uint32_t uar_type = MLX5DV_UAR_ALLOC_TYPE_BF) {
    uar.reset(mlx5dv_devx_alloc_uar(context.get(), uar_type));
    REQUIRE(uar != nullptr);
    REQUIRE(mlx5dv_devx_query_eqn(context.get(), 0, &eqn) == 0);
    mlx5dv_pd inside{};
    mlx5dv_obj objects{};
    objects.pd = {pd.get(), &inside};
    REQUIRE(mlx5dv_init_obj(&objects, MLX5DV_OBJ_PD) == 0);
    pdn = inside.pdn;
  }

  std::unique_ptr<mlx5dv_devx_uar, void (*)(mlx5dv_devx_uar*)> uar{nullptr, mlx5dv_devx_free_uar};
  uint32_t eqn = ~0u;
  uint32_t pdn = 0;
};

/// A completion queue in memory of ours. Collapsed: every CQE overwrites the first.
struct DevxCq {
  DevxCq(DevxDevice& device, uint32_t log_size, bool collapsed)
      : memory(device.context.get(), (size_t{64} << log_size) + kDbrGap), log_count(log_size) {
    std::memset(memory.data.get(), 0xff, size_t{64} << log_size);
    PrmRecord<0x60> in;
    PrmRecord<16> out;
    const auto cqc = [&](PrmBits field, uint32_t value) {
      in.set(field.in(prm_cqc::kBase), value);
    };
    in.set(kPrmOpcode, kCreateCq);
    cqc(prm_cqc::dbr_umem_valid, 1);
    cqc(prm_cqc::cqe_size, 0);
    cqc(prm_cqc::collapsed, collapsed ? 1 : 0);
    cqc(prm_cqc::overrun_ignore, collapsed ? 1 : 0);
    cqc(prm_cqc::dbr_umem, memory.umem->umem_id);
    cqc(prm_cqc::log_size, log_size);
    cqc(prm_cqc::uar, device.uar->page_id);
    cqc(prm_cqc::eqn, device.eqn);
    in.set64(prm_cqc::kBase + 0x38, size_t{64} << log_size);
    in.set64(0x50, 0);
    in.set({0x58, 31, 0}, memory.umem->umem_id);
    in.set({0x5c, 31, 31}, 1);
    object.reset(mlx5dv_devx_obj_create(device.context.get(), in.bytes, sizeof in.bytes, out.bytes,
                                        sizeof out.bytes));
    REQUIRE(object != nullptr);
    REQUIRE(out.get(kPrmStatus) == 0);
    number = out.get(kPrmNumber);
  }

  mlx5::Cqe* cqe(uint64_t index) const {
    return reinterpret_cast<mlx5::Cqe*>(memory.data.get()) + (index & ((1u << log_count) - 1));
  }
  mlx5::CqeTail tail(uint64_t index = 0) const {
    const Be32 word{std::atomic_ref(cqe(index)->tail.raw).load(std::memory_order_acquire)};
    return mlx5::CqeTail::of(word);
  }
  void consume(uint64_t consumer) const {
    auto* dbr = reinterpret_cast<Be32*>(memory.data.get() + (size_t{64} << log_count));
    std::atomic_ref(dbr->raw).store(mlx5::Wire::cq_dbr_value(consumer).raw,
                                    std::memory_order_release);
  }

  static constexpr size_t kDbrGap = 64;
  DevxMemory memory;
  uint32_t log_count;
  ObjectHandle object{nullptr, mlx5dv_devx_obj_destroy};
  uint32_t number = 0;
};

/// Looks until `holds`. Bounded: a device that does nothing fails the test.
template <class Condition>
void await(Condition holds) {
  for (uint64_t looks = 0; looks < 2'000'000'000; ++looks) {
    if (holds()) return;
    if (looks % 64 == 63) std::this_thread::yield();  // to the device, where cores are few
  }
  FAIL("the device has done nothing");
}

/// Where a queue pair receives. None at all, or the numbers of a shared queue and its completions.
struct DevxReceive {
  uint32_t srqn = 0;
  uint32_t cqn = 0;
};

/// A queue pair whose ring, record and register are used by hand.
struct DevxQp {
  using Answer = PrmRecord<0x110>;
  using Command = PrmRecord<0x110>;
  static constexpr uint32_t kUserIndex = 0x1234;

  DevxQp(DevxDevice& on, DevxCq& completions, uint32_t log_size, DevxReceive receive = {})
      : device(on),
        cq(completions),
        log_count(log_size),
        ring(on.context.get(), size_t{64} << log_size),
        record(on.context.get(), 64) {
    const Command in = creation(receive);
    PrmRecord<16> out;
    object.reset(mlx5dv_devx_obj_create(device.context.get(), in.bytes, sizeof in.bytes, out.bytes,
                                        sizeof out.bytes));
    REQUIRE(object != nullptr);
    REQUIRE(out.get(kPrmStatus) == 0);
    qpn = out.get(kPrmNumber);
  }

  Command creation(const DevxReceive& receive) const {
    constexpr uint32_t kShared = 1;
    constexpr uint32_t kNoReceiveQueue = 3;
    Command in;
    const auto qpc = [&](PrmBits field, uint32_t value) {
      in.set(field.in(prm_qpc::kBase), value);
    };
    in.set(kPrmOpcode, kCreateQp);
    qpc(prm_qpc::st, 0);
    qpc(prm_qpc::pm_state, 3);
    qpc(prm_qpc::pd, device.pdn);
    qpc(prm_qpc::uar, device.uar->page_id);
    qpc(prm_qpc::user_index, kUserIndex);
    qpc(prm_qpc::rq_type, receive.srqn != 0 ? kShared : kNoReceiveQueue);
    qpc(prm_qpc::srqn, receive.srqn);
    qpc(prm_qpc::log_sq_size, log_count);
    qpc(prm_qpc::cqn_snd, cq.number);
    qpc(prm_qpc::cqn_rcv, receive.cqn != 0 ? receive.cqn : cq.number);
    qpc(prm_qpc::dbr_umem_valid, 1);
    qpc(prm_qpc::dbr_umem, record.umem->umem_id);
    in.set64(prm_qpc::kBase + prm_qpc::kDbrAddress, 0);
    in.set64(0x100, 0);
    in.set({0x108, 31, 0}, ring.umem->umem_id);
    in.set({0x10c, 31, 31}, 1);
    return in;
  }

  /// What the library returned, and the firmware's status.
  std::pair<int, uint32_t> command(Command in, uint32_t opcode) const {
    PrmRecord<16> out;
    in.set(kPrmOpcode, opcode);
    in.set(kPrmNumber, qpn);
    const int result = mlx5dv_devx_obj_modify(object.get(), in.bytes, sizeof in.bytes, out.bytes,
                                              sizeof out.bytes);
    return {result, out.get(kPrmStatus)};
  }
  void modify(const Command& in, uint32_t opcode) const {
    const auto [result, status] = command(in, opcode);
    CAPTURE(opcode, status);
    REQUIRE(result == 0);
    REQUIRE(status == 0);
  }

  Answer query() const {
    PrmRecord<16> in;
    Answer out;
    in.set(kPrmOpcode, kQueryQp);
    in.set(kPrmNumber, qpn);
    REQUIRE(mlx5dv_devx_obj_query(object.get(), in.bytes, sizeof in.bytes, out.bytes,
                                  sizeof out.bytes) == 0);
    REQUIRE(out.get(kPrmStatus) == 0);
    return out;
  }
  uint32_t state() const { return query().get(prm_qpc::state.in(prm_qpc::kBase)); }

  /// To another one of the same device.
  void connect(uint32_t remote_qpn, uint32_t send_psn = 0, uint32_t receive_psn = 0) const {
    Command in;
    const auto qpc = [&](PrmBits field, uint32_t value) {
      in.set(field.in(prm_qpc::kBase), value);
    };
    qpc(prm_qpc::port, 1);
    qpc(prm_qpc::rwe, 1);
    qpc(prm_qpc::rre, 1);
    qpc(prm_qpc::rae, 1);
    qpc(prm_qpc::atomic_mode, 1);
    qpc(prm_qpc::pm_state, 3);
    modify(in, kRstToInit);
    qpc(prm_qpc::mtu, IBV_MTU_1024);
    qpc(prm_qpc::log_msg_max, 30);
    qpc(prm_qpc::remote_qpn, remote_qpn);
    qpc(prm_qpc::rlid, device.port.lid);
    if (device.ethernet()) {
      const MacAddress mac = device.mac();
      qpc(prm_qpc::rmac_high, static_cast<uint32_t>(mac[0] << 8 | mac[1]));
      qpc(prm_qpc::rmac_low, uint32_t{mac[2]} << 24 | uint32_t{mac[3]} << 16 |
                                 uint32_t{mac[4]} << 8 | uint32_t{mac[5]});
      qpc(prm_qpc::src_addr_index, static_cast<uint32_t>(device.gid_index()));
      qpc(prm_qpc::hop_limit, 64);
      std::memcpy(in.bytes + prm_qpc::kBase + prm_qpc::kRgid, device.gid.raw, 16);
    }
    qpc(prm_qpc::log_rra_max, 2);
    qpc(prm_qpc::min_rnr_nak, 1);
    qpc(prm_qpc::next_rcv_psn, receive_psn);
    modify(in, kInitToRtr);
    qpc(prm_qpc::log_sra_max, 2);
    qpc(prm_qpc::retry_count, 3);
    qpc(prm_qpc::rnr_retry, 3);
    qpc(prm_qpc::ack_timeout, 10);
    qpc(prm_qpc::next_send_psn, send_psn);
    modify(in, kRtrToRts);
  }

  mlx5::Wire::Head head(bool signaled = true) const {
    return {next, qpn, mlx5::Wire::signal_flags(signaled)};
  }
  /// Writes the next WQE; ring() tells the device.
  void put(const mlx5::Wire::Wqe& wqe) {
    uint8_t* slot = ring.data.get() + (next & ((1u << log_count) - 1)) * kWqebbBytes;
    std::memcpy(slot, wqe.bytes, size_t{wqe.segments} * 16);
    ++next;
  }
  void ring_doorbell() const {
    auto* dbr = reinterpret_cast<Be32*>(record.data.get()) + mlx5::Wire::kDbrSend;
    std::atomic_ref(dbr->raw).store(mlx5::Wire::dbr_value(next).raw, std::memory_order_release);
    std::atomic_ref(*static_cast<uint64_t*>(device.uar->reg_addr))
        .store(mlx5::Wire::doorbell_value(next, qpn), std::memory_order_release);
  }
  /// Everything posted so far has completed, by the collapsed CQE; or there was an error.
  void await_all() const {
    const auto last = static_cast<uint16_t>(next - 1);
    await([&] {
      const mlx5::CqeTail tail = cq.tail();
      return tail.is_error() || tail.wqe_counter == last;
    });
  }
  /// As the device after 2RST: nothing has ever been posted.
  void start_over() {
    next = 0;
    std::memset(ring.data.get(), 0, ring.bytes);
    std::memset(record.data.get(), 0, record.bytes);
    std::memset(static_cast<void*>(cq.cqe(0)), 0xff, sizeof(mlx5::Cqe));
  }

  DevxDevice& device;
  DevxCq& cq;
  uint32_t log_count;
  DevxMemory ring;
  DevxMemory record;
  ObjectHandle object{nullptr, mlx5dv_devx_obj_destroy};
  uint32_t qpn = 0;
  uint64_t next = 0;
};

/// Two queue pairs of one device, connected, each with a collapsed completion queue.
struct DevxPair {
  explicit DevxPair(uint32_t log_size = 4, uint32_t uar_type = MLX5DV_UAR_ALLOC_TYPE_BF)
      : device(uar_type),
        left_cq(device, 6, true),
        right_cq(device, 6, true),
        left(device, left_cq, log_size),
        right(device, right_cq, log_size) {
    connect();
  }
  void connect(uint32_t psn = 0) const {
    left.connect(right.qpn, psn, psn + 7);
    right.connect(left.qpn, psn + 7, psn);
  }
  LocalRef local(size_t offset) const { return {device.address(offset), device.mr->lkey}; }
  RemoteRef remote(size_t offset) const { return {device.address(offset), device.mr->rkey}; }

  DevxDevice device;
  DevxCq left_cq;
  DevxCq right_cq;
  DevxQp left;
  DevxQp right;
};

}  // namespace ringer::test
