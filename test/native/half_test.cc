// Conversions of half types on every target, by vector and by scalar tail: all patterns in, all roundings out.
#include "cpu/half.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

/// The value of a pattern, from its fields.
double valueOf(Dtype dtype, uint16_t bits) {
  const int fraction = dtype == Dtype::float16 ? 10 : 7, bias = dtype == Dtype::float16 ? 15 : 127;
  const int exponent = (bits & 0x7fff) >> fraction, digits = bits & ((1 << fraction) - 1);
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == 2 * bias + 1) return digits ? NAN : sign * INFINITY;
  return exponent == 0 ? sign * std::ldexp(digits, 1 - bias - fraction)
                       : sign * std::ldexp(digits + (1 << fraction), exponent - bias - fraction);
}

TEST(half_every_pattern_widens_exactly) {
  forEachTarget([](const Kernels& kernels) {
    for (Dtype dtype : {Dtype::float16, Dtype::bfloat16}) {
      for (int64_t length : {1, 3, 4, 7, 8, 15, 16, 17, 64}) {
        for (int first = 0; first < 65536; first += int(length)) {
          std::vector<uint16_t> row(static_cast<size_t>(length));
          for (size_t i = 0; i < row.size(); ++i) row[i] = uint16_t(first + int(i));
          std::vector<float> out(size_t(length) + 1, 123.0f);
          kernels.convertRow(out.data(), row.data(), dtype, length);
          CHECK_EQ(out.back(), 123.0f);
          for (size_t i = 0; i < row.size(); ++i) {
            const double expected = valueOf(dtype, row[i]);
            const bool same = std::isnan(expected)
                                  ? std::isnan(out[i])
                                  : out[i] == expected && std::signbit(out[i]) == std::signbit(expected);
            if (!same) FAIL("pattern " + std::to_string(row[i]));
          }
        }
      }
    }
  });
}

/// Rounds to nearest, ties to even, by looking at both neighbours.
uint16_t nearest(Dtype dtype, float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::abs(double(x));
  uint16_t low = 0, high = dtype == Dtype::float16 ? 0x7c00 : 0x7f80;  // value(low) <= magnitude
  while (high - low > 1) {
    const uint16_t middle = uint16_t((low + high) / 2);
    (valueOf(dtype, middle) <= magnitude ? low : high) = middle;
  }
  if (std::isinf(magnitude)) return sign | high;
  // Past the largest finite number rounding goes on as if there were one more.
  const double above = std::isinf(valueOf(dtype, high)) ? 2 * valueOf(dtype, low) - valueOf(dtype, uint16_t(low - 1))
                                                        : valueOf(dtype, high);
  const double middle = (valueOf(dtype, low) + above) / 2;
  const bool up = magnitude > middle || (magnitude == middle && (low & 1));
  return sign | (up ? high : low);
}

TEST(half_results_round_to_nearest_even) {
  std::vector<float> probes;
  for (Dtype dtype : {Dtype::float16, Dtype::bfloat16}) {
    const int stride = dtype == Dtype::float16 ? 3 : 5;
    for (int bits = 0; bits < 0x8000; bits += stride) {
      const double a = valueOf(dtype, uint16_t(bits)), b = valueOf(dtype, uint16_t(bits + 1));
      if (!std::isfinite(a)) continue;
      const float middle = float(std::isfinite(b) ? (a + b) / 2 : a * (1 + 0x1p-12));
      for (float x : {float(a), middle, std::nextafter(middle, 0.0f), std::nextafter(middle, INFINITY)}) {
        probes.push_back(x);
        probes.push_back(-x);
      }
    }
  }
  for (float x : {65504.0f, 65519.996f, 65520.0f, 1e30f, float(INFINITY)}) probes.push_back(x);
  forEachTarget([&](const Kernels& kernels) {
    for (Dtype dtype : {Dtype::float16, Dtype::bfloat16}) {
      // Finished rows of one lane: the value over 1.
      const int lanes = kernels.width;
      constexpr int64_t dim = 37;
      std::vector<float> output(size_t(dim * lanes)), ones(size_t(lanes), 1.0f);
      for (size_t first = 0; first < probes.size(); first += dim) {
        const int64_t count = std::min<int64_t>(dim, int64_t(probes.size() - first));
        for (int64_t d = 0; d < count; ++d) output[size_t(d * lanes)] = probes[first + size_t(d)];
        std::vector<uint16_t> row(size_t(count) + 1, 0x1234);
        void* rows[] = {row.data()};
        kernels.finish(output.data(), lanes, count, ones.data(), ones.data(), rows, 1, dtype);
        CHECK_EQ(row.back(), 0x1234);
        for (int64_t d = 0; d < count; ++d) {
          const float x = probes[first + size_t(d)];
          if (row[size_t(d)] != nearest(dtype, x)) FAIL("rounding " + std::to_string(x));
        }
      }
    }
  });
}

TEST(half_nan_stays_nan) {
  for (uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xffffffffu, 0x7f80ffffu}) {
    const float x = std::bit_cast<float>(bits);
    CHECK(std::isnan(valueOf(Dtype::float16, floatToFloat16(x))));
    CHECK(std::isnan(valueOf(Dtype::bfloat16, floatToBfloat16(x))));
  }
}

TEST(finish_divides_drops_padding_and_zeroes_empty_lanes) {
  forEachTarget([](const Kernels& kernels) {
    for (Dtype dtype : {Dtype::float32, Dtype::float16, Dtype::bfloat16}) {
      for (int64_t dim : {1, 15, 16, 17, 33}) {
        const int lanes = kernels.maxLanes(), count = lanes - 1;
        std::vector<float> output(size_t(dim * lanes)), factor(static_cast<size_t>(lanes)),
            denominator(static_cast<size_t>(lanes));
        for (int lane = 0; lane < lanes; ++lane) {
          factor[size_t(lane)] = std::exp2(float(lane % 3));
          denominator[size_t(lane)] = lane % 4 == 3 ? 0.0f : 4.0f;
          for (int64_t d = 0; d < dim; ++d) {
            output[size_t(d * lanes + lane)] = lane % 8 == 7 ? NAN : float(lane + 1) * float(d % 5 + 1);
          }
        }
        const int64_t bytes = dim * sizeOf(dtype);
        std::vector<std::vector<uint8_t>> memory(size_t(lanes), std::vector<uint8_t>(size_t(bytes), 0x5a));
        void* rows[64];
        for (int lane = 0; lane < lanes; ++lane) rows[lane] = memory[size_t(lane)].data();
        kernels.finish(output.data(), lanes, dim, factor.data(), denominator.data(), rows, count, dtype);
        for (int lane = 0; lane < count; ++lane) {
          for (int64_t d = 0; d < dim; ++d) {
            float got;
            if (dtype == Dtype::float32) {
              std::memcpy(&got, memory[size_t(lane)].data() + 4 * d, 4);
            } else {
              uint16_t bits;
              std::memcpy(&bits, memory[size_t(lane)].data() + 2 * d, 2);
              got = float(valueOf(dtype, bits));
            }
            const float expected =
                lane % 4 == 3 ? 0.0f : float(lane + 1) * float(d % 5 + 1) * factor[size_t(lane)] / 4.0f;
            const float step = dtype == Dtype::bfloat16 ? 0x1p-8f : dtype == Dtype::float16 ? 0x1p-11f : 0.0f;
            CHECK_NEAR(got, expected, expected * step);
          }
        }
        for (uint8_t byte : memory[size_t(count)]) CHECK_EQ(byte, 0x5a);
      }
    }
  });
}

}  // namespace
}  // namespace fused_attention
