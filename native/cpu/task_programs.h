// Masks and scores of the tiles of one task, from the plan's maps and programs.
#pragma once

#include "arena.h"
#include "gathered_tiles.h"
#include "per_group.h"
#include "query_block.h"

namespace fused_attention {

class TaskPrograms {
 public:
  /// What the constructor takes of an arena.
  static size_t bytes(const Problem& problem, const Kernels& kernels, int64_t groups, const SequencePlan& plan);

  /// `lines` says that the walk takes lines of blocks where it can: there are no runs then.
  TaskPrograms(const CpuPlan& plan, const Task& task, const QueryBlock& queries, const Pointers& pointers, Arena& arena,
               bool lines);

  /// Whether each group sees the blocks of a line, and all of them.
  bool inLines() const { return inLines_; }
  /// Blocks of blockKeys() keys, ascending; the last one may reach past the sequence.
  std::span<const int32_t> line(int64_t group) const { return lines_[group]; }
  int64_t blockKeys() const { return programs_.listed->blockKeys(); }

  /// Runs of the keys that a group sees, over the whole sequence.
  std::span<const KeyRun> runs(int64_t group) const { return runs_[group]; }

  /// Bits of the tile `keys` of a group that sees `runs` of it. Throws CodedError where one hangs on a read outside a
  /// table.
  Seen visible(int64_t group, std::span<const KeyRun> runs, Range keys, uint64_t* words);
  /// The same for a piece of one run, whose columns may be apart.
  Seen visible(int64_t group, const KeyRun& run, const Columns& piece, uint64_t* words);
  /// The bits of a gathered tile where they are kept as they are to be read, all in a row; else null.
  const uint64_t* keptWords(int64_t group, const GatheredTile& tile) const;
  /// Whether a tile that the runs say is full may have hidden pairs all the same.
  bool mayHide() const { return bits_.hasTensors(); }

  bool hasScore() const { return programs_.score != nullptr; }
  /// Scores of a tile in natural units become those of the program times log2(e). `words` tells the pairs that count,
  /// null: all. Throws CodedError where one of them hangs on a read outside a table.
  void score(int64_t group, Range keys, const uint64_t* words, float* scores);

 private:
  const uint64_t* wordsOf(int64_t group, const KeyRun& run) const { return words_[group] + run.words; }

  const CpuPlan& plan_;
  const QueryBlock& queries_;
  const SequencePrograms& programs_;
  VisibleBits bits_;

  float* maskLanes_ = nullptr;  // lane vectors of each group
  float* scoreLanes_ = nullptr;
  float* scoreCopy_ = nullptr;
  void* scratch_ = nullptr;
  size_t maskFloats_ = 0, scoreFloats_ = 0;  // of a group
  uint64_t maskBound_ = 0, scoreBound_ = 0;  // bits of groups
  uint64_t maskClamped_ = 0, scoreClamped_ = 0;
  bool inLines_ = false;
  PerGroup<std::span<const int32_t>> lines_;
  PerGroup<std::span<const KeyRun>> runs_;
  const uint64_t* words_[QueryBlock::kMaxGroups];  // that the runs of each group tell of
};

}  // namespace fused_attention
