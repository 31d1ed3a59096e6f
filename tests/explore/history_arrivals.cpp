// SPDX-License-Identifier: Apache-2.0
// Bugs of completions, and of saying that data has arrived.
#include "explore/history_lists.hpp"

namespace ringer::test {

namespace {

Bug error_is_not_yet() {
  return {"R1.error_is_not_yet",
          "deadlock: poster waits for 'completion'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              await_word(
                  p, &w.cqe[0], [=](uint64_t v) { return faulty ? v == 1 : v != 0; }, "completion");
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              constexpr uint64_t kError = 2;
              store_sys(p, &w.cqe[0], kError);
            }}}};
}

// The NIC's data of one transfer, then its completion.
void complete(P p, BugWorld& w, uint64_t number) {
  p.write_data(w.payload[(number - 1) % 2], 16);
  store_sys(p, &w.cqe[0], number);
}

// The counter stands at 65535 when the program begins.
Bug counter_of_16_bits() {
  return {"R2.counter_of_16_bits",
          "data race: poster reads what is written by nic",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              constexpr uint64_t kBegin = 65535;
              const auto target = static_cast<uint16_t>(kBegin + 1 + w.word);
              await_word(
                  p, &w.cqe[0],
                  [=](uint64_t v) {
                    const auto now = static_cast<uint16_t>(kBegin + v);
                    return faulty ? now >= target : static_cast<int16_t>(now - target) >= 0;
                  },
                  "completion");
              p.read_data(w.payload[0], 16);
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) { complete(p, w, 1); }}}};
}

// The counter stands just below 2^32.
Bug counter_of_32_bits() {
  return {"R2.counter_of_32_bits",
          "deadlock: poster waits for 'completion'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              constexpr uint64_t kBegin = 0xffffffff;
              await_word(
                  p, &w.cqe[0],
                  [=](uint64_t v) {
                    const auto now = static_cast<uint32_t>(kBegin + v);
                    return faulty
                               ? uint64_t{now} >= kBegin + 1
                               : static_cast<int32_t>(now - static_cast<uint32_t>(kBegin + 1)) >= 0;
                  },
                  "completion");
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) { complete(p, w, 1); }}}};
}

Bug zeroed_cqe_is_valid() {
  return {"R4.zeroed_cqe_is_valid",
          "data race: poster reads what is written by nic",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              await_word(
                  p, &w.cqe[0], [=](uint64_t v) { return faulty ? v <= 1 : v == 1; }, "completion");
              p.read_data(w.payload[0], 16);
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) { complete(p, w, 1); }}}};
}

Bug collapsed_cq_by_slot() {
  return {"R5.collapsed_cq_by_slot",
          "deadlock: poster waits for 'second completion'",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              await_word(
                  p, &w.cqe[0], [](uint64_t v) { return v >= 1; }, "first completion");
              await_word(
                  p, &w.cqe[faulty ? 1 : 0], [](uint64_t v) { return v >= 2; },
                  "second completion");
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              complete(p, w, 1);
              complete(p, w, 2);
            }}}};
}

// "Index of the last one" compared with "one past it".
Bug collapsed_window_off_by_one() {
  return {"R5.collapsed_window_off_by_one",
          "data race: poster reads what is written by nic",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              constexpr uint64_t kTarget = 2;
              await_word(
                  p, &w.cqe[0], [=](uint64_t v) { return v >= (faulty ? kTarget - 1 : kTarget); },
                  "completion");
              p.read_data(w.payload[1], 16);
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              complete(p, w, 1);
              complete(p, w, 2);
            }}}};
}

// Quiet waits for what has been rung, not for what has been posted; somebody else rings later.
Bug quiet_before_own_wqes() {
  return {"R7.quiet_before_own_wqes",
          "data race: ",
          {{"poster", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              p.write_data(w.payload[0], 16);
              p.store<Scope::gpu, Order::release>(&w.ready_head, uint64_t{1});
              const uint64_t target =
                  faulty ? p.load<Scope::gpu, Order::relaxed>(&w.prod_idx) : uint64_t{1};
              await_word(
                  p, &w.cqe[0], [=](uint64_t v) { return v >= target; }, "quiet");
              p.write_data(w.payload[0], 16);
            }},
           {"ringer", kGpu0b,
            [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.ready_head, [](uint64_t v) { return v == 1; }, "something to ring");
              p.store<Scope::gpu, Order::relaxed>(&w.prod_idx, uint64_t{1});
              store_sys(p, &w.doorbell, 1);
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.doorbell, [](uint64_t v) { return v == 1; }, "doorbell");
              p.read_data(w.payload[0], 16);
              store_sys(p, &w.cqe[0], 1);
            }}}};
}

Bug flag_passes_payload() {
  return {"R8.flag_passes_payload",
          "data race: receiver reads what is written by nic",
          {{"nic", kHost,
            [](P p, BugWorld& w, bool faulty) {
              p.write_data(w.payload[0], 16);
              if (faulty) {  // two writes, which the fabric may deliver in any order
                p.store<Scope::sys, Order::relaxed>(&w.flag, uint64_t{1});
              } else {  // an atomic, which passes no write
                p.fetch_add<Scope::sys, Order::release>(&w.flag, uint64_t{1});
              }
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.flag, [](uint64_t v) { return v == 1; }, "flag");
              p.read_data(w.payload[0], 16);
            }}}};
}

Bug flag_without_epoch() {
  return {"R9.flag_without_epoch",
          "data race: receiver reads what is written by sender",
          {{"sender", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              for (uint64_t call = 1; call <= 2; ++call) {
                p.write_data(w.payload[call - 1], 16);
                store_sys(p, &w.flag, faulty ? 1 : call);
              }
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool faulty) {
              for (uint64_t call = 1; call <= 2; ++call) {
                await_word(
                    p, &w.flag, [=](uint64_t v) { return faulty ? v == 1 : v >= call; }, "flag");
                p.read_data(w.payload[call - 1], 16);
              }
            }}}};
}

// The first block to finish counts the call as done; a late one takes the next call for its own.
Bug late_block_next_epoch() {
  const BugBody block = [](P p, BugWorld& w, bool faulty) {
    const uint64_t epoch = p.load<Scope::gpu, Order::acquire>(&w.sequence) + 1;
    if (epoch != 1) p.fail("a block has the next call's epoch");
    if (faulty) {
      p.store<Scope::gpu, Order::release>(&w.sequence, epoch);
    } else if (p.fetch_add<Scope::gpu, Order::acq_rel>(&w.word, uint64_t{1}) == 1) {
      p.store<Scope::gpu, Order::release>(&w.sequence, epoch);
    }
  };
  return {"R9.late_block_next_epoch",
          "a block has the next call's epoch",
          {{"block0", kGpu0, block}, {"block1", kGpu0b, block}}};
}

Bug zero_tokens_no_flag() {
  return {"R10.zero_tokens_no_flag",
          "deadlock: receiver waits for 'count'",
          {{"sender", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              const uint64_t tokens = 0;
              if (tokens == 0 && faulty) return;
              store_sys(p, &w.flag, (uint64_t{1} << 32) | tokens);
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.flag, [](uint64_t v) { return v >> 32 == 1; }, "count");
            }}}};
}

// Lanes copy, lane 0 posts.
Bug no_warp_sync() {
  return {"seed.no_warp_sync",
          "data race: nic reads what is written by lane1",
          {{"lane0", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              p.write_data(w.payload[0], 16);
              if (!faulty) {
                p.wait_until<Scope::cta, Order::acquire>(
                    &w.word, [](uint64_t v) { return v == 1; }, {}, "warp sync");
              }
              store_sys(p, &w.doorbell, 1);
            }},
           {"lane1", kGpu0,
            [](P p, BugWorld& w, bool) {
              p.write_data(w.payload[1], 16);
              p.store<Scope::cta, Order::release>(&w.word, uint64_t{1});
            }},
           {"nic", kHost, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.doorbell, [](uint64_t v) { return v == 1; }, "doorbell");
              p.read_data(w.payload[0], 16);
              p.read_data(w.payload[1], 16);
            }}}};
}

Bug gpu_scope_to_a_peer() {
  return {"seed.gpu_scope_to_a_peer",
          "data race: receiver reads what is written by sender",
          {{"sender", kGpu0,
            [](P p, BugWorld& w, bool faulty) {
              p.write_data(w.payload[0], 16);
              if (faulty) {
                p.store<Scope::gpu, Order::release>(&w.flag, uint64_t{1});
              } else {
                store_sys(p, &w.flag, 1);
              }
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.flag, [](uint64_t v) { return v == 1; }, "flag");
              p.read_data(w.payload[0], 16);
            }}}};
}

// Arrivals and the sum share one number: as many tokens as the tag is worth look like the sum.
Bug sum_tag_collision() {
  return {"seed.sum_tag_collision",
          "data race: teller reads what is written by counter",
          {{"sender", kGpu0,
            [](P p, BugWorld& w, bool) {
              for (int token = 0; token < 3; ++token) {
                p.fetch_add<Scope::gpu, Order::release>(&w.word, uint64_t{1});
              }
              p.fetch_add<Scope::gpu, Order::release>(&w.word, uint64_t{3});
            }},
           {"counter", kGpu0b,
            [](P p, BugWorld& w, bool faulty) {
              p.write_data(w.payload[0], 16);
              // The tag less the tokens, which are as many.
              p.fetch_add<Scope::gpu, Order::release>(&w.word,
                                                      faulty ? uint64_t{0} : uint64_t{1} << 32);
            }},
           {"teller", {0, 3}, [](P p, BugWorld& w, bool faulty) {
              p.wait_until<Scope::gpu, Order::acquire>(
                  &w.word, [=](uint64_t v) { return v == (faulty ? 6 : (uint64_t{1} << 32) + 6); },
                  {}, "all counted");
              p.read_data(w.payload[0], 16);
            }}}};
}

// The barrier before cleaning goes another way than the counts do.
Bug cleaned_before_it_landed() {
  return {"seed.cleaned_before_it_landed",
          "a count of the last call is still to come",
          {{"nic", kHost,
            [](P p, BugWorld& w, bool faulty) {
              store_sys(p, &w.flag, 1);
              if (!faulty) store_sys(p, &w.flag2, 1);
            }},
           {"other nic", kHost2,
            [](P p, BugWorld& w, bool faulty) {
              if (faulty) store_sys(p, &w.flag2, 1);
            }},
           {"receiver", kGpu1, [](P p, BugWorld& w, bool) {
              await_word(
                  p, &w.flag2, [](uint64_t v) { return v == 1; }, "barrier");
              if (p.load<Scope::sys, Order::acquire>(&w.flag) == 0) {
                p.fail("a count of the last call is still to come");
              }
              store_sys(p, &w.flag, 0);
            }}}};
}

}  // namespace

std::vector<Bug> completion_history() {
  return {error_is_not_yet(),     counter_of_16_bits(),   counter_of_32_bits(),
          zeroed_cqe_is_valid(),  collapsed_cq_by_slot(), collapsed_window_off_by_one(),
          quiet_before_own_wqes()};
}

std::vector<Bug> arrival_history() {
  return {flag_passes_payload(),   flag_without_epoch(),
          late_block_next_epoch(), zero_tokens_no_flag(),
          no_warp_sync(),          gpu_scope_to_a_peer(),
          sum_tag_collision(),     cleaned_before_it_landed()};
}

const std::vector<Bug>& history() {
  static const std::vector<Bug> all = [] {
    std::vector<Bug> bugs = ring_history();
    for (Bug& bug : completion_history()) bugs.push_back(std::move(bug));
    for (Bug& bug : arrival_history()) bugs.push_back(std::move(bug));
    return bugs;
  }();
  return all;
}

}  // namespace ringer::test
