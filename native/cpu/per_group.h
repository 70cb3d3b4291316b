// A value for each group of queries of a task. Those of groups that it does not have are not cleared: of a task of few
// queries over few keys that would be a tenth of its time.
#pragma once

#include <type_traits>

#include "query_block.h"

namespace fused_attention {

template <class T>
class PerGroup {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  PerGroup() {}  // not "= default", which clears

  T& operator[](int64_t group) { return values_[group]; }
  const T& operator[](int64_t group) const { return values_[group]; }

 private:
  union {
    T values_[QueryBlock::kMaxGroups];
  };
};

}  // namespace fused_attention
