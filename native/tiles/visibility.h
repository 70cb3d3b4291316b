// Which keys a box of queries sees, and which queries a box of keys: the only thing that kernels know of masks.
//
// `runs` answers for a box without touching a grid: sorted key ranges at granularity 1, each full (every query of the
// box sees every key of it) or partial (some may). `bits` tells a partial range pair by pair.
#pragma once

#include <cstdint>
#include <vector>

#include "../problem.h"
#include "../program/bounds.h"
#include "../range.h"

namespace fused_attention {

struct Run : Range {
  bool full = false;
};

/// The queries of a tile, one a lane: row of the sequence and query head.
struct Lanes {
  int count = 0;
  const int64_t* row = nullptr;
  const int64_t* head = nullptr;
};

class Visibility {
 public:
  /// `masks` are the addresses of problem.masks, or null where only runs are asked for. `unary` are the mask program's
  /// values for the sequence; made here when they are needed and not given.
  Visibility(const Problem& problem, const Sequence& sequence, const std::vector<const uint8_t*>* masks,
             std::shared_ptr<const UnaryValues> unary = nullptr);

  /// Appends the runs of keys inside `within` that some query of `rows` may see. Mask tensors are not read: what they
  /// touch is partial. For one query head, or for what all of them see.
  /// A partial stretch begins and ends with a key that is partial itself; inside it a few full or hidden keys may go
  /// unnoticed, more of them where the mask is mixed all over.
  void runs(Range rows, Range within, std::vector<Run>& out, int64_t head = Bounds::kAllHeads) const;

  /// The same with the roles exchanged: runs of queries inside `within` that may see some key of `keys`.
  void runsT(Range keys, Range within, std::vector<Run>& out, int64_t head = Bounds::kAllHeads) const;

  enum class Answer { none, some, all };

  /// words[key - keys.begin] gets bit t set where lane t sees the key. At most 64 lanes.
  Answer bits(const Lanes& lanes, Range keys, uint64_t* words) const;

  /// Exact number of visible pairs as far as it is known without mask tensors.
  double pairs() const;

 private:
  Range seenBy(int64_t row) const;
  bool withoutTensors() const;

  const Problem& problem_;
  const Sequence& sequence_;
  const std::vector<const uint8_t*>* masks_;
  int64_t queryStart_;
  std::shared_ptr<const UnaryValues> unary_;
};

}  // namespace fused_attention
