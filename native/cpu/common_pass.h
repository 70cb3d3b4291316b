// Keys that several sequences share, read once for all of them (ChunkAttention, Ye et al. 2024; cascade inference,
// FlashInfer, Ye et al. 2025): a pass of its own has the queries of all owners in its lanes, and leaves partials that
// join those of each sequence's other keys.
#pragma once

#include <string>
#include <vector>

#include "chunk_tree.h"
#include "forward.h"
#include "query_block.h"

namespace fused_attention {

/// The groups of sequences whose common keys are read once; the firstKey of their sequences is set to the end of them.
/// Where declared ones are not, `apart` says why. Throws CodedError where owners have other pages for them.
std::vector<CommonGroup> shareableKeys(const Problem& problem, const PageLists& pages,
                                       std::vector<SequencePlan>& sequences, std::string& apart);

/// The problem of the pass over common keys: partials of every query row in the order of the call's statistics.
Problem commonProblem(const Problem& problem);

/// Rows of the statistics of a problem.
int64_t statisticsOf(const Problem& problem);

/// state = state merged with what the pass over common keys left for its queries.
void joinCommon(const CpuPlan& plan, const QueryBlock& queries, const CommonPartials& partials, BlockState& state);

}  // namespace fused_attention
