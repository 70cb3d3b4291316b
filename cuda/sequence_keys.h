// What the rows of a sequence see, as the kernels take it: of each row one range of keys, or one rule for all.
#pragma once

#include <optional>
#include <vector>

#include "../native/problem.h"
#include "kernels/forward_parameters.h"

namespace fused_attention::cuda {

/// Row r sees the keys from r + begin on, before r + end.
struct MovingKeys {
  int32_t begin, end;
};

struct SequenceKeys {
  std::optional<MovingKeys> moving;
  std::vector<KeyRange> rows;  // of each row, where it's no rule; empty where it sees none

  /// Of a sequence with so many keys.
  KeyRange of(int64_t row, int64_t keys) const;
  /// From the first key that any of the rows sees to the last.
  KeyRange of(int64_t firstRow, int64_t endRow, int64_t keys) const;
};

/// All keys, for every row.
SequenceKeys allKeys(const Sequence& sequence);

/// Nothing where it is not known that each row sees one range, or where keys are left unseen between those of rows in a
/// block of `blockQueries`. Of a mask that is a program, and the same for all heads.
std::optional<SequenceKeys> keysOf(const Problem& problem, const Sequence& sequence, int blockQueries);

}  // namespace fused_attention::cuda
