// The online softmax of a row that a lane shares with three others, in base 2. The reference is the row's largest score
// when it was last raised, which is when a score goes so far beyond it that weights might leave the range of 16 bits.
// It is decided by the row alone. The key that a row sees most has a weight of 1 then, which rounds to itself.
#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "instructions.cuh"

namespace fused_attention::cuda {

struct RowSoftmax {
  float negated = FLT_MAX;  // the reference: no score is below what a row without keys has
  float sum = 0;            // of this lane's weights

  /// Whether a score lies so far above the reference that it has to be raised.
  __device__ __forceinline__ bool exceededBy(float best, float scale) const { return fmaf(best, scale, negated) > 8; }

  /// Raises the reference if the quad's best score asks for it. Returns what sums have to be multiplied by.
  __device__ __forceinline__ float raise(float best, float scale) {
    best = overQuad(best, [](float a, float b) { return fmaxf(a, b); });
    const float next = exceededBy(best, scale) ? -best * scale : negated;
    const float factor = exp2Fast(next - negated);
    negated = next;
    sum *= factor;
    return factor;
  }

  /// The weight of a score.
  __device__ __forceinline__ float weigh(float score, float scale) {
    const float weight = exp2Fast(fmaf(score, scale, negated));
    sum += weight;
    return weight;
  }

  /// The whole row's sum, in each of its lanes.
  __device__ __forceinline__ void finish() {
    sum = overQuad(sum, [](float a, float b) { return a + b; });
  }
  __device__ __forceinline__ float inverse() const { return sum == 0 ? 0.f : reciprocalFast(sum); }
  __device__ __forceinline__ float lse() const {
    constexpr float ln2 = 0.693147182f;
    return (log2Fast(sum) - negated) * ln2;
  }
};

}  // namespace fused_attention::cuda
