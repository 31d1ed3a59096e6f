// SPDX-License-Identifier: Apache-2.0
// The WQEs that we build and those that libmlx5 posts for the same requests, byte by byte, on the
// same queue pair; and what the device then does with them.
#include <atomic>
#include <functional>
#include <string>

#include "support/open_files.hpp"
#include "verbs_fixture.hpp"

using namespace ringer;
using namespace ringer::test;
using Wire = mlx5::Wire;

namespace {

struct Request {
  std::string name;
  ibv_send_wr wr{};
  std::vector<ibv_sge> entries;
  std::function<void(ibv_qp_ex*)> begin;  // by the newer interface
  std::function<Wire::Wqe(const Wire::Head&)> ours;
};

/// One of each kind, from offset 0 here to offset 32768 there.
std::vector<Request> requests(VerbsDevice& d) {
  const uint32_t key = d.mr->lkey;
  const uint32_t rkey = d.mr->rkey;
  const LocalRef local{d.address(0), key};
  const RemoteRef remote{d.address(32768), rkey};
  const auto plain = [&](ibv_wr_opcode opcode, uint32_t bytes) {
    Request r;
    r.wr.opcode = opcode;
    r.wr.wr.rdma.remote_addr = remote.address;
    r.wr.wr.rdma.rkey = rkey;
    if (bytes != 0) r.entries = {{local.address, bytes, key}};
    return r;
  };
  const auto set_entry = [=](ibv_qp_ex* qp, uint32_t bytes) {
    ibv_wr_set_sge(qp, key, local.address, bytes);
  };
  std::vector<Request> all;
  const auto add = [&](const char* name, Request r, std::function<void(ibv_qp_ex*)> begin,
                       std::function<Wire::Wqe(const Wire::Head&)> ours) {
    r.name = name;
    r.begin = std::move(begin);
    r.ours = std::move(ours);
    all.push_back(std::move(r));
  };
  add(
      "write", plain(IBV_WR_RDMA_WRITE, 4096),
      [=](ibv_qp_ex* q) {
        ibv_wr_rdma_write(q, rkey, remote.address);
        set_entry(q, 4096);
      },
      [=](const Wire::Head& h) { return Wire::make_write(h, local, remote, 4096); });
  add(
      "empty write", plain(IBV_WR_RDMA_WRITE, 0),
      [=](ibv_qp_ex* q) {
        ibv_wr_rdma_write(q, rkey, remote.address);
        ibv_wr_set_sge_list(q, 0, nullptr);
      },
      [=](const Wire::Head& h) { return Wire::make_write(h, local, remote, 0); });
  Request imm = plain(IBV_WR_RDMA_WRITE_WITH_IMM, 100);
  imm.wr.imm_data = Be32::of(0xcafe).raw;
  add(
      "write with immediate", imm,
      [=](ibv_qp_ex* q) {
        ibv_wr_rdma_write_imm(q, rkey, remote.address, Be32::of(0xcafe).raw);
        set_entry(q, 100);
      },
      [=](const Wire::Head& h) { return Wire::make_write_imm(h, local, remote, 100, 0xcafe); });
  add(
      "read", plain(IBV_WR_RDMA_READ, 777),
      [=](ibv_qp_ex* q) {
        ibv_wr_rdma_read(q, rkey, remote.address);
        set_entry(q, 777);
      },
      [=](const Wire::Head& h) { return Wire::make_read(h, local, remote, 777); });
  add(
      "send", plain(IBV_WR_SEND, 64),
      [=](ibv_qp_ex* q) {
        ibv_wr_send(q);
        set_entry(q, 64);
      },
      [=](const Wire::Head& h) { return Wire::make_send(h, local, 64); });
  for (const uint32_t bytes : {4u, 8u, 12u, 13u, 28u}) {
    Request r = plain(IBV_WR_RDMA_WRITE, bytes);
    r.wr.send_flags = IBV_SEND_INLINE;
    void* data = d.memory.data();
    add(
        "inline write", r,
        [=](ibv_qp_ex* q) {
          ibv_wr_rdma_write(q, rkey, remote.address);
          ibv_wr_set_inline_data(q, data, bytes);
        },
        [=](const Wire::Head& h) { return Wire::make_write_inline(h, data, bytes, remote); });
  }
  Request fetch = plain(IBV_WR_ATOMIC_FETCH_AND_ADD, 8);
  fetch.wr.wr.atomic = {remote.address, 0x123456789abcdef0, 0, rkey};
  add(
      "fetch and add", fetch,
      [=](ibv_qp_ex* q) {
        ibv_wr_atomic_fetch_add(q, rkey, remote.address, 0x123456789abcdef0);
        set_entry(q, 8);
      },
      [=](const Wire::Head& h) {
        return Wire::make_fetch_add(h, 0x123456789abcdef0, local, remote);
      });
  Request swap = plain(IBV_WR_ATOMIC_CMP_AND_SWP, 8);
  swap.wr.wr.atomic = {remote.address, 0x1111, 0x2222, rkey};
  add(
      "compare and swap", swap,
      [=](ibv_qp_ex* q) {
        ibv_wr_atomic_cmp_swp(q, rkey, remote.address, 0x1111, 0x2222);
        set_entry(q, 8);
      },
      [=](const Wire::Head& h) {
        return Wire::make_compare_swap(h, 0x1111, 0x2222, local, remote);
      });
  return all;
}

constexpr uint64_t kOperations =
    IBV_QP_EX_WITH_RDMA_WRITE | IBV_QP_EX_WITH_RDMA_WRITE_WITH_IMM | IBV_QP_EX_WITH_RDMA_READ |
    IBV_QP_EX_WITH_SEND | IBV_QP_EX_WITH_ATOMIC_CMP_AND_SWP | IBV_QP_EX_WITH_ATOMIC_FETCH_AND_ADD;

std::string bytes_of(const uint8_t* at, uint32_t count) {
  std::string text;
  for (uint32_t i = 0; i < count; ++i) {
    static constexpr char kDigits[] = "0123456789abcdef";
    if (i % 16 == 0) text += "\n  ";
    text += {kDigits[at[i] >> 4], kDigits[at[i] & 15], ' '};
  }
  return text;
}

}  // namespace

TEST_CASE("our WQEs are libmlx5's, by ibv_post_send and by ibv_wr_*", "[verbs]") {
  const bool newer = GENERATE(false, true);
  VerbsDevice device;
  VerbsQueuePair left(device, IBV_QPT_RC, newer ? kOperations : 0);
  VerbsQueuePair right(device, IBV_QPT_RC);
  left.connect(right);
  right.connect(left);
  for (size_t i = 0; i < device.memory.size(); ++i) device.memory[i] = static_cast<uint8_t>(i * 11);
  std::memset(left.inside.sq.buf, 0, size_t{left.inside.sq.wqe_cnt} * kWqebbBytes);
  uint64_t index = 0;
  for (Request& request : requests(device)) {
    CAPTURE(newer, request.name, index);
    if (request.wr.opcode == IBV_WR_SEND || request.wr.opcode == IBV_WR_RDMA_WRITE_WITH_IMM) {
      ibv_sge entry{device.address(60000), 1000, device.mr->lkey};
      ibv_recv_wr receive{};
      receive.sg_list = &entry;
      receive.num_sge = 1;
      ibv_recv_wr* bad = nullptr;
      REQUIRE(ibv_post_recv(right.qp.get(), &receive, &bad) == 0);
    }
    if (newer) {
      ibv_qp_ex* qp = ibv_qp_to_qp_ex(left.qp.get());
      ibv_wr_start(qp);
      qp->wr_flags = IBV_SEND_SIGNALED | request.wr.send_flags;
      request.begin(qp);
      REQUIRE(ibv_wr_complete(qp) == 0);
    } else {
      request.wr.sg_list = request.entries.data();
      request.wr.num_sge = static_cast<int>(request.entries.size());
      request.wr.send_flags |= IBV_SEND_SIGNALED;
      ibv_send_wr* bad = nullptr;
      REQUIRE(ibv_post_send(left.qp.get(), &request.wr, &bad) == 0);
    }
    const Wire::Wqe ours = request.ours({index, left.qp->qp_num, mlx5::ctrl_flag::cq_update});
    const std::string expected = bytes_of(ours.bytes, ours.segments * 16);
    CHECK(bytes_of(left.slot(index), ours.segments * 16) == expected);
    CHECK(left.completion().status == IBV_WC_SUCCESS);
    ++index;
  }
}

TEST_CASE("a WQE that we write ourselves is executed as libmlx5's would be", "[verbs]") {
  VerbsDevice device;
  VerbsQueuePair left(device, IBV_QPT_RC);
  VerbsQueuePair right(device, IBV_QPT_RC);
  left.connect(right);
  right.connect(left);
  std::memset(device.memory.data(), 0x5a, 4096);
  const Wire::Wqe wqe = Wire::make_write({0, left.qp->qp_num, mlx5::ctrl_flag::cq_update},
                                         {device.address(0), device.mr->lkey},
                                         {device.address(32768), device.mr->rkey}, 4096);
  std::memcpy(left.inside.sq.buf, wqe.bytes, kWqebbBytes);
  std::atomic_ref(left.inside.dbrec[1]).store(Wire::dbr_value(1).raw, std::memory_order_release);
  std::atomic_ref(*static_cast<uint64_t*>(left.inside.bf.reg))
      .store(Wire::doorbell_value(1, left.qp->qp_num), std::memory_order_release);
  CHECK(left.completion().status == IBV_WC_SUCCESS);
  CHECK(std::memcmp(device.memory.data(), device.memory.data() + 32768, 4096) == 0);
}

TEST_CASE("what goes wrong has the status that a ConnectX gives it", "[verbs]") {
  struct Case {
    const char* name;
    ibv_wc_status status;
    uint64_t remote_offset;
    uint32_t rkey_off, lkey_off;
    ibv_wr_opcode opcode;
    int responder_rights;
  };
  const Case cases[] = {
      {"wrong rkey", IBV_WC_REM_ACCESS_ERR, 0, 256, 0, IBV_WR_RDMA_WRITE, VerbsDevice::kRights},
      {"beyond the range", IBV_WC_REM_ACCESS_ERR, VerbsDevice::kBytes - 4, 0, 0, IBV_WR_RDMA_WRITE,
       VerbsDevice::kRights},
      {"no right", IBV_WC_REM_ACCESS_ERR, 0, 0, 0, IBV_WR_RDMA_READ, IBV_ACCESS_LOCAL_WRITE},
      {"wrong lkey", IBV_WC_LOC_PROT_ERR, 0, 0, 256, IBV_WR_RDMA_WRITE, VerbsDevice::kRights},
      {"no receive", IBV_WC_RNR_RETRY_EXC_ERR, 0, 0, 0, IBV_WR_SEND, VerbsDevice::kRights},
  };
  for (const Case& c : cases) {
    DYNAMIC_SECTION(c.name) {
      VerbsDevice device;
      VerbsQueuePair left(device, IBV_QPT_RC);
      VerbsQueuePair right(device, IBV_QPT_RC);
      left.connect(right);
      right.connect(left, c.responder_rights);
      ibv_sge entry{device.address(0), 8, device.mr->lkey + c.lkey_off};
      ibv_send_wr wr{};
      wr.sg_list = &entry;
      wr.num_sge = 1;
      wr.opcode = c.opcode;
      wr.send_flags = IBV_SEND_SIGNALED;
      wr.wr.rdma.remote_addr = device.address(c.remote_offset);
      wr.wr.rdma.rkey = device.mr->rkey + c.rkey_off;
      ibv_send_wr* bad = nullptr;
      REQUIRE(ibv_post_send(left.qp.get(), &wr, &bad) == 0);
      REQUIRE(ibv_post_send(left.qp.get(), &wr, &bad) == 0);
      CHECK(left.completion().status == c.status);
      CHECK(left.completion().status == IBV_WC_WR_FLUSH_ERR);
      ibv_qp_attr a{};
      ibv_qp_init_attr init{};
      REQUIRE(ibv_query_qp(left.qp.get(), &a, IBV_QP_STATE, &init) == 0);
      CHECK(a.qp_state == IBV_QPS_ERR);
    }
  }
}

TEST_CASE("1000 queue pairs made and destroyed leave nothing behind", "[verbs]") {
  VerbsDevice device;
  { VerbsQueuePair first(device, IBV_QPT_RC); }
  const auto before = open_files();
  uint32_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    VerbsQueuePair a(device, IBV_QPT_RC);
    VerbsQueuePair b(device, IBV_QPT_RC);
    a.connect(b);
    b.connect(a);
    CHECK(a.qp->qp_num != last);
    last = b.qp->qp_num;
    Handle<ibv_mr> mr(ibv_reg_mr(device.pd.get(), device.memory.data(), 4096, 0),
                      [](ibv_mr* m) { return ibv_dereg_mr(m); });
    REQUIRE(mr != nullptr);
  }
  CHECK(open_files() == before);
}
