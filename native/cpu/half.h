// Scalar conversions between float32 and the half types, round to nearest even. For tails and targets without
// instructions.
#pragma once

#include <cstdint>
#include <cstring>

namespace fused_attention {
namespace {

inline uint32_t bitsOf(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

inline float floatOf(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

inline float bfloat16ToFloat(uint16_t x) { return floatOf(uint32_t(x) << 16); }

inline uint16_t floatToBfloat16(float x) {
  const uint32_t bits = bitsOf(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return uint16_t((bits >> 16) | 0x40u);
  return uint16_t((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

inline float float16ToFloat(uint16_t x) {
  const uint32_t sign = uint32_t(x & 0x8000u) << 16;
  const uint32_t magnitude = x & 0x7fffu;
  if (magnitude >= 0x7c00u) return floatOf(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  if (magnitude >= 0x0400u) return floatOf(sign | ((magnitude << 13) + (112u << 23)));
  // Subnormal: an integer multiple of 2^-24, exact in float32.
  const float value = float(magnitude) * floatOf((127u - 24u) << 23);
  return floatOf(sign | bitsOf(value));
}

inline uint16_t floatToFloat16(float x) {
  const uint32_t bits = bitsOf(x);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return uint16_t(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return uint16_t(sign | 0x7c00u);  // rounds to 65536 or above
  if (magnitude >= 0x38800000u) {                                 // normal: 2^-14 and above
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return uint16_t(sign | ((rounded - (112u << 23)) >> 13));
  }
  // Subnormal: adding 0.5 puts the last kept bit at 2^-24, so the hardware rounds for us.
  return uint16_t(sign | (bitsOf(floatOf(magnitude) + 0.5f) - bitsOf(0.5f)));
}

}  // namespace
}  // namespace fused_attention
