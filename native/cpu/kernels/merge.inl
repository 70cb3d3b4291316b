// The one combine of partials.
#pragma once

#include "../kernels.h"
#include "softmax.inl"

namespace fused_attention {
namespace {

/// A vector of states from `lane` on: left becomes both; leaves what either side's output is to be multiplied by.
SIMD void mergeStates(const SoftmaxState& left, const SoftmaxState& right, int lane, float* leftFactors,
                      float* rightFactors) {
  const Float leftReference = load(left.reference + lane), rightReference = load(right.reference + lane);
  const Float reference = max(leftReference, rightReference);
  const Float leftFactor = powerOfTwo(leftReference - reference);
  const Float rightFactor = powerOfTwo(rightReference - reference);
  const Float leftSum = load(left.sum + lane), rightSum = load(right.sum + lane);
  const Float leftMoment = fma(distanceMoved(leftReference, reference), leftSum, load(left.moment + lane));
  const Float rightMoment = fma(distanceMoved(rightReference, reference), rightSum, load(right.moment + lane));
  store(left.moment + lane, fma(leftMoment, leftFactor, rightMoment * rightFactor));
  store(left.sum + lane, fma(leftSum, leftFactor, rightSum * rightFactor));
  store(left.maximum + lane, max(load(left.maximum + lane), load(right.maximum + lane)));
  store(left.reference + lane, reference);
  store(leftFactors, leftFactor);
  store(rightFactors, rightFactor);
}

void merge(float* leftOutput, const SoftmaxState& left, const float* rightOutput, const SoftmaxState& right, int lanes,
           int64_t dim) {
  for (int lane = 0; lane < lanes; lane += kWidth) {
    float leftFactors[kWidth], rightFactors[kWidth];
    mergeStates(left, right, lane, leftFactors, rightFactors);
    const Float leftFactor = load(leftFactors), rightFactor = load(rightFactors);
    for (int64_t d = 0; d < dim; ++d) {
      float* out = leftOutput + d * lanes + lane;
      store(out, fma(load(out), leftFactor, load(rightOutput + d * lanes + lane) * rightFactor));
    }
  }
}

}  // namespace
}  // namespace fused_attention
