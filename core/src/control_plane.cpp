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

namespace {

using Part = std::vector<std::byte>;

// Sizes first, then bytes.
Part pack(const std::vector<Part>& parts) {
  Part packed;
  const auto append = [&packed](const void* from, size_t bytes) {
    const auto* at = static_cast<const std::byte*>(from);
    packed.insert(packed.end(), at, at + bytes);
  };
  for (const Part& part : parts) {
    const uint64_t size = part.size();
    append(&size, sizeof(size));
  }
  for (const Part& part : parts) append(part.data(), part.size());
  return packed;
}

// Appends the `count` parts of a pack to `parts`.
void unpack(const Part& packed, uint32_t count, std::vector<Part>& parts) {
  const auto require = [](bool sound) {
    if (!sound) throw BackendError("exchange: a process brought something else than its ranks");
  };
  size_t at = count * sizeof(uint64_t);
  require(packed.size() >= at);
  for (uint32_t i = 0; i < count; ++i) {
    uint64_t size;
    std::memcpy(&size, packed.data() + i * sizeof(size), sizeof(size));
    require(size <= packed.size() - at);
    const auto begin = packed.begin() + static_cast<std::ptrdiff_t>(at);
    parts.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    at += size;
  }
  require(at == packed.size());
}

}  // namespace

// One gathering at a time. A rank that arrives for the next one waits until all have left this one.
struct LocalGroup::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Part> parts;     // of this process's ranks
  std::vector<Part> gathered;  // of all ranks
  Exchange* processes = nullptr;
  uint32_t ranks = 0;  // of this process
  uint32_t arrived = 0;
  uint32_t leaving = 0;
  std::string broken;  // why no gathering can be complete any more
  std::chrono::nanoseconds timeout{};

  uint32_t global(uint32_t local) const {
    return processes == nullptr ? local : processes->rank() * ranks + local;
  }
  // The first reason stays.
  void give_up(const std::string& reason) {
    if (broken.empty()) broken = reason;
    changed.notify_all();
  }
  void leave(uint32_t local) {
    give_up("rank " + std::to_string(global(local)) + " left during set-up");
  }
  void require_all_here() const {
    if (!broken.empty()) throw BackendError(broken);
  }

  template <class Ready>
  void wait(std::unique_lock<std::mutex>& lock, uint32_t local, Ready ready) {
    changed.wait_for(lock, timeout, [&] { return ready() || !broken.empty(); });
    if (ready()) return;
    require_all_here();
    leave(local);
    throw BackendError("set-up exchange: only " + std::to_string(arrived) + " of " +
                       std::to_string(ranks) + " ranks arrived in time");
  }

  // By the last rank to arrive, for all of them.
  void gather() {
    if (processes == nullptr) {
      gathered = parts;
      return;
    }
    try {
      gathered.clear();
      for (const Part& packed : processes->all_gather(pack(parts))) {
        unpack(packed, ranks, gathered);
      }
    } catch (const std::exception& error) {
      give_up(error.what());
      throw;
    }
  }
};

namespace {

template <class State>
class LocalExchange : public Exchange {
 public:
  LocalExchange(std::shared_ptr<State> state, uint32_t local)
      : state_(std::move(state)), local_(local) {}
  ~LocalExchange() override {
    const std::lock_guard lock(state_->mutex);
    state_->leave(local_);
  }
  LocalExchange(const LocalExchange&) = delete;
  LocalExchange& operator=(const LocalExchange&) = delete;

  uint32_t rank() const override { return state_->global(local_); }
  uint32_t ranks() const override {
    return state_->ranks * (state_->processes == nullptr ? 1 : state_->processes->ranks());
  }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine) override {
    State& s = *state_;
    std::unique_lock lock(s.mutex);
    s.require_all_here();
    s.wait(lock, local_, [&] { return s.leaving == 0; });
    s.parts[local_].assign(mine.begin(), mine.end());
    if (++s.arrived == s.ranks) {
      s.gather();
      s.leaving = s.ranks;
      s.changed.notify_all();
    } else {
      s.wait(lock, local_, [&] { return s.leaving != 0; });
    }
    auto all = s.gathered;
    if (--s.leaving == 0) {
      s.arrived = 0;
      s.changed.notify_all();
    }
    return all;
  }

 private:
  std::shared_ptr<State> state_;
  uint32_t local_;
};

}  // namespace

LocalGroup::LocalGroup(uint32_t ranks, uint64_t timeout_ns) : state_(std::make_shared<State>()) {
  state_->ranks = ranks;
  state_->parts.resize(ranks);
  state_->timeout = std::chrono::nanoseconds(timeout_ns);
}

LocalGroup::LocalGroup(uint32_t ranks, Exchange& processes, uint64_t timeout_ns)
    : LocalGroup(ranks, timeout_ns) {
  state_->processes = &processes;
}

LocalGroup::~LocalGroup() = default;

std::unique_ptr<Exchange> LocalGroup::join(uint32_t local_rank) {
  if (local_rank >= state_->ranks) throw BackendError("join: rank out of range");
  return std::make_unique<LocalExchange<State>>(state_, local_rank);
}

}  // namespace ringer
