// SPDX-License-Identifier: Apache-2.0
// What a rank's kernels read and write besides the window, and the host's copy of it.
#pragma once

#include <cstdint>

#include <ringer/ep/args.hpp>
#include <ringer/kernel_memory.hpp>

#include "ep_reference.hpp"

namespace ringer::tools {

class RankMemory {
 public:
  RankMemory(KernelMemory& memory, const ep::Config& config, const ep::Layout& layout);

  /// Hands this call's input to the kernels.
  void upload(const RankInput& input);
  /// Makes what dispatch, or combine, has written readable by the host through `host()`.
  void download_dispatch();
  void download_combine(uint32_t tokens);
  /// Hands the rows of one local expert's results, host().y, to the kernels: to `stage` if given.
  void upload_results(uint32_t local_expert, uint16_t* stage);

  ep::DispatchArgs dispatch_args(const ep::CommonArgs& common, uint32_t tokens) const;
  ep::CombineArgs combine_args(const ep::CommonArgs& common, uint32_t tokens, bool zero_copy) const;
  /// Arguments of dispatch with addresses that the host can read.
  ep::DispatchArgs host_dispatch_args() const;

  struct Arrays {
    Arrays() = default;
    Arrays(KernelMemory& memory, const ep::Config& config, const ep::Layout& layout);
    KernelArray<uint8_t> recv_x, recv_scales;
    KernelArray<ep::SourceInfo> source_info;
    KernelArray<uint64_t> recv_ranges;
    KernelArray<uint32_t> recv_count;
    KernelArray<ep::TokenEntry> entries;
    KernelArray<uint32_t> entry_tokens;
    KernelArray<uint16_t> y, out;
  };
  const Arrays& host() const { return mirrored_ ? mirror_ : arrays_; }

 private:
  KernelMemory& memory_;
  ep::Layout layout_;
  Arrays arrays_;
  KernelArray<uint16_t> x_;
  KernelArray<int32_t> experts_;
  KernelArray<float> weights_;
  bool mirrored_;  // the host cannot read kernel memory
  Arrays mirror_;
};

}  // namespace ringer::tools
