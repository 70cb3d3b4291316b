#include "rotary.h"

#include <cmath>

namespace fused_attention {

void angles(const Rotary& rotary, int64_t position, float* cosines, float* sines) {
  for (size_t f = 0; f < rotary.frequencies.size(); ++f) {
    const double angle = double(position) * rotary.frequencies[f];
    cosines[f] = float(std::cos(angle));
    sines[f] = float(std::sin(angle));
  }
}

void turn(const Rotary& rotary, const float* cosines, const float* sines, float* row) {
  const int64_t pairs = rotary.pairs();
  float* x = row + rotary.begin;
  if (rotary.interleaved) {
    for (int64_t f = 0; f < pairs; ++f) {
      const float a = x[2 * f], b = x[2 * f + 1];
      x[2 * f] = a * cosines[f] - b * sines[f];
      x[2 * f + 1] = b * cosines[f] + a * sines[f];
    }
  } else {
    float* y = x + pairs;
    for (int64_t f = 0; f < pairs; ++f) {
      const float a = x[f], b = y[f];
      x[f] = a * cosines[f] - b * sines[f];
      y[f] = b * cosines[f] + a * sines[f];
    }
  }
}

}  // namespace fused_attention
