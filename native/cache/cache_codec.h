// What lib/kv-cache.ts hands over, decoded and checked: the form of a cache, and a step's call over its rows.
//
// The numbers of a form: version (1), batch, heads, dimQk, dimV, dtype, flags (1 values shared with keys, 2 rotary
// pairs interleaved), window (-1: none), pinned, first rotary component, number of frequencies, frequencies. Positions
// are an Int32Array: none, one a row appended (a query, where nothing is), or so many for each sequence.
#pragma once

#include "append.h"

namespace fused_attention {

/// Throws CodedError.
CacheForm decodeCacheForm(const double* numbers, size_t count);

/// A step, with all that it reads and writes.
struct CacheCall {
  CallOverHeld call;
  NewRows rows;
  RotaryPositions positions;
};

/// The numbers and buffers are those of an attention call (problem_codec.h), whose key and value are what is appended.
CacheCall decodeCacheCall(const CacheForm& form, const CacheView& view, const double* numbers, size_t count,
                          const std::vector<Buffer>& buffers, const Programs& programs, const Buffer& positions);

/// Appends, then attends. Blocks; uses the shared pool. Throws what Backend::plan and run throw.
void computeStep(const CacheForm& form, const CacheView& view, const CacheCall& step, const CancelFlag& cancel);

}  // namespace fused_attention
