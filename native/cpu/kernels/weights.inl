// Weights that go by their own scores alone: sigmoid, relu and its square. Nothing is rescaled, nothing summed up.
#pragma once

#include "../kernels.h"
#include "softcap.inl"

namespace fused_attention {
namespace {

/// 1 / (1 + 2^-x): with e = 2^-|x| <= 1 it is 1 / (1 + e), or e / (1 + e) for x < 0, which loses nothing to
/// cancellation. Exactly 0 below -126.
template <int Count>
SIMD void sigmoids(Float (&x)[Count]) {
  Float below[Count];
  for (int i = 0; i < Count; ++i) below[i] = max(broadcast(-128.0f), -absolute(x[i]));
  Power powers[Count];
  powersBelow(below, Float{}, powers);
  const Float one = broadcast(1.0f);
  for (int i = 0; i < Count; ++i) {
    x[i] = select(x[i] < Float{}, powers[i].value, one) / (one + powers[i].value);
  }
}

template <Normalizer::Kind Kind>
struct Weighing {
  Weighing(const ScoreTile& given, int lanesGiven, float shiftGiven)
      : tile(given),
        lanes(lanesGiven),
        shift(broadcast(shiftGiven)),
        cap(broadcast(given.softcap)),
        inverseCap(broadcast(given.softcap > 0 ? float(1.0 / double(given.softcap)) : 0.0f)) {}

  /// Keys `key` to `key` + Count of the lanes from `lane` on.
  template <int Count>
  SIMD void weigh(int64_t key, int lane) const {
    float* const at = tile.scores + key * lanes + lane;
    Float w[Count];
    for (int i = 0; i < Count; ++i) w[i] = load(at + i * lanes);
    if (tile.softcap > 0) {
      for (int i = 0; i < Count; ++i) w[i] = softcapped(w[i], cap, inverseCap);
    }
    if (tile.bias) {
      const Float log2e = broadcast(1.4426950408889634f);
      for (int i = 0; i < Count; ++i) w[i] = fma(load(tile.bias + (key + i) * lanes + lane), log2e, w[i]);
    }
    if constexpr (Kind == Normalizer::Kind::sigmoid) {
      for (int i = 0; i < Count; ++i) w[i] = w[i] + shift;
      sigmoids(w);
    } else {
      for (int i = 0; i < Count; ++i) w[i] = max(Float{}, w[i]);  // NaN stays
      if constexpr (Kind == Normalizer::Kind::squaredRelu) {
        for (int i = 0; i < Count; ++i) w[i] = w[i] * w[i];
      }
    }
    if (tile.visible && key + Count > tile.hiddenFrom && key < tile.hiddenEnd) {
      for (int i = 0; i < Count; ++i) w[i] = select(lanesOf(uint32_t(tile.visible[key + i] >> lane)), w[i], Float{});
    }
    for (int i = 0; i < Count; ++i) store(at + i * lanes, w[i]);
  }

  void run() const {
    for (int lane = 0; lane < lanes; lane += kWidth) {
      int64_t key = 0;
      for (; key + 4 <= tile.keys; key += 4) weigh<4>(key, lane);
      for (; key < tile.keys; ++key) weigh<1>(key, lane);
    }
  }

  const ScoreTile& tile;
  int lanes;
  Float shift, cap, inverseCap;
};

void weights(const ScoreTile& tile, int lanes, Normalizer::Kind kind, float shift, const SoftmaxState& state,
             float* rescale) {
  switch (kind) {
    case Normalizer::Kind::sigmoid: Weighing<Normalizer::Kind::sigmoid>(tile, lanes, shift).run(); break;
    case Normalizer::Kind::relu: Weighing<Normalizer::Kind::relu>(tile, lanes, shift).run(); break;
    default: Weighing<Normalizer::Kind::squaredRelu>(tile, lanes, shift).run(); break;
  }
  for (int lane = 0; lane < lanes; lane += kWidth) {
    store(state.reference + lane, Float{});
    store(state.sum + lane, broadcast(1.0f));
    store(rescale + lane, broadcast(1.0f));
  }
}

}  // namespace
}  // namespace fused_attention
