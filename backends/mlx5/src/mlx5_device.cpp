// SPDX-License-Identifier: Apache-2.0
#include "mlx5_device.hpp"

namespace ringer::mlx5 {

std::vector<verbs::PortFacts> Device::list_ports() {
  return verbs::list_ports([](ibv_device* d) { return Mlx5Library::load().is_mlx5(d); });
}

Device::Device(const verbs::PortChoice& chosen, const Mlx5Settings& wanted)
    : verbs::Device(chosen, wanted), mlx5(Mlx5Library::load()), queue_settings(wanted) {
  mlx5dv_pd inside{};
  mlx5dv_obj objects{};
  objects.pd = {pd, &inside};
  uint32_t event_queue = 0;
  firmware_commands =
      mlx5.init_obj(&objects, MLX5DV_OBJ_PD) == 0 && mlx5.query_eqn(context, 0, &event_queue) == 0;
  pd_number = inside.pdn;
}

}  // namespace ringer::mlx5
