#include "results.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numbers>

namespace fused_attention {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
}

Denominator denominatorOf(float reference, float sum, const float* sink, bool lse) {
  Denominator result;
  if (!sink || *sink == -kInfinity) {
    result.value = sum;
    if (!lse) return result;
    const double above = std::log2(double(sum));
    result.lse = sum == 0 ? -kInfinity : (double(reference) + above) * std::numbers::ln2;
    result.above = above * std::numbers::ln2;
    return result;
  }
  const double logit = double(*sink) * std::numbers::log2e;
  if (sum == 0) return {0, 1, double(*sink)};
  // The sink may raise the reference: again an integer, so that the numerator is rescaled exactly.
  const double common = std::max(double(reference), std::ceil(logit));
  result.factor = float(std::exp2(double(reference) - common));
  result.value = float(double(sum) * std::exp2(double(reference) - common) + std::exp2(logit - common));
  const double above = std::log2(double(sum) * std::exp2(double(reference) - common) + std::exp2(logit - common));
  result.lse = (common + above) * std::numbers::ln2;
  result.above = (common - double(reference) + above) * std::numbers::ln2;
  return result;
}

namespace {

/// What weights that go by their own scores are to be divided by: what was asked for, and the base-2 units of relu.
float divisorOf(const Problem& problem, const Sequence& sequence) {
  const Normalizer& n = problem.normalizer;
  const double divisor = n.byKeys ? double(keyPositions(problem, sequence)) : n.number;
  switch (n.kind) {
    case Normalizer::Kind::relu: return float(divisor * std::numbers::log2e);
    case Normalizer::Kind::squaredRelu: return float(divisor * std::numbers::log2e * std::numbers::log2e);
    default: return 1;
  }
}

/// What a group's outputs are to be multiplied by and divided by; writes what there is beside the output.
void writeLanes(const CpuPlan& plan, const QueryBlock& queries, int64_t g, const SoftmaxState& softmax,
                const Pointers& pointers, float* factors, float* denominators) {
  const Problem& problem = plan.problem();
  const Lanes& lanes = queries.lanes(g);
  for (int t = 0; t < lanes.count; ++t) {
    const int64_t index = queries.statistic(g, t);
    const float reference = softmax.reference[t], sum = softmax.sum[t];
    if (problem.partial) {
      pointers.partialMax[index] = sum == 0 ? -float(kInfinity) : reference;
      pointers.partialSum[index] = sum;
      denominators[t] = 1;
    } else {
      const Denominator d = denominatorOf(reference, sum, problem.hasSinks ? pointers.sinks + lanes.head[t] : nullptr,
                                          problem.lse || problem.entropy);
      factors[t] = d.factor;
      denominators[t] = d.value;
      if (problem.lse) pointers.lse[index] = float(d.lse);
      // -sum p ln p with p = 2^(s - reference) / sum; a sink takes its own share of the weight but is no key.
      if (problem.entropy) {
        const double share = double(sum) * d.factor / d.value;
        const double mean = double(softmax.moment[t]) / sum * std::numbers::ln2;
        const double entropy = sum == 0 ? 0 : share * (d.above - mean);
        pointers.entropy[index] = float(entropy);
      }
    }
    if (problem.rowMax) pointers.rowMax[index] = float(double(softmax.maximum[t]) * std::numbers::ln2);
  }
}

}  // namespace

void writeResults(const CpuPlan& plan, const QueryBlock& queries, const BlockState& state, const Pointers& pointers) {
  const Problem& problem = plan.problem();
  const Kernels& kernels = plan.kernels();
  const bool outputAlone = !(problem.partial || problem.lse || problem.entropy || problem.rowMax || problem.hasSinks);
  for (int64_t g = 0; g < queries.groups(); ++g) {
    const SoftmaxState softmax = state.softmax(g);
    const int count = queries.lanes(g).count;
    float factors[QueryBlock::kMaxLanes], denominators[QueryBlock::kMaxLanes];
    std::fill_n(factors, count, 1.0f);
    // Lanes that are only padding are computed with the others.
    std::fill(factors + count, factors + queries.padded()[g], 0.0f);
    std::fill(denominators + count, denominators + queries.padded()[g], 0.0f);
    if (!problem.normalizer.softmax() && !problem.partial) {  // a common pass is partial whatever the weights
      std::fill_n(denominators, count, divisorOf(problem, queries.sequence()));
    } else if (outputAlone) {
      std::copy_n(softmax.sum, count, denominators);
    } else {
      writeLanes(plan, queries, g, softmax, pointers, factors, denominators);
    }
    const void* rows[QueryBlock::kMaxLanes];
    queries.rowsOf(problem.output, pointers.output, g, rows);
    void* const* const to = const_cast<void* const*>(rows);
    if (queries.few()) {
      kernels.fewFinish(state.output(g), problem.dimV, factors, denominators, to, count, problem.output.dtype);
    } else {
      kernels.finish(state.output(g), queries.padded()[g], problem.dimV, factors, denominators, to, count,
                     problem.output.dtype);
    }
  }
}

void writeEmptyRows(const Problem& problem, int64_t batch, int64_t head, Range rows, const Pointers& pointers) {
  const int64_t size = sizeOf(problem.output.dtype);
  const int64_t first = (batch * problem.headsQ + head) * problem.queries;
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const int64_t element =
        problem.output.offset + batch * problem.output.batch + head * problem.output.head + row * problem.output.row;
    std::memset(static_cast<char*>(pointers.output) + element * size, 0, size_t(problem.dimV * size));
    const float empty = -float(kInfinity);
    if (problem.lse) pointers.lse[first + row] = empty;
    if (problem.entropy) pointers.entropy[first + row] = 0;
    if (problem.rowMax) pointers.rowMax[first + row] = empty;
    if (problem.partial) {
      pointers.partialMax[first + row] = empty;
      pointers.partialSum[first + row] = 0;
    }
  }
}

}  // namespace fused_attention
