// mergePartials: many partials of the same queries into one result, with the kernels' own combine.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <limits>
#include <numbers>

#include "../backend.h"
#include "../error.h"
#include "arena.h"
#include "chunk_tree.h"
#include "kernels.h"
#include "pool.h"
#include "results.h"

namespace fused_attention {

namespace {

constexpr int64_t kRowsPerTask = 64;

/// Loads one row of a part into lane `lane` of a block state. A finished { output, lse } is a partial with the integer
/// reference above its lse; a sum of weights is one with the reference and the denominator that all of them have.
void loadRow(const MergePart& part, int64_t row, int64_t dim, const BlockState& state, int lanes, int lane) {
  const SoftmaxState softmax = state.softmax(0);
  float reference = 0, sum = 1, factor = 1;
  if (part.kind == MergePart::Kind::softmax) {
    reference = part.m[row];
    sum = part.l[row];
  } else if (part.kind == MergePart::Kind::finished) {
    const double logSum = double(part.m[row]) * std::numbers::log2e;
    const bool seen = part.m[row] != -std::numeric_limits<float>::infinity();
    reference = float(std::ceil(logSum));
    sum = factor = seen ? float(std::exp2(logSum - double(reference))) : 0;
  }
  const bool empty = sum == 0;
  softmax.reference[lane] = empty ? -FLT_MAX : reference;
  softmax.sum[lane] = sum;
  softmax.moment[lane] = 0;
  softmax.maximum[lane] = 0;
  float* output = state.output(0) + lane;
  const float* o = part.o + row * dim;
  for (int64_t d = 0; d < dim; ++d) output[d * lanes] = empty ? 0 : o[d] * factor;
}

void mergeRows(const MergeCall& call, const Kernels& kernels, int64_t firstRow, int count) {
  const int width = kernels.width, lanes = (count + width - 1) / width * width;
  const int64_t floats = (call.dimV + 4) * lanes;
  // Parts combine like chunks: a balanced tree over their order.
  BlockState states[ChunkTree::kMaxDepth];
  const int depth = int(std::bit_width(call.parts.size())) + 1;
  Arena& arena = Arena::local(size_t(depth) * Arena::bytesFor<float>(size_t(floats)));
  for (int i = 0; i < depth; ++i) states[i] = BlockState(arena.take<float>(size_t(floats)), call.dimV, lanes);
  ChunkTree tree(kernels.merge, states, &lanes, 1, call.dimV);
  for (size_t i = 0; i < call.parts.size(); ++i) {
    tree.next().clear(0);
    for (int t = 0; t < count; ++t) loadRow(call.parts[i], firstRow + t, call.dimV, tree.next(), lanes, t);
    tree.push(int64_t(i));
  }

  const BlockState& merged = tree.collapse();
  const bool sums = call.parts[0].kind == MergePart::Kind::sum;
  const SoftmaxState softmax = merged.softmax(0);
  float factors[QueryBlock::kMaxLanes] = {}, denominators[QueryBlock::kMaxLanes] = {};
  void* rows[QueryBlock::kMaxLanes];
  for (int t = 0; t < count; ++t) {
    const int64_t row = firstRow + t, head = row / call.queries % call.headsQ;
    rows[t] = static_cast<char*>(call.output) + row * call.dimV * sizeOf(call.dtype);
    if (sums) {
      factors[t] = denominators[t] = 1;
      continue;
    }
    if (call.sum) {
      factors[t] = denominators[t] = 1;
      call.sum[row] = softmax.sum[t];
      call.lse[row] = softmax.sum[t] == 0 ? -std::numeric_limits<float>::infinity() : softmax.reference[t];
      continue;
    }
    const Denominator d = denominatorOf(softmax.reference[t], softmax.sum[t], call.sinks ? call.sinks + head : nullptr,
                                        call.lse != nullptr);
    factors[t] = d.factor;
    denominators[t] = d.value;
    if (call.lse) call.lse[row] = float(d.lse);
  }
  kernels.finish(merged.output(0), lanes, call.dimV, factors, denominators, rows, count, call.dtype);
}

}  // namespace

void mergeOnCpu(const MergeCall& call, int threads, const CancelFlag& cancel) {
  const Kernels& kernels = kernelsFor(Isa::automatic);
  const int64_t rows = call.batch * call.headsQ * call.queries;
  const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  Pool::shared().parallel(tasks, threads, [&](int64_t task, int) {
    if (cancel.raised()) throw Cancelled();
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t row = task * kRowsPerTask; row < end; row += kernels.maxLanes()) {
      mergeRows(call, kernels, row, int(std::min<int64_t>(kernels.maxLanes(), end - row)));
    }
  });
}

}  // namespace fused_attention
