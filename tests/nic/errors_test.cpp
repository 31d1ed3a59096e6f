// SPDX-License-Identifier: Apache-2.0
// What goes wrong has the same status on every NIC, or the difference is known, and whose it is.
#include "nic_fixture.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

constexpr PostFlags kSignaled{true, true};
constexpr const char* kAccess = "remote access error";
constexpr const char* kProtection = "local protection error";
constexpr size_t kBeyond = Link::kWindowBytes;

RemoteRef with_wrong_key(RemoteRef remote) {
  remote.rkey ^= 0x5500;
  return remote;
}

LocalRef with_wrong_key(LocalRef local) {
  local.lkey ^= 0x5500;
  return local;
}

}  // namespace

TEST_CASE("nic: keys, ranges and rights at the far end", "[nic]") {
  NicPair nics;
  const auto judge = [&](const char* operation, const LinkSetup& setup, const char* expected,
                         auto&& post, const std::vector<Deviation>& but = {}) {
    Link link(nics, setup);
    expect_outcome(nics, "Errors at the far end", operation, link.outcome(post(link)), expected,
                   but);
  };
  LinkSetup plain;
  judge("WRITE, wrong key", plain, kAccess, [](Link& l) {
    return l.sender().put(l.local(), with_wrong_key(l.remote()), 64, kSignaled, l.soon());
  });
  judge("READ, wrong key", plain, kAccess, [](Link& l) {
    return l.sender().get(l.local(), with_wrong_key(l.remote()), 64, kSignaled, l.soon());
  });
  judge("fetch and add, wrong key", plain, kAccess, [](Link& l) {
    return l.sender().fetch_add(uint64_t{1}, l.local(), with_wrong_key(l.remote()), kSignaled,
                                l.soon());
  });
  judge("WRITE of no bytes, wrong key", plain, "ok", [](Link& l) {
    return l.sender().put(l.local(), with_wrong_key(l.remote()), 0, kSignaled, l.soon());
  });
  judge("WRITE, one byte beyond the end", plain, kAccess, [](Link& l) {
    return l.sender().put(l.local(), l.remote(kBeyond - 63), 64, kSignaled, l.soon());
  });
  judge("READ, one byte beyond the end", plain, kAccess, [](Link& l) {
    return l.sender().get(l.local(), l.remote(kBeyond - 63), 64, kSignaled, l.soon());
  });
  judge("WRITE of several packets, last byte beyond the end", plain, kAccess, [](Link& l) {
    return l.sender().put(l.local(), l.remote(kBeyond - 16383), 16384, kSignaled, l.soon());
  });
  judge("fetch and add, 4 bytes beyond the end", plain, kAccess, [](Link& l) {
    RemoteRef at = l.remote(kBeyond - 4);
    at.address = at.address / 8 * 8 + 8;
    return l.sender().fetch_add(uint64_t{1}, l.local(), at, kSignaled, l.soon());
  });
  judge("fetch and add, not aligned", plain, "remote invalid request", [](Link& l) {
    return l.sender().fetch_add(uint64_t{1}, l.local(), l.remote(4), kSignaled, l.soon());
  });
  LinkSetup reads = plain, writes = plain, no_atomics = plain;
  reads.far_rights = access::local_write | access::remote_read;
  writes.far_rights = access::local_write | access::remote_write;
  no_atomics.far_rights = access::local_write | access::remote_write | access::remote_read;
  judge("WRITE where peers may read only", reads, kAccess,
        [](Link& l) { return l.sender().put(l.local(), l.remote(), 64, kSignaled, l.soon()); });
  judge("READ where peers may write only", writes, kAccess,
        [](Link& l) { return l.sender().get(l.local(), l.remote(), 64, kSignaled, l.soon()); });
  judge("fetch and add where there are no atomics", no_atomics, kAccess, [](Link& l) {
    return l.sender().fetch_add(uint64_t{1}, l.local(), l.remote(), kSignaled, l.soon());
  });
  judge("WRITE to memory that is no longer registered", plain, kAccess, [](Link& l) {
    const RemoteRef gone = l.remote();
    l.remove_far_window();
    return l.sender().put(l.local(), gone, 64, kSignaled, l.soon());
  });
}

TEST_CASE("nic: keys, ranges and rights at the near end", "[nic]") {
  NicPair nics;
  const auto judge = [&](const char* operation, const LinkSetup& setup, const char* expected,
                         auto&& post, const std::vector<Deviation>& but = {}) {
    Link link(nics, setup);
    expect_outcome(nics, "Errors at the near end", operation, link.outcome(post(link)), expected,
                   but);
  };
  LinkSetup plain;
  LinkSetup reads = plain;
  reads.near_rights = access::remote_read;
  judge(
      "WRITE, wrong local key", plain, kProtection,
      [](Link& l) {
        return l.sender().put(with_wrong_key(l.local()), l.remote(), 64, kSignaled, l.soon());
      },
      {{"rxe", "local queue pair operation error",
        "the specification: the fault is in the memory's protection. rxe says so of READs only"}});
  judge("WRITE, source beyond the end", plain, kProtection, [](Link& l) {
    return l.sender().put(l.local(kBeyond - 32), l.remote(), 64, kSignaled, l.soon());
  });
  judge("READ into memory that is not writable", reads, kProtection,
        [](Link& l) { return l.sender().get(l.local(), l.remote(), 64, kSignaled, l.soon()); });
  judge("READ, wrong local key", plain, kProtection, [](Link& l) {
    return l.sender().get(with_wrong_key(l.local()), l.remote(), 64, kSignaled, l.soon());
  });
}

TEST_CASE("nic: receivers that are not ready, and peers that are gone", "[nic]") {
  NicPair nics;
  LinkSetup no_buffers;
  no_buffers.far.rq_wqes = 4;
  no_buffers.near.rnr_retries = 1;
  {
    Link link(nics, no_buffers);
    expect_outcome(nics, "Peers", "SEND without a receive WQE, one retry",
                   link.outcome(link.sender().send(link.local(), 8, kSignaled, link.soon())),
                   "receiver not ready, retry exceeded");
  }
  {
    Link link(nics, no_buffers);
    link.far_qp().post_receive({link.remote().address, link.far_key()}, 4);
    expect_outcome(
        nics, "Peers", "SEND of more than the receive buffer holds",
        link.outcome(link.sender().send(link.local(), 8, kSignaled, link.soon())),
        "remote invalid request",
        {{"rxe", "remote operation error",
          "the specification: a message that is too long is an invalid request (IBA 9.9.3)"}});
  }
  {
    Link link(nics);
    link.remove_far_end();
    expect_outcome(
        nics, "Peers", "WRITE to a queue pair that is gone",
        link.outcome(link.sender().put(link.local(), link.remote(), 64, kSignaled, link.soon())),
        "transport retry exceeded");
  }
  {
    Link link(nics);
    CHECK(link.outcome(link.sender().put(link.local(), with_wrong_key(link.remote()), 64, kSignaled,
                                         link.soon())) == kAccess);
    const Posted after = link.sender().put(link.local(), link.remote(), 64, kSignaled, link.soon());
    expect_outcome(nics, "Peers", "WRITE after an error", link.outcome(after), kAccess);
  }
}
