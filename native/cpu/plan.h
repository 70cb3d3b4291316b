// How one Problem is cut up for the CPU: groups and blocks of queries, chunks of keys, tasks. Immutable.
//
// Keys are cut in chunks at fixed columns of their sequence; the partials of chunks combine in a fixed aligned binary
// tree. A task is a block of queries against an aligned part of that tree, so every way of handing out tasks gives the
// same bits.
#pragma once

#include <vector>

#include "../backend.h"
#include "kernels.h"
#include "listed_keys.h"
#include "mask_map.h"
#include "query_order.h"

namespace fused_attention {

inline int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The programs of a sequence, shared by all sequences for which they come out alike.
struct SequencePrograms {
  std::shared_ptr<const TileProgram> mask, score;  // null: none
  std::shared_ptr<const MaskMap> map;
  std::shared_ptr<const ListedKeys> listed;  // null: the map tells all
};

/// A row of a tensor of queries; ragged: batch 0, and the row is counted over all sequences.
struct QueryRow {
  int64_t batch = 0, row = 0;
};

/// The queries of sequences that share their first keys, and these keys.
struct CommonGroup {
  Sequence sequence;
  std::vector<QueryRow> rows;
};

struct SequencePlan {
  Sequence sequence;
  bool packed = false;                      // lanes run over the query heads of a key/value head
                                            // too, for few queries
  int64_t units = 0;                        // packed: key/value heads, else query heads
  int64_t lanes = 0;                        // queries of a unit
  bool few = false;                         // so few rows that they are done by the few... operations
  int groupLanes = 0;                       // lanes of a group, at most
  int64_t groups = 0;                       // of a unit
  std::shared_ptr<const QueryOrder> order;  // null: rows are taken as they come
  int64_t blocks = 0;                       // blocks of queries in a unit
  int64_t chunk = 0;                        // keys in a chunk
  int64_t partChunks = 0;                   // chunks in a part, a power of two
  int64_t parts = 1;
  bool partByPart = false;  // tasks of all units over a part come before those over the next one
  int64_t firstBlock = 0;   // number of blocks, and of tasks, before this sequence
  int64_t firstTask = 0;
  std::shared_ptr<const SequencePrograms> programs;
  // Where the query rows of the sequence lie when they are not a stretch: rows of sequences that share keys.
  std::vector<QueryRow> gathered;

  int64_t blockCount() const { return units * blocks; }
  int64_t taskCount() const { return blockCount() * parts; }
};

/// One task: a block of queries of one unit against one part of the keys.
struct Task {
  const SequencePlan* plan = nullptr;
  int64_t unit = 0, block = 0, part = 0;
  int64_t blockIndex = 0;  // over the whole call
};

class CpuPlan : public Plan {
 public:
  CpuPlan(const Problem& problem, const double* lengthsQ, const double* lengthsKv, const PageLists& pages = {},
          const CancelFlag& cancel = CancelFlag::never());
  /// The pass over keys that sequences share: every query of a group sees every key.
  CpuPlan(const Problem& problem, const std::vector<CommonGroup>& groups);

  Explanation explain() const override;

  Task task(int64_t index) const;
  /// The task of part 0 of a block.
  Task block(int64_t index) const;

  const Problem& problem() const { return problem_; }
  const Kernels& kernels() const { return *kernels_; }
  int64_t groups() const { return groups_; }
  int64_t tasks() const { return tasks_; }
  int64_t blocks() const { return blocks_; }
  int64_t maxParts() const { return maxParts_; }
  const std::vector<SequencePlan>& sequences() const { return sequences_; }
  /// What has to run before: partials of the keys that sequences share. Null where none do.
  const CpuPlan* commonPass() const { return commonPass_.get(); }

  /// Floats of one group's output panel and softmax state, and of a block of groups.
  int64_t groupFloats() const { return (problem_.dimV + 4) * kernels_->maxLanes(); }
  int64_t blockFloats() const { return groups_ * groupFloats(); }
  /// Block states that a task needs at a time: one for each level of its tree, and the chunk under way.
  int64_t treeDepth() const { return treeDepth_; }
  /// Rows that a task asks for ahead, at most: keys and values of a tile, queries and results of a block.
  int64_t rowsAhead() const { return 2 * (kTileKeys + groups_ * kernels_->maxLanes()); }
  /// Scratch memory of a task.
  size_t taskBytes() const { return taskBytes_; }
  /// What the plan itself takes.
  size_t bytes() const { return bytes_; }

 private:
  void cutSequences(const double* lengthsQ, const double* lengthsKv, const PageLists& pages);
  void addSequence(const Sequence& sequence);
  void shareCommon(const PageLists& pages);
  std::shared_ptr<const QueryOrder> orderOf(const SequencePlan& plan);
  void orderListed(SequencePlan& plan);
  void cutTasks();
  void bindPrograms(const CancelFlag& cancel);
  size_t measureTask() const;

  Problem problem_;
  const Kernels* kernels_;
  int64_t groups_ = 1;
  int64_t tasks_ = 0, blocks_ = 0, maxParts_ = 1, treeDepth_ = 2;
  size_t taskBytes_ = 0, bytes_ = 0;
  std::vector<SequencePlan> sequences_;
  std::unique_ptr<const CpuPlan> commonPass_;
  std::string commonApart_;  // why keys declared common are read by each sequence; empty where they are not
};

}  // namespace fused_attention
