// SPDX-License-Identifier: Apache-2.0
// Which accesses to plain data are in order.
#include <ringer/sim/explore/memory_model.hpp>

#include "support/catch.hpp"

namespace ringer::test {
namespace {

using sim::MemoryModel;

constexpr uint32_t kOne = 0;
constexpr uint32_t kOther = 1;
constexpr uint32_t kThird = 2;

/// Three actors that tell each other by words of their own, and 16 bytes of plain data.
struct DataOfThree {
  void tell(uint32_t from, uint32_t to) {
    const uint32_t word = model.location(&words[from], sizeof(words[from]));
    model.store(from, word, 0, ++told, Scope::sys, Order::release);
    model.load(to, word, 0, Scope::sys, Order::acquire);
  }
  void write(uint32_t actor) { model.write_data(actor, data, sizeof(data)); }
  void read(uint32_t actor) { model.read_data(actor, data, sizeof(data)); }
  bool races() {
    const bool race = !model.race().empty();
    model.forgive();
    return race;
  }

  MemoryModel model{{{"one", {0, 0}}, {"other", {1, 1}}, {"third", {2, 2}}}, 3};
  uint64_t words[3] = {};
  uint64_t told = 0;
  alignas(16) uint8_t data[16] = {};
};

TEST_CASE("who knows of a write does not know of the next one", "[explore]") {
  DataOfThree m;
  m.write(kOne);
  m.tell(kOne, kOther);
  m.read(kOther);
  CHECK_FALSE(m.races());
  m.tell(kOther, kOne);
  m.write(kOne);
  CHECK_FALSE(m.races());
  m.read(kOther);
  CHECK(m.races());
}

TEST_CASE("who knows of a read does not know of the next one", "[explore]") {
  DataOfThree m;
  m.read(kOne);
  m.tell(kOne, kOther);
  m.read(kOne);
  m.write(kOther);
  CHECK(m.races());
}

TEST_CASE("who writes knows all that have read since the last write", "[explore]") {
  for (const bool tells : {false, true}) {
    DataOfThree m;
    m.write(kOne);
    m.tell(kOne, kOther);
    m.tell(kOne, kThird);
    m.read(kOther);
    m.read(kThird);
    m.tell(kOther, kOne);
    if (tells) m.tell(kThird, kOne);
    CHECK_FALSE(m.races());
    m.write(kOne);
    CHECK(m.races() == !tells);
  }
}

TEST_CASE("what is told is told on, with what was known before", "[explore]") {
  DataOfThree m;
  m.read(kOne);
  m.read(kThird);
  m.tell(kOne, kOther);
  m.tell(kOther, kThird);
  m.write(kThird);
  CHECK_FALSE(m.races());
  m.read(kOne);
  CHECK(m.races());
}

TEST_CASE("knowledge of much data is not mixed up", "[explore]") {
  DataOfThree m;
  alignas(16) uint8_t much[16 * 40] = {};
  for (size_t i = 0; i < sizeof(much); i += 16) m.model.write_data(kOne, much + i, 16);
  m.tell(kOne, kOther);
  for (size_t i = 0; i < sizeof(much); i += 48) m.model.write_data(kOne, much + i, 16);
  for (size_t i = 0; i < sizeof(much); i += 16) {
    INFO("at " << i);
    m.model.read_data(kOther, much + i, 16);
    CHECK(m.races() == (i % 48 == 0));
  }
}

}  // namespace
}  // namespace ringer::test
