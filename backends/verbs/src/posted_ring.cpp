// SPDX-License-Identifier: Apache-2.0
#include <array>

#include <ringer/host_platform.hpp>
#include <ringer/verbs/posted_ring.hpp>

#include "work_request.hpp"

namespace ringer::verbs {

namespace {
constexpr HostPlatform kHost;
}  // namespace

mlx5::Syndrome syndrome_of(ibv_wc_status status) {
  using mlx5::Syndrome;
  switch (status) {
    case IBV_WC_LOC_LEN_ERR:
      return Syndrome::local_length;
    case IBV_WC_LOC_PROT_ERR:
      return Syndrome::local_protection;
    case IBV_WC_WR_FLUSH_ERR:
      return Syndrome::flushed;
    case IBV_WC_MW_BIND_ERR:
      return Syndrome::window_bind;
    case IBV_WC_BAD_RESP_ERR:
      return Syndrome::bad_response;
    case IBV_WC_LOC_ACCESS_ERR:
      return Syndrome::local_access;
    case IBV_WC_REM_INV_REQ_ERR:
      return Syndrome::remote_invalid_request;
    case IBV_WC_REM_ACCESS_ERR:
      return Syndrome::remote_access;
    case IBV_WC_REM_OP_ERR:
      return Syndrome::remote_operation;
    case IBV_WC_RETRY_EXC_ERR:
    case IBV_WC_RESP_TIMEOUT_ERR:
      return Syndrome::retry_exceeded;
    case IBV_WC_RNR_RETRY_EXC_ERR:
      return Syndrome::rnr_retry_exceeded;
    case IBV_WC_REM_ABORT_ERR:
      return Syndrome::remote_aborted;
    default:
      return Syndrome::local_qp_operation;
  }
}

bool PostedRing::step() {
  const std::lock_guard lock(mutex_);
  const bool posted = post();
  const bool completed = !told_ && complete();
  return posted || completed;
}

void PostedRing::take_completions() {
  const std::lock_guard lock(mutex_);
  while (complete()) continue;
}

// What the doorbell says counts, as the record may trail it.
bool PostedRing::post() {
  // pairs with the poster's fence before its doorbell: WQEs up to prod_idx are there
  const uint64_t doorbell = kHost.load<Scope::sys, Order::acquire>(view_.doorbell);
  if (doorbell == 0) return false;  // never rung
  const auto prod =
      static_cast<uint16_t>(Be32{static_cast<uint32_t>(doorbell & 0xffffffff)}.value() >> 8);
  const uint64_t end = recover_index(taken_, prod);
  if (end == taken_) return false;
  poster_.start();
  uint64_t malformed = end;
  for (uint64_t index = taken_; index < end; ++index) {
    const uint32_t slot = slot_of(index, view_.sq_wqebbs);
    const auto* wqe = static_cast<const uint8_t*>(view_.sq) + size_t{slot} * kWqebbBytes;
    const bool takes_inline = slots_.bytes.empty();
    std::array<uint8_t, InlineSlots::kBytes> now;
    uint8_t* inline_at =
        takes_inline ? now.data() : slots_.bytes.data() + size_t{slot} * InlineSlots::kBytes;
    Request request;
    if (!read_wqe(wqe, inline_at, slots_.lkey, takes_inline, request)) {
      malformed = index;
      break;
    }
    request.wr.wr_id = index;
    poster_.add(request.wr);
  }
  uint64_t refused = taken_;
  if (!poster_.finish(refused)) {
    fail(refused, mlx5::Syndrome::local_qp_operation);
  } else if (malformed != end) {
    fail(malformed, mlx5::Syndrome::local_qp_operation);
  }
  taken_ = end;
  return true;
}

bool PostedRing::complete() {
  std::array<ibv_wc, 16> batch;
  const int count = ibv_poll_cq(cq_, static_cast<int>(batch.size()), batch.data());
  for (int i = 0; i < count; ++i) {
    const ibv_wc& wc = batch[static_cast<size_t>(i)];
    if (wc.status == IBV_WC_SUCCESS && first_error_.ok()) {
      write_cqe(wc.wr_id, mlx5::CqeOpcode::requester, {});
    } else if (wc.status != IBV_WC_SUCCESS) {
      fail(wc.wr_id, syndrome_of(wc.status));
    }
  }
  return count > 0;
}

// What completes after the first error says nothing new, and would overwrite it.
void PostedRing::fail(uint64_t index, mlx5::Syndrome syndrome) {
  if (!first_error_.ok()) return;
  first_error_ = {StatusCode::qp_error, static_cast<uint32_t>(syndrome), view_.qpn, view_.peer,
                  index};
  enter_error_();
  write_cqe(index, mlx5::CqeOpcode::requester_error, syndrome);
}

// Collapsed, each overwrites the one CQE there is; else posters leave room for all of a ring.
void PostedRing::write_cqe(uint64_t index, mlx5::CqeOpcode opcode, mlx5::Syndrome syndrome) {
  mlx5::Cqe& cqe = static_cast<mlx5::Cqe*>(view_.cq)[slot_of(completed_, view_.cq_cqes)];
  const bool lap = (completed_ & view_.cq_cqes) != 0 && view_.cq_mode == CqMode::owner_bit;
  ++completed_;
  if (opcode == mlx5::CqeOpcode::requester_error) {
    kHost.store<Scope::sys, Order::relaxed>(&cqe.error_word.raw,
                                            Be32::of(static_cast<uint32_t>(syndrome)).raw);
  }
  const mlx5::CqeTail tail{static_cast<uint16_t>(index), opcode, lap};
  // pairs with the pollers' load of the tail: what the WQEs were to do is done
  kHost.store<Scope::sys, Order::release>(&cqe.tail.raw, tail.word().raw);
}

}  // namespace ringer::verbs
