// SPDX-License-Identifier: Apache-2.0
// Addresses of the link that the device runs on: what leads to a port, what is refused, and what
// stands in front of a datagram.
#include <cerrno>
#include <cstring>

#include "verbs_fixture.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

constexpr uint32_t kQkey = 0x11111111;
constexpr uint32_t kGrhBytes = 40;
constexpr uint32_t kBytes = 200;

/// A queue pair for datagrams on a port, with a receive buffer at `receive_at`.
struct DatagramEnd : VerbsQueuePair {
  DatagramEnd(VerbsDevice& of, size_t receive_at, uint8_t port = 1)
      : VerbsQueuePair(of, IBV_QPT_UD), device(of), at(receive_at) {
    ibv_qp_attr a{};
    a.qp_state = IBV_QPS_INIT;
    a.port_num = port;
    a.qkey = kQkey;
    modify(a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);
    a.qp_state = IBV_QPS_RTR;
    modify(a, IBV_QP_STATE);
    a.qp_state = IBV_QPS_RTS;
    modify(a, IBV_QP_STATE | IBV_QP_SQ_PSN);
    ibv_sge entry{device.address(at), kGrhBytes + kBytes, device.mr->lkey};
    ibv_recv_wr wr{};
    wr.sg_list = &entry;
    wr.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    REQUIRE(ibv_post_recv(qp.get(), &wr, &bad) == 0);
  }
  void modify(ibv_qp_attr a, int mask) { REQUIRE(ibv_modify_qp(qp.get(), &a, mask) == 0); }

  ibv_wc_status send(size_t from, ibv_ah* to, uint32_t qpn) {
    ibv_sge entry{device.address(from), kBytes, device.mr->lkey};
    ibv_send_wr wr{};
    wr.sg_list = &entry;
    wr.num_sge = 1;
    wr.opcode = IBV_WR_SEND;
    wr.send_flags = IBV_SEND_SIGNALED;
    wr.wr.ud = {to, qpn, kQkey};
    ibv_send_wr* bad = nullptr;
    REQUIRE(ibv_post_send(qp.get(), &wr, &bad) == 0);
    return completion().status;
  }

  VerbsDevice& device;
  size_t at;
};

using AddressHandle = Handle<ibv_ah>;

AddressHandle handle_for(VerbsDevice& device, ibv_ah_attr attr) {
  return {ibv_create_ah(device.pd.get(), &attr), ibv_destroy_ah};
}

bool refused(VerbsDevice& device, const ibv_ah_attr& attr, int error) {
  errno = 0;
  const AddressHandle handle = handle_for(device, attr);
  return handle == nullptr && errno == error;
}

ibv_ah_attr with_gid(const VerbsDevice& device, std::initializer_list<uint8_t> tail) {
  ibv_ah_attr attr = device.own_port();
  std::copy(tail.begin(), tail.end(), attr.grh.dgid.raw + 16 - tail.size());
  return attr;
}

}  // namespace

TEST_CASE("address: what stands before a datagram leads back to its sender", "[verbs]") {
  VerbsDevice device;
  DatagramEnd near(device, 1024);
  DatagramEnd far(device, 2048);
  for (uint32_t i = 0; i < kBytes; ++i) device.memory[i] = static_cast<uint8_t>(3 * i + 1);
  ibv_ah_attr attr = device.own_port();
  attr.is_global = 1;
  attr.grh.dgid = device.gid;
  attr.grh.sgid_index = static_cast<uint8_t>(device.gid_index());
  attr.grh.traffic_class = 8;
  attr.grh.hop_limit = 63;
  const AddressHandle out = handle_for(device, attr);
  REQUIRE(out != nullptr);
  REQUIRE(near.send(0, out.get(), far.qp->qp_num) == IBV_WC_SUCCESS);
  ibv_wc arrived = far.completion();
  REQUIRE(arrived.status == IBV_WC_SUCCESS);
  CHECK(arrived.byte_len == kGrhBytes + kBytes);
  CHECK((arrived.wc_flags & IBV_WC_GRH) != 0);
  CHECK(arrived.src_qp == near.qp->qp_num);
  uint8_t* header = device.memory.data() + far.at;
  if (device.ethernet()) {
    CHECK(header[20] == 0x45);  // IPv4 of five words
    CHECK(header[21] == 8);
    CHECK(header[28] == 63);
    // IPv4, UDP, the transport's headers, the data, and a checksum.
    CHECK((header[22] << 8 | header[23]) == 20 + 8 + 12 + 8 + kBytes + 4);
    CHECK(std::memcmp(header + 32, device.gid.raw + 12, 4) == 0);
  } else {
    CHECK(header[0] >> 4 == 6);
    CHECK((header[4] << 8 | header[5]) == 12 + 8 + kBytes + 4);
    CHECK(std::memcmp(header + 8, device.gid.raw, 16) == 0);
  }
  // libibverbs reads sender and checksum from it.
  const AddressHandle back(
      ibv_create_ah_from_wc(device.pd.get(), &arrived, reinterpret_cast<ibv_grh*>(header), 1),
      ibv_destroy_ah);
  REQUIRE(back != nullptr);
  REQUIRE(far.send(far.at + kGrhBytes, back.get(), arrived.src_qp) == IBV_WC_SUCCESS);
  REQUIRE(near.completion().status == IBV_WC_SUCCESS);
  CHECK(std::memcmp(device.memory.data(), device.memory.data() + near.at + kGrhBytes, kBytes) == 0);
}

// The source is the port that the queue pair is bound to, not the device's first one.
TEST_CASE("address: a datagram from another port names that port", "[verbs][ports]") {
  VerbsDevice device;
  DatagramEnd near(device, 1024, 2);
  DatagramEnd far(device, 2048);
  ibv_gid gid{};
  ibv_port_attr port{};
  REQUIRE(ibv_query_gid(device.context.get(), 2, device.gid_index(), &gid) == 0);
  REQUIRE(ibv_query_port(device.context.get(), 2, &port) == 0);
  REQUIRE(std::memcmp(gid.raw, device.gid.raw, sizeof(gid.raw)) != 0);
  ibv_ah_attr attr = device.own_port();
  attr.port_num = 2;
  attr.is_global = 1;
  attr.grh.dgid = device.gid;
  attr.grh.sgid_index = static_cast<uint8_t>(device.gid_index());
  const AddressHandle out = handle_for(device, attr);
  REQUIRE(out != nullptr);
  REQUIRE(near.send(0, out.get(), far.qp->qp_num) == IBV_WC_SUCCESS);
  const ibv_wc arrived = far.completion();
  REQUIRE(arrived.status == IBV_WC_SUCCESS);
  const uint8_t* header = device.memory.data() + far.at;
  if (device.ethernet()) {
    CHECK(std::memcmp(header + 32, gid.raw + 12, 4) == 0);
  } else {
    CHECK(std::memcmp(header + 8, gid.raw, 16) == 0);
    CHECK(arrived.slid == port.lid);
  }
}

TEST_CASE("address: without a route header a datagram carries none", "[verbs][infiniband]") {
  VerbsDevice device;
  const ibv_ah_attr attr = device.own_port();
  DatagramEnd near(device, 1024);
  DatagramEnd far(device, 2048);
  const AddressHandle out = handle_for(device, attr);
  REQUIRE(out != nullptr);
  REQUIRE(near.send(0, out.get(), far.qp->qp_num) == IBV_WC_SUCCESS);
  const ibv_wc arrived = far.completion();
  CHECK(arrived.status == IBV_WC_SUCCESS);
  CHECK((arrived.wc_flags & IBV_WC_GRH) == 0);
  CHECK(arrived.slid == device.port.lid);
}

TEST_CASE("address: a GID index that is not in use is refused", "[verbs]") {
  VerbsDevice device;
  ibv_ah_attr attr = device.own_port();
  attr.is_global = 1;
  attr.grh.dgid = device.gid;
  attr.grh.sgid_index = device.ethernet() ? 4 : 1;
  if (device.ethernet()) {
    CHECK(refused(device, attr, ENODATA));
    attr.grh.sgid_index = 8;  // beyond the table
    CHECK(refused(device, attr, EINVAL));
    return;
  }
  // On InfiniBand the library asks nobody, so it is the device that finds out.
  DatagramEnd end(device, 1024);
  const AddressHandle out = handle_for(device, attr);
  REQUIRE(out != nullptr);
  CHECK(end.send(0, out.get(), end.qp->qp_num) == IBV_WC_LOC_QP_OP_ERR);
}

TEST_CASE("address: on Ethernet an IPv4 address must be somebody's", "[verbs][ethernet]") {
  VerbsDevice device;
  CHECK(refused(device, with_gid(device, {10, 0, 0, 1}), ENETUNREACH));
  CHECK(refused(device, with_gid(device, {198, 18, 99, 1}), ENETUNREACH));
  CHECK(handle_for(device, with_gid(device, {198, 18, 0, 1})) != nullptr);
}

TEST_CASE("address: on Ethernet both ends of a way are of one family", "[verbs][ethernet]") {
  VerbsDevice device;
  constexpr uint8_t kLinkLocalV1 = 0, kLinkLocalV2 = 1, kIpv4V2 = 3;
  ibv_ah_attr attr = device.own_port();
  attr.grh.sgid_index = kLinkLocalV2;
  CHECK(refused(device, attr, EINVAL));
  REQUIRE(ibv_query_gid(device.context.get(), 1, kLinkLocalV2, &attr.grh.dgid) == 0);
  CHECK(handle_for(device, attr) != nullptr);
  attr.grh.sgid_index = kIpv4V2;
  CHECK(refused(device, attr, EINVAL));
  // A link-local address that is nobody's: only RoCE v1 asks nobody.
  attr.grh.dgid.raw[15] = 99;
  attr.grh.sgid_index = kLinkLocalV2;
  CHECK(refused(device, attr, ENETUNREACH));
  attr.grh.sgid_index = kLinkLocalV1;
  CHECK(handle_for(device, attr) != nullptr);
}

TEST_CASE("address: on Ethernet a connection needs a GID", "[verbs][ethernet]") {
  VerbsDevice device;
  VerbsQueuePair end(device, IBV_QPT_UC);
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_INIT;
  a.port_num = 1;
  REQUIRE(ibv_modify_qp(end.qp.get(), &a,
                        IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) == 0);
  a.qp_state = IBV_QPS_RTR;
  a.path_mtu = IBV_MTU_1024;
  a.dest_qp_num = end.qp->qp_num;
  a.ah_attr.port_num = 1;
  constexpr int kToRtr =
      IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN;
  CHECK(ibv_modify_qp(end.qp.get(), &a, kToRtr) == EINVAL);
  a.ah_attr = device.own_port();
  CHECK(ibv_modify_qp(end.qp.get(), &a, kToRtr) == 0);
}
