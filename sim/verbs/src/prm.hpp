// SPDX-License-Identifier: Apache-2.0
// Firmware commands and their answers, as an application has handed them over.
#pragma once

#include <cstdint>
#include <cstring>

#include <ringer/mlx5/prm.hpp>

#include "request.hpp"

namespace ringer::sim::verbs::prm {

using namespace mlx5::prm;
using mlx5::prm::Status;  // there is another one further out

/// Of a command that is too short the missing fields are zero.
class Input {
 public:
  explicit Input(const InBuffer& bytes) : bytes_(bytes) {}
  uint32_t get(Field field) const {
    return (word(field.bit / 32) >> shift_of(field)) & mask_of(field);
  }
  uint64_t get(Field64 field) const {
    return uint64_t{word(field.bit / 32)} << 32 | word(field.bit / 32 + 1);
  }

 private:
  uint32_t word(uint32_t index) const {
    Be32 value{};
    const size_t from = size_t{index} * sizeof value;
    if (from + sizeof value <= bytes_.size()) {
      std::memcpy(&value, bytes_.data() + from, sizeof value);
    }
    return value.value();
  }
  InBuffer bytes_;
};

/// An answer; what the caller left no room for is lost.
class Output {
 public:
  /// All zeros, which stands for success.
  explicit Output(const OutBuffer& bytes) : bytes_(bytes) { bytes_.put_bytes(nullptr, 0); }
  void set(Field field, uint32_t value) {
    const size_t from = size_t{field.bit / 32} * sizeof(Be32);
    if (from + sizeof(Be32) > bytes_.size()) return;
    Be32 word;
    std::memcpy(&word, bytes_.data() + from, sizeof word);
    const uint32_t mask = mask_of(field) << shift_of(field);
    word = Be32::of((word.value() & ~mask) | ((value << shift_of(field)) & mask));
    std::memcpy(bytes_.data() + from, &word, sizeof word);
  }

 private:
  OutBuffer bytes_;
};

inline Opcode opcode_of(const Input& command) { return static_cast<Opcode>(command.get(kOpcode)); }

/// The firmware says no: the answer tells why, and errno is EREMOTEIO.
[[noreturn]] inline void refuse(Output& answer, Status status) {
  answer.set(kStatus, static_cast<uint32_t>(status));
  verbs::refuse(EREMOTEIO);
}

}  // namespace ringer::sim::verbs::prm
