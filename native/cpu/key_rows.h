// A segment of keys or values, and float32 rows of a tile of it: in place when stored as float32, else converted.
#pragma once

#include "../tiles/visibility.h"
#include "kernels.h"

namespace fused_attention {

/// Rows of one key/value head of one sequence, at an affine stride.
struct Segment {
  const char* base = nullptr;  // row 0
  int64_t rowBytes = 0;
  Dtype dtype = Dtype::float32;
  int64_t dim = 0;

  static Segment of(const Layout& layout, const void* data, const Sequence& sequence, int64_t head, int64_t dim) {
    const int64_t size = sizeOf(layout.dtype);
    const int64_t offset =
        layout.offset + sequence.batch * layout.batch + head * layout.head + sequence.rowKv * layout.row;
    return {static_cast<const char*>(data) + offset * size, layout.row * size, layout.dtype, dim};
  }

  const char* row(int64_t index) const { return base + index * rowBytes; }
};

/// rows[k] = float32 row of key range.begin + k. `scratch` holds range * dim floats when the segment is of a half type.
inline void tileRows(const Kernels& kernels, const Segment& segment, Range range, float* scratch, const float** rows) {
  for (int64_t key = range.begin; key < range.end; ++key) {
    const char* row = segment.row(key);
    float* converted = scratch + (key - range.begin) * segment.dim;
    if (segment.dtype != Dtype::float32) kernels.convertRow(converted, row, segment.dtype, segment.dim);
    rows[key - range.begin] = segment.dtype == Dtype::float32 ? reinterpret_cast<const float*>(row) : converted;
  }
}

}  // namespace fused_attention
