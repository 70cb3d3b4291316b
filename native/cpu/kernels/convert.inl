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
template <Dtype Type, bool Exact>
SIMD void packSquare(float* panel, int lanes, const void* const* queries, int live, int64_t d, Float high, Float low) {
  Float square[kWidth];
  const auto scaled = [&](int t) __attribute__((always_inline)) {
    const Float q = loadAs(queries[t], Type, d);
    return Exact ? q * high : fma(q, high, q * low);
  };
  if (live == kWidth) {
    for (int t = 0; t < kWidth; ++t) square[t] = scaled(t);
  } else {
    for (int t = 0; t < kWidth; ++t) square[t] = t < live ? scaled(t) : Float{};
  }
  transpose(square);
  for (int i = 0; i < kWidth; ++i) store(panel + (d + i) * lanes, square[i]);
}

/// `scale` in two floats, so that a scaled query is rounded as if it had been multiplied in double. Neither is beyond
/// the other's sign, so that an infinite query stays infinite.
struct Scale {
  explicit Scale(double scale) : high(float(scale)) {
    if (__builtin_fabs(double(high)) > __builtin_fabs(scale)) high = __builtin_nextafterf(high, 0.0f);
    low = float(scale - double(high));
  }
  float high, low;
};

template <Dtype Type, bool Exact>
void packScaled(float* panel, int lanes, const void* const* queries, int count, int64_t dim, double scale) {
  const Scale parts(scale);
  const Float high = broadcast(parts.high), low = broadcast(parts.low);
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const int live = count - lane < kWidth ? count - lane : kWidth;
    const auto square = [&](int64_t d, int own) __attribute__((always_inline)) {
      packSquare<Type, Exact>(panel + lane, lanes, queries + lane, own, d, high, low);
    };
    int64_t d = 0;
    if (live == kWidth) {
      for (; d + kWidth <= dim; d += kWidth) square(d, kWidth);
    } else {
      for (; d + kWidth <= dim; d += kWidth) square(d, live);
    }
    for (; d < dim; ++d) {
      for (int t = 0; t < kWidth; ++t) {
        const double q = t < live ? double(toFloat(queries[lane + t], Type, d)) : 0;
        panel[d * lanes + lane + t] = float(q * scale);
      }
    }
  }
}

template <Dtype Type>
void packQueriesOf(float* panel, int lanes, const void* const* queries, int count, int64_t dim, double scale) {
  if (Scale(scale).low == 0) {
    packScaled<Type, true>(panel, lanes, queries, count, dim, scale);
  } else {
    packScaled<Type, false>(panel, lanes, queries, count, dim, scale);
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
    const Float corrected = correct(value, quotient);
    // Infinite ones stay infinite, and 0 keeps its sign.
    return zeroWhere(empty_, select(isUsual(corrected), corrected, quotient));
  }

  /// The same of numerators that lie `stride` floats apart, with fewer looks at each; false unless all are usual in the
  /// lanes that count.
  SIMD bool ofUsual(const float* numerators, int64_t stride, Int counted, Float (&square)[kWidth]) const {
    if (!kFused) return false;
    Int usual = ~empty_;
    for (int i = 0; i < kWidth; ++i) {
      const Float value = load(numerators + i * stride) * factor_;
      square[i] = correct(value, value * reciprocal_);
      usual &= isUsual(square[i]);
    }
    return !any(counted & ~usual);
  }

 private:
  SIMD Float correct(Float value, Float quotient) const {
    return fma(fma(-quotient, denominator_, value), reciprocal_, quotient);
  }
  /// Neither 0, where the sign may be another's, nor NaN, as which infinity comes out.
  static SIMD Int isUsual(Float corrected) { return (corrected < broadcast(0.0f)) | (corrected > broadcast(0.0f)); }

  Float factor_, denominator_, reciprocal_;
  Int empty_;
};

/// Quotients of numerators that lie `stride` floats apart. A call, so that nothing is kept in registers for it.
[[gnu::noinline]] void quotientsOf(const float* numerators, int64_t stride, const float* factor,
                                   const float* denominator, float* quotients) {
  const Quotient quotient(load(factor), load(denominator));
  for (int i = 0; i < kWidth; ++i) store(quotients + i * kWidth, quotient.of(load(numerators + i * stride)));
}

template <Dtype Type>
void finishOf(const float* output, int lanes, int64_t dim, const float* factor, const float* denominator,
              void* const* rows, int count) {
  for (int lane = 0; lane < count; lane += kWidth) {
    const Quotient quotient(load(factor + lane), load(denominator + lane));
    const int live = count - lane < kWidth ? count - lane : kWidth;
    const Int counted = lanesOf((uint32_t{1} << live) - 1);
    const auto finishSquare = [&](int64_t d, int own) __attribute__((always_inline)) {
      Float square[kWidth];
      const float* const numerators = output + d * lanes + lane;
      if (!quotient.ofUsual(numerators, lanes, counted, square)) {
        float quotients[kWidth * kWidth];
        quotientsOf(numerators, lanes, factor + lane, denominator + lane, quotients);
        for (int i = 0; i < kWidth; ++i) square[i] = load(quotients + i * kWidth);
      }
      transpose(square);
      for (int t = 0; t < kWidth; ++t) {
        if (t < own) storeAs(rows[lane + t], Type, d, square[t]);
      }
    };
    int64_t d = 0;
    if (live == kWidth) {
      for (; d + kWidth <= dim; d += kWidth) finishSquare(d, kWidth);
    } else {
      for (; d + kWidth <= dim; d += kWidth) finishSquare(d, live);
    }
    for (; d < dim; ++d) {
      const Float value = quotient.of(load(output + d * lanes + lane));
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
