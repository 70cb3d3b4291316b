// Online softmax of a tile of scores.
#pragma once

#include <cfloat>

#include "../kernels.h"
#include "softcap.inl"

namespace fused_attention {
namespace {

/// References above this leave powerBelow too few bits.
constexpr float kLargeReference = 0x1p21f;

/// Adds up four chains in the order of the columns modulo 4 that they hold.
SIMD Float inColumnOrder(const Float (&chains)[4], int phase) {
  float memory[4 * kWidth];
  for (int c = 0; c < 4; ++c) store(memory + ((c + phase) & 3) * kWidth, chains[c]);
  return (load(memory) + load(memory + kWidth)) + (load(memory + 2 * kWidth) + load(memory + 3 * kWidth));
}

/// Scores of a column of vectors become weights; gives their sum, and that of their moments. Four interleaved chains of
/// keys, told apart by the key's own column, so that a tile that starts later sums alike: sums[c] is the chain of
/// columns (phase + c) modulo 4.
template <bool Moment>
SIMD Float weigh(const ScoreTile& tile, float* column, int lanes, Float reference, Float& moment) {
  Float sums[4] = {}, moments[4] = {};
  int64_t key = 0;
  for (; key + 4 <= tile.keys; key += 4) {
    float* at = column + key * lanes;
    Power powers[4];
    powersBelow({load(at), load(at + lanes), load(at + 2 * lanes), load(at + 3 * lanes)}, reference, powers);
    for (int chain = 0; chain < 4; ++chain) {
      store(at + chain * lanes, powers[chain].value);
      sums[chain] = sums[chain] + powers[chain].value;
      if (Moment) moments[chain] = fma(powers[chain].value, powers[chain].exponent, moments[chain]);
    }
  }
  Float restSums[4] = {}, restMoments[4] = {};
  for (int chain = 0; key < tile.keys; ++key, ++chain) {
    const Power power = powerBelow(load(column + key * lanes), reference);
    store(column + key * lanes, power.value);
    restSums[chain] = power.value;
    if (Moment) restMoments[chain] = power.value * power.exponent;
  }
  for (int chain = 0; chain < 4; ++chain) {
    sums[chain] = sums[chain] + restSums[chain];
    moments[chain] = moments[chain] + restMoments[chain];
  }
  if (Moment) moment = inColumnOrder(moments, tile.phase);
  return inColumnOrder(sums, tile.phase);
}

void softmax(const ScoreTile& tile, int lanes, const SoftmaxState& state, float* rescale) {
  const Float log2e = broadcast(1.4426950408889634f);
  const Float cap = broadcast(tile.softcap);
  const Float inverseCap = broadcast(tile.softcap > 0 ? float(1.0 / double(tile.softcap)) : 0.0f);
  const Float hidden = broadcast(-__builtin_inff());

  for (int lane = 0; lane < lanes; lane += kWidth) {
    float* column = tile.scores + lane;
    Float largest[2] = {hidden, hidden};
    const auto transform = [&](int64_t key, int64_t end) __attribute__((always_inline)) {
      for (; key < end; ++key) {
        Float s = load(column + key * lanes);
        if (tile.softcap > 0) s = softcapped(s, cap, inverseCap);
        if (tile.bias) s = fma(load(tile.bias + key * lanes + lane), log2e, s);
        if (tile.visible) s = select(lanesOf(uint32_t(tile.visible[key] >> lane)), s, hidden);
        store(column + key * lanes, s);
        largest[0] = max(largest[0], s);
      }
    };
    const auto look = [&](int64_t key, int64_t end) __attribute__((always_inline)) {
      for (; key + 2 <= end; key += 2) {
        largest[0] = max(largest[0], load(column + key * lanes));
        largest[1] = max(largest[1], load(column + (key + 1) * lanes));
      }
      if (key < end) largest[0] = max(largest[0], load(column + key * lanes));
    };
    if (tile.bias || tile.softcap > 0) {
      transform(0, tile.keys);
    } else if (tile.visible) {
      look(0, tile.hiddenFrom);
      transform(tile.hiddenFrom, tile.hiddenEnd);
      look(tile.hiddenEnd, tile.keys);
    } else {
      look(0, tile.keys);
    }
    const Float blockMaximum = max(largest[0], largest[1]);
    const Float before = load(state.reference + lane);
    const Float reference = max(before, ceil(blockMaximum));
    const Float factor = powerOfTwo(before - reference);
    store(state.maximum + lane, max(load(state.maximum + lane), blockMaximum));

    // Scores too large for a fine step between them are moved to reference 0 first.
    const Int large = (absolute(reference) > broadcast(kLargeReference)) & (reference > broadcast(-FLT_MAX));
    const Float shift = select(large, reference, Float{});
    const Float moved = reference - shift;
    if (any(large)) {
      for (int64_t key = 0; key < tile.keys; ++key) store(column + key * lanes, load(column + key * lanes) - shift);
    }

    Float tileMoment = {};
    const Float tileSum = tile.moment ? weigh<true>(tile, column, lanes, moved, tileMoment)
                                      : weigh<false>(tile, column, lanes, moved, tileMoment);

    const Float sum = load(state.sum + lane);
    if (tile.moment) {
      // Moving the reference by D adds D * sum to the moment of what came before.
      const Float shifted = fma(max(broadcast(-FLT_MAX), before - reference), sum, load(state.moment + lane));
      store(state.moment + lane, fma(factor, shifted, tileMoment));
    }
    store(state.sum + lane, fma(sum, factor, tileSum));
    store(state.reference + lane, reference);
    store(rescale + lane, factor);
  }
}

}  // namespace
}  // namespace fused_attention
