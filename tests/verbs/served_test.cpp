// SPDX-License-Identifier: Apache-2.0
// Queue pairs that the host serves, through the backend for any NIC.
#include <ringer/verbs/verbs_backend.hpp>

#include "backend_fixture.hpp"

using namespace ringer;
using namespace ringer::test;

TEST_CASE("verbs backend: completions by events come without anybody looking", "[verbs]") {
  verbs::VerbsSettings settings;
  settings.timeout.value = 8;
  settings.completions.value = verbs::Completions::event;
  verbs::VerbsBackend backend(settings);
  const auto nic = backend.open_nic(0);
  for (int round = 0; round < 50; ++round) {  // each leaves with an event that may be on its way
    End a(*nic, {}), b(*nic, {});
    a.qp->connect(b.qp->address(), 7);
    b.qp->connect(a.qp->address(), 0);
    const WorkRequest put{WorkRequest::Kind::put, 8, a.local(0), b.remote(1), 0};
    RemoteRef wrong = b.remote(1);
    wrong.rkey += 256;
    const WorkRequest failing{WorkRequest::Kind::put, 8, a.local(0), wrong, 0};
    REQUIRE(a.qp->post({&put, 1}).posted == 1);
    REQUIRE(a.qp->post({&failing, 1}).posted == 1);
    Status status;
    for (int i = 0; i < 10'000'000 && status.ok(); ++i) {
      status = a.qp->first_error();  // which does not poll
      std::this_thread::yield();
    }
    REQUIRE(status.code == StatusCode::qp_error);
    CHECK(status.syndrome == 0x13);
  }
}
