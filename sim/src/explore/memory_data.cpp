// SPDX-License-Identifier: Apache-2.0
// Plain data: who has written and read it last, and whether that was in order.
#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

namespace {
constexpr uint32_t kCellBytes = 16;
}

void MemoryModel::report(uint32_t actor, uint32_t other, uint32_t cell, const char* what) {
  if (!race_.empty()) return;
  race_ = actor_names_[actor] + " " + what + " " + actor_names_[other] +
          " unordered: " + name_of(reinterpret_cast<const void*>(cell_at_[cell] * kCellBytes));
}

template <class F>
void MemoryModel::for_each_cell(const void* at, uint64_t bytes, F&& f) {
  const auto first = reinterpret_cast<uint64_t>(at) / kCellBytes;
  const auto last = (reinterpret_cast<uint64_t>(at) + bytes - 1) / kCellBytes;
  for (uint64_t c = first; c <= last; ++c) {
    const auto [entry, fresh] = cell_index_.try_emplace(c, static_cast<uint32_t>(cell_at_.size()));
    if (fresh) {
      cell_at_.push_back(c);
      use_.cells.emplace_back();
    }
    const size_t needed = size_t{entry->second + 1} * cell_words_;
    if (cells_.size() < needed) cells_.resize(needed);
    f(entry->second, &cells_[size_t{entry->second} * cell_words_]);
  }
}

void MemoryModel::write_data(uint32_t actor, const void* at, uint64_t bytes) {
  const Actor& a = actors_[actor];
  for_each_cell(at, bytes, [&](uint32_t c, uint32_t* cell) {
    use_.cells[c].writes |= bit_of(actor);
    if (!known(a.view, {cell[kWriter], cell[kWritten]})) {
      report(actor, cell[kWriter], c, "writes what is written by");
    }
    for (uint32_t reader = 0; reader < actors_.size(); ++reader) {
      if (!known(a.view, {reader, cell[kReads + reader]})) {
        report(actor, reader, c, "writes what is read by");
      }
      cell[kReads + reader] = 0;
    }
    cell[kWriter] = actor;
    cell[kWritten] = a.clock;
  });
}

void MemoryModel::read_data(uint32_t actor, const void* at, uint64_t bytes) {
  const Actor& a = actors_[actor];
  for_each_cell(at, bytes, [&](uint32_t c, uint32_t* cell) {
    use_.cells[c].reads |= bit_of(actor);
    if (!known(a.view, {cell[kWriter], cell[kWritten]})) {
      report(actor, cell[kWriter], c, "reads what is written by");
    }
    cell[kReads + actor] = a.clock;
  });
}

}  // namespace ringer::sim
