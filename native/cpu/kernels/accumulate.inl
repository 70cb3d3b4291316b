// O^T = V^T P^T for a group of queries, one a lane.
#pragma once

#include "shapes.inl"

namespace fused_attention {
namespace {

template <int Vectors, int Rows, bool Careful>
SIMD void accumulateRows(float* output, const float* rescale, const float* weights, const float* const* valueRows,
                         int64_t first, int64_t keys) {
  constexpr int lanes = Vectors * kWidth;
  Float sum[Rows][Vectors] = {};
#pragma GCC unroll 4
  for (int64_t key = 0; key < keys; ++key) {
    const float* value = valueRows[key] + first;
    Float p[Vectors];
    for (int v = 0; v < Vectors; ++v) p[v] = load(weights + key * lanes + v * kWidth);
    for (int r = 0; r < Rows; ++r) {
      const Float component = broadcast(value[r]);
      for (int v = 0; v < Vectors; ++v) {
        if constexpr (Careful) {
          sum[r][v] = select(p[v] == broadcast(0.0f), sum[r][v], fma(p[v], component, sum[r][v]));
        } else {
          sum[r][v] = fma(p[v], component, sum[r][v]);
        }
      }
    }
  }
  float* const out = output + first * lanes;
  if (!rescale) {
    // What is summed up from 0 is never -0: the bits are those of an output of 0 before.
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < Vectors; ++v) store(out + r * lanes + v * kWidth, sum[r][v]);
    }
    return;
  }
  for (int v = 0; v < Vectors; ++v) {
    const Float factor = load(rescale + v * kWidth);
    for (int r = 0; r < Rows; ++r) {
      float* const at = out + r * lanes + v * kWidth;
      store(at, fma(load(at), factor, sum[r][v]));
    }
  }
}

/// `rows` of at most Rows components, from `first` on.
template <int Vectors, int Rows, bool Careful>
SIMD void accumulateSomeRows(int64_t rows, float* output, const float* rescale, const float* weights,
                             const float* const* valueRows, int64_t first, int64_t keys) {
  if constexpr (Rows > 1) {
    if (rows < Rows) {
      return accumulateSomeRows<Vectors, Rows - 1, Careful>(rows, output, rescale, weights, valueRows, first, keys);
    }
  }
  accumulateRows<Vectors, Rows, Careful>(output, rescale, weights, valueRows, first, keys);
}

template <int Vectors, bool Careful>
void accumulateGroup(float* output, int64_t dim, const float* rescale, const float* weights,
                     const float* const* valueRows, int64_t keys, const Ahead& ahead) {
  constexpr int most = rowsFor(Vectors);
  Prefetch prefetch(ahead, (dim + most - 1) / most);
  for (int64_t first = 0; first < dim;) {
    const int64_t rows = nextRows(dim - first, most);
    prefetch.step();
    accumulateSomeRows<Vectors, most, Careful>(rows, output, rescale, weights, valueRows, first, keys);
    first += rows;
  }
}

template <bool Careful>
void accumulateLanes(float* output, int lanes, int64_t dim, const float* rescale, const float* weights,
                     const float* const* valueRows, int64_t keys, const Ahead& ahead) {
  switch (lanes / kWidth) {
    case 1: return accumulateGroup<1, Careful>(output, dim, rescale, weights, valueRows, keys, ahead);
    case 2: return accumulateGroup<2, Careful>(output, dim, rescale, weights, valueRows, keys, ahead);
    default: return accumulateGroup<3, Careful>(output, dim, rescale, weights, valueRows, keys, ahead);
  }
}

void accumulate(float* output, int lanes, int64_t dim, const float* rescale, const float* weights,
                const float* const* valueRows, int64_t keys, bool careful, const Ahead& ahead) {
  if (careful) {
    accumulateLanes<true>(output, lanes, dim, rescale, weights, valueRows, keys, ahead);
  } else {
    accumulateLanes<false>(output, lanes, dim, rescale, weights, valueRows, keys, ahead);
  }
}

bool hasNaN(const float* panel, int64_t count) {
  Int found[2] = {};
#pragma GCC unroll 4
  for (int64_t i = 0; i + 2 * kWidth <= count; i += 2 * kWidth) {
    for (int c = 0; c < 2; ++c) {
      const Float v = load(panel + i + c * kWidth);
      found[c] |= v != v;
    }
  }
  if (count % (2 * kWidth) != 0) {
    const Float v = load(panel + count - kWidth);
    found[0] |= v != v;
  }
  return any(found[0] | found[1]);
}

}  // namespace
}  // namespace fused_attention
