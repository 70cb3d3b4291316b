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
  float sum = 0;            // of this lane's weights, or, joined, of all

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

  __device__ __forceinline__ RowSoftmax joined() const {
    return {negated, overQuad(sum, [](float a, float b) { return a + b; })};
  }

  __device__ __forceinline__ float exponent(float score, float scale) const { return fmaf(score, scale, negated); }

  __device__ __forceinline__ float weigh(float exponent) {
    const float weight = exp2Fast(exponent);
    sum += weight;
    return weight;
  }
};

/// What a row comes to, from what is joined of it. A sink (-inf: none) is one more weight, in the denominator alone.
struct RowTotal {
  float distance, kept;  // by which exponents grow, and what weights are multiplied by: the sink may lead
  float inverse;         // of all weights; 0 where there is no key
  float logarithm;       // of all weights, to base 2
  float lse;

  /// `natural`: what a step of the reference is, in nats. In double, as rounding may not cost a large score or sink
  /// more than it has cost already.
  __device__ __forceinline__ RowTotal(const RowSoftmax& row, float sink, double natural) {
    const double logit = sink * 1.4426950408889634, reference = row.negated, negated = fmin(reference, -logit);
    const double apart = negated - reference;
    distance = static_cast<float>(apart);
    const float whole = rintf(distance), part = static_cast<float>(apart - whole);
    kept = exp2Fast(whole) * exp2Fast(fmaxf(part, -1));  // not a number where the distance is infinite
    const float all = fmaf(row.sum, kept, exp2Fast(static_cast<float>(logit + negated)));
    inverse = row.sum == 0 ? 0.f : reciprocalFast(all);
    logarithm = log2Fast(all);
    lse = negated == reference ? static_cast<float>(fma(double(logarithm), double(kLn2), -negated * natural))
                               : fmaf(logarithm, kLn2, sink);
  }

  static constexpr float kLog2e = 1.44269502f, kLn2 = 0.693147182f;
};

/// What the entropy and the maximum of a row take, besides: of this lane's keys, or, joined, of all.
struct RowMoments {
  float moment = 0;  // weights times their exponents
  float largest = -INFINITY;

  __device__ __forceinline__ void add(float weight, float exponent) {
    constexpr float least = -200;  // where weights are 0, and so must be what they add
    moment = fmaf(weight, fmaxf(exponent, least), moment);
  }
  /// As exponents grow by `distance` and sums by `factor`; `sum` is the one before. What nothing is left of may have
  /// lain so far below that its distance is infinite.
  __device__ __forceinline__ void rescale(float sum, float distance, float factor) {
    if (sum != 0) moment = factor == 0 ? 0 : factor * fmaf(distance, sum, moment);
  }

  __device__ __forceinline__ RowMoments joined() const {
    return {overQuad(moment, [](float a, float b) { return a + b; }),
            overQuad(largest, [](float a, float b) { return fmaxf(a, b); })};
  }

  /// -sum p ln p, of keys.
  __device__ __forceinline__ float entropy(const RowSoftmax& row, const RowTotal& total) const {
    if (row.sum == 0 || total.kept == 0) return 0;
    const float inverse = total.kept * total.inverse, mean = fmaf(total.distance, row.sum, moment) * inverse;
    return fmaf(row.sum * inverse, total.logarithm, -mean) * RowTotal::kLn2;
  }
  __device__ __forceinline__ float maximum(const RowSoftmax& row, float scale) const {
    return row.sum == row.sum ? largest * scale * RowTotal::kLn2 : row.sum;
  }
};

}  // namespace fused_attention::cuda
