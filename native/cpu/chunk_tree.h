// Combines the partials of chunks in the fixed binary tree over their aligned indices, as they come, from left to
// right.
//
// Chunks that a block of queries does not see may be left out: combining with an empty partial changes no bit.
#pragma once

#include <cstdint>

#include "kernels.h"

namespace fused_attention {

/// Output panels and softmax states of a block of groups, one group after the other.
class BlockState {
 public:
  BlockState() = default;
  BlockState(float* memory, int64_t dimV, int maxLanes) : memory_(memory), dimV_(dimV), maxLanes_(maxLanes) {}

  float* output(int64_t group) const { return memory_ + group * floats(); }
  SoftmaxState softmax(int64_t group) const {
    float* p = output(group) + dimV_ * maxLanes_;
    return {p, p + maxLanes_, p + 2 * maxLanes_, p + 3 * maxLanes_};
  }
  /// No key seen yet, by the first `lanes` lanes, whose outputs are so many floats.
  void clear(int64_t group, int64_t floats, int lanes) const;
  void clear(int64_t group) const { clear(group, dimV_ * maxLanes_, maxLanes_); }
  /// The same in two parts: what softmax needs, and the output, which the first tile of keys may overwrite instead.
  void clearSoftmax(int64_t group, int lanes) const;
  void clearOutput(int64_t group, int64_t floats) const;

 private:
  int64_t floats() const { return (dimV_ + 4) * maxLanes_; }

  // Not set before there is memory: a task has room for the states of a deep tree, and most tasks use two.
  float* memory_;
  int64_t dimV_;
  int maxLanes_;
};

class ChunkTree {
 public:
  static constexpr int kMaxDepth = 64;

  using Merge = decltype(Kernels::merge);

  /// `states` are the block states to work in, one more than the tree has levels; `merge` combines two groups, and
  /// lanes[g] is what it takes as the lanes of group g.
  ChunkTree(Merge merge, BlockState* states, const int* lanes, int64_t groups, int64_t dimV)
      : merge_(merge), states_(states), lanes_(lanes), groups_(groups), dimV_(dimV) {}

  /// Where the next chunk's partial is to be written.
  BlockState& next() { return states_[count_]; }
  /// Takes what was written there as the partial of chunk `index`; indices ascend.
  void push(int64_t index);
  /// The partial of everything pushed; an empty one when nothing was.
  BlockState& collapse();

 private:
  void mergeTop();

  Merge merge_;
  BlockState* states_;
  const int* lanes_;
  int64_t groups_, dimV_;
  int count_ = 0;
  int64_t indices_[kMaxDepth];
};

}  // namespace fused_attention
