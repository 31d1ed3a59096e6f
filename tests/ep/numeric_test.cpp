// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include <ringer/ep/message.hpp>
#include <ringer/ep/numeric.hpp>
#include <ringer/sim/simt_executor.hpp>

#include "random.hpp"
#include "support/catch.hpp"

using namespace ringer;
using namespace ringer::ep;

namespace {

// Nearest finite E4M3 value by search; ties go to the even code.
uint8_t nearest_e4m3(float value) {
  uint8_t best = 0;
  double best_distance = std::numeric_limits<double>::infinity();
  for (uint32_t code = 0; code < 0x7f; ++code) {
    const double distance =
        std::fabs(std::fabs(double{value}) - double{e4m3_to_float(static_cast<uint8_t>(code))});
    if (distance < best_distance || (distance == best_distance && code % 2 == 0)) {
      best = static_cast<uint8_t>(code);
      best_distance = distance;
    }
  }
  return static_cast<uint8_t>(best | (std::signbit(value) ? 0x80 : 0));
}

}  // namespace

TEST_CASE("E4M3 decodes to the values of its definition", "[numeric]") {
  REQUIRE(e4m3_to_float(0x00) == 0.0f);
  REQUIRE(e4m3_to_float(0x01) == 0x1p-9f);
  REQUIRE(e4m3_to_float(0x08) == 0x1p-6f);
  REQUIRE(e4m3_to_float(0x38) == 1.0f);
  REQUIRE(e4m3_to_float(0x7e) == 448.0f);
  REQUIRE(e4m3_to_float(0xfe) == -448.0f);
  REQUIRE(std::isnan(e4m3_to_float(0x7f)));
}

TEST_CASE("every E4M3 code survives a round trip", "[numeric]") {
  for (uint32_t code = 0; code < 256; ++code) {
    if ((code & 0x7f) == 0x7f) continue;
    CAPTURE(code);
    REQUIRE(float_to_e4m3(e4m3_to_float(static_cast<uint8_t>(code))) == code);
  }
}

TEST_CASE("E4M3 rounds to nearest, ties to even, and saturates", "[numeric]") {
  for (uint32_t code = 0; code < 0x7e; ++code) {
    const float low = e4m3_to_float(static_cast<uint8_t>(code));
    const float high = e4m3_to_float(static_cast<uint8_t>(code + 1));
    const float middle = (low + high) / 2;
    CAPTURE(code);
    for (const float v :
         {middle, std::nextafter(middle, low), std::nextafter(middle, high), -middle}) {
      REQUIRE(float_to_e4m3(v) == nearest_e4m3(v));
    }
  }
  ringer::tools::Random random(5);
  for (int i = 0; i < 20000; ++i) {
    const auto v = static_cast<float>((random.unit() - 0.5) * 1000.0 *
                                      std::ldexp(1.0, -static_cast<int>(random.below(18))));
    REQUIRE(float_to_e4m3(v) == nearest_e4m3(v));
  }
  REQUIRE(float_to_e4m3(1e30f) == 0x7e);
  REQUIRE(float_to_e4m3(-std::numeric_limits<float>::infinity()) == 0xfe);
  REQUIRE((float_to_e4m3(std::numeric_limits<float>::quiet_NaN()) & 0x7f) == 0x7f);
}

TEST_CASE("BF16 rounds to nearest, ties to even", "[numeric]") {
  REQUIRE(float_to_bf16(1.0f) == 0x3f80);
  REQUIRE(float_to_bf16(float_of(0x3f808000)) == 0x3f80);  // tie, even below
  REQUIRE(float_to_bf16(float_of(0x3f818000)) == 0x3f82);  // tie, even above
  REQUIRE(float_to_bf16(float_of(0x3f808001)) == 0x3f81);
  REQUIRE(float_to_bf16(float_of(0x7f7fffff)) == 0x7f80);  // beyond the largest: infinity
  REQUIRE(std::isnan(bf16_to_float(float_to_bf16(std::numeric_limits<float>::signaling_NaN()))));
  for (uint32_t v = 0; v < 0x10000; ++v) {
    const float f = bf16_to_float(static_cast<uint16_t>(v));
    if (!std::isnan(f)) REQUIRE(float_to_bf16(f) == v);
  }
}

TEST_CASE("UE8M0 scales are powers of two that never let a group overflow", "[numeric]") {
  ringer::tools::Random random(9);
  for (int i = 0; i < 2000; ++i) {
    const auto amax = static_cast<float>(
        std::ldexp(1.0 + random.unit(), static_cast<int>(random.below(60)) - 30));
    uint8_t exponent = 0;
    const GroupScale scale = group_scale_ue8m0(amax, &exponent);
    CAPTURE(amax);
    REQUIRE(scale.dequantize == ue8m0_to_float(exponent));
    REQUIRE(scale.quantize * scale.dequantize == 1.0f);
    REQUIRE(amax * scale.quantize <= kE4m3Max * 1.000001f);
    const float bounded = amax < kMinAmax ? kMinAmax : amax;
    REQUIRE(bounded * scale.quantize > kE4m3Max / 2.01f);  // and not a binade more than needed
  }
}

TEST_CASE("UE8M0 scales of the largest channels stay finite powers of two", "[numeric]") {
  for (const float amax :
       {std::numeric_limits<float>::max(), std::numeric_limits<float>::infinity()}) {
    uint8_t exponent = 0;
    const GroupScale scale = group_scale_ue8m0(amax, &exponent);
    REQUIRE(exponent < 254);
    REQUIRE(scale.quantize > 0);
    REQUIRE(scale.quantize * scale.dequantize == 1.0f);
  }
}

TEST_CASE("a quantised group is within half a step of its source", "[numeric]") {
  const Dtype dtype = GENERATE(Dtype::fp8, Dtype::fp8_ue8m0);
  ringer::tools::Random random(11);
  std::vector<uint16_t> x(kScaleGroup);
  for (uint16_t& v : x) v = float_to_bf16(static_cast<float>(random.unit() * 6 - 3));
  if (GENERATE(false, true)) std::fill(x.begin(), x.end(), uint16_t{0});
  std::vector<uint8_t> payload(kScaleGroup), scales(4);
  Config config;
  config.hidden = kScaleGroup;
  config.dtype = dtype;
  const Layout layout = make_layout(config);
  const ringer::sim::Grid grid{"encode", 1, 1, 0, [&](ringer::sim::SimtWarp warp) {
                                 encode_token(warp, ringer::WarpShare{}, x.data(), layout, dtype,
                                              payload.data(), scales.data());
                               }};
  REQUIRE(ringer::sim::SimtExecutor().launch(std::span(&grid, 1)).completed);
  for (uint32_t i = 0; i < kScaleGroup; ++i) {
    const float from = bf16_to_float(x[i]);
    const float to = decode_channel(payload.data(), scales.data(), dtype, i);
    REQUIRE(std::fabs(from - to) <= std::fabs(from) / 16 + 3.0f / 448 / 256);
  }
}
