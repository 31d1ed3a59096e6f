// SPDX-License-Identifier: Apache-2.0
// Plain libibverbs on the first device, with the rings looked into by mlx5dv.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <vector>

#include <infiniband/mlx5dv.h>
#include <infiniband/verbs.h>

#include <ringer/mlx5/wire.hpp>

#include "support/catch.hpp"

namespace ringer::test {

using MacAddress = std::array<uint8_t, 6>;

template <class T>
using Handle = std::unique_ptr<T, int (*)(T*)>;

/// A device with a protection domain and 64 KiB of registered memory.
struct VerbsDevice {
  static constexpr size_t kBytes = 65536;
  static constexpr int kRights = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE |
                                 IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;

  VerbsDevice() : memory(kBytes) {
    int count = 0;
    ibv_device** list = ibv_get_device_list(&count);
    REQUIRE(list != nullptr);
    REQUIRE(count > 0);
    context.reset(ibv_open_device(list[0]));
    ibv_free_device_list(list);
    REQUIRE(context != nullptr);
    pd.reset(ibv_alloc_pd(context.get()));
    REQUIRE(pd != nullptr);
    mr.reset(ibv_reg_mr(pd.get(), memory.data(), memory.size(), kRights));
    REQUIRE(mr != nullptr);
    REQUIRE(ibv_query_port(context.get(), 1, &port) == 0);
    REQUIRE(ibv_query_gid(context.get(), 1, gid_index(), &gid) == 0);
  }
  bool ethernet() const { return port.link_layer == IBV_LINK_LAYER_ETHERNET; }
  /// On Ethernet the one of RoCE v2 over IPv4.
  int gid_index() const { return ethernet() ? 3 : 0; }
  /// The address of its own first port.
  ibv_ah_attr own_port() const {
    ibv_ah_attr attr{};
    attr.port_num = 1;
    attr.dlid = port.lid;
    if (ethernet()) {
      attr.is_global = 1;
      attr.grh.dgid = gid;
      attr.grh.sgid_index = static_cast<uint8_t>(gid_index());
      attr.grh.hop_limit = 64;
    }
    return attr;
  }
  /// Where its own port is on Ethernet, as the kernel has resolved it.
  MacAddress mac() const {
    ibv_ah_attr attr = own_port();
    const Handle<ibv_ah> handle(ibv_create_ah(pd.get(), &attr), ibv_destroy_ah);
    REQUIRE(handle != nullptr);
    mlx5dv_ah inside{};
    mlx5dv_obj objects{};
    objects.ah = {handle.get(), &inside};
    REQUIRE(mlx5dv_init_obj(&objects, MLX5DV_OBJ_AH) == 0);
    MacAddress mac;
    std::copy_n(inside.av->rmac, mac.size(), mac.begin());
    return mac;
  }

  uint64_t address(size_t offset) const {
    return reinterpret_cast<uint64_t>(memory.data()) + offset;
  }

  std::vector<uint8_t> memory;
  Handle<ibv_context> context{nullptr, ibv_close_device};
  Handle<ibv_pd> pd{nullptr, ibv_dealloc_pd};
  Handle<ibv_mr> mr{nullptr, [](ibv_mr* m) { return ibv_dereg_mr(m); }};
  ibv_port_attr port{};
  ibv_gid gid{};
};

/// A queue pair with one completion queue for both directions.
struct VerbsQueuePair {
  VerbsQueuePair(VerbsDevice& device, ibv_qp_type type, uint64_t operations = 0) : device_(device) {
    cq.reset(ibv_create_cq(device.context.get(), 64, nullptr, nullptr, 0));
    REQUIRE(cq != nullptr);
    ibv_qp_init_attr_ex attr{};
    attr.send_cq = attr.recv_cq = cq.get();
    attr.qp_type = type;
    attr.cap = {32, 32, 2, 2, 64};
    attr.pd = device.pd.get();
    attr.comp_mask = IBV_QP_INIT_ATTR_PD;
    if (operations != 0) {
      attr.comp_mask |= IBV_QP_INIT_ATTR_SEND_OPS_FLAGS;
      attr.send_ops_flags = operations;
    }
    qp.reset(ibv_create_qp_ex(device.context.get(), &attr));
    REQUIRE(qp != nullptr);
    mlx5dv_obj objects{};
    objects.qp = {qp.get(), &inside};
    REQUIRE(mlx5dv_init_obj(&objects, MLX5DV_OBJ_QP) == 0);
  }

  void connect(const VerbsQueuePair& remote, int rights = VerbsDevice::kRights) {
    ibv_qp_attr a{};
    a.qp_state = IBV_QPS_INIT;
    a.port_num = 1;
    a.qp_access_flags = static_cast<unsigned>(rights);
    REQUIRE(ibv_modify_qp(qp.get(), &a,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) ==
            0);
    a = {};
    a.qp_state = IBV_QPS_RTR;
    a.path_mtu = IBV_MTU_1024;
    a.dest_qp_num = remote.qp->qp_num;
    a.max_dest_rd_atomic = 4;
    a.min_rnr_timer = 1;
    a.ah_attr = device_.own_port();
    REQUIRE(ibv_modify_qp(qp.get(), &a,
                          IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                              IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) ==
            0);
    a = {};
    a.qp_state = IBV_QPS_RTS;
    a.timeout = 8;
    a.retry_cnt = 2;
    a.rnr_retry = 2;
    a.max_rd_atomic = 4;
    REQUIRE(ibv_modify_qp(qp.get(), &a,
                          IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                              IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC) == 0);
  }

  /// The next completion. Bounded: a device that never completes fails the test.
  ibv_wc completion() {
    ibv_wc wc{};
    int found = 0;
    for (uint64_t polls = 0; polls < 100'000'000 && found == 0; ++polls) {
      found = ibv_poll_cq(cq.get(), 1, &wc);
    }
    REQUIRE(found == 1);
    return wc;
  }

  const uint8_t* slot(uint64_t index) const {
    return static_cast<const uint8_t*>(inside.sq.buf) + (index % inside.sq.wqe_cnt) * kWqebbBytes;
  }

  Handle<ibv_cq> cq{nullptr, ibv_destroy_cq};
  Handle<ibv_qp> qp{nullptr, ibv_destroy_qp};
  mlx5dv_qp inside{};

 private:
  VerbsDevice& device_;
};

}  // namespace ringer::test
