// The way of a task over its keys: tile by tile, for each group of its queries, scores are made and handed to whatever
// makes weights of them - the forward (forward.cc), or a second look at what it left (column_sums.cc).
#pragma once

#include <array>
#include <optional>
#include <span>

#include "../backend.h"
#include "arena.h"
#include "gathered_tiles.h"
#include "key_rows.h"
#include "per_group.h"
#include "query_block.h"
#include "rows_ahead.h"
#include "task_programs.h"

namespace fused_attention {

/// A task, and the queries that it is about.
struct BoundTask {
  BoundTask(const CpuPlan& plan, int64_t index) : BoundTask(plan, plan.task(index)) {}
  BoundTask(const CpuPlan& plan, const Task& given) : task(given), queries(plan, task) {}

  Task task;
  QueryBlock queries;
};

class TileWalk {
 public:
  TileWalk(const TileWalk&) = delete;
  TileWalk& operator=(const TileWalk&) = delete;

  /// Scratch memory of a walk.
  static size_t bytes(const CpuPlan& plan);

 protected:
  /// Whether values are read beside keys, and outputs written.
  enum class Reads : uint8_t { keys, keysAndValues };
  /// How visit takes the scores of few queries.
  enum class Few : uint8_t { panels, rows };

  /// `following` is the task that this thread does next, or null. `arena` has room for bytes(plan).
  TileWalk(const CpuPlan& plan, const BoundTask& bound, const BoundTask* following, const Pointers& pointers,
           const CancelFlag& cancel, Arena& arena, Reads reads, Few few);
  ~TileWalk() = default;

  /// Finds what of a chunk of keys is seen; false when it is nothing.
  bool enter(Range chunk);
  /// Goes over the chunk entered, for some groups: a bit each.
  void walk(uint64_t groups);

  /// A tile of scores of a group, still without bias, softcap and mask. Its keys are `columns`, in this order; their
  /// rows are `first` rows after keyRows_ and valueRows_. Panels have queries_.padded()[group] lanes; where few()
  /// allows it, scores are rows instead of a panel, and all that there is to do is a softcap; `columns` may be left
  /// out.
  virtual void visit(int64_t group, const ScoreTile& tile, std::span<const Columns> columns, int64_t first,
                     bool rows) = 0;
  FewLayout fewLayout(bool rows) const { return rows ? FewLayout{1, kTileKeys} : FewLayout{kernels_.width, 1}; }

  const CpuPlan& plan_;
  const Problem& problem_;
  const Kernels& kernels_;
  const Task& task_;
  const QueryBlock& queries_;
  const Pointers& pointers_;

  // Rows of the tile under way, keys, values, and what comes after: as they are stored for few queries, else as
  // float32.
  const void** rows_ = nullptr;
  const void **keyRows_ = nullptr, **valueRows_ = nullptr;
  RowsAhead ahead_;

 private:
  Segment keysOf(const BoundTask& bound) const;
  Segment valuesOf(const BoundTask& bound) const;
  void takeScratch(Arena& arena);
  void packQueries();
  float* panel(int64_t group) const { return panels_ + group * problem_.dimQk * kernels_.maxLanes(); }

  bool seeSame(int64_t g, int64_t other) const;
  void walkGathered(int64_t g, int64_t end);
  void walkTogether(uint64_t groups);
  std::span<const int32_t> blocksInChunk(int64_t g) const;
  void walkLine(int64_t g);
  void scoreRows(int64_t g, int64_t keys);
  void gatherRows(const Segment& segment, const GatheredTile& tile, float* scratch, const void** rows);
  void scoreTile(int64_t g, std::span<const KeyRun> runs, Range keys, bool full, int64_t firstLoaded);
  void scoreKeys(int64_t g, std::span<const Columns> columns, int phase, const uint64_t* visible, int64_t first);
  void fillBias(const Lanes& lanes, int padded, Range keys, float* panel);

  int64_t nearRows() const;
  void lookAhead(Range tile);
  void lookBehindTask();
  void addBehind(int64_t begin, int64_t end);
  void addFirstKeys(const BoundTask& bound);
  void addKeys(const Columns& keys);
  void addUnknown(const Columns& keys, std::span<const KeyRun>& known);
  void addRows(const QueryBlock& queries, int64_t begin, int64_t end, const Layout& layout, const void* data,
               int64_t dim);
  Range seenOf(Range keys) const;

  const BoundTask* following_;
  const CancelFlag& cancel_;
  Segment keys_, values_;
  TaskPrograms programs_;
  bool withValues_;
  bool inRows_;       // scores of few queries, where none is hidden
  bool apartValues_;  // values are read, and are not the first components of keys

  float* panels_ = nullptr;
  bool packed_ = false;  // the queries are there: not before some key is seen
  float* scores_ = nullptr;
  float* bias_ = nullptr;
  float* keyScratch_ = nullptr;
  float* valueScratch_ = nullptr;
  std::optional<std::array<GatheredTile, 2>> gathered_;  // under way, and what follows
  Range chunk_;
  // What of each group reaches into the chunk under way: runs, or blocks of lines.
  PerGroup<std::span<const KeyRun>> runs_;
  PerGroup<std::span<const int32_t>> blocks_;
};

inline const float* const* asFloats(const void* const* rows) { return reinterpret_cast<const float* const*>(rows); }

}  // namespace fused_attention
