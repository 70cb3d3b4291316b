// Which pairs of a tile are visible: a word a key, a bit a lane. The mask program says it for what it computes, mask
// tensors for what they hold.
#pragma once

#include "../tiles/visibility.h"
#include "lanes.h"
#include "tile_program.h"

namespace fused_attention {

/// All lanes of a group.
inline uint64_t everyLane(const Lanes& lanes) {
  return lanes.count == 64 ? ~uint64_t{0} : (uint64_t{1} << lanes.count) - 1;
}

enum class Seen { none, some, all };

/// Whether words hide every pair, none, or some.
Seen seenBy(const Lanes& lanes, const uint64_t* words, int64_t count);

class VisibleBits {
 public:
  /// `program` may be null: then nothing but mask tensors hides a pair. `masks` are the addresses of problem.masks, or
  /// null where only the program is asked for; one that reads mask tensors then has no bits.
  VisibleBits(const Problem& problem, const Sequence& sequence, const Kernels& kernels, const TileProgram* program,
              const std::vector<const uint8_t*>* masks);

  /// Floats for a group's lane vectors, and bytes of scratch for tiles of at most `keys` keys.
  size_t laneFloats() const;
  size_t scratchBytes(int64_t keys) const;

  struct Group {
    const Lanes& lanes;
    int padded;
    float* laneVectors;
    bool clamped = false;
  };
  /// Fills the group's lane vectors.
  void bind(Group& group) const;

  /// The program's bits of a tile, complete where the program reads its mask tensors. Throws CodedError where one hangs
  /// on a read outside a table.
  void program(const Group& group, Range keys, void* scratch, uint64_t* words) const;

  /// Takes away what mask tensors hide that the program does not read.
  void tensors(const Lanes& lanes, Range keys, uint64_t* words) const;
  bool hasTensors() const { return problem_.masks.size() > readByProgram_; }

 private:
  void fillGrid(size_t index, const Lanes& lanes, int padded, Range keys, float* panel) const;

  const Problem& problem_;
  const Sequence& sequence_;
  const Kernels& kernels_;
  const TileProgram* program_;
  const std::vector<const uint8_t*>* masks_;
  size_t readByProgram_ = 0;  // of the mask tensors, the first
};

}  // namespace fused_attention
