// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <stdexcept>
#include <thread>

#include <ringer/sim/simt_executor.hpp>

namespace ringer::sim {

namespace {
constexpr uint64_t kNever = ~uint64_t{0};
// Virtual time that one round of all warps takes, so that a deadline always comes.
constexpr uint64_t kRoundNs = 100;
constexpr size_t kReportedWarps = 32;
}  // namespace

SimtExecutor::SimtExecutor(SimtOptions options)
    : options_(std::move(options)), random_(options_.seed) {}

SimtExecutor::~SimtExecutor() = default;

void SimtExecutor::prepare(std::span<const Grid> grids) {
  grids_.clear();
  warps_.clear();
  for (const Grid& grid : grids) {
    auto state = std::make_unique<GridState>();
    state->grid = &grid;
    state->blocks.resize(grid.blocks);
    for (uint32_t b = 0; b < grid.blocks; ++b) {
      state->blocks[b].shared.resize((grid.shared_bytes + sizeof(Chunk16) - 1) / sizeof(Chunk16));
      for (uint32_t w = 0; w < grid.warps_per_block; ++w)
        warps_.push_back({state.get(), b, w, nullptr, {}});
    }
    grids_.push_back(std::move(state));
  }
  while (fibers_.size() < warps_.size()) fibers_.push_back(std::make_unique<Fiber>());
  order_.resize(warps_.size());
  for (uint32_t i = 0; i < warps_.size(); ++i) {
    WarpState& warp = warps_[i];
    warp.fiber = fibers_[i].get();
    warp.fiber->start([this, &warp] { warp.grid->grid->kernel(SimtWarp(this, &warp)); });
    order_[i] = i;
  }
}

LaunchReport SimtExecutor::launch(std::span<const Grid> grids) {
  if (!options_.pump) clock_ns_ = HostPlatform{}.now_ns();
  prepare(grids);
  LaunchReport report;
  try {
    while (!order_.empty()) {
      const bool ran = run_round();
      const bool pumped = options_.pump && options_.pump();
      if (options_.pump) clock_ns_ += kRoundNs;
      if (!ran && !pumped && !order_.empty() && stuck()) {
        report = {false, describe()};
        break;
      }
    }
  } catch (...) {
    cancel_all();
    throw;
  }
  cancel_all();
  return report;
}

bool SimtExecutor::run_round() {
  if (!options_.pump) clock_ns_ = HostPlatform{}.now_ns();
  // Fisher-Yates on the generator's own words: the same order with every standard library.
  for (size_t i = order_.size(); options_.seed != 0 && i > 1; --i) {
    std::swap(order_[i - 1], order_[random_() % i]);
  }
  bool ran = false;
  for (const uint32_t i : order_) {
    WarpState& warp = warps_[i];
    if (!ready(warp)) continue;
    ran = true;
    warp.wait = {};
    current_ = &warp;
    warp.fiber->resume();
  }
  std::erase_if(order_, [this](uint32_t i) { return warps_[i].fiber->finished(); });
  return ran;
}

bool SimtExecutor::ready(const WarpState& warp) const {
  if (warp.wait.barrier != nullptr) return warp.wait.barrier->generation != warp.wait.generation;
  return warp.wait.ready == nullptr || warp.wait.ready(warp.wait.context);
}

// Nobody could run. With a deadline pending, time will tell; else nothing ever will, provided that
// the outside world is at rest too.
bool SimtExecutor::stuck() {
  uint64_t next = kNever;
  bool memory_wait = false;
  for (const uint32_t i : order_) {
    const Wait& wait = warps_[i].wait;
    if (wait.ready == nullptr) continue;
    memory_wait = true;
    next = std::min(next, wait.expires_ns);
  }
  if (options_.pump) {
    if (next != kNever) clock_ns_ = std::max(clock_ns_, next);
    return next == kNever;
  }
  std::this_thread::yield();
  if (!memory_wait) return true;
  if (next != kNever || !options_.at_rest || !options_.at_rest()) return false;
  // At rest now, but a last store may have come after our look: look once more.
  return std::none_of(order_.begin(), order_.end(),
                      [this](uint32_t i) { return ready(warps_[i]); });
}

std::string SimtExecutor::describe() const {
  std::string text = "deadlock: " + std::to_string(order_.size()) + " warps wait";
  size_t lines = 0;
  for (const WarpState& warp : warps_) {
    if (warp.fiber->finished()) continue;
    if (++lines > kReportedWarps) return text + "\n  ...";
    text += "\n  " + warp.grid->grid->name + " block " + std::to_string(warp.block) + " warp " +
            std::to_string(warp.warp) + " waits for " + warp.wait.site;
    if (const Barrier* barrier = warp.wait.barrier; barrier != nullptr) {
      text += " (" + std::to_string(barrier->arrived) + " of " + std::to_string(barrier->expected) +
              " warps arrived)";
    }
  }
  return text;
}

void SimtExecutor::suspend(const Wait& wait) {
  WarpState* self = current_;
  self->wait = wait;
  self->fiber->suspend();
}

void SimtExecutor::arrive(Barrier& barrier, uint32_t expected, const char* site) {
  if (barrier.arrived != 0 && barrier.expected != expected) {
    throw std::logic_error(std::string(site) + ": one warp expects " + std::to_string(expected) +
                           " warps, another " + std::to_string(barrier.expected));
  }
  barrier.expected = expected;
  if (++barrier.arrived == expected) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  Wait wait;
  wait.site = site;
  wait.barrier = &barrier;
  wait.generation = barrier.generation;
  suspend(wait);
}

void SimtExecutor::yield_by_seed() {
  if (options_.seed == 0 || (random_() & 1) != 0) return;
  suspend({});
}

void SimtExecutor::cancel_all() {
  for (const auto& fiber : fibers_) fiber->cancel();
}

void SimtWarp::block_sync() const {
  executor_->arrive(block_state().all, warps_per_block(), "block barrier");
}

void SimtWarp::group_sync(uint32_t id, uint32_t warps) const {
  static constexpr const char* kSites[SimtExecutor::kNamedBarriers] = {
      "named barrier 0",  "named barrier 1",  "named barrier 2",  "named barrier 3",
      "named barrier 4",  "named barrier 5",  "named barrier 6",  "named barrier 7",
      "named barrier 8",  "named barrier 9",  "named barrier 10", "named barrier 11",
      "named barrier 12", "named barrier 13", "named barrier 14"};
  if (id >= SimtExecutor::kNamedBarriers || warps == 0 || warps > warps_per_block()) {
    throw std::logic_error("named barrier: id or number of warps out of range");
  }
  executor_->arrive(block_state().named[id], warps, kSites[id]);
}

void SimtWarp::grid_sync() const {
  executor_->arrive(state_->grid->all, blocks() * warps_per_block(), "grid barrier");
}

void* SimtWarp::shared(uint32_t bytes) const {
  if (bytes > state_->grid->grid->shared_bytes) {
    throw std::logic_error("shared memory: " + std::to_string(bytes) + " bytes asked, " +
                           std::to_string(state_->grid->grid->shared_bytes) + " launched");
  }
  return block_state().shared.data();
}

}  // namespace ringer::sim
