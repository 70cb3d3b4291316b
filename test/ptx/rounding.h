// Roundings other than the host's own, found by stepping from the nearest value.
#pragma once

#include <cmath>

namespace fused_attention::ptx {

enum class Rounding { Nearest, Zero, Down, Up };

// `value` is exact, or rounded to odd.
inline float roundToFloat(double value, Rounding rounding) {
  const float nearest = static_cast<float>(value);
  if (rounding == Rounding::Nearest || std::isnan(value) || nearest == value) return nearest;
  const bool above = nearest > value;
  const bool down = rounding == Rounding::Down || (rounding == Rounding::Zero && value > 0);
  if (above == down) return std::nextafter(nearest, down ? -INFINITY : INFINITY);
  return nearest;
}

}  // namespace fused_attention::ptx
