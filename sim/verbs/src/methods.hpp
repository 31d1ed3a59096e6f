// SPDX-License-Identifier: Apache-2.0
// The control calls, as tables: by object and method, and the older commands by number.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>

#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/mlx5_user_ioctl_cmds.h>

#include "context.hpp"
#include "request.hpp"

namespace ringer::sim::verbs {

/// Attributes are numbered from 0, those of the driver from UVERBS_ATTR_UHW_IN: of each kind a call
/// knows the first few.
struct Method {
  uint32_t object;
  uint32_t method;
  uint32_t core_attributes;
  uint32_t driver_attributes;
  void (*run)(Context&, const Request&);
  bool without_nic = false;  ///< works in a child of fork(), too
};

inline constexpr bool kWithoutNic = true;

/// A call whose only attribute is the handle of the T to destroy.
template <class T>
void destroy_method(Context& context, const Request& request) {
  context.objects.take<T>(request.handle(0));
}

inline constexpr uint32_t kNoAttributes = 0;
inline constexpr uint32_t kDriverInOut = 2;  ///< UHW_IN and UHW_OUT

/// How many attributes there are up to `last`, of either kind.
constexpr uint32_t up_to(uint32_t last) { return (last & ~uint32_t{UVERBS_ID_NS_MASK}) + 1; }

std::span<const Method> device_methods();
std::span<const Method> memory_methods();
std::span<const Method> device_memory_methods();
std::span<const Method> completion_methods();
std::span<const Method> receive_queue_methods();
std::span<const Method> queue_pair_methods();
std::span<const Method> uar_methods();
std::span<const Method> devx_methods();
std::span<const Method> devx_object_methods();

/// One of the commands that were write()s once.
struct WriteCall {
  InBuffer in;
  OutBuffer out;
  InBuffer driver_in;
  OutBuffer driver_out;
};

struct WriteCommand {
  uint32_t number;
  uint32_t request_bytes;
  uint32_t response_bytes;
  void (*run)(Context&, const WriteCall&);
  bool without_nic = false;  ///< as above
};

/// Of an empty type there is nothing in the message.
struct Nothing {};

template <class T>
constexpr uint32_t message_bytes() {
  return std::is_empty_v<T> ? 0 : sizeof(T);
}

/// The command `number`, for `run(context, in, out, call)`: `out` is all zeros when it begins and
/// goes to the caller when it returns.
template <class In, class Out, void (*run)(Context&, const In&, Out&, const WriteCall&)>
constexpr WriteCommand write_command(uint32_t number, bool without_nic = false) {
  return {number, message_bytes<In>(), message_bytes<Out>(),
          [](Context& context, const WriteCall& call) {
            const In in = call.in.as<In>();
            Out out = InBuffer().as<Out>();
            run(context, in, out, call);
            if constexpr (!std::is_empty_v<Out>) call.out.put(out);
          },
          without_nic};
}

template <class T, class In, uint32_t In::*handle>
constexpr WriteCommand destroy_command_of(uint32_t number,
                                          std::integral_constant<uint32_t In::*, handle>) {
  return {number, sizeof(In), 0, [](Context& context, const WriteCall& call) {
            const In in = call.in.as<In>();
            context.objects.take<T>(in.*handle);
          }};
}

/// The command `number`, which destroys the T whose handle is the message's member `handle`.
template <class T, auto handle>
constexpr WriteCommand destroy_command(uint32_t number) {
  return destroy_command_of<T>(number, std::integral_constant<decltype(handle), handle>());
}

void invoke_write(Context& context, const Request& request);

std::span<const WriteCommand> device_commands();
std::span<const WriteCommand> memory_commands();
std::span<const WriteCommand> completion_commands();
std::span<const WriteCommand> receive_queue_commands();
std::span<const WriteCommand> queue_pair_commands();

}  // namespace ringer::sim::verbs
