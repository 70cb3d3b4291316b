// What is gathered of a tile's weights beside the output: sums and maxima over keys, large weights, sums over queries.
#pragma once

#include "../kernels.h"
#include "../simd.h"

namespace fused_attention {
namespace {

template <int Vectors, bool Largest>
void foldGroup(const float* weights, const Stretch* stretches, int64_t count, const float* reference,
               const Fold& fold) {
  constexpr int lanes = Vectors * kWidth;
  for (int64_t s = 0; s < count; ++s) {
    float* const values = fold.values + stretches[s].segment * lanes;
    float* const references = fold.references + stretches[s].segment * lanes;
    Float scale[Vectors], value[Vectors];
    for (int v = 0; v < Vectors; ++v) {
      const Float before = load(references + v * kWidth), now = load(reference + v * kWidth), common = max(before, now);
      store(references + v * kWidth, common);
      scale[v] = powerOfTwo(now - common);
      value[v] = load(values + v * kWidth) * powerOfTwo(before - common);
    }
    const float* at = weights + stretches[s].first * lanes;
    // Key by key, so that hidden ones between change no bit.
    for (int64_t key = 0; key < stretches[s].keys; ++key, at += lanes) {
      for (int v = 0; v < Vectors; ++v) {
        const Float weight = load(at + v * kWidth);
        value[v] = Largest ? max(value[v], weight * scale[v]) : fma(weight, scale[v], value[v]);
      }
    }
    for (int v = 0; v < Vectors; ++v) store(values + v * kWidth, value[v]);
  }
}

void fold(const float* weights, int lanes, const Stretch* stretches, int64_t count, const float* reference,
          bool largest, const Fold& to) {
  switch (lanes / kWidth) {
    case 1: return (largest ? foldGroup<1, true> : foldGroup<1, false>)(weights, stretches, count, reference, to);
    case 2: return (largest ? foldGroup<2, true> : foldGroup<2, false>)(weights, stretches, count, reference, to);
    default: return (largest ? foldGroup<3, true> : foldGroup<3, false>)(weights, stretches, count, reference, to);
  }
}

/// Puts a weight in its place among falling ones; what it pushes past the end is lost.
SIMD void insert(float* weights, int32_t* columns, float weight, int32_t column) {
  Int before;  // each lane's left neighbour, of two vectors
  for (int i = 0; i < kWidth; ++i) before[i] = kWidth - 1 + i;
  const Float one = broadcast(weight), place = asFloat(broadcastInt(column));
  for (int v = Largest::kSlots - kWidth; v >= 0; v -= kWidth) {
    const Float own = load(weights + v), ownColumn = load(reinterpret_cast<float*>(columns + v));
    const Float left = v > 0 ? load(weights + v - kWidth) : broadcast(__builtin_inff());
    const Float leftColumn = v > 0 ? load(reinterpret_cast<float*>(columns + v - kWidth)) : Float{};
    const Float shifted = shuffle(left, own, before), shiftedColumn = shuffle(leftColumn, ownColumn, before);
    const Int here = one > own, further = one > shifted;
    store(weights + v, select(here, select(further, shifted, one), own));
    store(reinterpret_cast<float*>(columns + v), select(here, select(further, shiftedColumn, place), ownColumn));
  }
}

/// `Count` keys of a vector of lanes: thresholds are looked at together, as reading what was just written takes long.
template <int Count>
SIMD void largestOf(const float* weights, int lanes, int lane, const int32_t* columns, const Largest& to) {
  static_assert(Count * kWidth <= 64);
  const Float thresholds = load(to.thresholds + lane);
  uint64_t bits = 0;
  for (int key = 0; key < Count; ++key) {
    bits |= uint64_t(bitsOfLanes(load(weights + key * lanes + lane) > thresholds)) << key * kWidth;
  }
  for (; bits != 0; bits &= bits - 1) {
    const int bit = __builtin_ctzll(bits), key = bit / kWidth, t = lane + bit % kWidth;
    const float weight = weights[key * lanes + t];
    if (!(weight > to.thresholds[t])) continue;
    float* const own = to.weights + t * Largest::kSlots;
    insert(own, to.columns + t * Largest::kSlots, weight * to.factors[t], columns[key]);
    to.thresholds[t] = own[to.top - 1] * to.inverses[t];
  }
}

void largest(const float* weights, int lanes, const int32_t* columns, int64_t keys, const Largest& to) {
  constexpr int step = 64 / kWidth;
  for (int lane = 0; lane < lanes; lane += kWidth) {
    int64_t key = 0;
    for (; key + step <= keys; key += step) largestOf<step>(weights + key * lanes, lanes, lane, columns + key, to);
    for (; key < keys; ++key) largestOf<1>(weights + key * lanes, lanes, lane, columns + key, to);
  }
}

void laneSums(const float* weights, int lanes, int64_t keys, const float* shares, float* sums) {
  for (int64_t key = 0; key < keys; ++key) {
    Float sum = {};
    for (int lane = 0; lane < lanes; lane += kWidth) {
      const Float share = load(shares + lane), weight = load(weights + key * lanes + lane);
      sum = sum + zeroWhere(share == Float{}, weight * share);  // whatever the weight is
    }
    float each[kWidth];
    store(each, sum);
    for (int half = kWidth / 2; half > 0; half /= 2) {
      for (int t = 0; t < half; ++t) each[t] += each[t + half];
    }
    sums[key] = each[0];
  }
}

}  // namespace
}  // namespace fused_attention
