// Scores and outputs of a few queries, with components across lanes: each key and value is read once, as vectors, which
// is what a decode step waits for. With one query a lane most lanes would stand idle.
#pragma once

#include "convert.inl"
#include "merge.inl"
#include "shapes.inl"
#include "softmax.inl"

namespace fused_attention {
namespace {

/// Floats of a row of components, in whole vectors.
constexpr int64_t fewStride(int64_t dim) { return (dim + kWidth - 1) / kWidth * kWidth; }

/// Queries that are done together: what is read of a key or value serves them all.
constexpr int fewTogether(int count) { return count <= 2 ? count : 4; }

template <Dtype Type>
SIMD Float loadTyped(const void* row, int64_t index) {
  return loadAs(row, Type, index);
}

/// The last `count` < kWidth components of a row; 0 after them, and nothing read there.
template <Dtype Type>
SIMD Float loadLast(const void* row, int64_t index, int64_t count) {
  float some[kWidth] = {};
  for (int64_t i = 0; i < count; ++i) some[i] = toFloat(row, Type, index + i);
  return load(some);
}

void packFewQueries(float* panel, const void* const* queries, int count, Dtype dtype, int64_t dim, double scale) {
  const int64_t stride = fewStride(dim);
  const int together = fewTogether(count), rows = (count + together - 1) / together * together;
  for (int t = 0; t < rows; ++t) {
    float* const row = panel + t * stride;
    const int64_t given = t < count ? dim : 0;
    if (dtype == Dtype::float32) {
      const float* const query = static_cast<const float*>(queries[t < count ? t : 0]);
      for (int64_t d = 0; d < given; ++d) row[d] = float(double(query[d]) * scale);
    } else {
      for (int64_t d = 0; d < given; ++d) row[d] = float(double(toFloat(queries[t], dtype, d)) * scale);
    }
    for (int64_t d = given; d < stride; ++d) row[d] = 0;
  }
}

/// Rounds of sumsOfLanes: the halves of two rows are added and put side by side, in shuffles that stay within 128 bits
/// where they can. A template, so that the shuffles are known when it is compiled.
template <int Half>
SIMD void addHalves(Float (&rows)[kWidth]) {
  Int first, second;
  for (int i = 0; i < kWidth; ++i) {
    if constexpr (Half > 1) {
      const int from = i & Half ? kWidth : 0;
      first[i] = (i & ~Half) + from;
      second[i] = (i | Half) + from;
    } else {
      first[i] = (i & ~3) + 2 * (i & 1) + (i & 2 ? kWidth : 0);
      second[i] = first[i] + 1;
    }
  }
  for (int i = 0; i < Half; ++i) {
    rows[i] = shuffle(rows[i], rows[i + Half], first) + shuffle(rows[i], rows[i + Half], second);
  }
  if constexpr (Half > 1) addHalves<Half / 2>(rows);
}

/// Lane i is the sum of the lanes of rows[i].
SIMD Float sumsOfLanes(Float (&rows)[kWidth]) {
  for (int quad = 0; quad < kWidth; quad += 4) {  // the last round leaves the middle ones of four exchanged
    const Float middle = rows[quad + 1];
    rows[quad + 1] = rows[quad + 2];
    rows[quad + 2] = middle;
  }
  addHalves<kWidth / 2>(rows);
  return rows[0];
}

/// Row k of the scores' panel gets lanes k * Queries to (k + 1) * Queries of `sums`, from lane `first` on; what is past
/// them is 0 where `first` is.
template <int Queries>
SIMD void storeFew(float* out, int first, int64_t keys, Float sums) {
  for (int k = 0; k < kWidth / Queries; ++k) {
    if (k >= keys) return;
    Int lanes = {};
    for (int i = 0; i < kWidth; ++i) lanes[i] = i < Queries ? k * Queries + i : kWidth;
    const Float row = shuffle(sums, Float{}, lanes);
    if (first == 0) {
      store(out + k * kWidth, row);
    } else {
      std::memcpy(out + k * kWidth + first, &row, Queries * sizeof(float));
    }
  }
}

/// products[r * Queries + t]: of the last `last` < kWidth components of query t and key r, from d on.
template <int Queries, Dtype Type>
void lastProducts(float* products, const float* q, int64_t stride, const void* const* k, int64_t d, int64_t last) {
  for (int r = 0; r < kWidth / Queries; ++r) {
    const Float key = loadLast<Type>(k[r], d, last);
    for (int t = 0; t < Queries; ++t) store(products + (r * Queries + t) * kWidth, load(q + t * stride + d) * key);
  }
}

/// The same for rows: `out` is where the first query's row has the first of the keys.
template <int Queries>
SIMD void storeFewRows(float* out, int64_t query, Float sums) {
  constexpr int step = kWidth / Queries;
  Int lanes;
  for (int i = 0; i < kWidth; ++i) lanes[i] = i % step * Queries + i / step;
  float rows[kWidth];
  store(rows, Queries == 1 ? sums : shuffle(sums, sums, lanes));
  for (int t = 0; t < Queries; ++t) std::memcpy(out + t * query, rows + t * step, step * sizeof(float));
}

template <int Queries, Dtype Type>
void fewScoresOf(float* out, const float* panel, int count, int64_t dim, const void* const* keyRows, int64_t keys,
                 FewLayout layout, const Ahead& ahead) {
  constexpr int step = kWidth / Queries;
  const int64_t stride = fewStride(dim), whole = dim / kWidth * kWidth;
  Prefetch prefetch(ahead, (keys + step - 1) / step);
  for (int64_t key = 0; key < keys; key += step) {
    prefetch.step();
    const int64_t live = keys - key < step ? keys - key : step;
    const void* k[step];
    for (int r = 0; r < step; ++r) k[r] = keyRows[key + (r < live ? r : live - 1)];
    for (int first = 0; first < count; first += Queries) {
      const float* q = panel + first * stride;
      Float sums[step][Queries] = {};
      for (int64_t d = 0; d < whole; d += kWidth) {
        Float query[Queries];
        for (int t = 0; t < Queries; ++t) query[t] = load(q + t * stride + d);
        for (int r = 0; r < step; ++r) {
          const Float part = loadTyped<Type>(k[r], d);
          for (int t = 0; t < Queries; ++t) sums[r][t] = fma(query[t], part, sums[r][t]);
        }
      }
      Float rows[kWidth];
      for (int r = 0; r < step; ++r) {
        for (int t = 0; t < Queries; ++t) rows[r * Queries + t] = sums[r][t];
      }
      if (whole < dim) {
        float products[kWidth * kWidth];
        lastProducts<Queries, Type>(products, q, stride, k, whole, dim - whole);
        for (int i = 0; i < kWidth; ++i) rows[i] = rows[i] + load(products + i * kWidth);
      }
      const Float each = sumsOfLanes(rows);
      if (layout.key == 1) {
        storeFewRows<Queries>(out + first * layout.query + key, layout.query, each);
      } else {
        storeFew<Queries>(out + key * kWidth, first, live, each);
      }
    }
  }
}

template <Dtype Type>
void fewScoresTyped(float* out, const float* panel, int count, int64_t dim, const void* const* keyRows, int64_t keys,
                    FewLayout layout, const Ahead& ahead) {
  switch (fewTogether(count)) {
    case 1: return fewScoresOf<1, Type>(out, panel, count, dim, keyRows, keys, layout, ahead);
    case 2: return fewScoresOf<2, Type>(out, panel, count, dim, keyRows, keys, layout, ahead);
    default: return fewScoresOf<4, Type>(out, panel, count, dim, keyRows, keys, layout, ahead);
  }
}

void fewScores(float* out, const float* panel, int count, int64_t dim, const void* const* keyRows, Dtype dtype,
               int64_t keys, FewLayout layout, const Ahead& ahead) {
  switch (dtype) {
    case Dtype::float16: return fewScoresTyped<Dtype::float16>(out, panel, count, dim, keyRows, keys, layout, ahead);
    case Dtype::bfloat16: return fewScoresTyped<Dtype::bfloat16>(out, panel, count, dim, keyRows, keys, layout, ahead);
    default: return fewScoresTyped<Dtype::float32>(out, panel, count, dim, keyRows, keys, layout, ahead);
  }
}

// --- softmax of rows -------------------------------------------------------------------------------------------------

/// Four lanes, one for each chain of keys that softmax sums up.
typedef float Chains __attribute__((vector_size(16)));

/// The row of one query, made a whole number of vectors by keys that are not seen. Keys lie across lanes, but sums run
/// in the chains and the order of softmax.
SIMD void fewSoftmaxRow(float* row, const ScoreTile& tile, int t, const SoftmaxState& state, float* rescale) {
  const Float hidden = broadcast(-__builtin_inff());
  const int64_t whole = (tile.keys + 4 * kWidth - 1) / (4 * kWidth) * (4 * kWidth);
  for (int64_t key = tile.keys; key < whole; ++key) row[key] = -__builtin_inff();
  Float largest[2] = {hidden, hidden};
  if (tile.softcap > 0) {
    const Float cap = broadcast(tile.softcap), inverseCap = broadcast(float(1.0 / double(tile.softcap)));
    for (int64_t key = 0; key < tile.keys; key += kWidth)
      store(row + key, softcapped(load(row + key), cap, inverseCap));
    for (int64_t key = tile.keys; key < whole; ++key) row[key] = -__builtin_inff();
  }
  for (int64_t key = 0; key < whole; key += 2 * kWidth) {
    largest[0] = max(largest[0], load(row + key));
    largest[1] = max(largest[1], load(row + key + kWidth));
  }
  float each[kWidth];
  store(each, max(largest[0], largest[1]));
  for (int half = kWidth / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) each[i] = each[i] > each[i + half] ? each[i] : each[i + half];
  }
  const float before = state.reference[t], top = __builtin_ceilf(each[0]);
  const float reference = before > top ? before : top;
  const Float factor = powerOfTwo(broadcast(before - reference));
  if (each[0] > state.maximum[t] || each[0] != each[0]) state.maximum[t] = each[0];

  const float magnitude = reference < 0 ? -reference : reference;
  const float shift = magnitude > kLargeReference && reference > -FLT_MAX ? reference : 0;
  if (shift != 0) {
    for (int64_t key = 0; key < whole; key += kWidth) store(row + key, load(row + key) - broadcast(shift));
  }
  const Float moved = broadcast(reference - shift);
  Chains sums = {};
  for (int64_t key = 0; key < whole; key += 4 * kWidth) {
    float* const at = row + key;
    Power powers[4];
    powersBelow({load(at), load(at + kWidth), load(at + 2 * kWidth), load(at + 3 * kWidth)}, moved, powers);
    for (int v = 0; v < 4; ++v) store(at + v * kWidth, powers[v].value);
    for (int i = 0; i < 4 * kWidth; i += 4) {
      Chains next;
      std::memcpy(&next, at + i, sizeof next);
      sums = sums + next;
    }
  }
  float chains[4];
  for (int c = 0; c < 4; ++c) chains[(c + tile.phase) & 3] = sums[c];
  const Float sum = broadcast((chains[0] + chains[1]) + (chains[2] + chains[3]));
  store(each, fma(broadcast(state.sum[t]), factor, sum));
  state.sum[t] = each[0];
  state.reference[t] = reference;
  store(each, factor);
  rescale[t] = each[0];
}

void fewSoftmax(const ScoreTile& tile, int count, int64_t query, const SoftmaxState& state, float* rescale) {
  for (int t = 0; t < count; ++t) fewSoftmaxRow(tile.scores + t * query, tile, t, state, rescale);
}

// --- O = P V ---------------------------------------------------------------------------------------------------------

/// Keys that all components are done of before the next ones: values are read in the order in which they lie.
constexpr int64_t kKeysAStep = 16;

/// output = output * factor + the sum over some keys: components d to d + Parts vectors of `Queries` queries from
/// `first` on, of which `live` are real. Where a single vector is not whole, `last` components are read.
template <int Queries, int Parts, Dtype Type, bool Careful>
SIMD void fewSums(float* output, int64_t stride, const float* rescale, const float* weights, FewLayout layout,
                  int first, int live, const void* const* valueRows, int64_t d, int64_t last, int64_t keys) {
  Float sums[Queries][Parts] = {};
  const float* of[Queries];
  for (int t = 0; t < Queries; ++t) of[t] = weights + (first + t) * layout.query;
  for (int64_t key = 0; key < keys; ++key) {
    const void* row = valueRows[key];
    Float value[Parts];
    for (int v = 0; v < Parts; ++v) {
      value[v] = Parts == 1 && last < kWidth ? loadLast<Type>(row, d, last) : loadTyped<Type>(row, d + v * kWidth);
    }
    for (int t = 0; t < Queries; ++t) {
      const float p = of[t][key * layout.key];
      if (Careful && p == 0) continue;
      for (int v = 0; v < Parts; ++v) sums[t][v] = fma(broadcast(p), value[v], sums[t][v]);
    }
  }
  for (int t = 0; t < Queries; ++t) {
    if (t >= live) break;
    const Float factor = broadcast(rescale ? rescale[first + t] : 1.0f);
    for (int v = 0; v < Parts; ++v) {
      float* out = output + (first + t) * stride + d + v * kWidth;
      store(out, fma(load(out), factor, sums[t][v]));
    }
  }
}

/// From component d on, in passes of Parts vectors, then of half as many.
template <int Queries, int Parts, Dtype Type, bool Careful>
SIMD void fewPasses(float* output, int count, int64_t dim, const float* rescale, const float* weights, FewLayout layout,
                    const void* const* valueRows, int64_t d, int64_t keys) {
  for (; d + (Parts > 1 ? Parts * kWidth : 1) <= dim; d += Parts * kWidth) {
    for (int first = 0; first < count; first += Queries) {
      fewSums<Queries, Parts, Type, Careful>(output, fewStride(dim), rescale, weights, layout, first, count - first,
                                             valueRows, d, dim - d, keys);
    }
  }
  if constexpr (Parts > 1) {
    fewPasses<Queries, Parts / 2, Type, Careful>(output, count, dim, rescale, weights, layout, valueRows, d, keys);
  }
}

template <int Queries, Dtype Type, bool Careful>
void fewAccumulateOf(float* output, int count, int64_t dim, const float* rescale, const float* weights,
                     const void* const* valueRows, int64_t keys, FewLayout layout, const Ahead& ahead) {
  Prefetch prefetch(ahead, (keys + kKeysAStep - 1) / kKeysAStep);
  for (int64_t key = 0; key < keys; key += kKeysAStep) {
    prefetch.step();
    const int64_t some = keys - key < kKeysAStep ? keys - key : kKeysAStep;
    fewPasses<Queries, 8 / Queries, Type, Careful>(output, count, dim, key == 0 ? rescale : nullptr,
                                                   weights + key * layout.key, layout, valueRows + key, 0, some);
  }
}

template <Dtype Type, bool Careful>
void fewAccumulateTyped(float* output, int count, int64_t dim, const float* rescale, const float* weights,
                        const void* const* valueRows, int64_t keys, FewLayout layout, const Ahead& ahead) {
  switch (fewTogether(count)) {
    case 1:
      return fewAccumulateOf<1, Type, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout, ahead);
    case 2:
      return fewAccumulateOf<2, Type, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout, ahead);
    default:
      return fewAccumulateOf<4, Type, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout, ahead);
  }
}

template <bool Careful>
void fewAccumulateAs(float* output, int count, int64_t dim, const float* rescale, const float* weights,
                     const void* const* valueRows, Dtype dtype, int64_t keys, FewLayout layout, const Ahead& ahead) {
  switch (dtype) {
    case Dtype::float16:
      return fewAccumulateTyped<Dtype::float16, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout,
                                                         ahead);
    case Dtype::bfloat16:
      return fewAccumulateTyped<Dtype::bfloat16, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout,
                                                          ahead);
    default:
      return fewAccumulateTyped<Dtype::float32, Careful>(output, count, dim, rescale, weights, valueRows, keys, layout,
                                                         ahead);
  }
}

void fewAccumulate(float* output, int count, int64_t dim, const float* rescale, const float* weights,
                   const void* const* valueRows, Dtype dtype, int64_t keys, FewLayout layout, bool careful,
                   const Ahead& ahead) {
  if (careful) {
    fewAccumulateAs<true>(output, count, dim, rescale, weights, valueRows, dtype, keys, layout, ahead);
  } else {
    fewAccumulateAs<false>(output, count, dim, rescale, weights, valueRows, dtype, keys, layout, ahead);
  }
}

// --- combining and finishing -----------------------------------------------------------------------------------------

void fewMerge(float* leftOutput, const SoftmaxState& left, const float* rightOutput, const SoftmaxState& right,
              int count, int64_t dim) {
  float leftFactors[kWidth], rightFactors[kWidth];
  mergeStates(left, right, 0, leftFactors, rightFactors);
  const int64_t stride = fewStride(dim);
  for (int t = 0; t < count; ++t) {
    const Float leftFactor = broadcast(leftFactors[t]), rightFactor = broadcast(rightFactors[t]);
    for (int64_t d = t * stride; d < (t + 1) * stride; d += kWidth) {
      store(leftOutput + d, fma(load(leftOutput + d), leftFactor, load(rightOutput + d) * rightFactor));
    }
  }
}

void fewFinish(const float* output, int64_t dim, const float* factor, const float* denominator, void* const* rows,
               int count, Dtype dtype) {
  const int64_t stride = fewStride(dim);
  for (int t = 0; t < count; ++t) {
    const Quotient quotient(broadcast(factor[t]), broadcast(denominator[t]));
    int64_t d = 0;
    for (; d + kWidth <= dim; d += kWidth) storeAs(rows[t], dtype, d, quotient.of(load(output + t * stride + d)));
    if (d < dim) {
      const Float last = quotient.of(load(output + t * stride + d));
      for (int64_t i = 0; d + i < dim; ++i) storeOne(rows[t], dtype, d + i, last[i]);
    }
  }
}

}  // namespace
}  // namespace fused_attention
