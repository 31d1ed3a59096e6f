// SPDX-License-Identifier: Apache-2.0
#include "cm_library.hpp"

#include <ringer/verbs/verbs_library.hpp>

namespace ringer::verbs {

namespace {

CmLibrary load_all() {
  void* cm = open_library("librdmacm.so.1", "librdmacm1");
  CmLibrary library{};
  find(cm, "rdma_create_event_channel", library.create_event_channel);
  find(cm, "rdma_destroy_event_channel", library.destroy_event_channel);
  find(cm, "rdma_get_cm_event", library.get_cm_event);
  find(cm, "rdma_ack_cm_event", library.ack_cm_event);
  find(cm, "rdma_create_id", library.create_id);
  find(cm, "rdma_destroy_id", library.destroy_id);
  find(cm, "rdma_set_option", library.set_option);
  find(cm, "rdma_bind_addr", library.bind_addr);
  find(cm, "rdma_get_src_port", library.get_src_port);
  find(cm, "rdma_listen", library.listen);
  find(cm, "rdma_resolve_addr", library.resolve_addr);
  find(cm, "rdma_resolve_route", library.resolve_route);
  find(cm, "rdma_init_qp_attr", library.init_qp_attr);
  find(cm, "rdma_connect", library.connect);
  find(cm, "rdma_establish", library.establish);
  find(cm, "rdma_accept", library.accept);
  find(cm, "rdma_reject", library.reject);
  return library;
}

}  // namespace

const CmLibrary& CmLibrary::load() {
  static const CmLibrary library = load_all();
  return library;
}

}  // namespace ringer::verbs
