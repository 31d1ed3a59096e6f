// SPDX-License-Identifier: Apache-2.0
#include "nic_fixture.hpp"

#include <cstdlib>
#include <fstream>

#if defined(RINGER_WITH_VERBS)
#include <ringer/mlx5/mlx5_backend.hpp>
#include <ringer/verbs/verbs_backend.hpp>
#endif

namespace ringer::test {

namespace {

std::string wanted() {
  const char* backend = std::getenv("RINGER_TEST_BACKEND");
  return backend != nullptr ? backend : "sim";
}

#if defined(RINGER_WITH_VERBS)
// Long enough for emulated processors, short enough to wait for.
template <class Settings>
Settings impatient(Settings settings) {
  settings.timeout.value = 14;  // 67 ms
  settings.retry_count.value = 3;
  return settings;
}

const char* variable(const char* name) { return std::getenv(name); }

std::unique_ptr<Backend> open_backend(const std::string& name) {
  if (name == "mlx5") {
    return std::make_unique<mlx5::Mlx5Backend>(impatient(mlx5::read_mlx5_settings(variable)));
  }
  REQUIRE(name == "verbs");
  return std::make_unique<verbs::VerbsBackend>(impatient(verbs::read_verbs_settings(variable)));
}
#else
std::unique_ptr<Backend> open_backend(const std::string& name) {
  throw BackendError("backend " + name + " is not part of this build");
}
#endif

}  // namespace

NicPair::NicPair() {
  if (wanted() == "sim") {
    backend_ = std::make_unique<soft::SoftBackend>(fabric_);
    thread_ = std::make_unique<sim::NicThread>(fabric_);
  } else {
    backend_ = open_backend(wanted());
  }
  for (uint32_t rank : {0, 1}) nics_[rank] = backend_->open_nic(rank);
}

NicPair::~NicPair() = default;

std::string NicPair::kind() const {
  const bool rxe = nics_[0]->caps().name.rfind("rxe", 0) == 0;
  return rxe ? "rxe" : wanted();
}

Link::Link(NicPair& nics, const Setup& setup) : near_(kWindowBytes), far_(kWindowBytes) {
  near_region_ = nics.near().register_memory(near_.data(), near_.size(), setup.near_rights);
  far_region_ = nics.far().register_memory(far_.data(), far_.size(), setup.far_rights);
  near_qp_ = nics.near().create_queue_pair(setup.near);
  far_qp_ = nics.far().create_queue_pair(setup.far);
  if (!setup.connected) return;
  near_qp_->connect(far_qp_->address(), 1);
  far_qp_->connect(near_qp_->address(), 0);
  view_ = near_qp_->device_view();
  sender_ = std::make_unique<Sender>(HostPlatform{}, view_);
}

std::string Link::outcome(const Posted& posted) {
  Status status = posted.status;
  if (status.ok()) status = sender_->wait(posted.ticket, soon());
  if (status.ok()) return "ok";
  std::string text = to_string(status.code);
  // What the NIC says first, where a completion shows the flush that followed.
  const Status first = near_qp_->first_error();
  if (!first.ok()) status = first;
  if (status.code == StatusCode::qp_error) {
    text = std::string(syndrome_name(status.syndrome));
  }
  return text;
}

// RINGER_NIC_LOG: a file that gets a line of "column|group|operation|outcome|expected|why".
void expect_outcome(const NicPair& nics, const std::string& group, const std::string& operation,
                    const std::string& outcome, const std::string& expected,
                    const std::vector<Deviation>& but) {
  const std::string kind = nics.kind();
  const Deviation* deviation = nullptr;
  for (const Deviation& one : but) {
    if (kind == one.kind) deviation = &one;
  }
  if (const char* path = std::getenv("RINGER_NIC_LOG"); path != nullptr) {
    std::ofstream(path, std::ios::app)
        << kind << '|' << group << '|' << operation << '|' << outcome << '|' << expected << '|'
        << (deviation != nullptr ? deviation->why : "") << '\n';
  }
  INFO(kind << ": " << group << ": " << operation);
  CHECK(outcome == (deviation != nullptr ? deviation->outcome : expected));
}

}  // namespace ringer::test
