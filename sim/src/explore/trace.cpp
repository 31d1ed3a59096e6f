// SPDX-License-Identifier: Apache-2.0
// What an execution tells of its steps, a line each.
#include <cstdio>

#include <ringer/sim/explore/execution.hpp>

namespace ringer::sim {

namespace {

const char* name_of(Order order) {
  switch (order) {
    case Order::relaxed:
      return "relaxed";
    case Order::acquire:
      return "acquire";
    case Order::release:
      return "release";
    case Order::acq_rel:
      break;
  }
  return "acq_rel";
}

const char* name_of(Scope scope) {
  if (scope == Scope::cta) return "cta";
  return scope == Scope::gpu ? "gpu" : "sys";
}

const char* name_of(Update::Kind kind) {
  switch (kind) {
    case Update::Kind::add:
      return "add";
    case Update::Kind::max:
      return "max";
    case Update::Kind::exchange:
      return "exchange";
    case Update::Kind::compare_exchange:
      break;
  }
  return "cas";
}

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string words_of(Scope scope, Order order) {
  return std::string(" ") + name_of(order) + "." + name_of(scope);
}

}  // namespace

void Execution::trace(uint32_t actor, const std::string& what, const Source& source) {
  trace_->push_back("[" + std::to_string(steps_) + "] " + program_.actors[actor].name + " " + what +
                    "  (" + source.text() + ")");
}

void Execution::trace_plain(uint32_t actor) {
  const Request& next = actors_[actor].next;
  if (next.kind == Request::Kind::fence) {
    const bool dropped = program_.mutation != nullptr && program_.mutation->drops(next.source);
    return trace(actor,
                 (dropped ? "leaves out a fence" : "fence") + words_of(next.scope, next.order),
                 next.source);
  }
  const char* verb = next.kind == Request::Kind::write_data ? "writes " : "reads ";
  trace(actor, verb + std::to_string(next.update.operand) + " bytes of " + memory_.name_of(next.at),
        next.source);
}

// `outcome`: how far from the newest store.
void Execution::trace_access(uint32_t actor, const Request& request, uint32_t outcome,
                             uint64_t told) {
  const std::string object = memory_.name_of(memory_.address_of(request.location));
  std::string what;
  if (request.kind == Request::Kind::load) {
    what = "loads " + object + " = " + hex(told);
    if (outcome != 0) what += ", " + std::to_string(outcome) + " stores old,";
  } else if (request.kind == Request::Kind::store) {
    what = "stores " + object + " = " + hex(told);
    if (outcome != 0) what += ", which slips in,";
  } else {
    what = std::string(name_of(request.update.kind)) + " " + object + " " + hex(told);
    what += request.update.stores(told) ? " -> " + hex(request.update.after(told))
                                        : " is not " + hex(request.update.expected);
  }
  trace(actor, what + words_of(request.scope, request.order), request.source);
}

}  // namespace ringer::sim
