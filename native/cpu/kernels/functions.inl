// Functions of reals, a vector at a time, over the whole range of float32. Largest errors, in units in the last place,
// bounded by test/native/functions_test.cc: exp 1.2, log 1, log2 1.5, tanh 1.5, sin, cos and pow 0.6; sqrt is exact.
// Specials are those of JavaScript's Math.
//
// exp, log, log2 and tanh follow Cephes' single precision functions (S. Moshier): their range reductions, and their
// polynomials. sin, cos and pow are computed in double and rounded once.

#pragma once

#include "../simd.h"

namespace fused_attention {
namespace {

SIMD Float constant(double x) { return broadcast(float(x)); }
SIMD Double constants(double x) { return x - Double{}; }
SIMD Long integers(int64_t x) { return x - Long{}; }

/// x * 2^n for n in [-252, 254]: rounded once, also where the result is subnormal.
SIMD Float scaled(Float x, Int n) {
  const Int half = n >> 1;
  const Int bias = broadcastInt(127);
  return x * asFloat((half + bias) << 23) * asFloat((n - half + bias) << 23);
}

SIMD Float exponential(Float x) {
  const Float bounded = max(broadcast(-104.0f), min(broadcast(89.0f), x));
  const Float magic = broadcast(0x1.8p23f);
  const Float shifted = bounded * constant(1.44269504088896341) + magic;
  const Float n = shifted - magic;
  // ln 2 in two parts, the first so short that its multiples are exact.
  const Float r = (bounded - n * constant(0.693359375)) - n * constant(-2.12194440e-4);
  Float p = constant(1.9875691500e-4);
  p = fma(p, r, constant(1.3981999507e-3));
  p = fma(p, r, constant(8.3334519073e-3));
  p = fma(p, r, constant(4.1665795894e-2));
  p = fma(p, r, constant(1.6666665459e-1));
  p = fma(p, r, constant(5.0000001201e-1));
  const Float value = broadcast(1.0f) + fma(p, r * r, r);
  return scaled(value, asInt(shifted) - asInt(magic));
}

/// x = 2^exponent * (1 + fraction), 1 + fraction in [sqrt(1/2), sqrt(2)); log(1 + fraction) = fraction + tail.
struct Logarithm {
  Float exponent, fraction, tail;
};
SIMD Logarithm logarithmOf(Float x) {
  const Int small = x < broadcast(0x1p-126f);
  const Int bits = asInt(select(small, x * broadcast(0x1p23f), x));
  const Int exponent = (Int)((Unsigned)bits - (Unsigned)broadcastInt(0x3f3504f3)) >> 23;
  const Float f = asFloat((Int)((Unsigned)bits - (Unsigned)(exponent << 23))) - broadcast(1.0f);
  const Float square = f * f;
  Float p = constant(7.0376836292e-2);
  p = fma(p, f, constant(-1.1514610310e-1));
  p = fma(p, f, constant(1.1676998740e-1));
  p = fma(p, f, constant(-1.2420140846e-1));
  p = fma(p, f, constant(1.4249322787e-1));
  p = fma(p, f, constant(-1.6668057665e-1));
  p = fma(p, f, constant(2.0000714765e-1));
  p = fma(p, f, constant(-2.4999993993e-1));
  p = fma(p, f, constant(3.3333331174e-1));
  return {toFloat(exponent + (small & broadcastInt(-23))), f, f * square * p};
}

/// What both logarithms are where x is not positive and finite.
SIMD Float logarithmSpecials(Float x, Float value) {
  const Float infinity = broadcast(__builtin_inff());
  value = select(x == infinity, x, value);
  value = select(x == Float{}, -infinity, value);
  value = select(x < Float{}, broadcast(__builtin_nanf("")), value);
  return select(x != x, x, value);
}

SIMD Float naturalLogarithm(Float x) {
  const Logarithm l = logarithmOf(x);
  Float y = l.tail + l.exponent * constant(-2.12194440e-4);
  y = y - l.fraction * l.fraction * broadcast(0.5f);
  y = l.fraction + y;
  return logarithmSpecials(x, y + l.exponent * constant(0.693359375));
}

SIMD Float binaryLogarithm(Float x) {
  const Logarithm l = logarithmOf(x);
  const Float excess = constant(0.44269504088896340736);  // log2(e) - 1
  const Float y = l.tail - l.fraction * l.fraction * broadcast(0.5f);
  return logarithmSpecials(x, (((y * excess + l.fraction * excess) + y) + l.fraction) + l.exponent);
}

SIMD Float hyperbolicTangent(Float x) {
  const Float magnitude = absolute(x);
  const Float square = x * x;
  Float p = constant(-5.70498872745e-3);
  p = fma(p, square, constant(2.06390887954e-2));
  p = fma(p, square, constant(-5.37397155531e-2));
  p = fma(p, square, constant(1.33314442036e-1));
  p = fma(p, square, constant(-3.33332819422e-1));
  const Float near = fma(p * square, x, x);
  const Float one = broadcast(1.0f);
  const Float far = one - broadcast(2.0f) / (exponential(magnitude + magnitude) + one);
  const Int sign = asInt(x) & broadcastInt(int32_t(0x80000000u));
  return asFloat(asInt(select(magnitude < broadcast(0.625f), near, far)) | sign);
}

// --- sine and cosine -----------------------------------------------------------------------------------------------

/// x less the nearest multiple of pi / 2, and that multiple modulo 4, for any finite x (Payne and Hanek 1983): a
/// stretch of 96 bits of 1 / (2 pi), chosen by the exponent of x, times its significand, modulo 1.
inline void reduceLarge(float x, double* rest, int64_t* quadrant) {
  static constexpr uint32_t kInverse[] = {0,          0x28be60db, 0x9391054a, 0x7f09d5f4, 0x7d4d3770,
                                          0x36d8a566, 0x4f10e410, 0x7f9458ea, 0xf7aef158, 0x6dc91b8e};
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  const uint64_t significand = (bits & 0x7fffffu) | 0x800000u;
  const int first = int(bits >> 23 & 0xffu) - 127 - 23 + 32;  // first bit of the stretch
  const int word = first / 32, shift = first % 32;
  uint64_t digits[3];
  for (int k = 0; k < 3; ++k) {
    const uint64_t pair = uint64_t(kInverse[word + k]) << 32 | kInverse[word + k + 1];
    digits[k] = pair << shift >> 32;
  }
  const uint64_t low = significand * digits[2];
  const uint64_t middle = significand * digits[1] + (low >> 32);
  const uint64_t high = significand * digits[0] + (middle >> 32);
  const uint64_t turn = high << 32 | (middle & 0xffffffffu);  // fraction of a turn, in 2^-64
  const uint64_t nearest = (turn + (uint64_t{1} << 61)) >> 62;
  const double angle = double(int64_t(turn - (nearest << 62))) * (6.283185307179586477 * 0x1p-64);
  const bool negative = bits >> 31;
  *rest = negative ? -angle : angle;
  *quadrant = int64_t(negative ? 0 - nearest : nearest) & 3;
}

/// sin(x + quarters * pi / 2)
SIMD Float sine(Float x, int64_t quarters) {
  const Float magnitude = absolute(x);
  const Double wide = widen(x);
  const Double magic = constants(0x1.8p52);
  const Double shifted = wide * constants(0.63661977236758134308) + magic;
  const Double n = shifted - magic;
  // pi / 2 in two parts, the first so short that its multiples are exact.
  Double r = (wide - n * constants(1.57079631090164184570)) - n * constants(1.58932547735281966916e-8);
  Long quadrant = (Long)shifted;
  const Int large = (magnitude > broadcast(65536.0f)) & (magnitude < broadcast(__builtin_inff()));
  if (any(large)) {
    float each[kWidth];
    double rests[kWidth];
    int64_t quadrants[kWidth];
    std::memcpy(each, &x, sizeof each);
    std::memcpy(rests, &r, sizeof rests);
    std::memcpy(quadrants, &quadrant, sizeof quadrants);
    for (int i = 0; i < kWidth; ++i) {
      if (large[i]) reduceLarge(each[i], &rests[i], &quadrants[i]);
    }
    std::memcpy(&r, rests, sizeof rests);
    std::memcpy(&quadrant, quadrants, sizeof quadrants);
  }
  quadrant += integers(quarters);
  const Double square = r * r;
  // Taylor polynomials, below 2^-33 of the result on [-pi/4, pi/4].
  Double odd = constants(-1.0 / 39916800);
  odd = odd * square + constants(1.0 / 362880);
  odd = odd * square + constants(-1.0 / 5040);
  odd = odd * square + constants(1.0 / 120);
  odd = odd * square + constants(-1.0 / 6);
  odd = odd * square * r + r;
  Double even = constants(1.0 / 479001600);
  even = even * square + constants(-1.0 / 3628800);
  even = even * square + constants(1.0 / 40320);
  even = even * square + constants(-1.0 / 720);
  even = even * square + constants(1.0 / 24);
  even = even * square + constants(-0.5);
  even = even * square + constants(1.0);
  const Long cosines = -(quadrant & integers(1));
  const Long sign = (quadrant & integers(2)) << 62;
  const Double value = (Double)((((Long)even & cosines) | ((Long)odd & ~cosines)) ^ sign);
  const Float result = narrow(value);
  // -0 stays, and so does what is too small to be doubled; infinity and NaN have no sine.
  const Float special = select(magnitude < broadcast(__builtin_inff()), result, x - x);
  return quarters == 0 ? select(x == Float{}, x, special) : special;
}

// --- powers --------------------------------------------------------------------------------------------------------

SIMD Float power(Float x, Float y) {
  const Float magnitude = absolute(x);
  const Float infinity = broadcast(__builtin_inff());
  // log2 of the magnitude in double: 2^e * m with m in [sqrt(1/2), sqrt(2)), and the series of artanh.
  const Long bits = (Long)widen(magnitude);
  const Long e = (bits - integers(0x3fe6a09e667f3bcd)) >> 52;
  const Double m = (Double)(bits - (e << 52));
  const Double f = (m - constants(1.0)) / (m + constants(1.0));
  const Double square = f * f;
  Double p = constants(1.0 / 15);
  p = p * square + constants(1.0 / 13);
  p = p * square + constants(1.0 / 11);
  p = p * square + constants(1.0 / 9);
  p = p * square + constants(1.0 / 7);
  p = p * square + constants(1.0 / 5);
  p = p * square + constants(1.0 / 3);
  p = p * square + constants(1.0);
  const Double exponent = (Double)(e + (Long)constants(0x1.8p52)) - constants(0x1.8p52);
  Double log2 = exponent + p * f * constants(2.88539008177792681472);
  const auto choose = [](Long where, Double yes, Double no) __attribute__((always_inline)) {
    return (Double)(((Long)yes & where) | ((Long)no & ~where));
  };
  const Double wide = widen(magnitude);
  log2 = choose(wide == Double{}, constants(-__builtin_inf()), log2);
  log2 = choose(wide == constants(__builtin_inf()), constants(__builtin_inf()), log2);

  const Double product = log2 * widen(y);
  Double t = choose(product < constants(-200.0), constants(-200.0), product);
  t = choose(t > constants(200.0), constants(200.0), t);
  const Double shifted = t + constants(0x1.8p52);
  const Double g = (t - (shifted - constants(0x1.8p52))) * constants(0.69314718055994530942);
  Double q = constants(1.0 / 362880);
  q = q * g + constants(1.0 / 40320);
  q = q * g + constants(1.0 / 5040);
  q = q * g + constants(1.0 / 720);
  q = q * g + constants(1.0 / 120);
  q = q * g + constants(1.0 / 24);
  q = q * g + constants(1.0 / 6);
  q = q * g + constants(0.5);
  q = q * g + constants(1.0);
  q = q * g + constants(1.0);
  const Double scale = (Double)(((Long)shifted + integers(1023)) << 52);
  Float result = narrow(choose(product != product, product, q * scale));

  const Float whole = trunc(y);
  const Int integral = (whole == y) & (absolute(y) < infinity);
  const Int odd = integral & (absolute(y) < broadcast(0x1p24f)) & ((truncated(y) & broadcastInt(1)) != Int{});
  const Int sign = asInt(x) & broadcastInt(int32_t(0x80000000u));
  result = asFloat(asInt(result) ^ (sign & odd));
  const Float nan = broadcast(__builtin_nanf(""));
  result = select((x < Float{}) & (magnitude < infinity) & (absolute(y) < infinity) & ~integral, nan, result);
  result = select((x != x) | (y != y), nan, result);
  return select(y == Float{}, broadcast(1.0f), result);
}

}  // namespace
}  // namespace fused_attention
