// SPDX-License-Identifier: Apache-2.0
#include "doctor.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "cli_support.hpp"
#include "fake_node.hpp"
#include "support/catch.hpp"

namespace ringer::tools {

namespace {

using test::contains;
using test::FakeMachine;
using test::FakeNode;
using test::H100Node;

constexpr BuildParts kAllParts{true, true};

NodeFacts probe(const FakeMachine& node) {
  return probe_node({node.root(), recorded_libraries(node.root())});
}

Diagnosis examine(const FakeMachine& node, const BuildParts& build = kAllParts) {
  return diagnose(probe(node), build);
}

// A finding of level "absent" if there is none.
struct Seen {
  std::string level = "absent";
  std::string fact;
  std::string advice;
  unsigned blocks = 0;
};
Seen seen(const Diagnosis& diagnosis, const std::string& id, const std::string& subject = "") {
  for (const Finding& f : diagnosis.findings) {
    if (f.id == id && f.subject == subject) return {name_of(f.level), f.fact, f.advice, f.blocks};
  }
  return {};
}

const TierVerdict& tier(const Diagnosis& diagnosis, const std::string& key) {
  return *std::find_if(diagnosis.tiers.begin(), diagnosis.tiers.end(),
                       [&](const TierVerdict& t) { return t.key == key; });
}

// Keys of the tiers that run, in order.
std::string running(const Diagnosis& diagnosis) {
  std::string keys;
  for (const TierVerdict& t : diagnosis.tiers) keys += t.runs ? " " + t.key : "";
  return keys;
}

PciDevice device(const std::vector<std::string>& path, uint32_t numa_node) {
  PciDevice found;
  found.path = path;
  found.numa_node = numa_node;
  return found;
}

Gid gid(uint32_t index, const std::string& type, std::array<uint8_t, 16> bytes) {
  return {index, bytes, "", type};
}

}  // namespace

TEST_CASE("a laptop with nothing runs the simulation", "[doctor]") {
  FakeMachine laptop;
  CHECK_FALSE(probe(laptop).probed);
  laptop.add_file("proc/cmdline", "quiet\n");
  CHECK(probe(laptop).probed);
  const Diagnosis d = examine(laptop);
  CHECK(running(d) == " laptop");
  CHECK(seen(d, "gpu.device").level == "missing");
  CHECK(seen(d, "hca.device").level == "missing");
  CHECK(seen(d, "rxe.device").blocks == kSoftRoce);
  CHECK(seen(d, "library.ibverbs").blocks == kVerbs);
  CHECK(seen(d, "gpu.driver").level == "absent");
  CHECK(seen(d, "pci.acs").level == "absent");
  CHECK(tier(d, "connectx_gpu").reason == "no NVIDIA GPU");
  CHECK(tier(d, "softroce").reason == "no rdma_rxe device, nor its kernel module");
}

TEST_CASE("a well set up node has nothing in its way", "[doctor]") {
  const H100Node node;
  const Diagnosis d = examine(node);
  for (const Finding& f : d.findings) {
    INFO(f.id << " " << f.subject << ": " << f.fact);
    CHECK((f.level == Level::ok) == (f.id != "rxe.device"));
    CHECK(f.advice.empty() == (f.level == Level::ok));
  }
  CHECK(running(d) == " laptop gpu connectx_cpu connectx_gpu");
  CHECK(contains(seen(d, "gpu.driver").fact, "550.54.15, open"));
  CHECK(seen(d, "gpu.cuda").fact == "GPUs that libcuda counts: 2");
  CHECK(seen(d, "gpu.device").fact == "NVIDIA GPUs: 0000:18:00.0, 0000:8d:00.0");
  CHECK(seen(d, "hca.device").fact == "mlx5 HCAs: mlx5_0, mlx5_1");
  CHECK(seen(d, "gpu.peermem").fact == "nvidia_peermem 550.54.15 is loaded");
  CHECK(seen(d, "hca.firmware", "mlx5_0").fact == "mlx5_core, MT4129, firmware 28.39.1002");
  CHECK(contains(seen(d, "port.gid", "mlx5_0/1").fact, "GID index 3 "));
  CHECK(seen(d, "port.mtu", "mlx5_0/1").fact == "net_mlx5_0 has MTU 9000: RoCE MTU 4096");
  CHECK(contains(seen(d, "pci.pair", "0000:18:00.0").fact, "with mlx5_1 (0000:19:00.0"));
  CHECK(contains(seen(d, "pci.pair", "0000:8d:00.0").fact, "with mlx5_0 (0000:8e:00.0"));
  CHECK(contains(seen(d, "pci.pair", "0000:8d:00.0").fact, "NUMA node 1): same PCIe switch"));
  CHECK(seen(d, "pci.acs").fact == "no bridge redirects");
  CHECK(contains(seen(d, "pci.control", "mlx5_1").fact, "4096 bytes, relaxed ordering on"));
  CHECK(seen(d, "pci.link", "mlx5_1").fact == "32.0 GT/s PCIe x16");
  CHECK(seen(d, "cpu.count").fact == "96 CPUs");
}

TEST_CASE("what only the build lacks is told from what the node lacks", "[doctor]") {
  const H100Node node;
  const Diagnosis d = examine(node, {true, false});
  CHECK(running(d) == " laptop gpu");
  CHECK(tier(d, "connectx_gpu").node_ready);
  CHECK(tier(d, "connectx_gpu").reason ==
        "the node is ready, but not part of this build: backends mlx5 and verbs");
  CHECK_FALSE(tier(d, "softroce").node_ready);
}

TEST_CASE("doorbells from kernels need PeerMappingOverride", "[doctor]") {
  H100Node node;
  node.add_file("proc/driver/nvidia/params", "EnableStreamMemOPs: 0\nRegistryDwords: \"\"\n");
  const Diagnosis d = examine(node);
  CHECK(seen(d, "gpu.peer_mapping").level == "problem");
  CHECK(running(d) == " laptop gpu connectx_cpu");
  CHECK(contains(tier(d, "connectx_gpu").reason, "PeerMappingOverride=1"));
  CHECK(contains(tier(d, "connectx_gpu").advice, "NVreg_RegistryDwords"));
  node.remove("proc/driver/nvidia/params");
  CHECK(contains(seen(examine(node), "gpu.peer_mapping").fact, "cannot be read"));
}

TEST_CASE("a RoCE port with a small MTU and only a link-local GID", "[doctor]") {
  H100Node node;
  node.add_file("sys/class/net/net_mlx5_0/mtu", "1500\n");
  node.add_gid("mlx5_0", "3", "0000:0000:0000:0000:0000:0000:0000:0000", "RoCE v2");
  const Diagnosis d = examine(node);
  CHECK(seen(d, "port.mtu", "mlx5_0/1").level == "note");
  CHECK(seen(d, "port.mtu", "mlx5_0/1").fact == "net_mlx5_0 has MTU 1500: RoCE MTU 1024");
  CHECK(seen(d, "port.gid", "mlx5_0/1").level == "problem");
  CHECK(contains(seen(d, "port.gid", "mlx5_0/1").fact, "GID index 1 "));
  CHECK(contains(seen(d, "port.gid", "mlx5_0/1").advice, "dev net_mlx5_0"));
  CHECK(tier(d, "connectx_gpu").runs);
  for (const char* name : {"mlx5_0", "mlx5_1"}) {
    node.add_gid(name, "1", "0000:0000:0000:0000:0000:0000:0000:0000", "RoCE v2");
    node.add_gid(name, "3", "0000:0000:0000:0000:0000:0000:0000:0000", "RoCE v2");
  }
  CHECK(tier(examine(node), "connectx_gpu").reason == "mlx5_0/1: no RoCE v2 GID");
}

TEST_CASE("a port that is down matters when no other is up", "[doctor]") {
  H100Node node;
  node.add_file(FakeNode::port("mlx5_0") + "state", "1: DOWN\n");
  node.add_file(FakeNode::port("mlx5_0") + "phys_state", "3: Disabled\n");
  const Diagnosis one = examine(node);
  CHECK(seen(one, "port.state", "mlx5_0/1").level == "problem");
  CHECK(contains(seen(one, "port.state", "mlx5_0/1").advice, "ip link set"));
  CHECK(seen(one, "port.gid", "mlx5_0/1").level == "absent");
  CHECK(tier(one, "connectx_gpu").runs);
  // Both GPUs are left with the other NIC, one of them over the sockets.
  CHECK(contains(seen(one, "pci.pair", "0000:8d:00.0").fact, "mlx5_1"));
  CHECK(seen(one, "pci.pair", "0000:8d:00.0").level == "note");
  node.add_file(FakeNode::port("mlx5_1") + "state", "1: DOWN\n");
  node.add_file(FakeNode::port("mlx5_1") + "phys_state", "2: Polling\n");
  const Diagnosis both = examine(node);
  CHECK(running(both) == " laptop gpu");
  CHECK(tier(both, "connectx_cpu").reason == "mlx5_0/1: DOWN, physical state Disabled");
  CHECK(contains(seen(both, "port.state", "mlx5_1/1").advice, "cable"));
}

TEST_CASE("GPU memory is registered by peermem or by dma-buf", "[doctor]") {
  H100Node node;
  node.remove("sys/module/nvidia_peermem");
  CHECK(seen(examine(node), "gpu.peermem").level == "note");
  CHECK(tier(examine(node), "connectx_gpu").runs);
  node.add_file("proc/sys/kernel/osrelease", "5.4.0-150-generic\n");
  const Diagnosis old = examine(node);
  CHECK(seen(old, "gpu.peermem").level == "missing");
  CHECK(running(old) == " laptop gpu");
  CHECK(tier(old, "connectx_cpu").advice == "as root: modprobe nvidia_peermem");
  node.add_file("sys/module/nv_peer_mem/version", "1.3\n");
  CHECK(seen(examine(node), "gpu.peermem").fact == "nv_peer_mem 1.3 is loaded");
  CHECK(seen(examine(node), "gpu.dmabuf").level == "note");
  node.add_file("proc/sys/kernel/osrelease", "5.12.0\n");
  CHECK(seen(examine(node), "gpu.dmabuf").level == "ok");
  node.add_file("proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX x86_64 Kernel Module  510.47.03  Mon Jan 24\n");
  CHECK(contains(seen(examine(node), "gpu.driver").fact, "510.47.03, proprietary"));
  CHECK(seen(examine(node), "gpu.dmabuf").level == "note");
  CHECK(seen(examine(node), "gpu.stream_mem_ops").level == "note");
}

TEST_CASE("ACS that redirects is named, ACS that cannot be read is unknown", "[doctor]") {
  H100Node node;
  const std::string config = std::string("sys/devices/") + H100Node::kSwitch + "/config";
  node.add_file(config, test::pci_config(0x1d, 0));
  const Diagnosis d = examine(node);
  CHECK(seen(d, "pci.acs").level == "problem");
  CHECK(contains(seen(d, "pci.acs").fact, "root complex: 0000:16:00.0"));
  CHECK(contains(seen(d, "pci.acs").advice, "setpci -s 0000:16:00.0 ECAP_ACS+6.w=0"));
  CHECK(tier(d, "connectx_gpu").runs);
  node.add_file(config, test::pci_config(0, 0).substr(0, 64));
  CHECK(seen(examine(node), "pci.acs").level == "note");
  CHECK(contains(seen(examine(node), "pci.acs").advice, "as root"));
}

TEST_CASE("configuration spaces are read as far as they go", "[doctor]") {
  const std::string config = test::pci_config(0x01, 2 << 12);
  CHECK(acs_of(config) == Acs::off);  // source validation alone redirects nothing
  CHECK(acs_of(test::pci_config(0x08, 0)) == Acs::redirects);
  CHECK(acs_of(config.substr(0, 256)) == Acs::unknown);
  CHECK(acs_of(config.substr(0, 0x140)) == Acs::unknown);
  std::string none = config;
  none[0x103] = 0;  // error reporting is the last capability
  none[0x102] = 1;
  CHECK(acs_of(none) == Acs::absent);
  std::string loop = config;
  loop[0x103] = 0x10;  // it follows itself
  loop[0x102] = 0x01;
  CHECK(acs_of(loop) == Acs::absent);
  REQUIRE(control_of(config).has_value());
  CHECK(control_of(config)->max_read_request_bytes == 512);
  CHECK_FALSE(control_of(config)->relaxed_ordering);
  CHECK_FALSE(control_of(config.substr(0, 64)).has_value());
}

TEST_CASE("locked memory bounds what a NIC can register", "[doctor]") {
  H100Node node;
  node.set_memlock("65536");
  const Diagnosis d = examine(node);
  CHECK(seen(d, "limit.memlock").level == "problem");
  CHECK(contains(seen(d, "limit.memlock").fact, "64 KiB"));
  CHECK(running(d) == " laptop gpu");
  node.set_memlock("1073741824");
  CHECK(seen(examine(node), "limit.memlock").level == "note");
  node.set_memlock("65536");
  node.add_file("proc/self/status", "CapEff:\t000001ffffffffff\nCpus_allowed_list:\t0\n");
  CHECK(seen(examine(node), "limit.memlock").level == "ok");
  CHECK(tier(examine(node), "connectx_gpu").runs);
}

TEST_CASE("a uverbs node must be there and open", "[doctor]") {
  H100Node node;
  node.remove("dev/infiniband/uverbs0");
  node.remove("dev/infiniband/uverbs1");
  // A directory cannot be opened for writing, not even by root.
  std::filesystem::create_directories(node.root() / "dev/infiniband/uverbs1");
  const Diagnosis d = examine(node);
  CHECK(contains(seen(d, "hca.uverbs", "mlx5_1").fact, "uverbs0 cannot be opened: No such file"));
  CHECK(contains(seen(d, "hca.uverbs", "mlx5_0").fact, "uverbs1 cannot be opened: Is a directory"));
  CHECK(running(d) == " laptop gpu");
  node.remove("sys/class/infiniband_verbs");
  CHECK(seen(examine(node), "hca.uverbs", "mlx5_0").level == "missing");
}

TEST_CASE("devices without drivers say which driver", "[doctor]") {
  H100Node node;
  node.remove("usr/lib/libmlx5.so.1");
  CHECK(tier(examine(node), "connectx_gpu").reason == "no libmlx5.so.1");
  node.add_file("usr/lib/x86_64-linux-gnu/libibverbs/libmlx5-rdmav34.so");
  CHECK(tier(examine(node), "connectx_gpu").runs);
  node.remove("usr/lib/libcuda.so.1");
  CHECK(seen(examine(node), "gpu.cuda").level == "problem");
  CHECK(tier(examine(node), "gpu").reason == "no usable GPU: no libcuda.so.1");
  node.remove("proc/driver");
  CHECK(seen(examine(node), "gpu.driver").blocks == kGpu);
  CHECK(running(examine(node)) == " laptop");
  node.remove("sys/class/infiniband");
  CHECK(contains(seen(examine(node), "hca.device").fact, "0000:19:00.0, 0000:8e:00.0"));
  CHECK(contains(seen(examine(node), "hca.device").advice, "mlx5_ib"));
}

TEST_CASE("SoftRoCE takes an rdma_rxe device and no GPU", "[doctor]") {
  FakeNode node;
  node.add_file("sys/module/rdma_rxe/srcversion");
  CHECK(contains(seen(examine(node), "rxe.device").advice, "rdma link add"));
  node.add_rxe("rxe0");
  node.add_file("usr/lib/libibverbs.so.1");
  const Diagnosis d = examine(node);
  CHECK(running(d) == " laptop softroce");
  CHECK(seen(d, "port.state", "rxe0/1").level == "ok");
  node.add_file(FakeNode::port("rxe0") + "state", "1: DOWN\n");
  CHECK(tier(examine(node), "softroce").reason == "rxe0/1: DOWN, physical state LinkUp");
}

TEST_CASE("notes cost performance and block nothing", "[doctor]") {
  H100Node node;
  node.add_file("sys/class/iommu/dmar0/name");
  node.add_file("proc/sys/kernel/numa_balancing", "1\n");
  node.add_file("proc/self/mounts", "shm /dev/shm tmpfs rw,size=65536k,inode64 0 0\n");
  node.add_file("sys/fs/cgroup/cpu.max", "150000 100000\n");
  node.add_file("proc/self/limits", "Max open files            1024    1048576     files\n");
  node.add_file(FakeNode::port("mlx5_0") + "link_layer", "InfiniBand\n");
  node.add_file(FakeNode::port("mlx5_0") + "pkeys/0", "0x7fff\n");
  node.add_file("sys/class/infiniband/mlx5_1/device/current_link_width", "8\n");
  node.add_file("sys/class/infiniband/mlx5_1/device/config", test::pci_config(0, 2 << 12));
  const Diagnosis d = examine(node);
  for (const auto& [id, subject] :
       {std::pair{"pci.iommu", ""}, std::pair{"cpu.count", ""}, std::pair{"cpu.numa_balancing", ""},
        std::pair{"limit.shm", ""}, std::pair{"limit.open_files", ""},
        std::pair{"port.pkey", "mlx5_0/1"}, std::pair{"pci.link", "mlx5_1"},
        std::pair{"pci.control", "mlx5_1"}}) {
    INFO(id);
    CHECK(seen(d, id, subject).level == "note");
    CHECK_FALSE(seen(d, id, subject).advice.empty());
  }
  CHECK(seen(d, "cpu.count").fact == "96 CPUs, 1.5 of them by the control group");
  CHECK(seen(d, "limit.shm").fact == "/dev/shm has 64 MiB");
  CHECK(seen(d, "pci.link", "mlx5_1").fact == "32.0 GT/s PCIe x8 of 32.0 GT/s PCIe x16");
  CHECK(seen(d, "port.gid", "mlx5_0/1").level == "absent");
  CHECK(tier(d, "connectx_gpu").runs);
  node.add_file("proc/cmdline", "quiet intel_iommu=on iommu=pt\n");
  CHECK(seen(examine(node), "pci.iommu").level == "ok");
}

TEST_CASE("the GID that reaches farthest is chosen", "[doctor]") {
  const std::array<uint8_t, 16> local{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 1};
  const std::array<uint8_t, 16> global{0xfd, 0, 0, 0, 0, 0, 0, 0, 1};
  const std::array<uint8_t, 16> ipv4{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1};
  const std::array<uint8_t, 16> ipv4_local{0, 0, 0,    0,    0,   0,   0, 0,
                                           0, 0, 0xff, 0xff, 169, 254, 0, 1};
  CHECK(choose_gid({}) == nullptr);
  CHECK(choose_gid({gid(0, "IB/RoCE v1", ipv4)}) == nullptr);
  const std::vector<Gid> mixed = {gid(0, "RoCE v2", local), gid(1, "RoCE v2", global),
                                  gid(2, "IB/RoCE v1", ipv4), gid(5, "RoCE v2", ipv4),
                                  gid(7, "RoCE v2", ipv4)};
  CHECK(choose_gid(mixed)->index == 5);
  const std::vector<Gid> no_ipv4 = {gid(0, "RoCE v2", local), gid(4, "RoCE v2", ipv4_local),
                                    gid(9, "RoCE v2", global)};
  CHECK(choose_gid(no_ipv4)->index == 9);
  CHECK(reach_of(gid(4, "RoCE v2", ipv4_local)) == GidReach::link_local);
}

TEST_CASE("the RoCE MTU leaves room for headers", "[doctor]") {
  CHECK(roce_mtu(9000) == 4096);
  CHECK(roce_mtu(4192) == 4096);
  CHECK(roce_mtu(4191) == 2048);
  CHECK(roce_mtu(1500) == 1024);
  CHECK(roce_mtu(300) == 0);
}

TEST_CASE("GPUs share NICs evenly, near ones first", "[doctor]") {
  const PciDevice gpu0 = device({"pci0000:00", "0000:00:01.0", "0000:01:00.0"}, 0);
  const PciDevice gpu1 = device({"pci0000:00", "0000:00:02.0", "0000:02:00.0"}, 0);
  const PciDevice near1 = device({"pci0000:00", "0000:00:02.0", "0000:02:01.0"}, 0);
  const PciDevice bridge = device({"pci0000:00", "0000:00:03.0"}, 0);
  const PciDevice node = device({"pci0000:40", "0000:40:01.0", "0000:41:00.0"}, 0);
  const PciDevice far = device({"pci0000:80", "0000:80:01.0", "0000:81:00.0"}, 1);
  CHECK(distance_between(gpu1, near1) == Distance::same_switch);
  CHECK(distance_between(gpu0, near1) == Distance::same_host_bridge);
  CHECK(distance_between(gpu0, bridge) == Distance::same_host_bridge);
  CHECK(distance_between(gpu0, node) == Distance::same_numa_node);
  CHECK(distance_between(gpu0, far) == Distance::across);
  CHECK(distance_between(gpu0, PciDevice{}) == Distance::across);
  using Pairs = std::vector<size_t>;
  CHECK(pair_gpus({gpu0, gpu1}, {near1, node}) == Pairs{1, 0});
  CHECK(pair_gpus({gpu0, gpu1}, {bridge, node}) == Pairs{0, 1});
  CHECK(pair_gpus({gpu0, gpu1}, {bridge, bridge}) == Pairs{0, 1});
  CHECK(pair_gpus({gpu0, gpu1, gpu0}, {far, bridge}) == Pairs{1, 1, 0});
  CHECK(pair_gpus({gpu0, gpu0, gpu0, gpu0}, {far, far, far}) == Pairs{0, 1, 2, 0});
  CHECK(pair_gpus({}, {far}).empty());
}

TEST_CASE("this machine can be examined", "[doctor]") {
  const NodeFacts facts = probe_node({"/", real_libraries()});
  CHECK(facts.probed);
  CHECK(facts.limits.memlock_bytes.has_value());
  CHECK(facts.limits.cpus != 0);
  CHECK(tier(diagnose(facts, build_parts()), "laptop").runs);
}

}  // namespace ringer::tools
