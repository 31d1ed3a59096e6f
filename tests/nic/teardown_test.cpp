// SPDX-License-Identifier: Apache-2.0
// Objects of a NIC go in any order and whatever is under way, and a creation that fails on its way
// leaves nothing.
#include <cstring>

#include "nic_fixture.hpp"
#include "support/failing_memory.hpp"
#include "support/open_files.hpp"

using namespace ringer;
using namespace ringer::test;

namespace {

constexpr PostFlags kSilent{false, true};

void require_working(NicPair& nics) {
  Link link(nics);
  link.near_bytes()[0] = 42;
  const Posted posted =
      link.sender().put(link.local(), link.remote(), 1, {true, true}, link.soon());
  REQUIRE(link.outcome(posted) == "ok");
  CHECK(link.far_bytes()[0] == 42);
}

}  // namespace

TEST_CASE("nic: a queue pair may go with work under way, before or after its peer", "[nic]") {
  NicPair nics;
  const auto files = open_files();
  for (int round = 0; round < 20; ++round) {
    Link link(nics);
    for (int i = 0; i < 30; ++i) {
      REQUIRE(
          link.sender().put(link.local(), link.remote(), 4096, kSilent, link.soon()).status.ok());
    }
    if (round % 2 == 0) {
      link.remove_near_end();
    } else {
      link.remove_far_end();
    }
  }
  CHECK(open_files() == files);
  require_working(nics);
}

TEST_CASE("nic: a queue pair whose creation fails at any step leaves nothing", "[nic]") {
  NicPair nics;
  const auto files = open_files();
  QueuePairConfig config;
  config.rq_wqes = nics.kind() == "mlx5" ? 0 : 16;
  CHECK(fail_at_each_step(nics.near(), config) > 2);
  CHECK(open_files() == files);
  require_working(nics);
}

TEST_CASE("nic: what cannot be is refused", "[nic]") {
  NicPair nics;
  QueuePairConfig deep;
  deep.sq_wqebbs = 1u << 20;
  CHECK_THROWS_AS(nics.near().create_queue_pair(deep), BackendError);
  LinkSetup plain;
  plain.connected = false;
  Link link(nics, plain);
  CHECK_THROWS_AS(link.near_qp().device_view(), BackendError);
  require_working(nics);
}
