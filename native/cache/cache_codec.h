// What lib/kv-cache.ts hands over, decoded and checked: the form of a cache, and a step's call over the rows of one
// cache, or of several.
//
// The numbers of a form: version (1), batch, heads, dimQk, dimV, dtype, flags (1 values shared with keys, 2 rotary
// pairs interleaved), window (-1: none), pinned, first rotary component, number of frequencies, frequencies. Positions
// are an Int32Array: none, one a row appended (a query, where nothing is), or so many for each sequence. What several
// caches share is an Int32Array: for each cache which prefix it has, or -1, then the tokens of each prefix.
#pragma once

#include <span>

#include "append.h"
#include "group.h"

namespace fused_attention {

/// Throws CodedError.
CacheForm decodeCacheForm(const double* numbers, size_t count);

/// A step, with all that it reads and writes.
struct CacheCall {
  CallOverHeld call;
  NewRows rows;
  RotaryPositions positions;
  std::shared_ptr<const GroupPages> group;  // of several caches
};

/// What several caches share. Throws CodedError.
SharedRows decodeShared(const Buffer& shared, size_t caches);

/// The numbers and buffers are those of an attention call (problem_codec.h), whose key and value are what is appended.
/// `steps` are those of the caches, one or several of `form`; each of several is a sequence of the call.
CacheCall decodeCacheCall(const CacheForm& form, std::span<const KvCache::Step> steps, const SharedRows& shared,
                          const double* numbers, size_t count, const std::vector<Buffer>& buffers,
                          const Programs& programs, const Buffer& positions);

/// Appends, then attends. Blocks; uses the shared pool. Throws what Backend::plan and run throw.
void computeStep(const CacheForm& form, std::span<const KvCache::Step> steps, const CacheCall& call,
                 const CancelFlag& cancel);

}  // namespace fused_attention
