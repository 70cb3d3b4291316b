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

/// One thread's memory for a token.
struct Scratch {
  Scratch(const Rotary& rotary, int64_t dim) : row(size_t(dim)), cosines(rotary.frequencies.size()), sines(cosines) {}
  std::vector<float> row, cosines, sines;
};

void copyShared(const CacheForm& form, const CacheView& view) {
  if (view.copyTo) view.copyTo->copyRows(form.page, *view.copyFrom, view.copyRows);
}

}  // namespace

void writeRows(const CacheForm& form, const CacheView& view, const NewRows& rows, const RotaryPositions& positions,
               const Problem& problem, const CancelFlag& cancel) {
  if (view.appended == 0) return;
  copyShared(form, view);
  const PageForm& page = form.page;
  const Kernels& kernels = kernelsFor(problem.isa);
  const Layout keyLayout = page.keyLayout(), valueLayout = page.valueLayout();
  const int64_t blocks = (view.appended + kTokens - 1) / kTokens, first = view.length - view.appended;
  const auto store = [&](void* out, const void* row, Dtype dtype, int64_t dim, float* scratch) {
    if (dtype == page.dtype) {
      std::memcpy(out, row, size_t(dim * sizeOf(dtype)));
    } else {
      widen(kernels, scratch, row, dtype, dim);
      narrow(out, scratch, page.dtype, dim);
    }
  };
  Pool::shared().parallel(page.batch * blocks, problem.threads, [&](int64_t index, int) {
    if (cancel.raised()) throw Cancelled();
    const int64_t b = index / blocks, begin = index % blocks * kTokens;
    Scratch scratch(form.rotary, std::max(page.dimQk, page.dimV));
    for (int64_t r = begin; r < std::min(begin + kTokens, view.appended); ++r) {
      const int64_t place = first + r;
      const Page& to = *view.list->pages()[view.list->pageOf(place)];
      const int64_t inPage = place % kPageRows;
      if (!form.rotary.none()) {
        angles(form.rotary, positions.at(b, place, view.length), scratch.cosines.data(), scratch.sines.data());
      }
      for (int64_t h = 0; h < page.heads; ++h) {
        const char* key = rowOf(rows.keys, rows.keyLayout, b, h, r);
        char* out = const_cast<char*>(rowOf(to.keys(), keyLayout, b, h, inPage));
        if (form.rotary.none()) {
          store(out, key, rows.keyLayout.dtype, page.dimQk, scratch.row.data());
        } else {
          widen(kernels, scratch.row.data(), key, rows.keyLayout.dtype, page.dimQk);
          turn(form.rotary, scratch.cosines.data(), scratch.sines.data(), scratch.row.data());
          narrow(out, scratch.row.data(), page.dtype, page.dimQk);
        }
        if (page.sharedValues) continue;
        const char* value = rowOf(rows.values, rows.valueLayout, b, h, r);
        store(const_cast<char*>(rowOf(to.values(), valueLayout, b, h, inPage)), value, rows.valueLayout.dtype,
              page.dimV, scratch.row.data());
      }
    }
  });
}

std::vector<float> turnedQueries(const CacheForm& form, int64_t length, const Problem& problem, const void* queries,
                                 const RotaryPositions& positions, const CancelFlag& cancel) {
  const int64_t dim = problem.dimQk, heads = problem.headsQ, count = problem.queries;
  std::vector<float> turned(size_t(problem.batch * heads * count * dim));
  const Kernels& kernels = kernelsFor(problem.isa);
  const int64_t blocks = (count + kTokens - 1) / kTokens;
  Pool::shared().parallel(problem.batch * blocks, problem.threads, [&](int64_t index, int) {
    if (cancel.raised()) throw Cancelled();
    const int64_t b = index / blocks, begin = index % blocks * kTokens;
    Scratch scratch(form.rotary, 0);
    for (int64_t r = begin; r < std::min(begin + kTokens, count); ++r) {
      const int64_t position = positions.at(b, length - count + r, length);
      angles(form.rotary, position, scratch.cosines.data(), scratch.sines.data());
      for (int64_t h = 0; h < heads; ++h) {
        float* row = turned.data() + ((b * heads + h) * count + r) * dim;
        widen(kernels, row, rowOf(queries, problem.query, b, h, r), problem.query.dtype, dim);
        turn(form.rotary, scratch.cosines.data(), scratch.sines.data(), row);
      }
    }
  });
  return turned;
}

}  // namespace fused_attention
