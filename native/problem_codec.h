// The flat form in which lib/problem.ts hands a call over, decoded and checked. Nothing that passes here can make a
// backend read or write outside the buffers that came with it, whatever the numbers were.
//
// A call is one Float64Array and a list of buffers. The numbers, in order:
//   version (1), isa, threads, batch, headsQ, headsKv, queries, keys, dimQk, dimV, scale, softcap, align, lengths,
//   flags (1 lse, 2 entropy, 4 rowMax, 8 partial, 16 sinks, 32 bias),
//   query, key, value, output: each dtype, offset, batch, head, row                      (strides in elements)
//   band: low, high (-Infinity, +Infinity: unbounded)
//   bias, only with its flag: dtype, offset, batch, head, row, column
//   number of masks; each: dtype (3), offset, batch, head, row, column
// The buffers, in order (null where the call has none):
//   query, key, value, output, lse, entropy, rowMax, partialMax, partialSum, sinks, bias, lengthsQ, lengthsKv, masks...
// lengthsQ and lengthsKv are Float64Arrays owned by the call. A view's own start is the buffer's start.
#pragma once

#include <cstddef>
#include <vector>

#include "problem.h"

namespace fused_attention {

struct Buffer {
  void* data = nullptr;
  size_t bytes = 0;
};

struct Call {
  Problem problem;
  Pointers pointers;
};

inline constexpr int kCodecVersion = 1;

/// Problem alone, for `explain`; pointers.lengths* are set if buffers has them.
Problem decodeProblem(const double* numbers, size_t count);

/// Problem with addresses, every extent checked against its buffer. Throws CodedError.
Call decodeCall(const double* numbers, size_t count, const std::vector<Buffer>& buffers);

/// mergePartials. The numbers: version (1), batch, headsQ, queries, dimV, sinks (0 or 1), number of parts; each part: kind
/// (0 softmax partial, 1 finished { output, lse }). The buffers: output, lse, sinks or null, then three a part:
/// o, m, l - or output, lse, null. Everything is contiguous float32: o and output [B, Hq, Nq, dimV], the rest [B, Hq, Nq].
struct MergePart {
  enum class Kind : uint8_t { softmax = 0, finished = 1 } kind = Kind::softmax;
  const float* o = nullptr;
  const float* m = nullptr;  // lse when finished
  const float* l = nullptr;  // null when finished
};

struct MergeCall {
  int64_t batch = 0, headsQ = 0, queries = 0, dimV = 0;
  float* output = nullptr;
  float* lse = nullptr;
  const float* sinks = nullptr;
  std::vector<MergePart> parts;
};

MergeCall decodeMerge(const double* numbers, size_t count, const std::vector<Buffer>& buffers);

}  // namespace fused_attention
