// The queries of a tile, one a lane: row of the sequence and query head.
#pragma once

#include <cstdint>

namespace fused_attention {

struct Lanes {
  int count = 0;
  const int64_t* row = nullptr;
  const int64_t* head = nullptr;
};

}  // namespace fused_attention
