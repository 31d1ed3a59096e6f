// SPDX-License-Identifier: Apache-2.0
#include <deque>

#include <ringer/verbs/posted_ring.hpp>

namespace ringer::verbs {

namespace {

// A batch that the NIC refuses in part is posted by none of it.
class WrPoster : public SendPoster {
 public:
  explicit WrPoster(ibv_qp_ex* qp) : qp_(qp) {}

  void start() override { ibv_wr_start(qp_); }

  void add(const ibv_send_wr& wr) override {
    qp_->wr_id = wr.wr_id;
    qp_->wr_flags = wr.send_flags;  // the kernel of rxe looks for IBV_SEND_INLINE there
    const auto& rdma = wr.wr.rdma;
    const auto& atomic = wr.wr.atomic;
    switch (wr.opcode) {
      case IBV_WR_RDMA_WRITE:
        ibv_wr_rdma_write(qp_, rdma.rkey, rdma.remote_addr);
        break;
      case IBV_WR_RDMA_WRITE_WITH_IMM:
        ibv_wr_rdma_write_imm(qp_, rdma.rkey, rdma.remote_addr, wr.imm_data);
        break;
      case IBV_WR_RDMA_READ:
        ibv_wr_rdma_read(qp_, rdma.rkey, rdma.remote_addr);
        break;
      case IBV_WR_ATOMIC_FETCH_AND_ADD:
        ibv_wr_atomic_fetch_add(qp_, atomic.rkey, atomic.remote_addr, atomic.compare_add);
        break;
      case IBV_WR_ATOMIC_CMP_AND_SWP:
        ibv_wr_atomic_cmp_swp(qp_, atomic.rkey, atomic.remote_addr, atomic.compare_add,
                              atomic.swap);
        break;
      default:
        ibv_wr_send(qp_);
        break;
    }
    if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
      ibv_wr_set_inline_data(qp_, reinterpret_cast<void*>(wr.sg_list->addr), wr.sg_list->length);
    } else if (wr.num_sge == 0) {
      ibv_wr_set_sge_list(qp_, 0, nullptr);
    } else {
      ibv_wr_set_sge(qp_, wr.sg_list->lkey, wr.sg_list->addr, wr.sg_list->length);
    }
  }

  bool finish(uint64_t&) override { return ibv_wr_complete(qp_) == 0; }

 private:
  ibv_qp_ex* qp_;
};

class ListPoster : public SendPoster {
 public:
  explicit ListPoster(ibv_qp* qp) : qp_(qp) {}

  void start() override { kept_.clear(); }

  // Inline data is read when the list is posted, so it is kept until then.
  void add(const ibv_send_wr& wr) override {
    Kept& kept = kept_.emplace_back();
    kept.wr = wr;
    if (wr.num_sge != 0) {
      kept.piece = *wr.sg_list;
      kept.wr.sg_list = &kept.piece;
    }
    if ((wr.send_flags & IBV_SEND_INLINE) != 0) {
      std::memcpy(kept.data, reinterpret_cast<const void*>(wr.sg_list->addr), wr.sg_list->length);
      kept.piece.addr = reinterpret_cast<uint64_t>(kept.data);
    }
    if (kept_.size() > 1) kept_[kept_.size() - 2].wr.next = &kept.wr;
  }

  bool finish(uint64_t& refused) override {
    ibv_send_wr* first = nullptr;
    if (kept_.empty() || ibv_post_send(qp_, &kept_.front().wr, &first) == 0) return true;
    if (first != nullptr) refused = first->wr_id;
    return false;
  }

 private:
  struct Kept {
    ibv_send_wr wr;
    ibv_sge piece;
    uint8_t data[InlineSlots::kBytes];
  };
  ibv_qp* qp_;
  std::deque<Kept> kept_;  // whose elements stay where they are
};

}  // namespace

std::unique_ptr<SendPoster> make_wr_poster(const VerbsLibrary& verbs, ibv_qp* qp) {
  return std::make_unique<WrPoster>(verbs.qp_to_qp_ex(qp));
}

std::unique_ptr<SendPoster> make_list_poster(ibv_qp* qp) {
  return std::make_unique<ListPoster>(qp);
}

}  // namespace ringer::verbs
