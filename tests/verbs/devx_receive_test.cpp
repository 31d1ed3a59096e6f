// SPDX-License-Identifier: Apache-2.0
// Receive memory pools made by firmware commands, as UCX makes them: linked and cyclic.
#include "devx_program.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::Wire;

namespace {

constexpr uint32_t kCreateRmp = 0x90c;
constexpr uint32_t kLinkedList = 0;
constexpr uint32_t kCyclic = 1;

namespace prm_rmp {  // all of CREATE_RMP
inline constexpr PrmBits state = {0x20, 23, 20}, basic_cyclic = {0x24, 31, 31};
inline constexpr PrmBits wq_type = {0x50, 31, 28}, pd = {0x58, 23, 0};
inline constexpr PrmBits log_stride = {0x70, 19, 16}, log_size = {0x70, 4, 0};
inline constexpr PrmBits dbr_umem_valid = {0x74, 31, 31}, wq_umem_valid = {0x74, 30, 30};
inline constexpr PrmBits dbr_umem = {0x78, 31, 0}, wq_umem = {0x7c, 31, 0};
}  // namespace prm_rmp

using Command = PrmRecord<0x110>;

/// A pool of eight WQEs with one entry each.
struct ReceivePool {
  static constexpr uint32_t kLogSize = 3;

  ReceivePool(DevxDevice& on, uint32_t of_type)
      : device(on),
        type(of_type),
        log_stride(type == kLinkedList ? 5 : 4),
        ring(on.context.get(), 4096),
        record(on.context.get(), 4096) {
    const auto [made, answer] = create(command());
    object.reset(made);
    REQUIRE(object != nullptr);
    REQUIRE(answer.get(kPrmStatus) == 0);
    number = answer.get(kPrmNumber);
    if (type != kLinkedList) return;
    for (uint32_t i = 0; i < 1u << kLogSize; ++i) {
      const Be16 next = Be16::of(static_cast<uint16_t>((i + 1) & ((1u << kLogSize) - 1)));
      std::memcpy(slot(i) + 2, &next, sizeof next);
    }
  }

  Command command() const {
    Command in;
    in.set(kPrmOpcode, kCreateRmp);
    in.set(prm_rmp::state, 1);
    in.set(prm_rmp::basic_cyclic, type == kCyclic ? 1 : 0);
    in.set(prm_rmp::wq_type, type);
    in.set(prm_rmp::pd, device.pdn);
    in.set(prm_rmp::log_stride, log_stride);
    in.set(prm_rmp::log_size, kLogSize);
    in.set(prm_rmp::dbr_umem_valid, 1);
    in.set(prm_rmp::wq_umem_valid, 1);
    in.set(prm_rmp::dbr_umem, record.umem->umem_id);
    in.set(prm_rmp::wq_umem, ring.umem->umem_id);
    return in;
  }
  std::pair<mlx5dv_devx_obj*, PrmRecord<16>> create(const Command& in) const {
    PrmRecord<16> out;
    mlx5dv_devx_obj* made = mlx5dv_devx_obj_create(device.context.get(), in.bytes, sizeof in.bytes,
                                                   out.bytes, sizeof out.bytes);
    return {made, out};
  }

  uint8_t* slot(uint64_t index) const {
    return ring.data.get() + (index & ((1u << kLogSize) - 1)) * (size_t{1} << log_stride);
  }
  /// Hands over 64 bytes of the device's memory.
  void post(size_t offset) {
    const mlx5::DataSeg entry{Be32::of(64), Be32::of(device.mr->lkey),
                              Be64::of(device.address(offset))};
    std::memcpy(slot(posted) + (type == kLinkedList ? 16 : 0), &entry, sizeof entry);
    ++posted;
    auto* dbr = reinterpret_cast<Be32*>(record.data.get());
    std::atomic_ref(dbr->raw).store(Be32::of(posted).raw, std::memory_order_release);
  }

  DevxDevice& device;
  uint32_t type;
  uint32_t log_stride;
  DevxMemory ring;
  DevxMemory record;
  ObjectHandle object{nullptr, mlx5dv_devx_obj_destroy};
  uint32_t number = 0;
  uint32_t posted = 0;
};

Wire::Wqe send_of(const Wire::Head& head, const LocalRef& local, uint32_t bytes) {
  // A SEND is a WRITE that names no remote memory.
  Wire::Wqe wqe = Wire::make_write(head, local, {}, bytes);
  std::memmove(wqe.bytes + 16, wqe.bytes + 32, 16);
  wqe.segments = 2;
  constexpr size_t kOpcodeByte = 3, kCountByte = 7;
  wqe.bytes[kOpcodeByte] = 0x0a;
  wqe.bytes[kCountByte] = static_cast<uint8_t>((wqe.bytes[kCountByte] & ~0x3f) | 2);
  return wqe;
}

}  // namespace

TEST_CASE("devx: two queue pairs take what comes from one receive pool", "[verbs]") {
  const uint32_t type = GENERATE(kLinkedList, kCyclic);
  CAPTURE(type);
  DevxDevice device;
  ReceivePool pool(device, type);
  DevxCq send_cq(device, 6, true);
  DevxCq receive_cq(device, 6, false);
  {
    const DevxReceive receive{pool.number, receive_cq.number};
    DevxQp left(device, send_cq, 4, receive);
    DevxQp right(device, send_cq, 4, receive);
    left.connect(right.qpn);
    right.connect(left.qpn);
    constexpr uint32_t kMessages = 20;  // more than twice round the pool
    for (uint32_t i = 0; i < kMessages; ++i) {
      CAPTURE(i);
      const size_t to = 8192 + size_t{i} * 64;
      device.memory[0] = static_cast<uint8_t>(i + 1);
      pool.post(to);
      DevxQp& sender = i % 2 == 0 ? left : right;
      sender.put(send_of(sender.head(), {device.address(0), device.mr->lkey}, 8));
      sender.ring_doorbell();
      sender.await_all();
      REQUIRE_FALSE(send_cq.tail().is_error());
      await([&] { return receive_cq.tail(i).opcode == mlx5::CqeOpcode::responder_send; });
      CHECK(receive_cq.cqe(i)->byte_cnt.value() == 8);
      // Links name slots; round a cycle WQEs are counted.
      const uint32_t slot = i % (1u << ReceivePool::kLogSize);
      CHECK(receive_cq.tail(i).wqe_counter == (type == kLinkedList ? slot : i));
      receive_cq.consume(i + 1);
      CHECK(device.memory[to] == i + 1);
    }
    CHECK(mlx5dv_devx_obj_destroy(pool.object.get()) == EBUSY);
    CHECK(mlx5dv_devx_umem_dereg(pool.ring.umem.get()) == EBUSY);
  }
  CHECK(mlx5dv_devx_obj_destroy(pool.object.release()) == 0);
  CHECK(mlx5dv_devx_umem_dereg(pool.ring.umem.release()) == 0);
}

TEST_CASE("devx: a receive pool that cannot be is refused", "[verbs]") {
  DevxDevice device;
  const ReceivePool pool(device, kLinkedList);
  const auto refused = [&](PrmBits field, uint32_t value) {
    Command in = pool.command();
    in.set(field, value);
    const auto [made, answer] = pool.create(in);
    return made == nullptr && answer.get(kPrmStatus) != 0;
  };
  CHECK(refused(prm_rmp::state, 3));
  CHECK(refused(prm_rmp::wq_type, kCyclic));  // its WQEs would have a link
  CHECK(refused(prm_rmp::wq_type, 2));
  CHECK(refused(prm_rmp::pd, 0xfffff));
  CHECK(refused(prm_rmp::log_stride, 3));
  CHECK(refused(prm_rmp::log_size, 16));
  CHECK(refused(prm_rmp::log_size, 8));  // 256 of 32 bytes: beyond the umem
  CHECK(refused(prm_rmp::dbr_umem_valid, 0));
  CHECK(refused(prm_rmp::wq_umem_valid, 0));
}
