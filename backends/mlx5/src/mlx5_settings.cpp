// SPDX-License-Identifier: Apache-2.0
#include <ringer/mlx5/mlx5_settings.hpp>

namespace ringer::mlx5 {

using verbs::read_choice;
using verbs::Word;
using verbs::word_of;

namespace {

constexpr Word<QueueMaking> kQueues[] = {
    {"auto", QueueMaking::automatic}, {"verbs", QueueMaking::verbs}, {"devx", QueueMaking::devx}};
constexpr Word<DoorbellWay> kDoorbells[] = {
    {"auto", DoorbellWay::automatic}, {"gpu", DoorbellWay::gpu}, {"cpu", DoorbellWay::cpu}};
constexpr Word<QueueMemory> kQueueMemories[] = {{"host", QueueMemory::host},
                                                {"gpu", QueueMemory::near}};

}  // namespace

Mlx5Settings read_mlx5_settings(const verbs::Lookup& lookup) {
  Mlx5Settings s{verbs::read_fabric_settings(lookup), {}, {}, {}};
  read_choice(lookup, "QUEUES", kQueues, s.queues);
  read_choice(lookup, "DOORBELLS", kDoorbells, s.doorbells);
  read_choice(lookup, "QUEUE_MEMORY", kQueueMemories, s.queue_memory);
  return s;
}

std::string describe(const Mlx5Settings& s) {
  using verbs::describe_setting;
  return verbs::describe(s) +
         describe_setting("queues", word_of(kQueues, s.queues.value), s.queues.origin) +
         describe_setting("doorbells", word_of(kDoorbells, s.doorbells.value), s.doorbells.origin) +
         describe_setting("queue memory", word_of(kQueueMemories, s.queue_memory.value),
                          s.queue_memory.origin);
}

}  // namespace ringer::mlx5
