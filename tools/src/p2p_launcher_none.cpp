// SPDX-License-Identifier: Apache-2.0
// Stands in for p2p_launcher_cuda.cu where there is no nvcc.
#include <ringer/control_plane.hpp>

#include "p2p_launcher.hpp"

namespace ringer::tools {

std::unique_ptr<P2pLauncher> make_cuda_p2p_launcher() {
  throw BackendError(
      "device cuda: this build has no GPU part: it takes nvcc 12.2 or later and no "
      "-DRINGER_CUDA=OFF");
}

}  // namespace ringer::tools
