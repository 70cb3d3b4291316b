// Memory of calls in flight, in the whole process: what one call writes, no other may touch before it has settled.
#pragma once

#include <vector>

#include "problem_codec.h"

namespace fused_attention {

/// Ranges held for one call; given back by the destructor or `release`.
class Lease {
 public:
  Lease() = default;
  /// Throws CodedError ERR_BUFFER_IN_USE naming the first buffer that a call in flight stands in the way of: a written
  /// range may overlap nothing in flight, a read one nothing that is being written. Then nothing is held.
  Lease(std::vector<MemoryRange> ranges);
  Lease(Lease&& other) noexcept : ranges_(std::move(other.ranges_)) { other.ranges_.clear(); }
  Lease& operator=(Lease&& other) noexcept;
  ~Lease() { release(); }

  void release() noexcept;

 private:
  std::vector<MemoryRange> ranges_;
};

}  // namespace fused_attention
