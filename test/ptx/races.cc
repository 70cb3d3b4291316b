#include "races.h"

#include <algorithm>
#include <bit>

namespace fused_attention::ptx {

RaceDetector::RaceDetector(int warps, uint64_t bytes, int cellBytes)
    : warps_(warps),
      shift_(std::bit_width(static_cast<unsigned>(cellBytes)) - 1),
      clocks_(warps, Clock(warps, 0)),
      cells_((bytes >> shift_) + 1),
      reads_(cells_.size() * warps) {
  for (int warp = 0; warp < warps; ++warp) clocks_[warp][warp] = 1;
}

std::optional<RaceDetector::Conflict> RaceDetector::access(int warp, uint64_t address, int bytes, Access access,
                                                           int line) {
  std::optional<Conflict> conflict;
  const Clock& clock = clocks_[warp];
  const uint64_t last = std::min<uint64_t>((address + bytes - 1) >> shift_, cells_.size() - 1);
  for (uint64_t index = address >> shift_; index <= last; ++index) {
    Cell& cell = cells_[index];
    if (cell.generation != generation_) cell = {generation_, 0, 0, 0, false, 0};
    const bool atomics = access == Access::Atomic && cell.atomic;
    if (cell.written > clock[cell.writer] && cell.writer != warp && !atomics) {
      conflict = Conflict{cell.writer, cell.line, true};
    }
    uint32_t* reads = &reads_[index * warps_];
    if (access == Access::Read) {
      cell.readers |= 1u << warp;
      reads[warp] = clock[warp];
      continue;
    }
    for (uint32_t others = cell.readers & ~(1u << warp); others != 0; others &= others - 1) {
      const int other = std::countr_zero(others);
      if (reads[other] > clock[other]) conflict = Conflict{other, 0, false};
    }
    cell.readers = 0;
    cell.written = clock[warp];
    cell.writer = static_cast<uint16_t>(warp);
    cell.atomic = access == Access::Atomic;
    cell.line = line;
  }
  return conflict;
}

void RaceDetector::arrive(int warp, Clock& barrier) {
  barrier.resize(warps_);
  for (int other = 0; other < warps_; ++other) barrier[other] = std::max(barrier[other], clocks_[warp][other]);
  ++clocks_[warp][warp];
}

void RaceDetector::leave(int warp, const Clock& barrier) {
  for (int other = 0; other < warps_; ++other) clocks_[warp][other] = std::max(clocks_[warp][other], barrier[other]);
}

}  // namespace fused_attention::ptx
