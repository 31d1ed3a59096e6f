// SPDX-License-Identifier: Apache-2.0
// Bugs of posting: indices, credit, doorbells.
#include "explore/history_lists.hpp"

namespace ringer::test {

namespace {

// Takes `wqes` WQEs, one slot after the other, as far as the doorbell says.
void take_wqes(P p, BugWorld& w, uint64_t wqes, bool completes = true) {
  for (uint64_t done = 0; done < wqes;) {
    const uint64_t rung = await_word(
        p, &w.doorbell, [=](uint64_t v) { return v > done; }, "doorbell");
    for (; done < rung; ++done) {
      p.read_data(w.slot[done % 2], 16);
      if (completes) store_sys(p, &w.cqe[0], done + 1);
    }
  }
}

template <uint64_t kWqes>
void nic(P p, BugWorld& w, bool) {
  take_wqes(p, w, kWqes);
}

void write_slot(P p, BugWorld& w, uint64_t index) { p.write_data(w.slot[index % 2], 16); }

// Written slots become the NIC's.
void ring(P p, BugWorld& w, uint64_t head) { store_sys(p, &w.doorbell, head); }

Bug no_back_pressure() {
  return {"R3.no_back_pressure",
          "data race: ",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              for (uint64_t i = 0; i < 3; ++i) {
                if (!faulty && i >= 2) {
                  await_word(
                      p, &w.cqe[0], [=](uint64_t v) { return v > i - 2; }, "credit");
                }
                write_slot(p, w, i);
                ring(p, w, i + 1);
              }
            }},
           {"nic", kHost, nic<3>}}};
}

Bug doorbell_goes_back() {
  const BugBody post = [](P p, BugWorld& w, bool faulty) {
    const uint64_t index = p.fetch_add<Scope::gpu, Order::relaxed>(&w.resv_head, uint64_t{1});
    if (faulty) {
      ring(p, w, index + 1);
    } else {
      p.fetch_max<Scope::sys, Order::release>(&w.doorbell, index + 1);
    }
  };
  return {"R6.doorbell_goes_back",
          "deadlock: nic waits for 'both'",
          {{"poster0", kGpu0, post},
           {"poster1", kGpu0b, post},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.doorbell, [](uint64_t v) { return v == 2; }, "both");
            }}}};
}

Bug stale_producer_index() {
  const BugBody post = [](P p, BugWorld& w, bool faulty) {
    uint64_t index;
    if (faulty) {
      index = p.load<Scope::gpu, Order::relaxed>(&w.prod_idx);
      p.store<Scope::gpu, Order::relaxed>(&w.prod_idx, index + 1);
    } else {
      index = p.fetch_add<Scope::gpu, Order::relaxed>(&w.prod_idx, uint64_t{1});
    }
    write_slot(p, w, index);
  };
  return {"R6.stale_producer_index",
          "data race: poster",
          {{"poster0", kGpu0, post}, {"poster1", kGpu0b, post}}};
}

Bug published_out_of_order() {
  const BugBody post = [](P p, BugWorld& w, bool faulty) {
    const uint64_t index = p.fetch_add<Scope::gpu, Order::relaxed>(&w.resv_head, uint64_t{1});
    write_slot(p, w, index);
    if (!faulty) {
      p.wait_until<Scope::gpu, Order::acquire>(
          &w.ready_head, [=](uint64_t v) { return v == index; }, {}, "turn");
      ring(p, w, index + 1);
      p.store<Scope::gpu, Order::release>(&w.ready_head, index + 1);
    } else {
      p.fetch_max<Scope::sys, Order::release>(&w.doorbell, index + 1);
    }
  };
  return {"R6.published_out_of_order",
          "data race: ",
          {{"poster0", kGpu0, post}, {"poster1", kGpu0b, post}, {"nic", kHost, nic<2>}}};
}

Bug batch_larger_than_ring() {
  return {"seed.batch_larger_than_ring",
          "deadlock: poster waits for 'credit' nic waits for 'doorbell'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              const uint64_t batch = faulty ? 3 : 1;
              for (uint64_t base = 0; base < 3; base += batch) {
                const uint64_t end = base + batch;
                if (end > 2) {
                  await_word(
                      p, &w.cqe[0], [=](uint64_t v) { return v >= end - 2; }, "credit");
                }
                for (uint64_t i = base; i < end; ++i) write_slot(p, w, i);
                ring(p, w, end);
              }
            }},
           {"nic", kHost, nic<3>}}};
}

Bug unsignaled_ring() {
  return {"seed.unsignaled_ring",
          "deadlock: poster waits for 'credit' nic waits for 'doorbell'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool) {
              for (uint64_t i = 0; i < 3; ++i) {
                if (i >= 2)
                  await_word(
                      p, &w.cqe[0], [=](uint64_t v) { return v > i - 2; }, "credit");
                write_slot(p, w, i);
                ring(p, w, i + 1);
              }
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool faulty) { take_wqes(p, w, 3, !faulty); }}}};
}

Bug stranded_tail() {
  return {"seed.stranded_tail",
          "deadlock: poster waits for 'flush' nic waits for 'doorbell'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              write_slot(p, w, 0);
              ring(p, w, 1);
              write_slot(p, w, 1);
              if (!faulty) ring(p, w, 2);
              await_word(
                  p, &w.cqe[0], [](uint64_t v) { return v == 2; }, "flush");
            }},
           {"nic", kHost, nic<2>}}};
}

Bug no_last_reserver() {
  const BugBody post = [](P p, BugWorld& w, bool faulty) {
    const uint64_t end = p.fetch_add<Scope::gpu, Order::relaxed>(&w.resv_head, uint64_t{1}) + 1;
    // Rings where a batch of two is full, or where nobody has reserved behind.
    const bool full = end % 2 == 0;
    if (full || (!faulty && p.load<Scope::gpu, Order::relaxed>(&w.resv_head) == end)) {
      p.fetch_max<Scope::sys, Order::release>(&w.doorbell, end);
    }
  };
  return {"deepep.no_last_reserver",
          "deadlock: nic waits for 'all three'",
          {{"poster0", kGpu0, post},
           {"poster1", kGpu0b, post},
           {"poster2", {0, 3}, post},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.doorbell, [](uint64_t v) { return v == 3; }, "all three");
            }}}};
}

// A NIC that has lost the doorbell takes the extent from the send queue's record.
Bug receive_record_written() {
  return {"seed.receive_record_written",
          "deadlock: nic waits for 'record'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) { store_sys(p, &w.record[faulty ? 0 : 1], 1); }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.record[1], [](uint64_t v) { return v == 1; }, "record");
            }}}};
}

// The value of a signal drawn apart from its place in the queue.
Bug signal_order_inverted() {
  const BugBody post = [](P p, BugWorld& w, bool faulty) {
    const uint64_t drawn =
        faulty ? p.fetch_add<Scope::gpu, Order::relaxed>(&w.sequence, uint64_t{1}) : 0;
    const uint64_t index = p.fetch_add<Scope::gpu, Order::relaxed>(&w.resv_head, uint64_t{1});
    store_sys(p, &w.seen[index], (faulty ? drawn : index) + 1);
  };
  return {"seed.signal_order_inverted",
          "deadlock: receiver waits for 'two signals'",
          {{"poster0", kGpu0, post},
           {"poster1", kGpu0b, post},
           {"nic", kHost,
            [](P p, BugWorld& w, bool) {
              for (uint64_t* wqe : {&w.seen[0], &w.seen[1]}) {
                store_sys(p, &w.flag,
                          await_word(
                              p, wqe, [](uint64_t v) { return v != 0; }, "doorbell"));
              }
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.flag, [](uint64_t v) { return v == 2; }, "two signals");
            }}}};
}

// A command whose first word is zero is no command to the proxy.
Bug zero_is_empty() {
  return {"seed.fifo_zero_is_empty",
          "deadlock: proxy waits for 'command'",
          {{"pusher", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              const uint64_t add = 0;
              store_sys(p, &w.word, faulty ? add : add + 1);
            }},
           {"proxy", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.word, [](uint64_t v) { return v != 0; }, "command");
            }}}};
}

}  // namespace

std::vector<Bug> ring_history() {
  return {no_back_pressure(),       doorbell_goes_back(),     stale_producer_index(),
          published_out_of_order(), batch_larger_than_ring(), unsignaled_ring(),
          stranded_tail(),          no_last_reserver(),       receive_record_written(),
          signal_order_inverted(),  zero_is_empty()};
}

}  // namespace ringer::test
