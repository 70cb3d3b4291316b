// What groups of queries see of keys where lists of blocks go with a mask's program (program/block_lists.h). Runs are
// read off the lists when a task begins: there may be more of them than a plan should keep.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "mask_map.h"

namespace fused_attention {

/// Runs of one group, and the bits of partial ones.
struct ListedRuns {
  std::vector<KeyRun> runs;
  std::vector<uint64_t> words;
};

class ListedKeys {
 public:
  static bool has(const Problem& problem) { return problem.mask && !problem.mask->lists().empty(); }

  /// Throws CodedError where a list is not one for all of the sequence's queries and keys. `batch` is its number.
  ListedKeys(const Problem& problem, const Sequence& sequence, int64_t batch);

  /// Keys that all lanes see, by the lists: those that `base` says, a group's runs by the program alone, and the lists.
  void runs(const Lanes& lanes, std::span<const KeyRun> base, const uint64_t* baseWords, ListedRuns& out) const;
  /// The blocks that all lanes see, where there is one list alone, they have one line of it and `base` hides nothing.
  std::optional<std::span<const int32_t>> lineAlone(const Lanes& lanes, std::span<const KeyRun> base) const;
  /// Keys of such a block.
  int64_t blockKeys() const { return mask_->lists().front().sizeK; }
  /// Where `base` hides nothing: runs by the lists alone, without their bits. Returns how many pairs they have.
  double runsAlone(const Lanes& lanes, std::vector<KeyRun>& out) const;
  bool hidesNothing(std::span<const KeyRun> base) const {
    return base.size() == 1 && base[0].full && base[0].begin == 0 && base[0].end == keys_;
  }
  /// Takes away from a tile's bits what the lists hide.
  void restrict(const Lanes& lanes, Range keys, uint64_t* words) const;

  /// The first row after `row` that may see other keys.
  int64_t sameUntil(int64_t row) const;
  /// How many keys some of the lanes see, by the lists alone.
  double keysOf(const Lanes& lanes) const;
  /// Of all keys, the part that a row sees on average.
  double density() const;
  /// Whether heads have lists of their own.
  bool perHead() const;
  /// Whether sequences have.
  static bool perBatch(const Problem& problem);

 private:
  /// Keys that the same lanes see.
  struct Stretch : Range {
    uint64_t lanes = 0;
  };
  void stretches(const BlockLists& list, const Lanes& lanes, std::vector<Stretch>& out) const;
  std::vector<Stretch>& stretches(const Lanes& lanes) const;
  void add(const BlockLists& list, Range blocks, uint64_t lanes, std::vector<Stretch>& out) const;
  void appendLine(std::span<const int32_t> blocks, int64_t size, std::vector<KeyRun>& out) const;
  int64_t lineOf(const BlockLists& list, const Lanes& lanes, int lane) const;
  int64_t rowOf(const BlockLists& list, int64_t row) const;

  std::shared_ptr<const Program> mask_;
  Gap gap_;
  int64_t batch_ = 0, queries_ = 0, keys_ = 0, headsQ_ = 0, start_ = 0;
};

}  // namespace fused_attention
