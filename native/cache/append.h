// The rows that a step appends, turned and rounded to the cache's type, and its queries, turned.
#pragma once

#include <vector>

#include "../backend.h"
#include "kv_cache.h"

namespace fused_attention {

/// New rows as the caller has them, [batch, heads, rows, dim]; null where there are none.
struct NewRows {
  const void* keys = nullptr;
  const void* values = nullptr;
  Layout keyLayout, valueLayout;
};

/// Positions that rotary embedding goes by. Those of appended rows, and those of queries.
struct RotaryPositions {
  std::vector<int32_t> given;  // empty: a row's place in the cache; else [rows] or [batch, rows]
  int64_t rows = 0;            // of a sequence, the last ones of the cache
  bool perSequence = false;

  /// Of the row at `place` in the cache, which has `length` rows.
  int64_t at(int64_t batch, int64_t place, int64_t length) const {
    const int64_t row = place - (length - rows);
    if (given.empty() || row < 0) return place;
    return given[size_t((perSequence ? batch * rows : 0) + row)];
  }
  /// Those of one of several caches, which have a sequence each.
  RotaryPositions ofCache(int64_t n) const {
    if (!perSequence) return *this;
    return {{given.begin() + n * rows, given.begin() + (n + 1) * rows}, rows, false};
  }
};

/// Angles of the tokens that a step appends or queries for; none without rotary embedding. As the functions below: on
/// the threads of the problem; blocks; uses the shared pool; throws Cancelled.
Angles anglesOf(const CacheForm& form, const CacheView& view, const RotaryPositions& positions, const Problem& problem,
                const CancelFlag& cancel);

/// Writes the appended rows of a step.
void writeRows(const CacheForm& form, const CacheView& view, const NewRows& rows, const Angles& angles,
               const Problem& problem, const CancelFlag& cancel);

/// The queries of a cache's sequences, turned: float32 [batch, headsQ, queries, dimQk]. The last query is that of the
/// last row.
void turnQueries(const CacheForm& form, int64_t length, const Problem& problem, const void* queries,
                 const Layout& layout, const Angles& angles, float* turned, const CancelFlag& cancel);

}  // namespace fused_attention
