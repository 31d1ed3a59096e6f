// SPDX-License-Identifier: Apache-2.0
#include "routing.hpp"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <numeric>
#include <span>

#include "random.hpp"

namespace ringer::tools {

namespace {

constexpr double kMaxZipfExponent = 16.0;

Random random_of(uint32_t rank, uint64_t seed) {
  return Random(Random::mix(seed) ^ Random::mix(uint64_t{rank} + 1));
}

void require_room(const RoutingShape& shape) {
  if (shape.topk > shape.experts) {
    throw UsageError("routing: " + std::to_string(shape.topk) + " different experts of " +
                     std::to_string(shape.experts));
  }
}

RankRouting empty_rows(const RoutingShape& shape) {
  RankRouting rows;
  rows.tokens = shape.tokens;
  rows.experts.assign(size_t{shape.tokens} * shape.topk, -1);
  rows.weights.assign(size_t{shape.tokens} * shape.topk, 0.0f);
  return rows;
}

// Positive, and they add up to 1 but for rounding.
void draw_weights(Random& random, std::span<float> weights) {
  double sum = 0;
  for (float& w : weights) {
    w = static_cast<float>(0.0625 + random.unit());
    sum += static_cast<double>(w);
  }
  for (float& w : weights) w = static_cast<float>(static_cast<double>(w) / sum);
}

class UniformRouting : public Routing {
 public:
  RankRouting make(const RoutingShape& shape, uint32_t rank, uint64_t seed) const override {
    require_room(shape);
    RankRouting rows = empty_rows(shape);
    Random random = random_of(rank, seed);
    // A partial shuffle is fair from any permutation, so one serves all tokens.
    std::vector<int32_t> deck(shape.experts);
    std::iota(deck.begin(), deck.end(), 0);
    for (uint32_t t = 0; t < shape.tokens; ++t) {
      const size_t row = size_t{t} * shape.topk;
      for (uint32_t k = 0; k < shape.topk; ++k) {
        std::swap(deck[k], deck[k + random.below(shape.experts - k)]);
        rows.experts[row + k] = deck[k];
      }
      draw_weights(random, std::span(rows.weights).subspan(row, shape.topk));
    }
    return rows;
  }
};

/// Draws indices by weight and takes them out, each in logarithmic time (a Fenwick tree).
class WeightedUrn {
 public:
  explicit WeightedUrn(const std::vector<uint64_t>& weights) : sums_(weights.size() + 1, 0) {
    for (size_t i = 0; i < weights.size(); ++i) add(i, weights[i]);
  }

  /// The index whose share of the total covers `at`; `at` is below total().
  size_t find(uint64_t at) const {
    size_t index = 0;
    for (size_t step = std::bit_floor(sums_.size()); step != 0; step /= 2) {
      if (index + step < sums_.size() && sums_[index + step] <= at) {
        index += step;
        at -= sums_[index];
      }
    }
    return index;
  }
  void add(size_t index, uint64_t weight) {
    total_ += weight;
    for (size_t i = index + 1; i < sums_.size(); i += i & (~i + 1)) sums_[i] += weight;
  }
  // Unsigned arithmetic wraps: taking out is adding the complement.
  void take(size_t index, uint64_t weight) { add(index, ~weight + 1); }
  uint64_t total() const { return total_; }

 private:
  std::vector<uint64_t> sums_;
  uint64_t total_ = 0;
};

class ZipfRouting : public Routing {
 public:
  explicit ZipfRouting(double exponent) : exponent_(exponent) {}

  RankRouting make(const RoutingShape& shape, uint32_t rank, uint64_t seed) const override {
    require_room(shape);
    RankRouting rows = empty_rows(shape);
    Random random = random_of(rank, seed);
    const std::vector<uint64_t> weights = expert_weights(shape.experts);
    WeightedUrn urn(weights);
    for (uint32_t t = 0; t < shape.tokens; ++t) {
      const size_t row = size_t{t} * shape.topk;
      for (uint32_t k = 0; k < shape.topk; ++k) {
        const auto at = static_cast<uint64_t>(random.unit() * static_cast<double>(urn.total()));
        const size_t expert = urn.find(std::min(at, urn.total() - 1));
        urn.take(expert, weights[expert]);
        rows.experts[row + k] = static_cast<int32_t>(expert);
      }
      for (uint32_t k = 0; k < shape.topk; ++k) {
        const auto expert = static_cast<size_t>(rows.experts[row + k]);
        urn.add(expert, weights[expert]);
      }
      draw_weights(random, std::span(rows.weights).subspan(row, shape.topk));
    }
    return rows;
  }

 private:
  // Whole numbers: sums are exact, and libraries that differ in the last bit of pow agree.
  std::vector<uint64_t> expert_weights(uint32_t experts) const {
    std::vector<uint64_t> weights(experts);
    for (uint32_t e = 0; e < experts; ++e) {
      const double share = std::pow(static_cast<double>(e) + 1.0, -exponent_);
      weights[e] = std::max<uint64_t>(1, static_cast<uint64_t>(std::lround(share * 0x1p28)));
    }
    return weights;
  }

  double exponent_;
};

class OneHotRouting : public Routing {
 public:
  explicit OneHotRouting(uint32_t expert) : expert_(expert) {}

  RankRouting make(const RoutingShape& shape, uint32_t, uint64_t) const override {
    if (expert_ >= shape.experts) {
      throw UsageError("routing one-hot: expert " + std::to_string(expert_) + " of " +
                       std::to_string(shape.experts));
    }
    RankRouting rows = empty_rows(shape);
    for (uint32_t t = 0; t < shape.tokens; ++t) {
      rows.experts[size_t{t} * shape.topk] = static_cast<int32_t>(expert_);
      rows.weights[size_t{t} * shape.topk] = 1.0f;
    }
    return rows;
  }

 private:
  uint32_t expert_;
};

template <class T>
bool parse_whole(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  return error == std::errc{} && rest == end;
}

}  // namespace

std::unique_ptr<Routing> uniform_routing() { return std::make_unique<UniformRouting>(); }

std::unique_ptr<Routing> zipf_routing(double exponent) {
  if (!(exponent >= 0 && exponent <= kMaxZipfExponent)) {
    throw UsageError("routing zipf: the exponent must be 0 to 16");
  }
  return std::make_unique<ZipfRouting>(exponent);
}

std::unique_ptr<Routing> one_hot_routing(uint32_t expert) {
  return std::make_unique<OneHotRouting>(expert);
}

std::unique_ptr<Routing> parse_routing(const std::string& text, uint32_t topk, uint32_t experts) {
  const std::string kZipf = "zipf:", kOneHot = "one-hot:";
  if (text == "uniform") return uniform_routing();
  if (text == "one-hot") return one_hot_routing(0);
  if (text.starts_with(kZipf)) {
    double exponent = 0;
    if (!parse_whole(text.substr(kZipf.size()), exponent)) {
      throw UsageError("'" + text + "' needs a number after the colon, for example zipf:1.2");
    }
    return zipf_routing(exponent);
  }
  if (text.starts_with(kOneHot)) {
    uint32_t expert = 0;
    if (!parse_whole(text.substr(kOneHot.size()), expert) || expert >= experts) {
      throw UsageError("'" + text + "' needs an expert from 0 to " + std::to_string(experts - 1) +
                       " after the colon");
    }
    return one_hot_routing(expert);
  }
  if (text == "zipf") throw UsageError("zipf needs an exponent, for example zipf:1.2");
  return std::make_unique<FileRouting>(text, topk, experts);
}

}  // namespace ringer::tools
