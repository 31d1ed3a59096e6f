// SPDX-License-Identifier: Apache-2.0
// Which devices there are, and what the NVIDIA driver allows.
#include <fmt/format.h>

#include "doctor.hpp"
#include "machine_files.hpp"

namespace ringer::tools {

namespace {

using Findings = std::vector<Finding>;

// The first driver with the second version of CUDA's stream memory operations (CUDA 11.7), which
// need no option of the module.
constexpr uint64_t kStreamMemOpsDriver = 515;

constexpr const char* kPeerMappingAdvice =
    "as root: echo 'options nvidia NVreg_RegistryDwords=\"PeerMappingOverride=1;\"' > "
    "/etc/modprobe.d/nvidia-peer-mapping.conf, rebuild the initramfs, reboot";

std::string addresses(const std::vector<PciDevice>& devices) {
  std::string all;
  for (const PciDevice& device : devices) all += (all.empty() ? "" : ", ") + device.address();
  return all;
}

std::string devices_with(const NodeFacts& facts, const std::string& driver) {
  std::string all;
  for (const Hca& hca : facts.hcas) {
    if (hca.driver == driver) all += (all.empty() ? "" : ", ") + hca.name;
  }
  return all;
}

bool has_gpu(const NodeFacts& facts) {
  return !facts.gpus.empty() || facts.machine.gpus != 0 || !facts.driver.version.empty();
}

// dma-buf MRs came with Linux 5.12; the proprietary modules do not export GPU memory this way.
bool kernel_has_dmabuf(const std::string& release) {
  const size_t dot = release.find('.');
  const auto major = leading_number(release);
  if (!major || dot == std::string::npos) return false;
  const uint64_t minor = leading_number(release.substr(dot + 1)).value_or(0);
  return *major > 5 || (*major == 5 && minor >= 12);
}

void judge_peer_mapping(const NvidiaDriver& driver, Findings& findings) {
  if (driver.registry_dwords.find("PeerMappingOverride=1") != std::string::npos) {
    findings.push_back({"gpu.peer_mapping", "", Level::ok,
                        "PeerMappingOverride=1: kernels may map a NIC's doorbells", "", 0});
  } else if (driver.params) {
    findings.push_back({"gpu.peer_mapping", "", Level::problem,
                        "NVreg_RegistryDwords lacks PeerMappingOverride=1, so kernels cannot map a "
                        "NIC's doorbells",
                        kPeerMappingAdvice, kConnectxGpu});
  } else {
    findings.push_back({"gpu.peer_mapping", "", Level::problem,
                        "/proc/driver/nvidia/params cannot be read, so PeerMappingOverride=1 is "
                        "unknown",
                        "run where the driver's /proc is visible", kConnectxGpu});
  }
}

void judge_stream_mem_ops(const NvidiaDriver& driver, Findings& findings) {
  const uint64_t major = leading_number(driver.version).value_or(kStreamMemOpsDriver);
  if (driver.stream_mem_ops) {
    findings.push_back({"gpu.stream_mem_ops", "", Level::ok, "NVreg_EnableStreamMemOPs=1", "", 0});
  } else if (major >= kStreamMemOpsDriver) {
    findings.push_back({"gpu.stream_mem_ops", "", Level::ok,
                        "NVreg_EnableStreamMemOPs=0, which this driver does not need", "", 0});
  } else {
    findings.push_back({"gpu.stream_mem_ops", "", Level::note,
                        fmt::format("NVreg_EnableStreamMemOPs=0: before driver {} CUDA has no "
                                    "stream memory operations without it",
                                    kStreamMemOpsDriver),
                        "set NVreg_EnableStreamMemOPs=1 beside PeerMappingOverride", 0});
  }
}

void judge_registration(const NodeFacts& facts, Findings& findings) {
  const NvidiaDriver& driver = facts.driver;
  const bool dmabuf = driver.open && kernel_has_dmabuf(facts.kernel);
  if (!driver.peermem.empty()) {
    findings.push_back({"gpu.peermem", "", Level::ok, driver.peermem + " is loaded", "", 0});
  } else if (dmabuf) {
    findings.push_back({"gpu.peermem", "", Level::note,
                        "nvidia_peermem is not loaded: GPU memory is registered by dma-buf only",
                        "as root: modprobe nvidia_peermem, if a library wants it", 0});
  } else {
    findings.push_back({"gpu.peermem", "", Level::missing,
                        "nvidia_peermem is not loaded, nor can dma-buf do: NICs cannot register "
                        "GPU memory",
                        "as root: modprobe nvidia_peermem", kConnectx});
  }
  findings.push_back(
      {"gpu.dmabuf", "", dmabuf ? Level::ok : Level::note,
       fmt::format("kernel {}, {} kernel modules{}", facts.kernel.empty() ? "?" : facts.kernel,
                   driver.open ? "open" : "proprietary",
                   dmabuf ? "" : ": no dma-buf of GPU memory"),
       dmabuf ? "" : "needs Linux 5.12 and the open kernel modules; nvidia_peermem does as well",
       0});
  findings.push_back({"gpu.gdrcopy", "", Level::ok,
                      driver.gdrcopy ? "/dev/gdrdrv is there" : "no /dev/gdrdrv (optional)", "",
                      0});
}

}  // namespace

void judge_devices(const NodeFacts& facts, Findings& findings) {
  if (!facts.gpus.empty()) {
    findings.push_back(
        {"gpu.device", "", Level::ok, "NVIDIA GPUs: " + addresses(facts.gpus), "", 0});
  } else if (!has_gpu(facts)) {
    findings.push_back({"gpu.device", "", Level::missing, "no NVIDIA GPU",
                        "the simulation needs none; a container gets them by --gpus all", kGpu});
  }
  if (const std::string mlx5 = devices_with(facts, "mlx5_core"); !mlx5.empty()) {
    findings.push_back({"hca.device", "", Level::ok, "mlx5 HCAs: " + mlx5, "", 0});
  } else if (!facts.mellanox.empty()) {
    findings.push_back({"hca.device", "", Level::missing,
                        fmt::format("ConnectX functions {}, but no mlx5 device in "
                                    "/sys/class/infiniband",
                                    addresses(facts.mellanox)),
                        "as root: modprobe mlx5_ib ib_uverbs; a container shares the host's RDMA "
                        "devices unless 'rdma system' says exclusive",
                        kConnectx});
  } else {
    findings.push_back({"hca.device", "", Level::missing, "no mlx5 HCA",
                        "the simulation needs none, and 'ringer run -- COMMAND' emulates one",
                        kConnectx});
  }
  if (const std::string rxe = devices_with(facts, "rdma_rxe"); !rxe.empty()) {
    findings.push_back({"rxe.device", "", Level::ok, "rdma_rxe devices: " + rxe, "", 0});
  } else {
    findings.push_back(
        {"rxe.device", "", Level::missing,
         facts.rxe_module ? "no rdma_rxe device" : "no rdma_rxe device, nor its kernel module",
         facts.rxe_module
             ? "as root: rdma link add rxe0 type rxe netdev <device>"
             : "only for SoftRoCE: a kernel with rdma_rxe (Ubuntu: linux-modules-extra; "
               "Debian: not the cloud kernel)",
         kSoftRoce});
  }
}

void judge_nvidia(const NodeFacts& facts, Findings& findings) {
  if (!has_gpu(facts)) return;
  const NvidiaDriver& driver = facts.driver;
  if (driver.version.empty()) {
    findings.push_back({"gpu.driver", "", Level::missing, "the NVIDIA driver is not loaded",
                        "install it, best with the open kernel modules, and run nvidia-smi once",
                        kGpu});
    return;
  }
  findings.push_back({"gpu.driver", "", Level::ok,
                      fmt::format("NVIDIA driver {}, {} kernel modules", driver.version,
                                  driver.open ? "open" : "proprietary"),
                      "", 0});
  if (facts.machine.gpus != 0) {
    findings.push_back({"gpu.cuda", "", Level::ok,
                        fmt::format("GPUs that libcuda counts: {}", facts.machine.gpus), "", 0});
  } else {
    const std::string& trouble = facts.machine.gpu_trouble;
    findings.push_back({"gpu.cuda", "", Level::problem,
                        "no usable GPU: " + (trouble.empty() ? "libcuda sees none" : trouble),
                        "see nvidia-smi; libcuda and kernel module must be of one version; "
                        "CUDA_VISIBLE_DEVICES may hide all",
                        kGpu});
  }
  judge_peer_mapping(driver, findings);
  judge_stream_mem_ops(driver, findings);
  judge_registration(facts, findings);
}

}  // namespace ringer::tools
