// SPDX-License-Identifier: Apache-2.0
// Which experts each token goes to, and with which weights: generated, or read from a file.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace ringer::tools {

/// The request or its input cannot be used; the text is one line for the user. Exit code 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Expert rows of one rank in one call.
struct RankRouting {
  uint32_t tokens = 0;
  std::vector<int32_t> experts;  ///< [tokens][topk]; -1 = none
  std::vector<float> weights;    ///< [tokens][topk]
};

/// The shape that a routing has to fill.
struct RoutingShape {
  uint32_t ranks;
  uint32_t tokens;  ///< per rank
  uint32_t topk;
  uint32_t experts;
};

/// Source of expert rows. `make` is a pure function of its arguments.
class Routing {
 public:
  virtual ~Routing() = default;
  virtual RankRouting make(const RoutingShape& shape, uint32_t rank, uint64_t seed) const = 0;
};

/// Each token to `topk` different experts, all equally likely.
std::unique_ptr<Routing> uniform_routing();
/// The same with expert e weighted by 1 / (e + 1)^exponent.
std::unique_ptr<Routing> zipf_routing(double exponent);
/// Every token of every rank to one expert only; the other entries of its row are -1.
std::unique_ptr<Routing> one_hot_routing(uint32_t expert);

/// Real routing decisions: one line a token, either CSV `token,e1..ek,w1..wk` (an optional header
/// line) or JSON lines `{"token": 0, "experts": [..], "weights": [..]}`. Tokens are dealt to ranks
/// in blocks of `shape.tokens`; the last ranks may get none. The same for all seeds. Throws
/// UsageError with the file and the numbers of the bad lines (at most ten are listed): not a
/// number, wrong count, expert out of range, token out of order. An expert may be -1 (none) or
/// repeated in a row: the kernels send a duplicate once and weigh it twice.
class FileRouting : public Routing {
 public:
  /// `experts` bounds the expert ids; `topk` of 0 takes the file's own.
  FileRouting(const std::string& path, uint32_t topk, uint32_t experts);
  uint32_t tokens() const { return tokens_; }
  uint32_t topk() const { return topk_; }
  RankRouting make(const RoutingShape& shape, uint32_t rank, uint64_t seed) const override;

 private:
  uint32_t tokens_ = 0;
  uint32_t topk_ = 0;
  std::vector<int32_t> experts_;
  std::vector<float> weights_;
};

/// Parses `uniform`, `zipf:A`, `one-hot`, `one-hot:E`, or a file's path. Throws UsageError.
std::unique_ptr<Routing> parse_routing(const std::string& text, uint32_t topk, uint32_t experts);

}  // namespace ringer::tools
