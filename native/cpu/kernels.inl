// The tile operations of kernels.h, compiled once a target by targets/*.cc with that target's flags. Only simd.h and
// plain arrays here: a template or inline function of the standard library instantiated under these flags could be
// picked by the linker for code that must run on every processor.

#include <cfloat>

#include "kernels.h"
#include "simd.h"

namespace fused_attention {
namespace {

constexpr int kVectors = 3;

/// Rows of a register tile `vectors` wide: as many accumulators as fit beside the panel's vectors and one broadcast.
constexpr int rowsFor(int vectors) {
  return kRegisters == 32 ? (vectors == 1 ? 12 : 8) : (vectors == 1 ? 8 : vectors == 2 ? 6 : 4);
}

// Rounding of a dot product should grow with the root of its number of terms. Where there are few, a few unlucky
// roundings in a row already weigh more: those are summed in double, or in two halves. Long ones are summed in
// stretches.
constexpr int64_t kDoubleDot = 8;
constexpr int64_t dotStretch(int64_t dim) { return dim <= 16 ? (dim + 1) / 2 : 64; }

inline float toFloat(const void* row, Dtype dtype, int64_t index) {
  switch (dtype) {
    case Dtype::float16: return float16ToFloat(static_cast<const uint16_t*>(row)[index]);
    case Dtype::bfloat16: return bfloat16ToFloat(static_cast<const uint16_t*>(row)[index]);
    default: return static_cast<const float*>(row)[index];
  }
}

SIMD Float loadAs(const void* row, Dtype dtype, int64_t index) {
  switch (dtype) {
    case Dtype::float16: return loadFloat16(static_cast<const uint16_t*>(row) + index);
    case Dtype::bfloat16: return loadBfloat16(static_cast<const uint16_t*>(row) + index);
    default: return load(static_cast<const float*>(row) + index);
  }
}

SIMD void storeAs(void* row, Dtype dtype, int64_t index, Float value) {
  switch (dtype) {
    case Dtype::float16: return storeFloat16(static_cast<uint16_t*>(row) + index, value);
    case Dtype::bfloat16: return storeBfloat16(static_cast<uint16_t*>(row) + index, value);
    default: return store(static_cast<float*>(row) + index, value);
  }
}

void packQueries(float* panel, int lanes, const void* const* queries, int count, Dtype dtype, int64_t dim,
                 double scale) {
  // The scale in two floats, so that a scaled query is rounded as if it had been multiplied in double.
  const Float high = broadcast(float(scale)), low = broadcast(float(scale - double(float(scale))));
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const int live = count - lane < kWidth ? count - lane : kWidth;
    int64_t d = 0;
    for (; d + kWidth <= dim; d += kWidth) {
      Float square[kWidth] = {};
      for (int t = 0; t < live; ++t) {
        const Float q = loadAs(queries[lane + t], dtype, d);
        const Float rest = q * low;
        square[t] = fma(q, high, zeroWhere(rest != rest, rest));  // an infinite q stays infinite
      }
      transpose(square);
      for (int i = 0; i < kWidth; ++i) store(panel + (d + i) * lanes + lane, square[i]);
    }
    for (; d < dim; ++d) {
      for (int t = 0; t < kWidth; ++t) {
        const double q = t < live ? double(toFloat(queries[lane + t], dtype, d)) : 0;
        panel[d * lanes + lane + t] = float(q * scale);
      }
    }
  }
}

void convertRow(float* out, const void* row, Dtype dtype, int64_t dim) {
  const uint16_t* in = static_cast<const uint16_t*>(row);
  int64_t d = 0;
  if (dtype == Dtype::float16) {
    for (; d + kWidth <= dim; d += kWidth) store(out + d, loadFloat16(in + d));
  } else {
    for (; d + kWidth <= dim; d += kWidth) store(out + d, loadBfloat16(in + d));
  }
  for (; d < dim; ++d) out[d] = toFloat(row, dtype, d);
}

// --- S^T = K Q^T ---------------------------------------------------------------------------------------------------

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

template <int Vectors, int Rows>
void scoreBlock(float* scores, const float* panel, int64_t dim, const float* const* keyRows, int64_t keys) {
  int64_t key = 0;
  for (; key + Rows <= keys; key += Rows) {
    float* rows = scores + key * Vectors * kWidth;
    if (dim <= kDoubleDot) {
      shortScoreRows<Vectors, Rows>(rows, panel, dim, keyRows + key);
    } else {
      scoreRows<Vectors, Rows>(rows, panel, dim, keyRows + key);
    }
  }
  if constexpr (Rows > 1) {
    if (key < keys) {
      scoreBlock<Vectors, Rows / 2>(scores + key * Vectors * kWidth, panel, dim, keyRows + key, keys - key);
    }
  }
}

void scores(float* out, const float* panel, int lanes, int64_t dim, const float* const* keyRows, int64_t keys) {
  switch (lanes / kWidth) {
    case 1: return scoreBlock<1, rowsFor(1)>(out, panel, dim, keyRows, keys);
    case 2: return scoreBlock<2, rowsFor(2)>(out, panel, dim, keyRows, keys);
    default: return scoreBlock<3, rowsFor(3)>(out, panel, dim, keyRows, keys);
  }
}

// --- online softmax ------------------------------------------------------------------------------------------------

/// cap * tanh(x / cap), a few ulp of the result: an odd polynomial near 0 (Cephes tanhf), cap - 2 cap e^-2y / (1 +
/// e^-2y) beyond.
SIMD Float softcapped(Float x, Float cap, Float inverseCap) {
  const Float y = x * inverseCap;
  const Float magnitude = absolute(y);
  const Float square = y * y;
  Float p = broadcast(-5.70498872745e-3f);
  p = fma(p, square, broadcast(2.06390887954e-2f));
  p = fma(p, square, broadcast(-5.37397155531e-2f));
  p = fma(p, square, broadcast(1.33314422036e-1f));
  p = fma(p, square, broadcast(-3.33332819422e-1f));
  const Float near = fma(p * square, x, x);
  const Float decay = powerBelow(magnitude * broadcast(-2.8853900817779268f), Float{}).value;  // e^(-2|y|)
  const Float far = cap - (cap * (decay + decay)) / (broadcast(1.0f) + decay);
  const Int sign = asInt(y) & broadcastInt(int32_t(0x80000000u));
  const Float signedFar = asFloat(asInt(far) | sign);
  return select(magnitude < broadcast(0.625f), near, signedFar);
}

}  // namespace
}  // namespace fused_attention

#include "program.inl"

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

void softmax(const ScoreTile& tile, int lanes, const SoftmaxState& state, float* rescale) {
  const Float log2e = broadcast(1.4426950408889634f);
  const Float cap = broadcast(tile.softcap);
  const Float inverseCap = broadcast(tile.softcap > 0 ? float(1.0 / double(tile.softcap)) : 0.0f);
  const Float hidden = broadcast(-__builtin_inff());
  const bool transforms = tile.visible || tile.bias || tile.softcap > 0;

  for (int lane = 0; lane < lanes; lane += kWidth) {
    float* column = tile.scores + lane;
    Float largest[2] = {hidden, hidden};
    if (transforms) {
      for (int64_t key = 0; key < tile.keys; ++key) {
        Float s = load(column + key * lanes);
        if (tile.softcap > 0) s = softcapped(s, cap, inverseCap);
        if (tile.bias) s = fma(load(tile.bias + key * lanes + lane), log2e, s);
        if (tile.visible) s = select(lanesOf(uint32_t(tile.visible[key] >> lane)), s, hidden);
        store(column + key * lanes, s);
        largest[0] = max(largest[0], s);
      }
    } else {
      int64_t key = 0;
      for (; key + 2 <= tile.keys; key += 2) {
        largest[0] = max(largest[0], load(column + key * lanes));
        largest[1] = max(largest[1], load(column + (key + 1) * lanes));
      }
      if (key < tile.keys) largest[0] = max(largest[0], load(column + key * lanes));
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

    // Four interleaved chains of keys, told apart by the key's own column, so that a tile that starts later sums alike:
    // sums[c] is the chain of columns (phase + c) modulo 4.
    Float sums[4] = {};
    Float moments[4] = {};
    const auto weigh = [&](int64_t key, int chain) __attribute__((always_inline)) {
      const Power p = powerBelow(load(column + key * lanes), moved);
      store(column + key * lanes, p.value);
      sums[chain] = sums[chain] + p.value;
      if (tile.moment) moments[chain] = fma(p.value, p.exponent, moments[chain]);
    };
    int64_t key = 0;
    for (; key + 4 <= tile.keys; key += 4) {
      weigh(key, 0);
      weigh(key + 1, 1);
      weigh(key + 2, 2);
      weigh(key + 3, 3);
    }
    if (key < tile.keys) weigh(key, 0);
    if (key + 1 < tile.keys) weigh(key + 1, 1);
    if (key + 2 < tile.keys) weigh(key + 2, 2);
    const Float tileSum = inColumnOrder(sums, tile.phase);

    const Float sum = load(state.sum + lane);
    if (tile.moment) {
      // Moving the reference by D adds D * sum to the moment of what came before.
      const Float shifted = fma(max(broadcast(-FLT_MAX), before - reference), sum, load(state.moment + lane));
      store(state.moment + lane, fma(factor, shifted, inColumnOrder(moments, tile.phase)));
    }
    store(state.sum + lane, fma(sum, factor, tileSum));
    store(state.reference + lane, reference);
    store(rescale + lane, factor);
  }
}

// --- O^T = V^T P^T -------------------------------------------------------------------------------------------------

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
  for (int v = 0; v < Vectors; ++v) {
    const Float factor = load(rescale + v * kWidth);
    for (int r = 0; r < Rows; ++r) {
      float* out = output + (first + r) * lanes + v * kWidth;
      store(out, fma(load(out), factor, sum[r][v]));
    }
  }
}

template <int Vectors, int Rows, bool Careful>
void accumulateBlock(float* output, int64_t first, int64_t dim, const float* rescale, const float* weights,
                     const float* const* valueRows, int64_t keys) {
  for (; first + Rows <= dim; first += Rows) {
    accumulateRows<Vectors, Rows, Careful>(output, rescale, weights, valueRows, first, keys);
  }
  if constexpr (Rows > 1) {
    if (first < dim) {
      accumulateBlock<Vectors, Rows / 2, Careful>(output, first, dim, rescale, weights, valueRows, keys);
    }
  }
}

template <bool Careful>
void accumulateGroup(float* output, int lanes, int64_t dim, const float* rescale, const float* weights,
                     const float* const* valueRows, int64_t keys) {
  switch (lanes / kWidth) {
    case 1: return accumulateBlock<1, rowsFor(1), Careful>(output, 0, dim, rescale, weights, valueRows, keys);
    case 2: return accumulateBlock<2, rowsFor(2), Careful>(output, 0, dim, rescale, weights, valueRows, keys);
    default: return accumulateBlock<3, rowsFor(3), Careful>(output, 0, dim, rescale, weights, valueRows, keys);
  }
}

void accumulate(float* output, int lanes, int64_t dim, const float* rescale, const float* weights,
                const float* const* valueRows, int64_t keys, bool careful) {
  if (careful) {
    accumulateGroup<true>(output, lanes, dim, rescale, weights, valueRows, keys);
  } else {
    accumulateGroup<false>(output, lanes, dim, rescale, weights, valueRows, keys);
  }
}

bool hasNaN(const float* panel, int64_t count) {
  Int found = {};
  for (int64_t i = 0; i < count; i += kWidth) {
    const Float v = load(panel + i);
    found |= v != v;
  }
  return any(found);
}

// --- combining and finishing ---------------------------------------------------------------------------------------

void merge(float* leftOutput, const SoftmaxState& left, const float* rightOutput, const SoftmaxState& right, int lanes,
           int64_t dim) {
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Float leftReference = load(left.reference + lane), rightReference = load(right.reference + lane);
    const Float reference = max(leftReference, rightReference);
    const Float leftFactor = powerOfTwo(leftReference - reference);
    const Float rightFactor = powerOfTwo(rightReference - reference);
    const Float leftSum = load(left.sum + lane), rightSum = load(right.sum + lane);
    const Float lowest = broadcast(-FLT_MAX);
    const Float leftMoment = fma(max(lowest, leftReference - reference), leftSum, load(left.moment + lane));
    const Float rightMoment = fma(max(lowest, rightReference - reference), rightSum, load(right.moment + lane));
    store(left.moment + lane, fma(leftMoment, leftFactor, rightMoment * rightFactor));
    store(left.sum + lane, fma(leftSum, leftFactor, rightSum * rightFactor));
    store(left.maximum + lane, max(load(left.maximum + lane), load(right.maximum + lane)));
    store(left.reference + lane, reference);
    for (int64_t d = 0; d < dim; ++d) {
      float* out = leftOutput + d * lanes + lane;
      store(out, fma(load(out), leftFactor, load(rightOutput + d * lanes + lane) * rightFactor));
    }
  }
}

void finish(const float* output, int lanes, int64_t dim, const float* factor, const float* denominator,
            void* const* rows, int count, Dtype dtype) {
  for (int lane = 0; lane < count; lane += kWidth) {
    const Float scale = load(factor + lane);
    const Float divisor = load(denominator + lane);
    const Int empty = divisor == broadcast(0.0f);
    const auto finished = [&](int64_t d) __attribute__((always_inline)) {
      return zeroWhere(empty, (load(output + d * lanes + lane) * scale) / divisor);
    };
    const int live = count - lane < kWidth ? count - lane : kWidth;
    int64_t d = 0;
    for (; d + kWidth <= dim; d += kWidth) {
      Float square[kWidth];
      for (int i = 0; i < kWidth; ++i) square[i] = finished(d + i);
      transpose(square);
      for (int t = 0; t < live; ++t) storeAs(rows[lane + t], dtype, d, square[t]);
    }
    for (; d < dim; ++d) {
      const Float value = finished(d);
      for (int t = 0; t < live; ++t) {
        switch (dtype) {
          case Dtype::float16: static_cast<uint16_t*>(rows[lane + t])[d] = floatToFloat16(value[t]); break;
          case Dtype::bfloat16: static_cast<uint16_t*>(rows[lane + t])[d] = floatToBfloat16(value[t]); break;
          default: static_cast<float*>(rows[lane + t])[d] = value[t];
        }
      }
    }
  }
}

constexpr Kernels tableFor(Isa isa) {
  return Kernels{isa,     kWidth,     kVectors, packQueries, convertRow, scores,
                 softmax, accumulate, hasNaN,   merge,       finish,     runTile};
}

}  // namespace
}  // namespace fused_attention
