// A segment of keys or values, and float32 rows of a tile of it: in place when stored as float32, else converted.
#pragma once

#include <algorithm>
#include <span>

#include "../tiles/visibility.h"
#include "kernels.h"

namespace fused_attention {

/// Rows of one key/value head of one sequence: at an affine stride, all of them or those of a page.
struct Segment {
  const char* base = nullptr;          // row 0; in pages: null
  const void* const* pages = nullptr;  // of the sequence
  const int32_t* numbers = nullptr;    // the same as numbers of pages, of which number 0 has its row 0 at `base`
  int64_t inPage = 0;                  // bytes from a page's start to its row 0
  int64_t pageBytes = 0;               // from a page's row 0 to the next page's
  int64_t pageRows = 0;
  Gap gap;
  int64_t rowBytes = 0;
  Dtype dtype = Dtype::float32;
  int64_t dim = 0;

  static Segment of(const Problem& problem, const Layout& layout, const void* data, const void* const* pages,
                    const int32_t* numbers, const Sequence& sequence, int64_t head, int64_t dim) {
    const int64_t size = sizeOf(layout.dtype);
    if (problem.paging.numbered()) {
      Segment segment;
      // Null: there are no pages.
      segment.base = data ? static_cast<const char*>(data) + (layout.offset + head * layout.head) * size : nullptr;
      segment.numbers = numbers + sequence.table * problem.paging.table;
      segment.pageBytes = layout.batch * size;
      segment.pageRows = problem.paging.rows;
      segment.rowBytes = layout.row * size;
      segment.dtype = layout.dtype;
      segment.dim = dim;
      return segment;
    }
    const int64_t offset =
        layout.offset + sequence.batch * layout.batch + head * layout.head + sequence.rowKv * layout.row;
    Segment segment;
    segment.rowBytes = layout.row * size;
    segment.dtype = layout.dtype;
    segment.dim = dim;
    if (problem.paging.rows == 0) {
      segment.base = data ? static_cast<const char*>(data) + offset * size : nullptr;  // null: there are no rows
    } else {
      segment.pages = pages + sequence.table * problem.paging.table;
      segment.inPage = offset * size;
      segment.pageRows = problem.paging.rows;
      segment.gap = problem.gap;
    }
    return segment;
  }

  /// Whether the rows of both begin at the same places.
  bool sameRows(const Segment& other) const {
    return base == other.base && pages == other.pages && pageBytes == other.pageBytes && inPage == other.inPage &&
           rowBytes == other.rowBytes && dtype == other.dtype;
  }

  const char* row(int64_t index) const {
    if (numbers) return page(index / pageRows) + index % pageRows * rowBytes;
    return pages ? rowInPage(index).row : base + index * rowBytes;
  }

  /// Whether all rows lie at one stride.
  bool affine() const { return !numbers && !pages; }

  /// Whether there is anything between rows.
  bool scattered() const { return rowBytes != dim * sizeOf(dtype); }

  /// Calls visit(number of the first row, address of the first row, rows) for stretches of `range` at an affine stride.
  template <class Visit>
  void stretches(Range range, const Visit& visit) const {
    if (numbers) return pageByPage(range, visit);
    if (!pages) return visit(range.begin, base + range.begin * rowBytes, range.end - range.begin);
    for (int64_t index = range.begin; index < range.end;) {
      const Place place = rowInPage(index);
      const int64_t end = std::min(range.end, index + place.rows);
      visit(index, place.row, end - index);
      index = end;
    }
  }

  /// The address of row 0 of the sequence's page `n`.
  const char* page(int64_t n) const { return base + numbers[n] * pageBytes; }

 private:
  /// One division for all of them.
  template <class Visit>
  void pageByPage(Range range, const Visit& visit) const {
    if (range.empty()) return;
    int64_t n = range.begin / pageRows, at = range.begin % pageRows;
    for (int64_t index = range.begin; index < range.end; ++n, at = 0) {
      const int64_t count = std::min(pageRows - at, range.end - index);
      visit(index, page(n) + at * rowBytes, count);
      index += count;
    }
  }

  struct Place {
    const char* row;
    int64_t rows;  // from here on to the end of the page, or to the gap
  };
  Place rowInPage(int64_t index) const {
    const bool behind = index >= gap.begin;
    const int64_t slot = index + (behind ? gap.rows : 0), page = slot / pageRows, at = slot % pageRows;
    const char* row = static_cast<const char*>(pages[page]) + inPage + at * rowBytes;
    return {row, behind ? pageRows - at : std::min(pageRows - at, gap.begin - index)};
  }
};

/// rows[k] = row of key range.begin + k, as it is stored.
inline void storedRows(const Segment& segment, Range range, const void** rows) {
  if (segment.numbers && segment.pageRows == 1) {
    for (int64_t k = range.begin; k < range.end; ++k) rows[k - range.begin] = segment.page(k);
    return;
  }
  segment.stretches(range, [&](int64_t first, const char* row, int64_t count) {
    for (int64_t i = 0; i < count; ++i) rows[first - range.begin + i] = row + i * segment.rowBytes;
  });
}

/// The same for columns that may be apart: rows[n] = row of the n-th.
inline void storedRows(const Segment& segment, const Columns& columns, const void** rows) {
  if (columns.step == 1) return storedRows(segment, static_cast<const Range&>(columns), rows);
  for (int64_t key = columns.begin; key < columns.end; key += columns.step) *rows++ = segment.row(key);
}

/// The same for all pieces of a tile, one after the other; returns their number of keys.
inline int64_t storedRows(const Segment& segment, std::span<const Columns> pieces, const void** rows) {
  int64_t at = 0;
  if (!segment.affine()) {
    for (const Columns& piece : pieces) {
      storedRows(segment, piece, rows + at);
      at += piece.count();
    }
    return at;
  }
  for (const Columns& piece : pieces) {
    for (int64_t key = piece.begin; key < piece.end; key += piece.step) {
      rows[at++] = segment.base + key * segment.rowBytes;
    }
  }
  return at;
}

/// Floats from one row of a scratch tile to the next: an odd number of cache lines, so that a column of rows does not
/// crowd into a few sets of the first-level cache.
inline int64_t scratchStride(int64_t dim) {
  constexpr int64_t line = 16;
  return ((dim + line - 1) / line | 1) * line;
}

/// Rows as they are stored become float32 ones in `scratch`, a row a key.
inline void floatRows(const Kernels& kernels, const Segment& segment, int64_t count, float* scratch,
                      const void** rows) {
  const int64_t stride = scratchStride(segment.dim);
  for (int64_t i = 0; i < count; ++i) {
    kernels.convertRow(scratch + i * stride, rows[i], segment.dtype, segment.dim);
    rows[i] = scratch + i * stride;
  }
}

/// rows[k] = row of key range.begin + k as float32: in place where they are stored so and `copy` does not ask for a
/// tile of their own, which pays where many queries go over it. `scratch` has a row a key.
inline void tileRows(const Kernels& kernels, const Segment& segment, Range range, bool copy, float* scratch,
                     const void** rows) {
  storedRows(segment, range, rows);
  if (segment.dtype != Dtype::float32 || copy) floatRows(kernels, segment, range.end - range.begin, scratch, rows);
}

}  // namespace fused_attention
