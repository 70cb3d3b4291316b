// What lanes tell each other. Each kernel writes one result a lane.
#include <cstdint>

#define KERNEL(name, body)                                            \
  extern "C" __global__ void name(const uint32_t* in, uint32_t* out) { \
    const int lane = threadIdx.x;                                     \
    const uint32_t x = in[lane];                                      \
    out[lane] = body;                                                 \
  }

constexpr uint32_t everyLane = 0xffffffff;

KERNEL(shuffleIndex, __shfl_sync(everyLane, x, lane * 7 + 3))
KERNEL(shuffleIndexOfEights, __shfl_sync(everyLane, x, lane * 7 + 3, 8))
KERNEL(shuffleUp, __shfl_up_sync(everyLane, x, 3))
KERNEL(shuffleUpOfEights, __shfl_up_sync(everyLane, x, 3, 8))
KERNEL(shuffleDown, __shfl_down_sync(everyLane, x, 5))
KERNEL(shuffleDownOfSixteens, __shfl_down_sync(everyLane, x, 5, 16))
KERNEL(shuffleXor, __shfl_xor_sync(everyLane, x, 11))
KERNEL(ballot, __ballot_sync(everyLane, x & 1))
KERNEL(someLane, __any_sync(everyLane, x == 77) * 2 + __any_sync(everyLane, x == 1000))
KERNEL(everyOne, __all_sync(everyLane, x < 500) * 2 + __all_sync(everyLane, x < 100))
KERNEL(matchAny, __match_any_sync(everyLane, x % 5))
KERNEL(sum, __reduce_add_sync(everyLane, x))
KERNEL(least, __reduce_min_sync(everyLane, x))
KERNEL(greatestSigned, __reduce_max_sync(everyLane, static_cast<int>(x) - 100))
KERNEL(exclusive, __reduce_xor_sync(everyLane, x))

// The two halves of a warp shuffle apart from each other, under branches that differ.
extern "C" __global__ void halves(const uint32_t* in, uint32_t* out) {
  const int lane = threadIdx.x;
  uint32_t x = in[lane];
  if (lane < 16) {
    x += __shfl_xor_sync(0x0000ffff, x, 1);
  } else {
    for (int k = 0; k < lane % 3; ++k) x += 1;
    __syncwarp(0xffff0000);
    x = __shfl_xor_sync(0xffff0000, x, 2);
  }
  out[lane] = x;
}
