// SPDX-License-Identifier: Apache-2.0
// Stands in for ep_launcher_cuda.cu where there is no nvcc.
#include <ringer/control_plane.hpp>

#include "ep_launcher.hpp"

namespace ringer::tools {

namespace {

[[noreturn]] void refuse() {
  throw BackendError(
      "device cuda: this build has no GPU part: it takes nvcc 12.2 or later and no "
      "-DRINGER_CUDA=OFF");
}

}  // namespace

std::unique_ptr<EpLauncher> make_cuda_launcher(const EpOptions& /*options*/) { refuse(); }

std::unique_ptr<KernelMemory> make_cuda_window_memory() { refuse(); }

}  // namespace ringer::tools
