// Rows that a task reads next, so that the kernels at work can ask for them: memory that no one asked for in time is
// what small problems and few queries wait for.
#pragma once

#include <algorithm>

#include "key_rows.h"

namespace fused_attention {

class RowsAhead {
 public:
  RowsAhead() = default;
  /// `memory` has room for `most` rows; what is more is left out.
  RowsAhead(const void** memory, int64_t most) : rows_(memory), most_(most) {}

  void add(const void* const* rows, int64_t count, int64_t bytes) {
    const int64_t some = std::min(count, most_ - count_);
    if (some == 0) return;
    std::copy_n(rows, some, rows_ + count_);
    count_ += some;
    bytes_ = std::max(bytes_, bytes);
  }
  void add(const Segment& segment, Columns keys) {
    const int64_t count = std::min(keys.count(), most_ - count_);
    keys.end = std::min(keys.end, keys.begin + count * keys.step);
    storedRows(segment, keys, rows_ + count_);
    count_ += count;
    bytes_ = std::max(bytes_, segment.dim * sizeOf(segment.dtype));
  }

  /// Shares out what was added among `calls` calls of kernels.
  void share(int64_t calls) { calls_ = calls; }
  /// The same where what was added stands behind `count` rows from `rows` on, which the calls read one after the other:
  /// each asks for what lies `distance` rows further on.
  void share(int64_t calls, const void** rows, int64_t count, int64_t distance) {
    rows_ = rows;
    count_ += count;
    next_ = std::min(distance, count_);
    share(calls);
  }
  /// The part of the next call.
  Ahead next() {
    const int64_t part = calls_ > 0 ? (count_ - next_ + calls_ - 1) / calls_ : 0;
    --calls_;
    next_ += part;
    return {rows_ + next_ - part, part, bytes_};
  }

 private:
  const void** rows_ = nullptr;
  int64_t most_ = 0, count_ = 0, bytes_ = 0;
  int64_t next_ = 0, calls_ = 0;
};

}  // namespace fused_attention
