#include "chunk_tree.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <limits>
#include <utility>

namespace fused_attention {

void BlockState::clear(int64_t group, int64_t floats, int lanes) const {
  clearSoftmax(group, lanes);
  clearOutput(group, floats);
}

void BlockState::clearOutput(int64_t group, int64_t floats) const { std::fill_n(output(group), floats, 0.0f); }

void BlockState::clearSoftmax(int64_t group, int lanes) const {
  const SoftmaxState state = softmax(group);
  std::fill_n(state.reference, lanes, -FLT_MAX);
  std::fill_n(state.sum, lanes, 0.0f);
  std::fill_n(state.moment, lanes, 0.0f);
  std::fill_n(state.maximum, lanes, -std::numeric_limits<float>::infinity());
}

void ChunkTree::mergeTop() {
  const BlockState& left = states_[count_ - 2];
  const BlockState& right = states_[count_ - 1];
  for (int64_t g = 0; g < groups_; ++g) {
    merge_(left.output(g), left.softmax(g), right.output(g), right.softmax(g), lanes_[g], dimV_);
  }
  --count_;
}

void ChunkTree::push(int64_t index) {
  // Two partials meet at the lowest node above both. Whatever meets below the node where the new chunk joins is
  // complete.
  const auto meeting = [](int64_t a, int64_t b) { return int(std::bit_width(uint64_t(a ^ b))); };
  if (count_ > 0) {
    // The new chunk's partial stands at states_[count_]; keep it on top while the ones below it combine.
    const int level = meeting(indices_[count_ - 1], index);
    const int fresh = count_;
    while (count_ >= 2 && meeting(indices_[count_ - 2], indices_[count_ - 1]) < level) mergeTop();
    std::swap(states_[count_], states_[fresh]);
  }
  indices_[count_++] = index;
}

BlockState& ChunkTree::collapse() {
  if (count_ == 0) {
    for (int64_t g = 0; g < groups_; ++g) states_[0].clear(g);
    return states_[0];
  }
  while (count_ >= 2) mergeTop();
  return states_[0];
}

}  // namespace fused_attention
