// Branches, calls, ends, and barriers of a block.
#include <bit>

#include "block.h"
#include "decoder.h"
#include "lanes.h"
#include "program.h"

namespace fused_attention::ptx {

namespace {

void bra(Warp& warp, const Instruction& i, uint32_t mask) { warp.branch(i.target, mask); }

void call(Warp& warp, const Instruction& i, uint32_t mask) {
  if (mask == 0) {
    ++warp.current().pc;
    return;
  }
  warp.copyParameters(i.call->arguments, mask);
  const uint32_t back = warp.current().pc + 1;
  const size_t before = warp.fragments().size();
  warp.branch(i.target, mask);
  (warp.fragments().size() > before ? warp.fragments().back() : warp.current()).calls.push_back(back);
}

void ret(Warp& warp, const Instruction&, uint32_t mask) { warp.returnFrom(mask); }
void exit(Warp& warp, const Instruction&, uint32_t mask) { warp.exit(mask); }

void trap(Warp& warp, const Instruction&, uint32_t mask) {
  warp.fault(FindingKind::Trap, "the kernel trapped", std::countr_zero(mask));
}

void decodeControl(Decoder& d, Handler handler) {
  d.setHandler(handler, InstructionClass::Control);
  d.out.control = true;
}

void decodeBra(Decoder& d) {
  if (d.operands() != 1 || d.operand(0).label < 0) return;
  d.out.target = d.program.baseOf(*d.out.function) + static_cast<uint32_t>(d.operand(0).label);
  decodeControl(d, bra);
}

void decodeCall(Decoder& d) {
  d.out.call = d.program.callFrame(*d.out.function, d.statement);
  for (const Operand& operand : d.statement.operands) {
    if (operand.kind != Operand::Symbol) continue;
    d.out.target = d.program.entryOf(operand.symbol);
    break;
  }
  decodeControl(d, call);
}

void decodeRet(Decoder& d) { decodeControl(d, ret); }
void decodeExit(Decoder& d) { decodeControl(d, exit); }
void decodeTrap(Decoder& d) { d.setHandler(trap, InstructionClass::Control); }

// --- bar and barrier ---

// refs: result of a reduction, barrier, threads (absent: all), predicate of a reduction.
void barrier(Warp& warp, const Instruction& i, uint32_t mask) {
  if (mask == 0) {
    ++warp.current().pc;
    return;
  }
  const int lane = std::countr_zero(mask);
  if (mask != warp.current().mask) {
    warp.fault(FindingKind::DivergentBarrier, "a barrier under a guard that differs between lanes", lane);
  }
  const uint64_t index = laneBits(warp, i.refs[1], lane);
  if (index >= 16) warp.fault(FindingKind::OutOfBounds, "barrier " + std::to_string(index) + " of 16", lane);
  Block::Arrival arrival{};
  arrival.barrier = static_cast<int>(index);
  arrival.threads = i.refs[2].present ? static_cast<uint32_t>(laneBits(warp, i.refs[2], lane)) : 0;
  arrival.waits = i.mode >= 0;
  if (i.mode > 0) {
    arrival.reduction = static_cast<Block::Arrival::Reduction>(i.mode);
    arrival.predicate = predicate(warp, i.refs[3]);
  }
  if (arrival.threads % 32 != 0) {
    warp.fault(FindingKind::DivergentBarrier,
               "a barrier for " + std::to_string(arrival.threads) + " threads, not whole warps", lane);
  }
  warp.block.arrive(warp, mask, arrival);
}

void decodeBarrier(Decoder& d) {
  if (d.has("warp")) {
    d.add(d.operand(0), Type::B32);
    d.out.collective = true;
    return d.setHandler([](Warp&, const Instruction&, uint32_t) {}, InstructionClass::Barrier);
  }
  if (d.has("cluster") || d.operands() == 0) return;
  using Reduction = Block::Arrival::Reduction;
  size_t next = 0;
  d.out.mode = d.has("arrive") ? -1 : 0;
  if (d.has("red")) {
    d.out.mode = static_cast<int>(d.has("popc") ? Reduction::Popc : d.has("and") ? Reduction::And : Reduction::Or);
    d.add(d.operand(next++), d.type());
    d.add(d.operand(next++), Type::U32);
    d.add(d.operands() - next == 2 ? d.operand(next++) : Operand(), Type::U32);
    d.add(d.operand(next), Type::Pred);
  } else {
    d.add(Operand(), Type::U32);
    d.add(d.operand(0), Type::U32);
    d.add(d.operands() > 1 ? d.operand(1) : Operand(), Type::U32);
  }
  // bar is barrier.aligned: all lanes of the warp come together.
  d.out.aligned = d.parts[0] == "bar" || d.has("aligned");
  d.out.collective = d.out.aligned;
  decodeControl(d, barrier);
  d.out.kind = InstructionClass::Barrier;
}

}  // namespace

void addControlDecoders(Decoders& list) {
  list["bra"] = decodeBra;
  list["call"] = decodeCall;
  list["ret"] = decodeRet;
  list["exit"] = decodeExit;
  list["trap"] = decodeTrap;
  list["brkpt"] = decodeTrap;
  list["bar"] = decodeBarrier;
  list["barrier"] = decodeBarrier;
}

}  // namespace fused_attention::ptx
