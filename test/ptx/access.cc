#include "access.h"

#include <bit>
#include <cstring>

#include "block.h"
#include "lanes.h"
#include "launch.h"
#include "traffic.h"

namespace fused_attention::ptx {

namespace {

std::string hexadecimal(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string bytesAt(uint64_t address, int width) { return std::to_string(width) + " bytes at " + hexadecimal(address); }

uint8_t* laneOwn(std::vector<uint8_t>& bytes, uint64_t address, int width, int lane) {
  const uint64_t each = bytes.size() / 32;
  return address <= each && static_cast<uint64_t>(width) <= each - address ? bytes.data() + lane * each + address
                                                                           : nullptr;
}

uint8_t* parameterPlace(Warp& warp, uint64_t address, int width, int lane) {
  const auto& kernel = warp.launch.parameters;
  if (address + width <= kernel.size()) return const_cast<uint8_t*>(kernel.data()) + address;
  const uint64_t origin = warp.launch.program.parameterOrigin();
  return address >= origin ? laneOwn(warp.parameters, address - origin, width, lane) : nullptr;
}

const char* nameOf(Space space) {
  switch (space) {
    case Space::Shared: return "shared";
    case Space::Local: return "local";
    case Space::Param: return "parameter";
    default: return "global";
  }
}

// f(space, mask) for the lanes of each space, whose addresses are then inside it.
template <class F>
void eachSpace(Space space, uint64_t* addresses, uint32_t mask, const F& f) {
  if (space != Space::Generic) return f(space == Space::Const ? Space::Global : space, mask);
  uint32_t masks[6] = {};
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    masks[static_cast<int>(resolve(space, addresses[lane]))] |= 1u << lane;
  }
  for (const Space one : {Space::Global, Space::Shared, Space::Local, Space::Param}) {
    if (masks[static_cast<int>(one)] != 0) f(one, masks[static_cast<int>(one)]);
  }
}

}  // namespace

Space resolve(Space space, uint64_t& address) {
  if (space != Space::Generic) return space == Space::Const ? Space::Global : space;
  if (address >= globalWindow || address < sharedWindow) return Space::Global;
  if (address >= paramWindow) {
    address -= paramWindow;
    return Space::Param;
  }
  if (address >= localWindow) {
    address -= localWindow;
    return Space::Local;
  }
  address -= sharedWindow;
  return Space::Shared;
}

void laneAddresses(const Warp& warp, const Ref& base, int64_t offset, uint64_t* addresses) {
  if (base.kind == SlotKind::Double) {
    const uint64_t* from = source<uint64_t>(warp, base);
    for (int lane = 0; lane < 32; ++lane) addresses[lane] = from[lane] + static_cast<uint64_t>(offset);
  } else {
    const uint32_t* from = source<uint32_t>(warp, base);
    for (int lane = 0; lane < 32; ++lane)
      addresses[lane] = static_cast<uint32_t>(from[lane] + static_cast<uint32_t>(offset));
  }
}

uint8_t* faultingPlace(Warp& warp, Space space, uint64_t address, int width, int lane) {
  if (address & (width - 1)) {
    warp.fault(FindingKind::Misaligned, bytesAt(address, width) + " of " + nameOf(space) + " memory", lane);
  }
  SharedMemory& shared = warp.block.shared;
  uint8_t* place = nullptr;
  switch (space) {
    case Space::Shared: place = shared.holds(address, width) ? shared.at(address) : nullptr; break;
    case Space::Local: place = laneOwn(warp.local, address, width, lane); break;
    case Space::Param: place = parameterPlace(warp, address, width, lane); break;
    default: place = warp.launch.memory.find(address, width); break;
  }
  if (place != nullptr) return place;
  std::string message = bytesAt(address, width) + " of " + nameOf(space) + " memory";
  if (space == Space::Shared) message += ", which has " + std::to_string(shared.bytes()) + " bytes";
  if (space == Space::Global) message += ": " + warp.launch.memory.describe(address);
  warp.fault(FindingKind::OutOfBounds, message, lane);
}

void checkShared(Warp& warp, uint64_t address, int width, int lane, SharedAccess access) {
  SharedMemory& shared = warp.block.shared;
  if (access != SharedAccess::Write && !shared.initialized(address, width) && !shared.inFlight(address, width)) {
    warp.report(FindingKind::Uninitialized, bytesAt(address, width) + " of shared memory were never written", lane);
  }
  if (shared.inFlight(address, width)) {
    warp.report(FindingKind::InFlight, bytesAt(address, width) + " of shared memory are still being copied to", lane);
  }
  if (!warp.launch.options.races) return;
  const auto kind = access == SharedAccess::Read    ? RaceDetector::Access::Read
                    : access == SharedAccess::Write ? RaceDetector::Access::Write
                                                    : RaceDetector::Access::Atomic;
  const auto conflict = shared.races().access(warp.index, address, width, kind, warp.instruction->statement->line);
  if (!conflict) return;
  std::string other = "warp " + std::to_string(conflict->warp) + (conflict->otherWrote ? " wrote them" : " read them");
  if (conflict->otherWrote) other += " at line " + std::to_string(conflict->line);
  warp.report(FindingKind::Race, bytesAt(address, width) + " of shared memory: " + other + " without a barrier between",
              lane);
}

void load(Warp& warp, Space space, uint64_t* addresses, int width, uint32_t mask, LaneBytes& out) {
  eachSpace(space, addresses, mask, [&](Space one, uint32_t lanes) {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      const uint8_t* place = faultingPlace(warp, one, addresses[lane], width, lane);
      if (one == Space::Shared) checkShared(warp, addresses[lane], width, lane, SharedAccess::Read);
      std::memcpy(out.bytes[lane], place, width);
    }
    if (one == Space::Shared) countShared(warp.launch.counters.sharedLoads, addresses, lanes, width);
    if (one == Space::Global) countGlobal(warp.launch.counters.globalLoads, addresses, lanes, width);
  });
}

void store(Warp& warp, Space space, uint64_t* addresses, int width, uint32_t mask, const LaneBytes& in) {
  eachSpace(space, addresses, mask, [&](Space one, uint32_t lanes) {
    for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      uint8_t* place = faultingPlace(warp, one, addresses[lane], width, lane);
      if (one == Space::Shared) {
        checkShared(warp, addresses[lane], width, lane, SharedAccess::Write);
        warp.block.shared.initialize(addresses[lane], width);
      }
      std::memcpy(place, in.bytes[lane], width);
    }
    // Of lanes that write one place the last one is seen, whichever that is: fine only when they agree.
    if (one == Space::Shared || one == Space::Global) {
      for (uint32_t rest = lanes; rest != 0; rest &= rest - 1) {
        const int lane = std::countr_zero(rest);
        const uint8_t* place = faultingPlace(warp, one, addresses[lane], width, lane);
        if (std::memcmp(place, in.bytes[lane], width) != 0) {
          warp.report(FindingKind::LaneConflict,
                      bytesAt(addresses[lane], width) + ": lanes write different values to one place", lane);
          break;
        }
      }
    }
    if (one == Space::Shared) countShared(warp.launch.counters.sharedStores, addresses, lanes, width);
    if (one == Space::Global) countGlobal(warp.launch.counters.globalStores, addresses, lanes, width);
  });
}

}  // namespace fused_attention::ptx
