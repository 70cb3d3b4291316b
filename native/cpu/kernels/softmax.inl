// Online softmax of a tile of scores.
#pragma once

#include <cfloat>

#include "../kernels.h"
#include "softcap.inl"

namespace fused_attention {
namespace {

/// References above this leave powerBelow too few bits.
constexpr float kLargeReference = 0x1p21f;

/// What a moment grows by, to each weight, as its reference is moved. Where that is so far that no weight is left, a
/// bound keeps what is multiplied by 0 finite.
SIMD Float distanceMoved(Float before, Float reference) { return max(broadcast(-1000.0f), before - reference); }

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
  // The keys of chains First to First + Count, from `at` on.
  const auto weighSome = [&]<int First, int Count>(float* at) __attribute__((always_inline)) {
    Float s[Count];
    for (int i = 0; i < Count; ++i) s[i] = load(at + i * lanes);
    Power powers[Count];
    powersBelow(s, reference, powers);
    for (int i = 0; i < Count; ++i) {
      store(at + i * lanes, powers[i].value);
      sums[First + i] = sums[First + i] + powers[i].value;
      if (Moment) moments[First + i] = fma(powers[i].value, powers[i].exponent, moments[First + i]);
    }
  };
  // Two chains at a time: with four, registers would not do for the sums.
  const int64_t whole = tile.keys & ~int64_t{3};
  for (int64_t key = 0; key < whole; key += 4) {
    weighSome.template operator()<0, 2>(column + key * lanes);
    weighSome.template operator()<2, 2>(column + (key + 2) * lanes);
  }
  float* const rest = column + whole * lanes;
  switch (tile.keys - whole) {
    case 1: weighSome.template operator()<0, 1>(rest); break;
    case 2: weighSome.template operator()<0, 2>(rest); break;
    case 3: weighSome.template operator()<0, 3>(rest); break;
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
      const Float shifted = fma(distanceMoved(before, reference), sum, load(state.moment + lane));
      store(state.moment + lane, fma(factor, shifted, tileMoment));
    }
    store(state.sum + lane, fma(sum, factor, tileSum));
    store(state.reference + lane, reference);
    store(rescale + lane, factor);
  }
}

}  // namespace
}  // namespace fused_attention
