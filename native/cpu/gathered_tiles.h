// Tiles made of the keys that a group of queries sees, wherever they lie: what is hidden between its runs costs
// nothing.
#pragma once

#include <algorithm>
#include <span>

#include "mask_map.h"

namespace fused_attention {

/// Keys of a tile, in pieces that each lie within one run.
struct GatheredTile {
  int64_t keys = 0;
  int count = 0;
  bool full = true;  // by its runs
  Columns pieces[kTileKeys];
  const KeyRun* runs[kTileKeys];  // of each piece

  std::span<const Columns> columns() const { return {pieces, size_t(count)}; }
};

/// Cuts the runs of a group inside a range of columns into tiles of kTileKeys keys; only the last one may have fewer.
class GatheredTiles {
 public:
  GatheredTiles(std::span<const KeyRun> runs, Range within) : rest_(runs), within_(within), column_(within.begin) {}

  /// False when there are no more keys.
  bool next(GatheredTile& tile) {
    tile.keys = 0;
    tile.count = 0;
    tile.full = true;
    while (!rest_.empty() && rest_.front().begin < within_.end && tile.keys < kTileKeys) {
      const KeyRun& run = rest_.front();
      Columns piece(run.begin, run.end, run.step);
      if (column_ > piece.begin) piece.begin += Columns(piece.begin, column_, run.step).count() * run.step;
      const int64_t stop = std::min(run.end, within_.end);
      piece.end = std::min(stop, piece.begin + (kTileKeys - tile.keys) * run.step);
      if (piece.begin < piece.end) {
        tile.pieces[tile.count] = piece;
        tile.runs[tile.count++] = &run;
        tile.keys += piece.count();
        tile.full &= run.full;
        column_ = piece.end;
      }
      if (piece.end < stop) break;  // the tile is full
      rest_ = rest_.subspan(1);
    }
    return tile.count > 0;
  }

 private:
  std::span<const KeyRun> rest_;
  Range within_;
  int64_t column_;
};

}  // namespace fused_attention
