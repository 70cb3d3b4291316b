// Between the rows of tensors and panels.
#pragma once

#include "../half.h"
#include "shapes.inl"

namespace fused_attention {
namespace {

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

/// A square of the panel: components d to d + kWidth of `live` queries.
template <Dtype Type>
SIMD void packSquare(float* panel, int lanes, const void* const* queries, int live, int64_t d, Float high, Float low) {
  Float square[kWidth];
  const auto scaled = [&](int t) __attribute__((always_inline)) {
    const Float q = loadAs(queries[t], Type, d);
    const Float rest = q * low;
    return fma(q, high, zeroWhere(rest != rest, rest));  // an infinite q stays infinite
  };
  if (live == kWidth) {
    for (int t = 0; t < kWidth; ++t) square[t] = scaled(t);
  } else {
    for (int t = 0; t < kWidth; ++t) square[t] = t < live ? scaled(t) : Float{};
  }
  transpose(square);
  for (int i = 0; i < kWidth; ++i) store(panel + (d + i) * lanes, square[i]);
}

template <Dtype Type>
void packQueriesOf(float* panel, int lanes, const void* const* queries, int count, int64_t dim, double scale) {
  // The scale in two floats, so that a scaled query is rounded as if it had been multiplied in double.
  const Float high = broadcast(float(scale)), low = broadcast(float(scale - double(float(scale))));
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const int live = count - lane < kWidth ? count - lane : kWidth;
    int64_t d = 0;
    for (; d + kWidth <= dim; d += kWidth) packSquare<Type>(panel + lane, lanes, queries + lane, live, d, high, low);
    for (; d < dim; ++d) {
      for (int t = 0; t < kWidth; ++t) {
        const double q = t < live ? double(toFloat(queries[lane + t], Type, d)) : 0;
        panel[d * lanes + lane + t] = float(q * scale);
      }
    }
  }
}

void packQueries(float* panel, int lanes, const void* const* queries, int count, Dtype dtype, int64_t dim,
                 double scale) {
  switch (dtype) {
    case Dtype::float16: return packQueriesOf<Dtype::float16>(panel, lanes, queries, count, dim, scale);
    case Dtype::bfloat16: return packQueriesOf<Dtype::bfloat16>(panel, lanes, queries, count, dim, scale);
    default: return packQueriesOf<Dtype::float32>(panel, lanes, queries, count, dim, scale);
  }
}

void convertRow(float* out, const void* row, Dtype dtype, int64_t dim) {
  int64_t d = 0;
  switch (dtype) {
    case Dtype::float16:
      for (; d + kWidth <= dim; d += kWidth) store(out + d, loadAs(row, Dtype::float16, d));
      break;
    case Dtype::bfloat16:
      for (; d + kWidth <= dim; d += kWidth) store(out + d, loadAs(row, Dtype::bfloat16, d));
      break;
    default:
      for (; d + kWidth <= dim; d += kWidth) store(out + d, loadAs(row, Dtype::float32, d));
  }
  for (; d < dim; ++d) out[d] = toFloat(row, dtype, d);
}

void storeOne(void* row, Dtype dtype, int64_t index, float value) {
  switch (dtype) {
    case Dtype::float16: static_cast<uint16_t*>(row)[index] = floatToFloat16(value); break;
    case Dtype::bfloat16: static_cast<uint16_t*>(row)[index] = floatToBfloat16(value); break;
    default: static_cast<float*>(row)[index] = value;
  }
}

/// value * factor / denominator, 0 where the denominator is 0. Where products are not rounded before they are added, a
/// reciprocal and one correction are as good as a division, at the price of three multiplications.
class Quotient {
 public:
  SIMD Quotient(Float factor, Float denominator)
      : factor_(factor),
        denominator_(denominator),
        reciprocal_(broadcast(1.0f) / denominator),
        empty_(denominator == broadcast(0.0f)) {}

  SIMD Float of(Float numerator) const {
    const Float value = numerator * factor_;
    if (!kFused) return zeroWhere(empty_, value / denominator_);
    const Float quotient = value * reciprocal_;
    const Float corrected = fma(fma(-quotient, denominator_, value), reciprocal_, quotient);
    // Infinite ones stay infinite, and 0 keeps its sign.
    const Int usable = (corrected == corrected) & (quotient != broadcast(0.0f));
    return zeroWhere(empty_, select(usable, corrected, quotient));
  }

 private:
  Float factor_, denominator_, reciprocal_;
  Int empty_;
};

template <Dtype Type>
void finishOf(const float* output, int lanes, int64_t dim, const float* factor, const float* denominator,
              void* const* rows, int count) {
  for (int lane = 0; lane < count; lane += kWidth) {
    const Quotient quotient(load(factor + lane), load(denominator + lane));
    const auto finished = [&](int64_t d) __attribute__((always_inline)) {
      return quotient.of(load(output + d * lanes + lane));
    };
    const int live = count - lane < kWidth ? count - lane : kWidth;
    int64_t d = 0;
    for (; d + kWidth <= dim; d += kWidth) {
      Float square[kWidth];
      for (int i = 0; i < kWidth; ++i) square[i] = finished(d + i);
      transpose(square);
      for (int t = 0; t < kWidth; ++t) {
        if (t < live) storeAs(rows[lane + t], Type, d, square[t]);
      }
    }
    for (; d < dim; ++d) {
      const Float value = finished(d);
      for (int t = 0; t < live; ++t) storeOne(rows[lane + t], Type, d, value[t]);
    }
  }
}

void finish(const float* output, int lanes, int64_t dim, const float* factor, const float* denominator,
            void* const* rows, int count, Dtype dtype) {
  switch (dtype) {
    case Dtype::float16: return finishOf<Dtype::float16>(output, lanes, dim, factor, denominator, rows, count);
    case Dtype::bfloat16: return finishOf<Dtype::bfloat16>(output, lanes, dim, factor, denominator, rows, count);
    default: return finishOf<Dtype::float32>(output, lanes, dim, factor, denominator, rows, count);
  }
}

}  // namespace
}  // namespace fused_attention
