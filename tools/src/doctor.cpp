// SPDX-License-Identifier: Apache-2.0
#include "doctor.hpp"

namespace ringer::tools {

namespace {

struct TierName {
  unsigned tier;
  const char* key;
  const char* name;
};
constexpr TierName kTiers[] = {
    {0, "laptop", "laptop simulation"},
    {kSoftRoce, "softroce", "SoftRoCE"},
    {kGpuSoftNic, "gpu", "GPU, software NIC"},
    {kConnectxCpu, "connectx_cpu", "ConnectX, CPU-assisted"},
    {kConnectxGpu, "connectx_gpu", "ConnectX, GPU-initiated"},
};

TierVerdict verdict_on(const TierName& tier, const std::vector<Finding>& findings) {
  TierVerdict verdict{tier.tier, tier.key, tier.name, true, true, "", ""};
  for (const Finding& finding : findings) {
    if ((finding.blocks & tier.tier) == 0) continue;
    if (verdict.runs) {
      verdict.reason =
          finding.subject.empty() ? finding.fact : finding.subject + ": " + finding.fact;
      verdict.advice = finding.advice;
    }
    verdict.runs = false;
    verdict.node_ready = verdict.node_ready && finding.id.starts_with("build.");
  }
  if (verdict.runs) {
    verdict.reason = tier.tier == 0 ? "needs no NIC, no GPU and no root" : "nothing is in the way";
  } else if (verdict.node_ready) {
    verdict.reason = "the node is ready, but " + verdict.reason;
  }
  return verdict;
}

}  // namespace

const char* name_of(Level level) {
  constexpr const char* kNames[] = {"ok", "note", "problem", "missing"};
  return kNames[static_cast<size_t>(level)];
}

std::vector<std::string> tier_keys(unsigned tiers) {
  std::vector<std::string> keys;
  for (const TierName& tier : kTiers) {
    if ((tiers & tier.tier) != 0) keys.emplace_back(tier.key);
  }
  return keys;
}

Diagnosis diagnose(const NodeFacts& facts, const BuildParts& build) {
  Diagnosis diagnosis;
  std::vector<Finding>& findings = diagnosis.findings;
  judge_devices(facts, findings);
  judge_pci(facts, findings);
  judge_nvidia(facts, findings);
  judge_hcas(facts, findings);
  judge_process(facts, findings);
  judge_build(build, findings);
  for (const TierName& tier : kTiers) diagnosis.tiers.push_back(verdict_on(tier, findings));
  return diagnosis;
}

}  // namespace ringer::tools
