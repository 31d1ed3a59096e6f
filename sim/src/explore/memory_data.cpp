// SPDX-License-Identifier: Apache-2.0
// Plain data: who has written and read it last, and whether that was in order. Who knows of a read
// knows of the write that it has read, for the reader did, until somebody writes again.
#include <bit>

#include <ringer/sim/explore/memory_model.hpp>

namespace ringer::sim {

namespace {
constexpr uint32_t kCellBytes = 16;
}

void MemoryModel::report(uint32_t actor, uint32_t other, uint32_t cell, const char* what) {
  if (!race_.empty()) return;
  race_ = actor_names_[actor] + " " + what + " " + actor_names_[other] + " unordered: " +
          name_of(reinterpret_cast<const void*>(
              static_cast<uintptr_t>(cell_at_.at(cell) * kCellBytes)));
}

void MemoryModel::hold_cells(uint32_t cells) {
  if (cells <= now_.writers.size()) return;
  now_.writers.resize(cells);
  const uint32_t words = facts_of(cells - 1).word + 1;
  if (words <= now_.facts.size()) return;
  now_.facts.resize(words);
  now_.read_since.resize(words);
  now_.views.widen(now_.views.rank_blocks(), words);
}

template <class F>
void MemoryModel::for_each_cell(const void* at, uint64_t bytes, F&& f) {
  const auto first = reinterpret_cast<uint64_t>(at) / kCellBytes;
  const auto last = (reinterpret_cast<uint64_t>(at) + bytes - 1) / kCellBytes;
  changed();
  for (uint64_t c = first; c <= last; ++c) {
    const uint32_t cell = cell_at_.number_of(c);
    if (cell >= use_.cells.size()) {
      use_.cells.resize(cell + 1);
      use_grown_ = true;
    }
    hold_cells(cell + 1);
    f(cell, facts_of(cell));
  }
}

void MemoryModel::write_data(uint32_t actor, const void* at, uint64_t bytes) {
  for_each_cell(at, bytes, [&](uint32_t cell, const Facts& facts) {
    note(use_.cells[cell].writes, bit_of(actor));
    ViewId& view = now_.actors[actor].view;
    const uint64_t written = uint64_t{1} << facts.shift;
    const uint64_t all = ((uint64_t{1} << kinds_of_facts()) - 1) << facts.shift;
    const uint64_t there = now_.facts[facts.word] & all;
    if (const uint64_t unknown = there & ~now_.views.facts(view)[facts.word]; unknown != 0) {
      if ((unknown & written) != 0) {
        report(actor, now_.writers[cell], cell, "writes what is written by");
      } else {
        const auto kind = static_cast<uint32_t>(std::countr_zero(unknown)) - facts.shift;
        report(actor, kind - 1, cell, "writes what is read by");
      }
    }
    if (there != 0) now_.views.forget(facts.word, all);
    now_.views.learn(view, facts.word, written);
    now_.facts[facts.word] = (now_.facts[facts.word] & ~all) | written;
    now_.read_since[facts.word] &= ~written;
    now_.writers[cell] = actor;
  });
}

void MemoryModel::read_data(uint32_t actor, const void* at, uint64_t bytes) {
  for_each_cell(at, bytes, [&](uint32_t cell, const Facts& facts) {
    note(use_.cells[cell].reads, bit_of(actor));
    ViewId& view = now_.actors[actor].view;
    const uint64_t written = uint64_t{1} << facts.shift;
    const uint64_t read = written << (1 + actor);
    if ((now_.facts[facts.word] & written & ~now_.views.facts(view)[facts.word]) != 0) {
      report(actor, now_.writers[cell], cell, "reads what is written by");
    }
    if ((now_.facts[facts.word] & read) != 0) now_.views.forget(facts.word, read);
    now_.views.learn(view, facts.word, read);
    now_.facts[facts.word] |= read;
    now_.read_since[facts.word] |= written;
  });
}

}  // namespace ringer::sim
