// ld, st, and what orders memory or only advises about it.
#include <bit>
#include <cstring>

#include "access.h"
#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

// refs: destinations, address.
void loadLanes(Warp& warp, const Instruction& i, uint32_t mask) {
  uint64_t addresses[32];
  LaneBytes data;
  laneAddresses(warp, i.refs[i.vector], i.offset, addresses);
  load(warp, i.space, addresses, i.width * i.vector, mask, data);
  const bool extends = isSigned(i.type);
  const int unused = 64 - 8 * i.width;
  for (int element = 0; element < i.vector; ++element) {
    if (!i.refs[element].present) continue;
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      uint64_t bits = 0;
      std::memcpy(&bits, data.bytes[lane] + element * i.width, i.width);
      if (extends) bits = static_cast<uint64_t>(static_cast<int64_t>(bits << unused) >> unused);
      setLaneBits(warp, i.refs[element], lane, bits);
    }
  }
}

// refs: address, sources.
void storeLanes(Warp& warp, const Instruction& i, uint32_t mask) {
  uint64_t addresses[32];
  LaneBytes data;
  laneAddresses(warp, i.refs[0], i.offset, addresses);
  for (int element = 0; element < i.vector; ++element) {
    for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const int lane = std::countr_zero(rest);
      const uint64_t bits = laneBits(warp, i.refs[1 + element], lane);
      std::memcpy(data.bytes[lane] + element * i.width, &bits, i.width);
    }
  }
  store(warp, i.space, addresses, i.width * i.vector, mask, data);
}

Space spaceOf(const Decoder& d) {
  if (d.has("global")) return Space::Global;
  if (d.has("const")) return Space::Const;
  if (d.has("shared") || d.has("shared::cta")) return Space::Shared;
  if (d.has("local")) return Space::Local;
  if (d.has("param") || d.has("param::func") || d.has("param::entry")) return Space::Param;
  return Space::Generic;
}

InstructionClass classOf(Space space, bool loads) {
  switch (space) {
    case Space::Shared: return loads ? InstructionClass::SharedLoad : InstructionClass::SharedStore;
    case Space::Local: return InstructionClass::LocalMemory;
    case Space::Param: return InstructionClass::Parameter;
    default: return loads ? InstructionClass::GlobalLoad : InstructionClass::GlobalStore;
  }
}

bool vectorFits(Decoder& d) {
  d.out.type = d.lastType();
  d.out.width = bytesOf(d.out.type);
  d.out.vector = d.has("v4") ? 4 : d.has("v2") ? 2 : 1;
  return d.out.width > 0 && d.out.width * d.out.vector <= 16 && !d.has("shared::cluster") && d.operands() >= 2;
}

void decodeLd(Decoder& d) {
  d.out.space = spaceOf(d);
  if (!vectorFits(d)) return;
  d.add(d.operand(0), d.out.type);
  d.addAddress(d.operand(1));
  d.setHandler(loadLanes, classOf(d.out.space, true));
}

void decodeSt(Decoder& d) {
  d.out.space = spaceOf(d);
  if (!vectorFits(d)) return;
  d.addAddress(d.operand(0));
  d.add(d.operand(1), d.out.type);
  d.setHandler(storeLanes, classOf(d.out.space, false));
}

void nothing(Warp&, const Instruction&, uint32_t) {}

void decodeNothing(Decoder& d) { d.setHandler(nothing, InstructionClass::Other); }

}  // namespace

void addMemoryDecoders(Decoders& list) {
  list["ld"] = decodeLd;
  list["ldu"] = decodeLd;
  list["st"] = decodeSt;
  // Memory is sequentially consistent here, so fences have nothing to do.
  for (const char* name : {"membar", "fence", "prefetch", "prefetchu", "applypriority", "nanosleep"})
    list[name] = decodeNothing;
}

}  // namespace fused_attention::ptx
