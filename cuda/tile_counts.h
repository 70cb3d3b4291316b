// Tiles of queries by keys as the kernels take them, counted for explain.
#pragma once

#include "mask_bits.h"
#include "sequence_keys.h"

namespace fused_attention::cuda {

struct TileCounts {
  int64_t full = 0, partial = 0, skipped = 0;
  double pairs = 0;
};

/// How rows make tiles: those of heads that share a tile follow one another for each query.
struct TileRows {
  int64_t tileRows, tileKeys;
  int64_t together = 1;  // heads that share a tile

  int64_t of(const Sequence& sequence) const { return sequence.queries * together; }
};

/// Of one head, or of those that share tiles.
TileCounts countTiles(const Sequence& sequence, const SequenceKeys& keys, const TileRows& rows);

/// The same where pairs have bits, over all heads.
TileCounts countTiles(const Sequence& sequence, const SequenceBits& bits, int64_t headsQ, const TileRows& rows);

}  // namespace fused_attention::cuda
