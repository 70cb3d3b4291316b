// float16, bfloat16 and tf32: conversions rounded to nearest even or towards zero, and arithmetic that rounds once.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace fused_attention::ptx {

// A format of sign, exponent and mantissa inside 16 bits.
template <int ExponentBits>
struct Narrow {
  static constexpr int mantissaBits = 15 - ExponentBits;
  static constexpr int bias = (1 << (ExponentBits - 1)) - 1;
  static constexpr uint16_t infinity = static_cast<uint16_t>(((1 << ExponentBits) - 1) << mantissaBits);
  static constexpr uint16_t largest = infinity - 1;
  static constexpr uint16_t canonicalNan = 0x7fff;
  uint16_t bits;
};
using Float16 = Narrow<5>;
using BFloat16 = Narrow<8>;

inline float toFloat(BFloat16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }

inline float toFloat(Float16 value) {
  const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
  const uint32_t magnitude = value.bits & 0x7fff;
  // Moving the exponent by a multiplication takes subnormal numbers along.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  const uint32_t special = magnitude >= 0x7c00 ? 0x7f800000 : 0;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled) | special);
}

// To the nearest, ties to even, or towards zero.
template <class N>
N narrow(double value, bool towardsZero = false) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 48) & 0x8000);
  if (std::isnan(value)) return {N::canonicalNan};
  if (std::isinf(value)) return {static_cast<uint16_t>(sign | N::infinity)};
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff) - 1023;
  if (exponent > N::bias) return {static_cast<uint16_t>(sign | (towardsZero ? N::largest : N::infinity))};
  const int smallest = 1 - N::bias;
  // Bits below the last one kept; more of them where the result is subnormal.
  const int drop = 52 - N::mantissaBits + (exponent < smallest ? smallest - exponent : 0);
  if (drop > 54) return {sign};
  const uint64_t significand = (bits & ((uint64_t{1} << 52) - 1)) | (exponent > -1023 ? uint64_t{1} << 52 : 0);
  uint64_t kept = significand >> drop;
  const uint64_t rest = significand & ((uint64_t{1} << drop) - 1);
  const uint64_t tie = uint64_t{1} << (drop - 1);
  if (!towardsZero && (rest > tie || (rest == tie && (kept & 1)))) ++kept;
  // The hidden bit carries into the exponent by itself, and so does a mantissa that rounded up.
  if (exponent >= smallest) kept += static_cast<uint64_t>(exponent + N::bias - 1) << N::mantissaBits;
  if (towardsZero && kept >= N::infinity) kept = N::largest;
  return {static_cast<uint16_t>(sign | kept)};
}

// The sum of two doubles rounded to odd: rounded once more to a format of at most 50 bits it is the exact sum's
// rounding.
inline double addToOdd(double a, double b) {
  const double sum = a + b;
  const double virtualB = sum - a;
  const double error = (a - (sum - virtualB)) + (b - virtualB);
  if (error == 0 || !std::isfinite(sum) || (std::bit_cast<uint64_t>(sum) & 1)) return sum;
  return std::nextafter(sum, error > 0 ? INFINITY : -INFINITY);
}

// To 10 bits of mantissa, ties away from zero (cvt.rna) or to even; the lower bits are zero.
inline uint32_t toTf32(float value, bool away) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7f800000) == 0x7f800000) return (bits & 0x7fffff) != 0 ? 0x7fffffff : bits;
  const uint32_t half = away ? 0x1000 : 0xfff + ((bits >> 13) & 1);
  return (bits + half) & ~0x1fffu;
}

}  // namespace fused_attention::ptx
