// SPDX-License-Identifier: Apache-2.0
// Stands in for ep_launcher_cuda.cu where there is no nvcc.
#include <ringer/control_plane.hpp>

#include "ep_launcher.hpp"

namespace ringer::tools {

std::unique_ptr<EpLauncher> make_cuda_launcher(const EpOptions& /*options*/) {
  throw BackendError(
      "device cuda: this build has no GPU part: it takes nvcc 12.2 or later and no "
      "-DRINGER_CUDA=OFF");
}

}  // namespace ringer::tools
