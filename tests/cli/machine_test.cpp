// SPDX-License-Identifier: Apache-2.0
#include "machine.hpp"

#include <filesystem>

#include "cli_support.hpp"
#include "fake_machine.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

using test::contains;
using test::FakeMachine;

MachineFacts probe(const FakeMachine& machine) {
  return probe_machine(machine.root(), recorded_libraries(machine.root()));
}

}  // namespace

TEST_CASE("an empty machine has nothing and runs the simulator", "[machine]") {
  const FakeMachine machine;
  const MachineFacts facts = probe(machine);
  CHECK(facts.rdma.empty());
  CHECK(facts.uverbs == 0);
  CHECK_FALSE(facts.libibverbs);
  CHECK(facts.gpus == 0);
  CHECK(facts.gpu_trouble == "no libcuda.so.1");
  CHECK(facts.memory_bytes == 0);
  CHECK(judge_backends(facts)[0].runs);
  CHECK(judge_tiers(facts)[0].runs);
  CHECK_FALSE(judge_tiers(facts)[3].runs);
  CHECK(contains(judge_tiers(facts)[3].reason, "no mlx5_core device"));
}

TEST_CASE("a cluster node is recognised by its drivers and nodes", "[machine]") {
  FakeMachine machine;
  machine.add_hardware_nic("mlx5_0", "mlx5_core");
  machine.add_hardware_nic("mlx5_1", "mlx5_core");
  machine.add_software_nic("rxe0");
  machine.add_file("dev/infiniband/uverbs0");
  machine.add_file("dev/infiniband/uverbs1");
  machine.add_file("dev/infiniband/rdma_cm");
  machine.add_file("dev/nvidia0");
  machine.add_file("dev/nvidiactl");
  machine.add_file("usr/lib/libibverbs.so.1");
  machine.add_file("usr/lib/libcuda.so.1");
  machine.add_file("proc/driver/nvidia/gpus/0000:01:00.0/information");
  machine.add_file("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512\n");
  machine.add_file("proc/meminfo", "MemTotal:  1024 kB\nMemAvailable:   512 kB\n");
  const MachineFacts facts = probe(machine);
  REQUIRE(facts.rdma.size() == 3);
  CHECK(facts.rdma[0].driver == "mlx5_core");
  CHECK(facts.rdma[2].driver == "rdma_rxe");
  CHECK(facts.uverbs == 2);
  CHECK(facts.nvidia_nodes == 1);
  CHECK(facts.libibverbs);
  CHECK_FALSE(facts.libmlx5);
  CHECK(facts.gpus == 1);
  CHECK(facts.gpu_trouble.empty());
  CHECK(facts.hugepages == 512);
  CHECK(facts.hugepage_bytes == uint64_t{512} * 2048 * 1024);
  CHECK(facts.memory_bytes == 1024 * 1024);

  const auto backends = judge_backends(facts);
  CHECK(contains(backends[1].reason, "not part of this build") != build_parts().verbs);
  CHECK_FALSE(backends[1].runs);  // for want of libmlx5
  CHECK(contains(backends[1].reason, "mlx5_0, mlx5_1"));
  CHECK(contains(backends[1].reason, "no libmlx5.so.1"));
  CHECK(contains(judge_tiers(facts)[1].reason, "rxe0"));

  machine.add_file("usr/lib/libmlx5.so.1");
  const MachineFacts whole = probe(machine);
  CHECK(judge_backends(whole)[1].runs == build_parts().verbs);
  CHECK(judge_tiers(whole)[3].runs == (build_parts().verbs && build_parts().cuda));
}

TEST_CASE("a control group's limit bounds the memory", "[machine]") {
  FakeMachine machine;
  machine.add_file("proc/meminfo", "MemTotal: 4096 kB\nMemAvailable: 2048 kB\n");
  CHECK(available_memory(machine.root()) == 2048 * 1024);
  machine.add_file("sys/fs/cgroup/memory.max", "max\n");
  machine.add_file("sys/fs/cgroup/memory.current", "100\n");
  CHECK(available_memory(machine.root()) == 2048 * 1024);
  machine.add_file("sys/fs/cgroup/memory.max", "1000\n");
  CHECK(available_memory(machine.root()) == 900);
  // Page cache that the kernel gives back on demand is not in the way.
  machine.add_file("sys/fs/cgroup/memory.stat", "anon 10\ninactive_file 60\nactive_file 30\n");
  CHECK(available_memory(machine.root()) == 960);
  machine.add_file("sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n");
  machine.add_file("sys/fs/cgroup/memory/memory.usage_in_bytes", "600\n");
  CHECK(available_memory(machine.root()) == 0);
}

TEST_CASE("groups of several processes need MPI in the build", "[machine]") {
  CHECK(judge_groups("")[0].runs);
  CHECK_FALSE(judge_groups("")[1].runs);
  CHECK(judge_groups("")[1].reason == "not part of this build");
  CHECK(judge_groups("Some MPI")[1].runs);
  CHECK(judge_groups("Some MPI")[1].reason == "Some MPI");
}

TEST_CASE("the real machine can be probed", "[machine]") {
  const MachineFacts facts = probe_machine("/", real_libraries());
  CHECK(facts.memory_bytes > 0);
  CHECK(facts.available_bytes <= facts.memory_bytes);
  CHECK(facts.page_bytes >= 4096);
}

}  // namespace ringer::tools
