// States of all tiles of a sequence, for one query head: a quadtree over boxes of tiles, so that the cost follows the
// boundary between what is hidden and what is visible.
#pragma once

#include <vector>

#include "../problem.h"

namespace fused_attention {

enum class TileState : uint8_t { none = 0, partial = 1, full = 2 };

/// Row-major, a row for each tile of queries. Tiles that mask tensors say something about are partial; all others are
/// what they are, pair by pair: where boxes leave it open, they are split until it shows. Only where lists of blocks go
/// with a program, tiles of which both hide a part are partial, whether a pair is left or not. Throws CodedError.
std::vector<TileState> blockMap(const Problem& problem, int64_t batch, int64_t head, int64_t tileQueries,
                                int64_t tileKeys);

}  // namespace fused_attention
