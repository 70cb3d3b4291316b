// S^T = K Q^T for a group of queries, one a lane.
#pragma once

#include "shapes.inl"

namespace fused_attention {
namespace {

// Rounding of a dot product should grow with the root of its number of terms. Where there are few, a few unlucky
// roundings in a row already weigh more: those are summed in double, or in two halves. Long ones are summed in
// stretches.
constexpr int64_t kDoubleDot = 8;
constexpr int64_t dotStretch(int64_t dim) { return dim <= 16 ? (dim + 1) / 2 : 64; }

template <int Vectors, int Rows>
SIMD void scoreRows(float* scores, const float* panel, int64_t dim, const float* const* keyRows) {
  constexpr int lanes = Vectors * kWidth;
  const float* k[Rows];
  for (int r = 0; r < Rows; ++r) k[r] = keyRows[r];
  const int64_t stretch = dotStretch(dim);
  for (int64_t start = 0; start < dim; start += stretch) {
    const int64_t end = start + stretch < dim ? start + stretch : dim;
    Float sum[Rows][Vectors] = {};
#pragma GCC unroll 4
    for (int64_t d = start; d < end; ++d) {
      Float q[Vectors];
      for (int v = 0; v < Vectors; ++v) q[v] = load(panel + d * lanes + v * kWidth);
      for (int r = 0; r < Rows; ++r) {
        const Float component = broadcast(k[r][d]);
        for (int v = 0; v < Vectors; ++v) sum[r][v] = fma(q[v], component, sum[r][v]);
      }
    }
    for (int r = 0; r < Rows; ++r) {
      for (int v = 0; v < Vectors; ++v) {
        float* out = scores + r * lanes + v * kWidth;
        store(out, start == 0 ? sum[r][v] : load(out) + sum[r][v]);
      }
    }
  }
}

template <int Vectors, int Rows>
SIMD void shortScoreRows(float* scores, const float* panel, int64_t dim, const float* const* keyRows) {
  constexpr int lanes = Vectors * kWidth;
  for (int r = 0; r < Rows; ++r) {
    Double sum[Vectors] = {};
    for (int64_t d = 0; d < dim; ++d) {
      const double component = keyRows[r][d];
      for (int v = 0; v < Vectors; ++v) sum[v] += widen(load(panel + d * lanes + v * kWidth)) * component;
    }
    for (int v = 0; v < Vectors; ++v) store(scores + r * lanes + v * kWidth, narrow(sum[v]));
  }
}

/// `rows` of at most Rows keys.
template <int Vectors, int Rows>
SIMD void scoreSomeRows(int64_t rows, float* scores, const float* panel, int64_t dim, const float* const* keyRows) {
  if constexpr (Rows > 1) {
    if (rows < Rows) return scoreSomeRows<Vectors, Rows - 1>(rows, scores, panel, dim, keyRows);
  }
  if (dim <= kDoubleDot) {
    shortScoreRows<Vectors, Rows>(scores, panel, dim, keyRows);
  } else {
    scoreRows<Vectors, Rows>(scores, panel, dim, keyRows);
  }
}

template <int Vectors>
void scoreGroup(float* out, const float* panel, int64_t dim, const float* const* keyRows, int64_t keys,
                const Ahead& ahead) {
  constexpr int most = rowsFor(Vectors);
  Prefetch prefetch(ahead, (keys + most - 1) / most);
  for (int64_t key = 0; key < keys;) {
    const int64_t rows = nextRows(keys - key, most);
    prefetch.step();
    scoreSomeRows<Vectors, most>(rows, out + key * Vectors * kWidth, panel, dim, keyRows + key);
    key += rows;
  }
}

void scores(float* out, const float* panel, int lanes, int64_t dim, const float* const* keyRows, int64_t keys,
            const Ahead& ahead) {
  switch (lanes / kWidth) {
    case 1: return scoreGroup<1>(out, panel, dim, keyRows, keys, ahead);
    case 2: return scoreGroup<2>(out, panel, dim, keyRows, keys, ahead);
    default: return scoreGroup<3>(out, panel, dim, keyRows, keys, ahead);
  }
}

}  // namespace
}  // namespace fused_attention
