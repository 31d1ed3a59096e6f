// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <condition_variable>
#include <mutex>

#include <ringer/control_plane.hpp>

namespace ringer {

void collective_step(Exchange& exchange, const std::function<void()>& step) {
  std::string reason;
  try {
    step();
  } catch (const std::exception& error) {
    reason = error.what();
    if (reason.empty()) reason = "unknown error";
  }
  const auto reasons = exchange.all_gather(std::as_bytes(std::span(reason.data(), reason.size())));
  for (size_t r = 0; r < reasons.size(); ++r) {
    if (reasons[r].empty()) continue;
    const auto* text = reinterpret_cast<const char*>(reasons[r].data());
    throw BackendError("rank " + std::to_string(r) + ": " + std::string(text, reasons[r].size()));
  }
}

// One gathering at a time. A rank that arrives for the next one waits until all have left this one.
struct LocalGroup::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::vector<std::byte>> parts;
  uint32_t ranks = 0;
  uint32_t arrived = 0;
  uint32_t leaving = 0;
  uint32_t gone = kNoPeer;
  std::chrono::nanoseconds timeout{};

  // Whoever leaves ends the exchange for all: no gathering can be complete any more.
  void leave(uint32_t rank) {
    if (gone == kNoPeer) gone = rank;
    changed.notify_all();
  }
  void require_all_here() const {
    if (gone != kNoPeer) throw BackendError("rank " + std::to_string(gone) + " left during set-up");
  }

  template <class Ready>
  void wait(std::unique_lock<std::mutex>& lock, uint32_t rank, Ready ready) {
    changed.wait_for(lock, timeout, [&] { return ready() || gone != kNoPeer; });
    if (ready()) return;
    require_all_here();
    leave(rank);
    throw BackendError("set-up exchange: only " + std::to_string(arrived) + " of " +
                       std::to_string(ranks) + " ranks arrived in time");
  }
};

namespace {

template <class State>
class LocalExchange : public Exchange {
 public:
  LocalExchange(std::shared_ptr<State> state, uint32_t rank)
      : state_(std::move(state)), rank_(rank) {}
  ~LocalExchange() override {
    const std::lock_guard lock(state_->mutex);
    state_->leave(rank_);
  }
  LocalExchange(const LocalExchange&) = delete;
  LocalExchange& operator=(const LocalExchange&) = delete;

  uint32_t rank() const override { return rank_; }
  uint32_t ranks() const override { return state_->ranks; }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    State& s = *state_;
    std::unique_lock lock(s.mutex);
    s.require_all_here();
    s.wait(lock, rank_, [&] { return s.leaving == 0; });
    s.parts[rank_].assign(mine.begin(), mine.end());
    if (++s.arrived == s.ranks) {
      s.leaving = s.ranks;
      s.changed.notify_all();
    } else {
      s.wait(lock, rank_, [&] { return s.leaving != 0; });
    }
    auto all = s.parts;
    if (--s.leaving == 0) {
      s.arrived = 0;
      s.changed.notify_all();
    }
    return all;
  }

 private:
  std::shared_ptr<State> state_;
  uint32_t rank_;
};

}  // namespace

LocalGroup::LocalGroup(uint32_t ranks, uint64_t timeout_ns) : state_(std::make_shared<State>()) {
  state_->ranks = ranks;
  state_->parts.resize(ranks);
  state_->timeout = std::chrono::nanoseconds(timeout_ns);
}

LocalGroup::~LocalGroup() = default;

std::unique_ptr<Exchange> LocalGroup::join(uint32_t rank) {
  if (rank >= state_->ranks) throw BackendError("join: rank out of range");
  return std::make_unique<LocalExchange<State>>(state_, rank);
}

}  // namespace ringer
