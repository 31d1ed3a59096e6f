// SPDX-License-Identifier: Apache-2.0
// Which of two memories can do all that the other one can.
#include <functional>

#include <ringer/sim/explore/memory_model.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::MemoryModel;
using sim::Update;

constexpr uint32_t kWriter = 0;
constexpr uint32_t kReader = 1;
constexpr uint32_t kWatcher = 2;

/// A writer's and a reader's memory of one word and 16 bytes of plain data, after different deeds.
/// With somebody else who will read all that and has not yet, nothing is ever out of reach, and
/// what the reader knows is all there is to compare.
class Memories {
 public:
  using Deeds = std::function<void(MemoryModel&)>;

  explicit Memories(bool watched = false, bool overwritten = false)
      : model_({{"writer", {0, 0}}, {"reader", {1, 1}}, {"watcher", {2, 2}}}, 4) {
    flag = model_.location(&flag_, sizeof(flag_));
    // What both may do some day.
    model_.write_data(kWriter, data, sizeof(data));
    model_.store(kWriter, flag, 0, 0, Scope::sys, Order::relaxed);
    model_.load(kReader, flag, 0, Scope::sys, Order::relaxed);
    if (overwritten) {
      model_.write_data(kReader, data, sizeof(data));
    } else {
      model_.read_data(kReader, data, sizeof(data));
    }
    if (watched) {
      model_.load(kWatcher, flag, 0, Scope::sys, Order::relaxed);
      model_.read_data(kWatcher, data, sizeof(data));
    }
    model_.forgive();
    model_.require_scopes();
    model_.assume();
  }

  MemoryModel::Summary after(const Deeds& deeds) {
    model_.reset();
    model_.location(&flag_, sizeof(flag_));
    deeds(model_);
    MemoryModel::Summary summary;
    model_.summarise(summary);
    return summary;
  }
  MemoryModel& model() { return model_; }
  bool covers(const MemoryModel::Summary& one, const MemoryModel::Summary& other) const {
    return model_.covers(one.words, other.words);
  }

  uint32_t flag;
  alignas(16) uint8_t data[16] = {};

 private:
  uint64_t flag_ = 0;
  MemoryModel model_;
};

TEST_CASE("who has seen less covers who has seen more", "[explore]") {
  Memories memories(GENERATE(false, true));
  const auto see = [&](uint32_t stores, uint32_t choice) {
    return memories.after([&, stores, choice](MemoryModel& m) {
      for (uint64_t v = 1; v <= stores; ++v) {
        m.store(kWriter, memories.flag, 0, v, Scope::sys, Order::relaxed);
      }
      m.load(kReader, memories.flag, choice, Scope::sys, Order::relaxed);
    });
  };
  for (uint32_t newer = 0; newer < 3; ++newer) {
    for (uint32_t older = newer; older <= 3; ++older) {
      INFO(newer << " and " << older << " stores behind");
      CHECK(memories.covers(see(3, older), see(3, newer)));
      CHECK(memories.covers(see(3, newer), see(3, older)) == (newer == older));
      CHECK((see(3, newer).digest() == see(3, older).digest()) == (newer == older));
    }
  }
}

TEST_CASE("who knows of no write covers who does", "[explore]") {
  Memories memories(GENERATE(false, true), GENERATE(false, true));
  const auto told = [&](Order order) {
    return memories.after([&, order](MemoryModel& m) {
      m.write_data(kWriter, memories.data, sizeof(memories.data));
      m.store(kWriter, memories.flag, 0, 1, Scope::sys, Order::release);
      m.load(kReader, memories.flag, 0, Scope::sys, order);
    });
  };
  CHECK(memories.covers(told(Order::relaxed), told(Order::acquire)));
  CHECK_FALSE(memories.covers(told(Order::acquire), told(Order::relaxed)));
}

TEST_CASE("a summary is made again when anything has been done", "[explore]") {
  Memories memories;
  MemoryModel::Summary summary = memories.after([](MemoryModel&) {});
  uint64_t last = summary.digest();
  const auto changes = [&](const std::function<void(MemoryModel&)>& deed) {
    deed(memories.model());
    memories.model().summarise(summary);
    const bool changed = summary.digest() != last;
    last = summary.digest();
    return changed;
  };
  CHECK(changes([&](MemoryModel& m) { m.write_data(kWriter, memories.data, 16); }));
  CHECK(changes(
      [&](MemoryModel& m) { m.store(kWriter, memories.flag, 0, 1, Scope::sys, Order::release); }));
  CHECK_FALSE(changes([&](MemoryModel& m) {
    const MemoryModel::Eyes eyes = m.hold(kReader);
    m.load(kReader, memories.flag, 0, Scope::sys, Order::relaxed);
    m.put_back(kReader, eyes);
  }));
  CHECK(changes(
      [&](MemoryModel& m) { m.load(kReader, memories.flag, 0, Scope::sys, Order::relaxed); }));
  CHECK(changes([](MemoryModel& m) { m.fence(kReader, Scope::sys, Order::acquire); }));
  CHECK(changes([](MemoryModel& m) { m.retire(kWriter); }));
}

TEST_CASE("a store that is read out of scope covers none that is not", "[explore]") {
  Memories memories;
  const auto store = [&](Scope scope) {
    return memories.after([&, scope](MemoryModel& m) {
      m.store(kWriter, memories.flag, 0, 1, scope, Order::relaxed);
    });
  };
  CHECK(memories.covers(store(Scope::gpu), store(Scope::gpu)));
  CHECK_FALSE(memories.covers(store(Scope::gpu), store(Scope::sys)));
  CHECK_FALSE(memories.covers(store(Scope::sys), store(Scope::gpu)));
}

TEST_CASE("a store that nothing may precede does not cover one that something may", "[explore]") {
  Memories memories;
  const auto add = [&](bool update) {
    return memories.after([&, update](MemoryModel& m) {
      if (update) {
        const Update one{8, Update::Kind::add, 1, 0};
        m.update(kWriter, memories.flag, 0, one, Scope::sys, Order::relaxed);
      } else {
        m.store(kWriter, memories.flag, 0, 1, Scope::sys, Order::relaxed);
      }
    });
  };
  CHECK_FALSE(memories.covers(add(true), add(false)));
  CHECK(memories.covers(add(true), add(true)));
}

TEST_CASE("memories with other values, or other words behind a store, cover none", "[explore]") {
  Memories memories;
  const auto store = [&](uint64_t value, Order order) {
    return memories.after([&, value, order](MemoryModel& m) {
      m.write_data(kWriter, memories.data, sizeof(memories.data));
      m.store(kWriter, memories.flag, 0, value, Scope::sys, order);
    });
  };
  CHECK_FALSE(memories.covers(store(1, Order::relaxed), store(2, Order::relaxed)));
  CHECK(memories.covers(store(1, Order::relaxed), store(1, Order::release)));
  CHECK_FALSE(memories.covers(store(1, Order::release), store(1, Order::relaxed)));
}

}  // namespace
}  // namespace ringer::test
