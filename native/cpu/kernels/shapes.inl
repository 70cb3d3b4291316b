// The shapes of a target's register tiles, and how a tile walks over them.
#pragma once

#include "../kernels.h"
#include "../simd.h"

namespace fused_attention {
namespace {

/// Vectors in the widest group of queries.
constexpr int kVectors = 3;

/// Sequences of so many rows at most are done with components across lanes (few_queries.inl).
constexpr int kFewQueries = kWidth / 2;

/// Rows of a register tile `vectors` wide: as many accumulators as fit beside the panel's vectors and one broadcast.
constexpr int rowsFor(int vectors) {
  return kRegisters == 32 ? (vectors == 1 ? 12 : 8) : (vectors == 1 ? 10 : vectors == 2 ? 6 : 4);
}

/// Rows of the next register tile out of `left`: what is left at the end is shared by two, as a tile of a single row
/// waits for its own additions.
SIMD int64_t nextRows(int64_t left, int most) { return left >= 2 * most ? most : left > most ? (left + 1) / 2 : left; }

/// Asks for memory that will be read soon, as nearly the same part at each step of a kernel as there can be: a memory
/// that is asked for too much at first stands idle at last.
class Prefetch {
 public:
  SIMD Prefetch(const Ahead& ahead, int64_t steps)
      : ahead_(ahead),
        steps_(steps),
        each_(steps > 0 ? ahead.count / steps : 0),
        rest_(steps > 0 ? ahead.count % steps : 0) {}

  SIMD void step() {
    int64_t end = next_ + each_;
    owed_ += rest_;
    if (owed_ >= steps_) {
      owed_ -= steps_;
      ++end;
    }
    for (; next_ < end; ++next_) {
      const char* row = static_cast<const char*>(ahead_.rows[next_]);
      for (int64_t at = 0; at < ahead_.bytes; at += 64) __builtin_prefetch(row + at, 0, 2);
    }
  }

 private:
  const Ahead& ahead_;
  int64_t steps_, each_, rest_, owed_ = 0, next_ = 0;
};

}  // namespace
}  // namespace fused_attention
