// The sequences of a batch, from its lengths.
#pragma once

#include <vector>

#include "problem.h"

namespace fused_attention {

/// Lengths as in Pointers. Throws CodedError where they are no lengths of the problem's tensors.
std::vector<Sequence> sequencesOf(const Problem& problem, const double* lengthsQ, const double* lengthsKv);

/// Throws CodedError unless the tables have pages for the sequence's keys, all of them in the pool.
void requirePages(const Problem& problem, const Sequence& sequence, const PageLists& pages);

}  // namespace fused_attention
