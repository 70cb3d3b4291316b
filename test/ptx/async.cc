// cp.async and its groups.
#include <bit>
#include <cstring>

#include "access.h"
#include "block.h"
#include "decoder.h"
#include "lanes.h"
#include "launch.h"
#include "traffic.h"

namespace fused_attention::ptx {

namespace {

// refs: destination, source, bytes to read (absent: all) or a predicate that ignores the source. Two offsets: the
// source's is in `target`.
void copyAsync(Warp& warp, const Instruction& i, uint32_t mask) {
  uint64_t to[32], from[32];
  laneAddresses(warp, i.refs[0], i.offset, to);
  laneAddresses(warp, i.refs[1], static_cast<int32_t>(i.target), from);
  uint32_t reading = 0;
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    AsyncCopy copy{};
    copy.lane = static_cast<uint8_t>(lane);
    copy.width = static_cast<uint8_t>(i.width);
    copy.line = i.statement->line;
    int bytes = i.width;
    if (i.refs[2].present) {
      if (i.refs[2].kind == SlotKind::Predicate)
        bytes = predicate(warp, i.refs[2]) >> lane & 1 ? 0 : i.width;
      else
        bytes = static_cast<int>(std::min<uint64_t>(laneBits(warp, i.refs[2], lane), i.width));
    }
    faultingPlace(warp, Space::Shared, to[lane], i.width, lane);
    copy.destination = static_cast<uint32_t>(to[lane]);
    if (bytes > 0) {
      const Space space = resolve(Space::Generic, from[lane]);
      if (from[lane] & (i.width - 1)) {
        warp.fault(FindingKind::Misaligned, "the source of a copy of " + std::to_string(i.width) + " bytes", lane);
      }
      // Only the bytes asked for have to exist.
      const uint8_t* place = bytes == i.width ? faultingPlace(warp, space, from[lane], i.width, lane) : nullptr;
      for (int byte = 0; byte < bytes; ++byte) {
        copy.data[byte] = place != nullptr ? place[byte] : *faultingPlace(warp, space, from[lane] + byte, 1, lane);
      }
      reading |= 1u << lane;
    }
    checkShared(warp, to[lane], i.width, lane, SharedAccess::Write);
    warp.block.shared.startFlight(to[lane], i.width);
    warp.copies.add(copy);
  }
  countShared(warp.launch.counters.sharedStores, to, mask, i.width);
  countGlobal(warp.launch.counters.globalLoads, from, reading, i.width);
}

void commit(Warp& warp, const Instruction&, uint32_t mask) { warp.copies.commit(mask); }

void wait(Warp& warp, const Instruction& i, uint32_t mask) {
  warp.copies.wait(mask, static_cast<uint32_t>(i.offset), i.mode != 0, [&](const AsyncCopy& copy) {
    warp.block.shared.land(copy.destination, copy.data, copy.width);
    if (!warp.launch.options.races) return;
    const auto conflict = warp.block.shared.races().access(warp.index, copy.destination, copy.width,
                                                           RaceDetector::Access::Write, copy.line);
    if (conflict) {
      warp.report(FindingKind::Race,
                  "a copy lands in " + std::to_string(copy.width) + " bytes at " + std::to_string(copy.destination) +
                      " of shared memory that warp " + std::to_string(conflict->warp) +
                      " touched without a barrier between",
                  copy.lane);
    }
  });
}

void decodeCp(Decoder& d) {
  if (!d.has("async") || d.has("bulk") || d.has("mbarrier")) return;
  if (d.has("commit_group")) return d.setHandler(commit, InstructionClass::AsyncCopy);
  if (d.has("wait_all") || d.has("wait_group")) {
    d.out.mode = d.has("wait_all");
    d.out.offset = d.operands() > 0 ? d.operand(0).value : 0;
    return d.setHandler(wait, InstructionClass::AsyncCopy);
  }
  if (d.operands() < 3 || d.operand(2).kind != Operand::Integer) return;
  d.out.width = static_cast<int>(d.operand(2).value);
  if (d.out.width != 4 && d.out.width != 8 && d.out.width != 16) return;
  d.addAddress(d.operand(0));
  const int64_t destinationOffset = d.out.offset;
  d.addAddress(d.operand(1));
  d.out.target = static_cast<uint32_t>(d.out.offset);
  d.out.offset = destinationOffset;
  // A cache policy may follow, which changes nothing here.
  const bool policy = d.has("L2::cache_hint");
  if (d.operands() > (policy ? 4u : 3u)) d.add(d.operand(3), Type::U32);
  d.setHandler(copyAsync, InstructionClass::AsyncCopy);
}

}  // namespace

void addAsyncDecoders(Decoders& list) { list["cp"] = decodeCp; }

}  // namespace fused_attention::ptx
