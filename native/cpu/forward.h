// The fused forward: blocks of queries stream over tiles of keys with online softmax (Milakov & Gimelshein 2018,
// FlashAttention, Dao et al. 2022), in the schedule that a CpuPlan fixed.
#pragma once

#include "plan.h"
#include "row_statistics.h"

namespace fused_attention {

/// Partials over keys that sequences share, in the order of the call's statistics: [..., dimV], [...] and [...].
struct CommonPartials {
  float* output = nullptr;
  float* maximum = nullptr;
  float* sum = nullptr;
};

/// What tasks leave for what comes after them.
struct PartialStore {
  float* memory = nullptr;  // where a task does not hold all keys of its block: [blocks][maxParts][blockFloats]
  CommonPartials common;
  BlockShare* blocks = nullptr;       // of each block of queries; where statistics of blocks were asked for
  const RowShares* shares = nullptr;  // where something comes after the forward that needs them

  float* at(const CpuPlan& plan, const Task& task) const {
    return memory + (task.blockIndex * plan.maxParts() + task.part) * plan.blockFloats();
  }
};

/// Computes some tasks, one after the other; writes results, or their partials when the plan has several parts.
void forwardTasks(const CpuPlan& plan, Range tasks, const Pointers& pointers, const PartialStore& partials,
                  const CancelFlag& cancel);

/// Combines the parts of a block and writes its results.
void combineParts(const CpuPlan& plan, const Task& block, const Pointers& pointers, const PartialStore& partials);

}  // namespace fused_attention
