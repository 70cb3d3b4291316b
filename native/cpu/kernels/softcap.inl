// What a softcap does to a score.
#pragma once

#include "../simd.h"

namespace fused_attention {
namespace {

/// cap * tanh(x / cap), a few ulp of the result: an odd polynomial near 0 (Cephes tanhf), cap - 2 cap e^-2y / (1 +
/// e^-2y) beyond.
SIMD Float softcapped(Float x, Float cap, Float inverseCap) {
  const Float y = x * inverseCap;
  const Float magnitude = absolute(y);
  const Float square = y * y;
  Float p = broadcast(-5.70498872745e-3f);
  p = fma(p, square, broadcast(2.06390887954e-2f));
  p = fma(p, square, broadcast(-5.37397155531e-2f));
  p = fma(p, square, broadcast(1.33314422036e-1f));
  p = fma(p, square, broadcast(-3.33332819422e-1f));
  const Float near = fma(p * square, x, x);
  const Float decay = powerBelow(magnitude * broadcast(-2.8853900817779268f), Float{}).value;  // e^(-2|y|)
  const Float far = cap - (cap * (decay + decay)) / (broadcast(1.0f) + decay);
  const Int sign = asInt(y) & broadcastInt(int32_t(0x80000000u));
  const Float signedFar = asFloat(asInt(far) | sign);
  return select(magnitude < broadcast(0.625f), near, signedFar);
}

}  // namespace
}  // namespace fused_attention
