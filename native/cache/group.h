// Several caches as the sequences of one call. Forks share pages: where the caller says which rows these are, they are
// read once for all (native/cpu/common_pass.h).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "kv_cache.h"

namespace fused_attention {

/// Steps of caches of one form, none with a window, begun together. Throws what KvCache::begin throws, the cache named
/// by its place, and CodedError ERR_INVALID_ARG_VALUE and ERR_UNSUPPORTED for caches that do not go together; then
/// nothing has changed.
std::vector<KvCache::Step> beginTogether(const std::vector<std::shared_ptr<KvCache>>& caches, int64_t rows,
                                         int64_t queries);

/// First rows that caches share: how many in each group of caches, and which group a cache is in, or -1.
struct SharedRows {
  std::vector<int64_t> rows;
  std::vector<int32_t> of;
};

/// The pages of the caches of a call, a table of addresses for each, and the rows that they have after it.
struct GroupPages {
  std::vector<const void*> keys, values;  // [cache][table]
  int64_t table = 0;
  std::vector<double> lengths;
  SharedRows shared;
};

/// Throws CodedError where rows that are said to be shared are not there, or lie in other pages.
std::shared_ptr<const GroupPages> pagesOf(std::span<const KvCache::Step> steps, SharedRows shared);

}  // namespace fused_attention
