// How many wavefronts a request to shared memory takes, and how many sectors one to global memory touches.
#pragma once

#include <cstdint>

#include "counters.h"

namespace fused_attention::ptx {

// `addresses` of the lanes in `mask`, `width` bytes each. 32 banks of 4 bytes; requests of 8 bytes a lane go by half
// warps, of 16 by quarters. Equal words are one. Adds to `traffic`.
void countShared(Traffic& traffic, const uint64_t* addresses, uint32_t mask, int width);

// Sectors of 32 bytes, each counted once a request.
void countGlobal(Traffic& traffic, const uint64_t* addresses, uint32_t mask, int width);

}  // namespace fused_attention::ptx
