// SPDX-License-Identifier: Apache-2.0
// What a kernel and the firmware refuse a DEVX program, and memory keys.
#include <cerrno>

#include <sys/mman.h>

#include "devx_program.hpp"

using namespace ringer;
using namespace ringer::test;
using mlx5::Syndrome;
using mlx5::Wire;

namespace {

namespace prm_mkc {  // from byte 10h of CREATE_MKEY
constexpr uint32_t kBase = 0x10;
constexpr PrmBits atomic = {0x00, 14, 14}, remote_write = {0x00, 13, 13};
constexpr PrmBits remote_read = {0x00, 12, 12}, local_write = {0x00, 11, 11};
constexpr PrmBits local_read = {0x00, 10, 10}, access_mode = {0x00, 9, 8};
constexpr PrmBits any_qp = {0x04, 31, 8}, low_byte = {0x04, 7, 0};
constexpr PrmBits length64 = {0x0c, 31, 31}, pd = {0x0c, 23, 0}, log_page_size = {0x38, 4, 0};
}  // namespace prm_mkc

enum AccessMode : uint32_t { kPhysical = 0, kTranslated = 1, kIndirect = 2 };

struct MkeyWish {
  AccessMode mode = kTranslated;
  uint64_t start = 0;
  uint64_t bytes = 0;
  uint8_t low_byte = 0;
  bool remote_write = true;
};

struct Mkey {
  ObjectHandle object{nullptr, mlx5dv_devx_obj_destroy};
  uint32_t key = 0;
};

/// Over a whole umem. Without an object: refused, errno says why.
Mkey create_mkey(DevxDevice& device, const DevxMemory& memory, const MkeyWish& wish) {
  PrmRecord<0x110> in;
  PrmRecord<16> out;
  const auto mkc = [&](PrmBits field, uint32_t value) { in.set(field.in(prm_mkc::kBase), value); };
  in.set(kPrmOpcode, kCreateMkey);
  in.set({0x0c, 30, 30}, 1);  // the memory is a umem
  mkc(prm_mkc::access_mode, wish.mode);
  mkc(prm_mkc::local_read, 1);
  mkc(prm_mkc::local_write, 1);
  mkc(prm_mkc::remote_read, 1);
  mkc(prm_mkc::remote_write, wish.remote_write ? 1 : 0);
  mkc(prm_mkc::any_qp, 0xffffff);
  mkc(prm_mkc::low_byte, wish.low_byte);
  mkc(prm_mkc::pd, device.pdn);
  mkc(prm_mkc::log_page_size, 12);
  in.set64(prm_mkc::kBase + 0x10, wish.start);
  in.set64(prm_mkc::kBase + 0x18, wish.bytes);
  in.set({0x64, 31, 0}, memory.umem->umem_id);
  Mkey made;
  made.object.reset(mlx5dv_devx_obj_create(device.context.get(), in.bytes, sizeof in.bytes,
                                           out.bytes, sizeof out.bytes));
  made.key = out.get(kPrmNumber) << 8 | wish.low_byte;
  return made;
}

constexpr uint64_t kStart = 0x7000000000;  // the key's own idea of where its memory is

/// Whether a write by this key to its second page gets there. Else it must be refused.
bool arrives(DevxPair& pair, const DevxMemory& memory, const Mkey& mkey) {
  DevxQp& left = pair.left;
  std::memset(pair.device.memory.data(), 0x3c, 1000);
  left.put(Wire::make_write(left.head(), pair.local(0), {kStart + 4096, mkey.key}, 1000));
  left.ring_doorbell();
  left.await_all();
  const bool same = std::memcmp(pair.device.memory.data(), memory.data.get() + 4096, 1000) == 0;
  CHECK(left.cq.tail().is_error() == !same);
  return same;
}

}  // namespace

TEST_CASE("devx: a memory key over a umem has its own addresses and rights", "[verbs]") {
  const bool may_write = GENERATE(true, false);
  DevxPair pair;
  DevxMemory memory(pair.device.context.get(), 8192);
  const Mkey mkey = create_mkey(pair.device, memory, {kTranslated, kStart, 8192, 1, may_write});
  REQUIRE(mkey.object != nullptr);
  CHECK(mkey.key >> 8 != 0);
  CHECK(arrives(pair, memory, mkey) == may_write);
  if (!may_write) {
    CHECK(Wire::syndrome_of(pair.left.cq.cqe(0)->error_word) ==
          static_cast<uint32_t>(Syndrome::remote_access));
  }
  CHECK(mlx5dv_devx_umem_dereg(memory.umem.get()) == EBUSY);
}

TEST_CASE("devx: a memory key's low byte is its maker's choice", "[verbs]") {
  DevxPair pair;
  DevxMemory memory(pair.device.context.get(), 8192);
  for (const int chosen : {0x00, 0x5a, 0x5a, 0xff}) {
    const auto low_byte = static_cast<uint8_t>(chosen);
    const Mkey mkey = create_mkey(pair.device, memory, {kTranslated, kStart, 8192, low_byte});
    REQUIRE(mkey.object != nullptr);
    CAPTURE(chosen);
    CHECK(arrives(pair, memory, mkey));
    std::memset(memory.data.get(), 0, memory.bytes);
  }
}

TEST_CASE("devx: keys of what the device cannot follow are refused", "[verbs]") {
  DevxDevice device;
  DevxMemory memory(device.context.get(), 8192);
  CHECK(create_mkey(device, memory, {kPhysical, 0, 8192}).object == nullptr);
  CHECK(errno != 0);
  CHECK(create_mkey(device, memory, {kIndirect, 0, 8192}).object == nullptr);
  CHECK(create_mkey(device, memory, {kTranslated, 0, 12288}).object == nullptr);  // beyond the umem
  CHECK(create_mkey(device, memory, {kTranslated, 0, 8192}).object != nullptr);
}

TEST_CASE("devx: what is in use cannot be destroyed", "[verbs]") {
  DevxDevice device;
  DevxCq cq(device, 6, true);
  {
    DevxQp left(device, cq, 4);
    DevxQp right(device, cq, 4);
    CHECK(mlx5dv_devx_umem_dereg(left.ring.umem.get()) == EBUSY);
    CHECK(mlx5dv_devx_umem_dereg(left.record.umem.get()) == EBUSY);
    CHECK(mlx5dv_devx_umem_dereg(cq.memory.umem.get()) == EBUSY);
    CHECK(mlx5dv_devx_obj_destroy(cq.object.get()) == EBUSY);
    CHECK(ibv_dealloc_pd(device.pd.get()) != 0);
    // None of that has harmed them.
    left.connect(right.qpn);
    right.connect(left.qpn);
    left.put(
        Wire::make_write_value(left.head(), uint64_t{9}, {device.address(1024), device.mr->rkey}));
    left.ring_doorbell();
    left.await_all();
    CHECK(!cq.tail().is_error());
    // A queue pair may go while it is connected, and its memory after it.
    CHECK(mlx5dv_devx_obj_destroy(right.object.release()) == 0);
    CHECK(mlx5dv_devx_umem_dereg(right.ring.umem.release()) == 0);
    CHECK(mlx5dv_devx_umem_dereg(right.record.umem.release()) == 0);
  }
  CHECK(mlx5dv_devx_obj_destroy(cq.object.release()) == 0);
  CHECK(mlx5dv_devx_umem_dereg(cq.memory.umem.release()) == 0);
}

TEST_CASE("devx: a requester whose peer has gone runs out of retries", "[verbs]") {
  DevxPair pair;
  REQUIRE(mlx5dv_devx_obj_destroy(pair.right.object.release()) == 0);
  DevxQp& left = pair.left;
  left.put(Wire::make_write(left.head(), pair.local(0), pair.remote(1024), 64));
  left.ring_doorbell();
  left.await_all();
  CHECK(left.cq.tail().is_error());
  CHECK(Wire::syndrome_of(left.cq.cqe(0)->error_word) ==
        static_cast<uint32_t>(Syndrome::retry_exceeded));
  CHECK(left.state() == kErr);
}

TEST_CASE("devx: transitions that are none are refused, and change nothing", "[verbs]") {
  DevxDevice device;
  DevxCq cq(device, 6, true);
  DevxQp qp(device, cq, 4);
  for (const uint32_t opcode : {kInitToRtr, kRtrToRts, kToErr}) {
    const auto [result, status] = qp.command({}, opcode);
    CAPTURE(opcode);
    CHECK(result != 0);
    CHECK(status != 0);
    CHECK(qp.state() == kRst);
  }
  qp.connect(qp.qpn);
  CHECK(qp.command({}, kRstToInit).first != 0);
  CHECK(qp.command({}, kInitToRtr).first != 0);
  CHECK(qp.state() == kRts);
  // No transition at all, and one of another kind of object.
  CHECK(qp.command({}, kCreateQp).first != 0);
  CHECK(qp.command({}, 0x403).first != 0);
  const auto answer = qp.query();
  CHECK(answer.get(prm_qpc::remote_qpn.in(prm_qpc::kBase)) == qp.qpn);
  CHECK(answer.get(prm_qpc::rlid.in(prm_qpc::kBase)) == device.port.lid);
  CHECK(answer.get(prm_qpc::mtu.in(prm_qpc::kBase)) == IBV_MTU_1024);
}

TEST_CASE("devx: a command for one object is none for another", "[verbs]") {
  DevxPair pair;
  PrmRecord<0x110> in;
  PrmRecord<16> out;
  in.set(kPrmOpcode, kToErr);
  in.set(kPrmNumber, pair.right.qpn);
  CHECK(mlx5dv_devx_obj_modify(pair.left.object.get(), in.bytes, sizeof in.bytes, out.bytes,
                               sizeof out.bytes) == EINVAL);
  CHECK(pair.left.state() == kRts);
  CHECK(pair.right.state() == kRts);
}

TEST_CASE("devx: creation is refused where the memory is not there", "[verbs]") {
  DevxDevice device;
  void* hole = mmap(nullptr, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  REQUIRE(hole != MAP_FAILED);
  CHECK(mlx5dv_devx_umem_reg(device.context.get(), hole, 8192, IBV_ACCESS_LOCAL_WRITE) == nullptr);
  CHECK(errno == EFAULT);
  munmap(hole, 8192);

  DevxCq cq(device, 6, true);
  DevxQp qp(device, cq, 6);
  struct Flaw {
    const char* name;
    PrmBits field;
    uint32_t value;
  };
  const Flaw flaws[] = {
      {"no such umem", {0x108, 31, 0}, 0xfffff},
      {"the ring is longer than its umem", prm_qpc::log_sq_size.in(prm_qpc::kBase), 10},
      {"no such completion queue", prm_qpc::cqn_snd.in(prm_qpc::kBase), 0xfffff},
      {"no such domain", prm_qpc::pd.in(prm_qpc::kBase), 0xfffff},
      {"no such register", prm_qpc::uar.in(prm_qpc::kBase), 0xfffff},
      {"the record is not in a umem", prm_qpc::dbr_umem_valid.in(prm_qpc::kBase), 0},
      {"a transport that there is not", prm_qpc::st.in(prm_qpc::kBase), 0xf},
      {"no such command", kPrmOpcode, 0x9ff},
  };
  for (const Flaw& flaw : flaws) {
    DYNAMIC_SECTION(flaw.name) {
      DevxQp::Command in = qp.creation({});
      in.set(flaw.field, flaw.value);
      PrmRecord<16> out;
      errno = 0;
      CHECK(mlx5dv_devx_obj_create(device.context.get(), in.bytes, sizeof in.bytes, out.bytes,
                                   sizeof out.bytes) == nullptr);
      CHECK(errno != 0);
    }
  }
}
