// Accesses of a warp to memory, checked: bounds, alignment, initialisation, copies in flight, races.
#pragma once

#include <cstdint>

#include "instruction.h"
#include "warp.h"

namespace fused_attention::ptx {

// Bytes of each lane of one access.
struct LaneBytes {
  alignas(16) uint8_t bytes[32][16];
};

// Addresses of the lanes: base + offset.
void laneAddresses(const Warp& warp, const Ref& base, int64_t offset, uint64_t* addresses);

// `width` bytes (1 to 16) of each lane of `mask`. Faults end the launch, findings don't.
void load(Warp& warp, Space space, uint64_t* addresses, int width, uint32_t mask, LaneBytes& out);
void store(Warp& warp, Space space, uint64_t* addresses, int width, uint32_t mask, const LaneBytes& in);

// Host bytes of one lane's global or shared access after the checks that fault.
uint8_t* faultingPlace(Warp& warp, Space space, uint64_t address, int width, int lane);

enum class SharedAccess { Read, Write, Atomic };
// The checks of an access to shared memory that faults nothing: initialised, not in flight, no race.
void checkShared(Warp& warp, uint64_t address, int width, int lane, SharedAccess access);

// Space and address of a generic address.
Space resolve(Space space, uint64_t& address);

}  // namespace fused_attention::ptx
