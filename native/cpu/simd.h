// The vector operations that kernels are written in, on GCC/Clang vector extensions. A translation unit gets the widest
// set its compiler flags allow; everything has internal linkage, so units of different targets never share code.
#pragma once

#include <cstdint>
#include <cstring>

#include "half.h"

#if defined(__AVX2__) || defined(__SSE4_1__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace fused_attention {
namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16;
constexpr int kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kWidth = 8;
constexpr int kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kWidth = 4;
constexpr int kRegisters = 32;
#else
constexpr int kWidth = 4;
constexpr int kRegisters = 16;
#endif

typedef float Float __attribute__((vector_size(4 * kWidth)));
typedef int32_t Int __attribute__((vector_size(4 * kWidth)));  // a comparison's result: -1 or 0 in each lane

typedef uint32_t Unsigned __attribute__((vector_size(4 * kWidth)));
typedef double Double __attribute__((vector_size(8 * kWidth)));
typedef int64_t Long __attribute__((vector_size(8 * kWidth)));

#define SIMD inline __attribute__((always_inline))

/// Whether fma rounds once.
#if defined(__AVX2__) || defined(__AVX512F__) || defined(__aarch64__)
constexpr bool kFused = true;
#else
constexpr bool kFused = false;
#endif

SIMD Float load(const float* p) {
  Float v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
SIMD void store(float* p, Float v) { std::memcpy(p, &v, sizeof v); }
SIMD Float broadcast(float x) { return x - Float{}; }
SIMD Int broadcastInt(int32_t x) { return x - Int{}; }
SIMD Double widen(Float v) { return __builtin_convertvector(v, Double); }
SIMD Float narrow(Double v) { return __builtin_convertvector(v, Float); }
SIMD Double widen(Int v) { return __builtin_convertvector(v, Double); }
SIMD Int truncated(Double v) { return __builtin_convertvector(v, Int); }
SIMD Float toFloat(Int v) { return __builtin_convertvector(v, Float); }
SIMD Int truncated(Float v) { return __builtin_convertvector(v, Int); }
SIMD Int asInt(Float v) { return (Int)v; }
SIMD Float asFloat(Int v) { return (Float)v; }

/// a * b + c: one rounding where the target has the instruction, two elsewhere, the same in every kernel of a target.
SIMD Float fma(Float a, Float b, Float c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

SIMD Float select(Int mask, Float yes, Float no) {
#if defined(__AVX2__) && !defined(__AVX512F__)
  return _mm256_blendv_ps(no, yes, asFloat(mask));
#else
  return asFloat((asInt(yes) & mask) | (asInt(no) & ~mask));
#endif
}

/// Zero where the mask is set.
SIMD Float zeroWhere(Int mask, Float v) { return asFloat(asInt(v) & ~mask); }

/// The larger one; b if either is NaN (on Arm NaN in either case), so pass the value whose NaN must survive second.
SIMD Float max(Float a, Float b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#elif defined(__SSE4_1__)
  return _mm_max_ps(a, b);
#elif defined(__aarch64__)
  return vmaxq_f32(a, b);
#else
  return select(a > b, a, b);
#endif
}

SIMD Float ceil(Float v) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_ceil_ps(v);
#elif defined(__SSE4_1__)
  return _mm_ceil_ps(v);
#elif defined(__aarch64__)
  return vrndpq_f32(v);
#else
  Float result;
  for (int i = 0; i < kWidth; ++i) result[i] = __builtin_ceilf(v[i]);
  return result;
#endif
}

/// The smaller one; b if either is NaN, as with max.
SIMD Float min(Float a, Float b) {
#if defined(__AVX512F__)
  return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#elif defined(__SSE4_1__)
  return _mm_min_ps(a, b);
#elif defined(__aarch64__)
  return vminq_f32(a, b);
#else
  return select(a < b, a, b);
#endif
}

SIMD Float floor(Float v) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_floor_ps(v);
#elif defined(__SSE4_1__)
  return _mm_floor_ps(v);
#elif defined(__aarch64__)
  return vrndmq_f32(v);
#else
  Float result;
  for (int i = 0; i < kWidth; ++i) result[i] = __builtin_floorf(v[i]);
  return result;
#endif
}

/// Towards zero.
SIMD Float trunc(Float v) {
#if defined(__AVX512F__)
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(__AVX2__)
  return _mm256_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(__SSE4_1__)
  return _mm_round_ps(v, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
#elif defined(__aarch64__)
  return vrndq_f32(v);
#else
  Float result;
  for (int i = 0; i < kWidth; ++i) result[i] = __builtin_truncf(v[i]);
  return result;
#endif
}

SIMD Float squareRoot(Float v) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(v);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(v);
#elif defined(__SSE4_1__)
  return _mm_sqrt_ps(v);
#elif defined(__aarch64__)
  return vsqrtq_f32(v);
#else
  Float result;
  for (int i = 0; i < kWidth; ++i) result[i] = __builtin_sqrtf(v[i]);
  return result;
#endif
}

SIMD Int loadInt(const int32_t* p) {
  Int v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// base[index] of each lane.
SIMD Int gather(const int32_t* base, Int index) {
#if defined(__AVX512F__)
  return (Int)_mm512_i32gather_epi32((__m512i)index, base, 4);
#elif defined(__AVX2__)
  return (Int)_mm256_i32gather_epi32(base, (__m256i)index, 4);
#else
  Int result;
  for (int i = 0; i < kWidth; ++i) result[i] = base[index[i]];
  return result;
#endif
}

/// Bit t is set where lane t of a comparison's result is.
SIMD uint32_t bitsOfLanes(Int mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask);
#elif defined(__AVX2__)
  return uint32_t(_mm256_movemask_ps(asFloat(mask)));
#elif defined(__SSE4_1__)
  return uint32_t(_mm_movemask_ps(asFloat(mask)));
#else
  uint32_t bits = 0;
  for (int i = 0; i < kWidth; ++i) bits |= (uint32_t(mask[i]) & 1u) << i;
  return bits;
#endif
}

/// Lane t is set where bit t of `bits` is.
SIMD Int lanesOf(uint32_t bits) {
  Int each;
  for (int i = 0; i < kWidth; ++i) each[i] = 1 << i;
  return (broadcastInt(int32_t(bits)) & each) == each;
}

SIMD bool any(Int mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask((__m512i)mask) != 0;
#elif defined(__AVX2__)
  return _mm256_movemask_ps(asFloat(mask)) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < kWidth; ++i) all |= mask[i];
  return all != 0;
#endif
}

/// Lanes of a and b, counted on from a's to b's.
SIMD Float shuffle(Float a, Float b, Int lanes) {
#if defined(__clang__)
  Float result;
  for (int i = 0; i < kWidth; ++i) result[i] = lanes[i] < kWidth ? a[lanes[i]] : b[lanes[i] - kWidth];
  return result;
#else
  return __builtin_shuffle(a, b, lanes);
#endif
}

/// Exchanges the second block of `Size` lanes in every two of `a` with the first one of `b`.
template <int Size>
SIMD void exchangeBlocks(Float& a, Float& b) {
  Int first, second;
  for (int i = 0; i < kWidth; ++i) {
    first[i] = i & Size ? i - Size + kWidth : i;
    second[i] = i & Size ? i + kWidth : i + Size;
  }
  const Float low = shuffle(a, b, first), high = shuffle(a, b, second);
  a = low;
  b = high;
}

template <int Size>
SIMD void transposeBlocks(Float (&rows)[kWidth]) {
  if constexpr (Size < kWidth) {
    for (int i = 0; i < kWidth; ++i) {
      if (!(i & Size)) exchangeBlocks<Size>(rows[i], rows[i + Size]);
    }
    transposeBlocks<2 * Size>(rows);
  }
}

/// rows[i][j] and rows[j][i] change places: four by four within 128 bits, where shuffles are cheap, then the blocks of
/// four.
SIMD void transpose(Float (&rows)[kWidth]) {
  Int low, high, firstHalf, lastHalf;
  for (int i = 0; i < kWidth; ++i) {
    const int quad = i & ~3, at = i & 3;
    low[i] = quad + at / 2 + (at & 1 ? kWidth : 0);
    high[i] = low[i] + 2;
    firstHalf[i] = quad + (at & 1) + (at & 2 ? kWidth : 0);
    lastHalf[i] = firstHalf[i] + 2;
  }
  for (int i = 0; i < kWidth; i += 4) {
    const Float a = shuffle(rows[i], rows[i + 1], low), b = shuffle(rows[i + 2], rows[i + 3], low);
    const Float c = shuffle(rows[i], rows[i + 1], high), d = shuffle(rows[i + 2], rows[i + 3], high);
    rows[i] = shuffle(a, b, firstHalf);
    rows[i + 1] = shuffle(a, b, lastHalf);
    rows[i + 2] = shuffle(c, d, firstHalf);
    rows[i + 3] = shuffle(c, d, lastHalf);
  }
  transposeBlocks<4>(rows);
}

SIMD Float absolute(Float v) { return asFloat(asInt(v) & broadcastInt(0x7fffffff)); }

SIMD Float loadFloat16(const uint16_t* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p));
#elif defined(__aarch64__)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
#else
  Float v;
  for (int i = 0; i < kWidth; ++i) v[i] = float16ToFloat(p[i]);
  return v;
#endif
}

SIMD void storeFloat16(uint16_t* p, Float v) {
#if defined(__AVX512F__)
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__aarch64__)
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
#else
  for (int i = 0; i < kWidth; ++i) p[i] = floatToFloat16(v[i]);
#endif
}

SIMD Float loadBfloat16(const uint16_t* p) {
  Int v;
  for (int i = 0; i < kWidth; ++i) v[i] = int32_t(uint32_t(p[i]) << 16);
  return asFloat(v);
}

SIMD void storeBfloat16(uint16_t* p, Float v) {
  for (int i = 0; i < kWidth; ++i) p[i] = floatToBfloat16(v[i]);
}

/// 2^n for an integer-valued n <= 0; 0 below -126.
SIMD Float powerOfTwo(Float n) {
  const Float bounded = max(broadcast(-127.0f), n);
  const Float shifted = bounded + broadcast(0x1.8p23f);  // the integer stands in the low mantissa bits
  return asFloat((asInt(shifted) + broadcastInt(127)) << 23);
}

/// 2^(s - reference) for an integer reference >= s, both below 2^22 in magnitude but for s = -infinity: relative error
/// below 1.7e-7 (1.8e-7 where fma rounds twice). Exactly 0 below 2^-126; NaN stays NaN.
///
/// s - reference is never formed. Adding 1.5 * 2^23 + 127 - reference rounds s to an integer n and leaves n - reference
/// + 127, an exponent, in the low bits; s - n is exact. Degree 5 on [-1/2, 1/2], the constant term held at 1, so that
/// 2^0 is 1.
struct Power {
  Float value;
  Float exponent;  // s - reference
};
/// Of several at a time, step by step together: one alone would wait for each of its own steps.
template <int Count>
SIMD void powersBelow(const Float (&s)[Count], Float reference, Power (&powers)[Count]) {
  const Float magic = broadcast(0x1.8p23f + 127.0f);
  const Float rounding = magic - reference, lowest = reference - broadcast(127.0f);
  Float bounded[Count], shifted[Count], fraction[Count], p[Count];
  for (int i = 0; i < Count; ++i) bounded[i] = max(lowest, s[i]);
  for (int i = 0; i < Count; ++i) shifted[i] = bounded[i] + rounding;
  for (int i = 0; i < Count; ++i) fraction[i] = bounded[i] - (shifted[i] - rounding);
  for (int i = 0; i < Count; ++i) p[i] = fma(broadcast(0x1.5a1ba6p-10f), fraction[i], broadcast(0x1.3d083ap-7f));
  for (int i = 0; i < Count; ++i) p[i] = fma(p[i], fraction[i], broadcast(0x1.c6bb4cp-5f));
  for (int i = 0; i < Count; ++i) p[i] = fma(p[i], fraction[i], broadcast(0x1.ebf96cp-3f));
  for (int i = 0; i < Count; ++i) p[i] = fma(p[i], fraction[i], broadcast(0x1.62e426p-1f));
  for (int i = 0; i < Count; ++i) p[i] = fma(p[i], fraction[i], broadcast(1.0f));
  for (int i = 0; i < Count; ++i) {
    // Of what is bounded the exponent's bits are 0, and so is the scale.
    powers[i] = {p[i] * asFloat(asInt(shifted[i]) << 23), (shifted[i] - magic) + fraction[i]};
  }
}
SIMD Power powerBelow(Float s, Float reference) {
  Power power[1];
  powersBelow({s}, reference, power);
  return power[0];
}

}  // namespace
}  // namespace fused_attention
