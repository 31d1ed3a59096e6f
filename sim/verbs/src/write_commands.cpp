// SPDX-License-Identifier: Apache-2.0
// INVOKE_WRITE: the commands that were write()s once, carried by an ioctl.
#include "methods.hpp"

namespace ringer::sim::verbs {

namespace {

const WriteCommand* find_command(uint32_t number) {
  for (const auto& commands : {device_commands(), memory_commands(), completion_commands(),
                               receive_queue_commands(), queue_pair_commands()}) {
    for (const WriteCommand& command : commands) {
      if (command.number == number) return &command;
    }
  }
  return nullptr;
}

}  // namespace

void invoke_write(Context& context, const Request& request) {
  const auto number = request.in<uint32_t>(UVERBS_ATTR_WRITE_CMD);
  const WriteCommand* command = find_command(number);
  require(command != nullptr, EOPNOTSUPP);
  require(!context.inherited() || command->without_nic, EIO);
  const WriteCall call = {request.in_buffer(UVERBS_ATTR_CORE_IN),
                          request.out_buffer(UVERBS_ATTR_CORE_OUT), request.driver_in(),
                          request.driver_out()};
  require(call.in.size() >= command->request_bytes, ENOSPC);
  require(call.out.size() >= command->response_bytes, ENOSPC);
  command->run(context, call);
}

}  // namespace ringer::sim::verbs
