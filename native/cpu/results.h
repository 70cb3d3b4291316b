// From a block's final partial to what the caller asked for: outputs, or partials, and statistics.
#pragma once

#include "chunk_tree.h"
#include "query_block.h"

namespace fused_attention {

void writeResults(const CpuPlan& plan, const QueryBlock& queries, const BlockState& state, const Pointers& pointers);

/// Results of rows that no sequence has (past a padded length): output 0, lse and row maximum -infinity.
void writeEmptyRows(const Problem& problem, int64_t batch, int64_t head, Range rows, const Pointers& pointers);

/// The denominator of one query and what its numerator is to be multiplied by, with the sink's logit if there is one.
struct Denominator {
  float factor = 1;  // a power of two, or 0
  float value = 0;   // 0: no key seen and no sink
  double lse = 0;    // natural; where it was asked for
  double above = 0;  // the same less the reference, which may be so large that nothing of this is left in their sum
};
Denominator denominatorOf(float reference, float sum, const float* sink, bool lse);

}  // namespace fused_attention
