#include "device_bias.h"

#include <algorithm>

#include "../native/cpu/kernels.h"

namespace fused_attention::cuda {

namespace {

struct Extents {
  int64_t batches, heads, rows, columns;  // 1 where all have the same
};

Extents extentsOf(const Problem& p) {
  const auto once = [](int64_t stride, int64_t count) { return stride == 0 ? std::min<int64_t>(count, 1) : count; };
  return {once(p.bias.batch, p.batch), once(p.bias.head, p.headsQ), once(p.bias.row, p.queries),
          once(p.bias.column, p.keys)};
}

std::vector<float> valuesOf(const Problem& p, const void* data) {
  if (!p.hasBias) return {};
  const GridLayout& from = p.bias;
  const Extents extents = extentsOf(p);
  const Kernels& kernels = kernelsFor(p.isa);
  const auto at = [&](int64_t element) { return static_cast<const char*>(data) + element * sizeOf(from.dtype); };
  std::vector<float> values(size_t(extents.batches * extents.heads * extents.rows * extents.columns));
  float* to = values.data();
  for (int64_t b = 0; b < extents.batches; ++b) {
    for (int64_t h = 0; h < extents.heads; ++h) {
      for (int64_t row = 0; row < extents.rows; ++row, to += extents.columns) {
        const int64_t first = from.offset + b * from.batch + h * from.head + row * from.row;
        if (from.column == 1) {
          kernels.convertRow(to, at(first), from.dtype, extents.columns);
          continue;
        }
        for (int64_t column = 0; column < extents.columns; ++column) {
          kernels.convertRow(to + column, at(first + column * from.column), from.dtype, 1);
        }
      }
    }
  }
  return values;
}

}  // namespace

DeviceBias::DeviceBias(Stream& stream, const Problem& p, const void* data)
    : values_(valuesOf(p, data)), list_(stream, values_) {
  if (values_.empty()) return;
  const Extents extents = extentsOf(p);
  const auto stride = [](int64_t count, int64_t step) { return count == 1 ? 0 : step; };
  const int64_t row = extents.columns, head = row * extents.rows, batch = head * extents.heads;
  grid_ = {list_.address(), stride(extents.batches, batch), stride(extents.heads, head), stride(extents.rows, row),
           int32_t(stride(extents.columns, 1))};
}

}  // namespace fused_attention::cuda
