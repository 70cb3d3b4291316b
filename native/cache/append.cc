#include "append.h"

#include <algorithm>
#include <cstring>

#include "../cpu/half.h"
#include "../cpu/kernels.h"
#include "../cpu/pool.h"
#include "../error.h"

namespace fused_attention {

namespace {

/// Tokens that a thread takes at a time.
constexpr int64_t kTokens = 16;
constexpr int64_t kMostComponents = 1024;

const char* rowOf(const void* data, const Layout& layout, int64_t batch, int64_t head, int64_t row) {
  const int64_t element = layout.offset + batch * layout.batch + head * layout.head + row * layout.row;
  return static_cast<const char*>(data) + element * sizeOf(layout.dtype);
}

void widen(const Kernels& kernels, float* out, const void* row, Dtype dtype, int64_t dim) {
  if (dtype == Dtype::float32) {
    std::memcpy(out, row, size_t(dim) * sizeof(float));
  } else {
    kernels.convertRow(out, row, dtype, dim);
  }
}

void narrow(void* out, const float* row, Dtype dtype, int64_t dim) {
  uint16_t* halves = static_cast<uint16_t*>(out);
  switch (dtype) {
    case Dtype::float16:
      for (int64_t d = 0; d < dim; ++d) halves[d] = floatToFloat16(row[d]);
      break;
    case Dtype::bfloat16:
      for (int64_t d = 0; d < dim; ++d) halves[d] = floatToBfloat16(row[d]);
      break;
    default: std::memcpy(out, row, size_t(dim) * sizeof(float));
  }
}

void copyShared(const CacheForm& form, const CacheView& view) {
  if (view.copyTo) view.copyTo->copyRows(form.page, *view.copyFrom, view.copyRows);
}

/// body(sequence, row) for every row of every sequence.
template <class Body>
void forEachRow(int64_t batch, int64_t rows, const Problem& problem, const CancelFlag& cancel, const Body& body) {
  const int64_t blocks = (rows + kTokens - 1) / kTokens;
  Pool::shared().parallel(batch * blocks, problem.threads, [&](int64_t index, int) {
    if (cancel.raised()) throw Cancelled();
    const int64_t begin = index % blocks * kTokens, end = std::min(begin + kTokens, rows);
    for (int64_t row = begin; row < end; ++row) body(index / blocks, row);
  });
}

}  // namespace

Angles anglesOf(const CacheForm& form, const CacheView& view, const RotaryPositions& positions, const Problem& problem,
                const CancelFlag& cancel) {
  Angles result;
  if (form.rotary.none()) return result;
  result.rows = std::max(view.appended, problem.queries);
  result.first = view.length - result.rows;
  result.pairs = form.rotary.pairs();
  result.perSequence = positions.perSequence;
  const int64_t sequences = positions.perSequence ? form.page.batch : 1;
  result.memory.resize(size_t(sequences * result.rows * 2 * result.pairs));
  forEachRow(sequences, result.rows, problem, cancel, [&](int64_t b, int64_t row) {
    const int64_t token = result.first + row;
    float* cosines = result.row(b, token);
    angles(form.rotary, positions.at(b, token, view.length), cosines, cosines + result.pairs);
  });
  return result;
}

void writeRows(const CacheForm& form, const CacheView& view, const NewRows& rows, const Angles& angles,
               const Problem& problem, const CancelFlag& cancel) {
  if (view.appended == 0) return;
  copyShared(form, view);
  const PageForm& page = form.page;
  const Kernels& kernels = kernelsFor(problem.isa);
  const Layout keyLayout = page.keyLayout(), valueLayout = page.valueLayout();
  const int64_t first = view.length - view.appended;
  const auto store = [&](void* out, const void* row, Dtype dtype, int64_t dim) {
    float wide[kMostComponents];
    if (dtype == page.dtype) {
      std::memcpy(out, row, size_t(dim * sizeOf(dtype)));
    } else {
      widen(kernels, wide, row, dtype, dim);
      narrow(out, wide, page.dtype, dim);
    }
  };
  forEachRow(page.batch, view.appended, problem, cancel, [&](int64_t b, int64_t r) {
    const int64_t token = first + r, inPage = token % kPageRows;
    const Page& to = *view.list->pages()[view.list->pageOf(token)];
    for (int64_t h = 0; h < page.heads; ++h) {
      const char* key = rowOf(rows.keys, rows.keyLayout, b, h, r);
      char* out = const_cast<char*>(rowOf(to.keys(), keyLayout, b, h, inPage));
      if (form.rotary.none()) {
        store(out, key, rows.keyLayout.dtype, page.dimQk);
      } else {
        float turned[kMostComponents];
        widen(kernels, turned, key, rows.keyLayout.dtype, page.dimQk);
        turn(form.rotary, angles.row(b, token), turned);
        narrow(out, turned, page.dtype, page.dimQk);
      }
      if (page.sharedValues) continue;
      const char* value = rowOf(rows.values, rows.valueLayout, b, h, r);
      store(const_cast<char*>(rowOf(to.values(), valueLayout, b, h, inPage)), value, rows.valueLayout.dtype, page.dimV);
    }
  });
}

void turnQueries(const CacheForm& form, int64_t length, const Problem& problem, const void* queries,
                 const Layout& layout, const Angles& angles, float* turned, const CancelFlag& cancel) {
  const int64_t dim = problem.dimQk, heads = problem.headsQ, count = problem.queries;
  const Kernels& kernels = kernelsFor(problem.isa);
  forEachRow(form.page.batch, count, problem, cancel, [&](int64_t b, int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      float* row = turned + ((b * heads + h) * count + r) * dim;
      widen(kernels, row, rowOf(queries, layout, b, h, r), layout.dtype, dim);
      turn(form.rotary, angles.row(b, length - count + r), row);
    }
  });
}

}  // namespace fused_attention
