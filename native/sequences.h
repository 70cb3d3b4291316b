// The sequences of a batch, from its lengths.
#pragma once

#include <vector>

#include "problem.h"

namespace fused_attention {

/// Lengths as in Pointers. Throws CodedError where they are no lengths of the problem's tensors.
std::vector<Sequence> sequencesOf(const Problem& problem, const double* lengthsQ, const double* lengthsKv);

/// Sequences that have their keys before `end` in the same pages.
struct Sharers {
  int64_t end;
  std::vector<size_t> members;
};

/// Of what is declared to be shared, whole pages. Throws CodedError where a member has fewer tokens, or other pages.
std::vector<Sharers> sharersOf(const Problem& problem, const std::vector<Sequence>& sequences, const PageLists& pages);

/// Throws CodedError unless the tables have pages for the sequence's keys, all of them in the pool.
void requirePages(const Problem& problem, const Sequence& sequence, const PageLists& pages);

}  // namespace fused_attention
