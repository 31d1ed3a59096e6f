// SPDX-License-Identifier: Apache-2.0
#include <string>

#include <ringer/mlx5/cqe.hpp>
#include <ringer/status.hpp>
#include <ringer/types.hpp>

#include "support/catch.hpp"

namespace ringer {
namespace {

TEST_CASE("byte swaps reverse the bytes and undo themselves", "[types]") {
  CHECK(byteswap16(0x0102) == 0x0201);
  CHECK(byteswap32(0x01020304u) == 0x04030201u);
  CHECK(byteswap64(0x0102030405060708u) == 0x0807060504030201u);
  CHECK(byteswap64(byteswap64(0xfedcba9876543210u)) == 0xfedcba9876543210u);
  CHECK(Be16::of(0xfffe).value() == 0xfffe);
  CHECK(Be32::of(0x80000001u).value() == 0x80000001u);
  CHECK(Be64::of(0x8000000000000001u).value() == 0x8000000000000001u);
}

TEST_CASE("a big-endian word lies in memory with its first byte first", "[types]") {
  const Be32 word = Be32::of(0x01020304u);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&word);
  for (int i = 0; i < 4; ++i) CHECK(bytes[i] == i + 1);
}

// Bug class: 64-bit index kept in 16 bits (ucx#10881, mori#435).
TEST_CASE("an index is recovered from 16 bits at every wrap", "[types]") {
  const uint64_t base = GENERATE(as<uint64_t>{}, 0, 65534, 65535, 65536, (uint64_t{1} << 32) - 1,
                                 uint64_t{1} << 32, (uint64_t{1} << 48) + 3);
  const uint64_t distance = GENERATE(as<uint64_t>{}, 0, 1, 2, 255, 32767, 32768, 65535);
  const uint64_t index = base + distance;
  CHECK(recover_index(base, static_cast<uint16_t>(index)) == index);
}

TEST_CASE("recovery never passes the true index, whatever the lower bound", "[types]") {
  const uint64_t index = (uint64_t{1} << 32) + 5;
  for (const uint64_t behind : {uint64_t{65536}, uint64_t{65537}, uint64_t{200000}}) {
    const uint64_t recovered = recover_index(index - behind, static_cast<uint16_t>(index));
    CHECK(recovered <= index);
    CHECK(recovered >= index - behind);
  }
}

TEST_CASE("slots repeat with the ring and only with the ring", "[types]") {
  const uint32_t ring = GENERATE(1u, 2u, 64u, 32768u);
  const uint64_t start = GENERATE(as<uint64_t>{}, 0, 65535, (uint64_t{1} << 32) - 1);
  for (uint64_t i = 0; i < 3 * uint64_t{ring}; i += ring / 2 + 1) {
    REQUIRE(slot_of(start + i, ring) == (start + i) % ring);
    REQUIRE(slot_of(start + i + ring, ring) == slot_of(start + i, ring));
  }
}

TEST_CASE("a CQE tail survives its way through memory", "[types]") {
  const auto opcode =
      GENERATE(mlx5::CqeOpcode::requester, mlx5::CqeOpcode::requester_error,
               mlx5::CqeOpcode::responder_error, mlx5::CqeOpcode::responder_send_imm);
  const bool owner = GENERATE(false, true);
  const auto tail = mlx5::CqeTail::of(mlx5::CqeTail{0xfffe, opcode, owner}.word());
  CHECK(tail.wqe_counter == 0xfffe);
  CHECK(tail.opcode == opcode);
  CHECK(tail.owner == owner);
  CHECK(tail.is_error() ==
        (opcode == mlx5::CqeOpcode::requester_error || opcode == mlx5::CqeOpcode::responder_error));
}

TEST_CASE("an untouched CQE is invalid in both laps", "[types]") {
  CHECK(mlx5::CqeTail::of(mlx5::kInvalidCqeTail).opcode == mlx5::CqeOpcode::invalid);
}

TEST_CASE("a status for people names syndrome, peer, queue pair and index", "[types]") {
  const Status status{StatusCode::qp_error, 0x13, 300, 5, 65537};
  const std::string text = to_string(status);
  for (const char* part : {"remote access error", "peer 5", "qpn 300", "index 65537"}) {
    INFO(text);
    CHECK(text.find(part) != std::string::npos);
  }
  CHECK(to_string(Status{}) == "ok");
  CHECK(to_string(make_status(StatusCode::deadline)).find("peer") == std::string::npos);
}

}  // namespace
}  // namespace ringer
