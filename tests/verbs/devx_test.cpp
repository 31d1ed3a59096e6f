// SPDX-License-Identifier: Apache-2.0
// A DEVX program, as NVSHMEM's IBGDA and DOCA GPUNetIO are, on the emulated device.
#include <cerrno>

#include "devx_program.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::CqeOpcode;
using mlx5::Syndrome;
using mlx5::Wire;

namespace {

constexpr size_t kThere = 32768;  // where the peer's half of the memory begins

uint64_t word_at(const DevxDevice& device, size_t offset) {
  uint64_t value;
  std::memcpy(&value, device.memory.data() + offset, sizeof value);
  return value;
}

void check_success(const DevxQp& qp, mlx5::Opcode opcode) {
  const mlx5::Cqe& cqe = *qp.cq.cqe(0);
  CHECK(qp.cq.tail().opcode == CqeOpcode::requester);
  CHECK(cqe.opcode_qpn.value() == (static_cast<uint32_t>(opcode) << 24 | qp.qpn));
  CHECK((cqe.srqn_uidx.value() & 0xffffff) == DevxQp::kUserIndex);
}

void write_and_check(DevxPair& pair, uint8_t pattern) {
  uint8_t* memory = pair.device.memory.data();
  std::memset(memory, pattern, 4096);
  pair.left.put(Wire::make_write(pair.left.head(), pair.local(0), pair.remote(kThere), 4096));
  pair.left.ring_doorbell();
  pair.left.await_all();
  check_success(pair.left, mlx5::Opcode::rdma_write);
  CHECK(std::memcmp(memory, memory + kThere, 4096) == 0);
}

/// One error CQE with this syndrome.
void check_error(const DevxQp& qp, Syndrome syndrome, uint16_t index) {
  const mlx5::CqeTail tail = qp.cq.tail();
  CHECK(tail.opcode == CqeOpcode::requester_error);
  CHECK(tail.wqe_counter == index);
  CHECK(Wire::syndrome_of(qp.cq.cqe(0)->error_word) == static_cast<uint32_t>(syndrome));
}

PrmRecord<0x1010> capabilities(ibv_context* context, uint32_t type, bool current) {
  PrmRecord<16> in;
  PrmRecord<0x1010> out;
  in.set(kPrmOpcode, kQueryHcaCap);
  in.set(kPrmOpMod, type << 1 | (current ? 1 : 0));
  REQUIRE(mlx5dv_devx_general_cmd(context, in.bytes, sizeof in.bytes, out.bytes,
                                  sizeof out.bytes) == 0);
  REQUIRE(out.get(kPrmStatus) == 0);
  return out;
}

}  // namespace

TEST_CASE("devx: the device tells what it is capable of", "[verbs]") {
  DevxDevice device;
  const bool current = GENERATE(false, true);
  const auto caps = capabilities(device.context.get(), 0, current);
  const auto cap = [&](PrmBits field) { return caps.get(field.in(0x10)); };
  CHECK(cap({0x10, 23, 16}) >= 13);  // log_max_qp_sz
  CHECK(cap({0x10, 4, 0}) >= 10);    // log_max_qp
  CHECK(cap({0x18, 23, 16}) >= 16);  // log_max_cq_sz
  CHECK(cap({0x18, 4, 0}) >= 10);    // log_max_cq
  ibv_device_attr attributes{};
  REQUIRE(ibv_query_device(device.context.get(), &attributes) == 0);
  CHECK(cap({0x34, 7, 0}) == attributes.phys_port_cnt);  // num_ports
  CHECK(cap({0x3c, 3, 0}) == 1);                         // cqe_version
  CHECK(cap({0x44, 31, 31}) == 1);                       // cq_oi: overruns can be ignored
  CHECK(cap({0x4c, 31, 31}) == 1);                       // bf
  constexpr uint32_t kRoce = 4;                          // an InfiniBand port has none of it
  for (const uint8_t byte : capabilities(device.context.get(), kRoce, current).bytes) {
    REQUIRE(byte == 0);
  }
}

TEST_CASE("devx: registers and event queues have numbers", "[verbs]") {
  DevxDevice first;
  DevxDevice second(MLX5DV_UAR_ALLOC_TYPE_NC);
  for (const DevxDevice* device : {&first, &second}) {
    const auto base = reinterpret_cast<uintptr_t>(device->uar->base_addr);
    CHECK(base % 4096 == 0);
    CHECK(reinterpret_cast<uintptr_t>(device->uar->reg_addr) == base + 0x800);
    CHECK(device->eqn != ~0u);
  }
  std::unique_ptr<mlx5dv_devx_uar, void (*)(mlx5dv_devx_uar*)> other(
      mlx5dv_devx_alloc_uar(first.context.get(), MLX5DV_UAR_ALLOC_TYPE_BF), mlx5dv_devx_free_uar);
  REQUIRE(other != nullptr);
  // Of the same page, maybe: it has several registers.
  CHECK(other->reg_addr != first.uar->reg_addr);
  const auto offset = reinterpret_cast<uintptr_t>(other->reg_addr) % 4096;
  CHECK((offset >= 0x800 && offset % 0x100 == 0));
  uint32_t eqn = 0;
  CHECK(mlx5dv_devx_query_eqn(first.context.get(), 100000, &eqn) != 0);
}

TEST_CASE("devx: writes, reads and atomics by hand, by either kind of register", "[verbs]") {
  DevxPair pair(4,
                GENERATE(uint32_t{MLX5DV_UAR_ALLOC_TYPE_BF}, uint32_t{MLX5DV_UAR_ALLOC_TYPE_NC}));
  DevxQp& left = pair.left;
  uint8_t* memory = pair.device.memory.data();
  CHECK(left.state() == kRts);
  write_and_check(pair, 0x5a);

  const uint64_t value = 0x1122334455667788;
  left.put(Wire::make_write_value(left.head(), value, pair.remote(kThere + 8)));
  left.ring_doorbell();
  left.await_all();
  check_success(left, mlx5::Opcode::rdma_write);
  CHECK(word_at(pair.device, kThere + 8) == value);

  for (size_t i = 0; i < 3000; ++i) memory[kThere + i] = static_cast<uint8_t>(i * 7);
  left.put(Wire::make_read(left.head(), pair.local(8192), pair.remote(kThere), 3000));
  left.ring_doorbell();
  left.await_all();
  check_success(left, mlx5::Opcode::rdma_read);
  CHECK(std::memcmp(memory + 8192, memory + kThere, 3000) == 0);

  std::memset(memory + kThere, 0, 8);
  left.put(Wire::make_fetch_add(left.head(false), 5, pair.local(16), pair.remote(kThere)));
  left.put(Wire::make_fetch_add(left.head(), 6, pair.local(24), pair.remote(kThere)));
  left.ring_doorbell();
  left.await_all();
  check_success(left, mlx5::Opcode::atomic_fa);
  CHECK(word_at(pair.device, kThere) == 11);
  CHECK(word_at(pair.device, 24) == 5);
}

// The 16-bit index of the ring, of the doorbell record and of the CQE all wrap.
TEST_CASE("devx: 70016 WQEs on a ring of 64 by a collapsed completion queue", "[verbs]") {
  constexpr uint64_t kWqes = 70016;
  constexpr uint64_t kBatch = 32;
  DevxPair pair(6);
  DevxQp& left = pair.left;
  uint64_t completed = 0;
  const auto await_completed = [&](uint64_t count) {
    await([&] {
      const mlx5::CqeTail tail = left.cq.tail();
      if (tail.is_error()) return true;
      completed += static_cast<uint16_t>(tail.wqe_counter + 1 - completed);
      return completed >= count;
    });
    REQUIRE(!left.cq.tail().is_error());
    REQUIRE(completed <= left.next);
  };
  std::memset(pair.device.memory.data() + kThere, 0, 16);
  while (left.next < kWqes) {
    for (uint64_t i = 0; i < kBatch; i += 2) {
      left.put(Wire::make_fetch_add(left.head(i % 4 == 0), 1, pair.local(0), pair.remote(kThere)));
      left.put(Wire::make_write_value(left.head(), left.next, pair.remote(kThere + 8)));
    }
    left.ring_doorbell();
    await_completed(left.next - kBatch);
  }
  await_completed(left.next);
  CHECK(completed == kWqes);
  CHECK(word_at(pair.device, kThere) == kWqes / 2);      // each was executed, and none twice
  CHECK(word_at(pair.device, kThere + 8) == kWqes - 1);  // in order
  CHECK(word_at(pair.device, 0) == kWqes / 2 - 1);
  for (uint64_t i = 1; i < 64; ++i) REQUIRE(left.cq.tail(i).opcode == CqeOpcode::invalid);
}

TEST_CASE("devx: a completion queue that is not collapsed has one CQE after the other", "[verbs]") {
  constexpr uint32_t kLogCqes = 3;
  DevxDevice device;
  DevxCq left_cq(device, kLogCqes, false);
  DevxCq right_cq(device, kLogCqes, false);
  DevxQp left(device, left_cq, 4);
  DevxQp right(device, right_cq, 4);
  left.connect(right.qpn);
  right.connect(left.qpn);
  for (uint64_t i = 0; i < 100; ++i) {
    left.put(
        Wire::make_write_value(left.head(), i, {device.address(kThere + i * 8), device.mr->rkey}));
    left.ring_doorbell();
    const bool owner = (i >> kLogCqes & 1) != 0;
    await([&] {
      const mlx5::CqeTail tail = left_cq.tail(i);
      return tail.opcode != CqeOpcode::invalid && tail.owner == owner;
    });
    CHECK(left_cq.tail(i).opcode == CqeOpcode::requester);
    CHECK(left_cq.tail(i).wqe_counter == i);
    left_cq.consume(i + 1);
  }
  for (uint64_t i = 0; i < 100; ++i) REQUIRE(word_at(device, kThere + i * 8) == i);
}

// NVSHMEM's way: the responder has a shared receive queue, which nobody posts to.
TEST_CASE("devx: a queue pair may have a shared receive queue of libibverbs", "[verbs]") {
  DevxDevice device;
  ibv_srq_init_attr attributes{nullptr, {16, 1, 0}};
  Handle<ibv_srq> srq(ibv_create_srq(device.pd.get(), &attributes), ibv_destroy_srq);
  Handle<ibv_cq> receive_cq(ibv_create_cq(device.context.get(), 16, nullptr, nullptr, 0),
                            ibv_destroy_cq);
  REQUIRE(srq != nullptr);
  REQUIRE(receive_cq != nullptr);
  mlx5dv_srq srq_inside{};
  srq_inside.comp_mask = MLX5DV_SRQ_MASK_SRQN;
  mlx5dv_cq cq_inside{};
  mlx5dv_obj objects{};
  objects.srq = {srq.get(), &srq_inside};
  objects.cq = {receive_cq.get(), &cq_inside};
  REQUIRE(mlx5dv_init_obj(&objects, MLX5DV_OBJ_SRQ | MLX5DV_OBJ_CQ) == 0);
  const DevxReceive receive{srq_inside.srqn, cq_inside.cqn};
  DevxCq cq(device, 6, true);
  {
    DevxQp left(device, cq, 4, receive);
    DevxQp right(device, cq, 4, receive);
    left.connect(right.qpn);
    right.connect(left.qpn);
    left.put(Wire::make_write_value(left.head(), uint64_t{77},
                                    {device.address(kThere), device.mr->rkey}));
    left.ring_doorbell();
    left.await_all();
    check_success(left, mlx5::Opcode::rdma_write);
    CHECK(word_at(device, kThere) == 77);
    CHECK(ibv_destroy_srq(srq.get()) == EBUSY);
  }
}

TEST_CASE("devx: a wrong key ends in ERR, from which RST leads back to work", "[verbs]") {
  DevxPair pair;
  DevxQp& left = pair.left;
  write_and_check(pair, 0x11);
  RemoteRef wrong = pair.remote(kThere);
  wrong.rkey += 256;
  left.put(Wire::make_write(left.head(), pair.local(0), wrong, 64));
  left.ring_doorbell();
  left.await_all();
  check_error(left, Syndrome::remote_access, 1);
  CHECK(left.state() == kErr);
  CHECK(pair.right.state() == kErr);  // the responder refused

  for (DevxQp* qp : {&left, &pair.right}) {
    qp->modify({}, kToRst);
    CHECK(qp->state() == kRst);
    qp->start_over();
  }
  pair.connect(0xfffff0);
  CHECK(left.state() == kRts);
  for (uint8_t i = 0; i < 40; ++i) write_and_check(pair, i);  // the packets' numbers wrap
}

TEST_CASE("devx: what is posted after 2ERR is flushed", "[verbs]") {
  DevxPair pair;
  DevxQp& left = pair.left;
  left.modify({}, kToErr);
  CHECK(left.state() == kErr);
  left.put(Wire::make_write(left.head(), pair.local(0), pair.remote(kThere), 64));
  left.ring_doorbell();
  left.await_all();
  check_error(left, Syndrome::flushed, 0);
  left.modify({}, kToRst);
  CHECK(left.state() == kRst);
}
