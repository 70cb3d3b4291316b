// mov: copies, addresses of variables, and vectors of narrow registers to and from a wide one.
#include <algorithm>

#include "decoder.h"
#include "lanes.h"
#include "launch.h"

namespace fused_attention::ptx {

namespace {

struct Copy {
  template <class T>
  T operator()(T a) const {
    return a;
  }
};

void movePredicate(Warp& warp, const Instruction& i, uint32_t mask) {
  setPredicate(warp, i.refs[0], mask, predicate(warp, i.refs[1]));
}

// refs: d, parts from the lowest bits on.
void packParts(Warp& warp, const Instruction& i, uint32_t mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    uint64_t bits = 0;
    for (int part = 0; part + 1 < i.count; ++part) {
      const uint64_t low = laneBits(warp, i.refs[part + 1], lane) & ((uint64_t{1} << i.width) - 1);
      bits |= low << (part * i.width);
    }
    setLaneBits(warp, i.refs[0], lane, bits);
  }
}

// refs: parts, source.
void unpackParts(Warp& warp, const Instruction& i, uint32_t mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const uint64_t bits = laneBits(warp, i.refs[i.count - 1], lane);
    for (int part = 0; part + 1 < i.count; ++part) {
      if (i.refs[part].present)
        setLaneBits(warp, i.refs[part], lane, bits >> (part * i.width) & ((uint64_t{1} << i.width) - 1));
    }
  }
}

// Time that only moves on: a count of what the launch has executed, so that runs repeat.
void readClock(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint64_t now = warp.launch.counters.warpInstructions;
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) setLaneBits(warp, i.refs[0], lane, now);
  }
}

void decodeMov(Decoder& d) {
  if (d.operands() != 2) return;
  const Type type = d.type();
  const Operand &to = d.operand(0), &from = d.operand(1);
  d.addAll(type);
  d.out.width =
      type == Type::None
          ? 0
          : 8 * bytesOf(type) / static_cast<int>(std::max<size_t>(std::max(to.parts.size(), from.parts.size()), 1));
  Handler handler = nullptr;
  if (to.kind == Operand::Vector) {
    handler = unpackParts;
  } else if (from.kind == Operand::Vector) {
    handler = packParts;
  } else if (from.kind == Operand::Register && d.out.function->registers[from.reg].special) {
    const std::string& name = d.out.function->registers[from.reg].name;
    const bool clock = name.starts_with("%clock") || name.starts_with("%globaltimer");
    const bool known = name.starts_with("%tid.") || name.starts_with("%ntid.") || name.starts_with("%ctaid.") ||
                       name.starts_with("%nctaid.") || name == "%laneid" || name == "%warpid" || name == "%nwarpid" ||
                       name == "%smid" || name == "%nsmid" || name == "%gridid" || name.starts_with("%lanemask_") ||
                       name == "%dynamic_smem_size" || name == "%total_smem_size";
    if (clock)
      handler = readClock;
    else if (known)
      handler = bytesOf(type) == 8 ? &apply<Copy, uint64_t, uint64_t> : &apply<Copy, uint32_t, uint32_t>;
  } else if (type == Type::Pred) {
    handler = movePredicate;
  } else {
    handler = bytesOf(type) == 8 ? &apply<Copy, uint64_t, uint64_t> : &apply<Copy, uint32_t, uint32_t>;
  }
  d.setHandler(handler, InstructionClass::Move);
}

}  // namespace

void addMoveDecoders(Decoders& list) { list["mov"] = decodeMov; }

}  // namespace fused_attention::ptx
