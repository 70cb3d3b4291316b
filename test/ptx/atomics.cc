// atom and red: lanes one after the other, on integers, and f32 sums.
#include <algorithm>
#include <bit>
#include <cstring>

#include "access.h"
#include "block.h"
#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

enum class Operation { Add, Min, Max, And, Or, Xor, Exchange, Compare, Increment, Decrement, None };

template <class T>
T combine(Operation operation, T old, T b, T c) {
  using U = std::make_unsigned_t<T>;
  switch (operation) {
    case Operation::Add: return static_cast<T>(static_cast<U>(old) + static_cast<U>(b));
    case Operation::Min: return std::min(old, b);
    case Operation::Max: return std::max(old, b);
    case Operation::And: return old & b;
    case Operation::Or: return old | b;
    case Operation::Xor: return old ^ b;
    case Operation::Exchange: return b;
    case Operation::Compare: return old == b ? c : old;
    case Operation::Increment: return static_cast<U>(old) >= static_cast<U>(b) ? T{0} : static_cast<T>(old + 1);
    case Operation::Decrement: return old == 0 || static_cast<U>(old) > static_cast<U>(b) ? b : static_cast<T>(old - 1);
    case Operation::None: break;
  }
  return old;
}

// refs: d (absent for red), address, b, c (absent but for cas).
template <class T>
void atomic(Warp& warp, const Instruction& i, uint32_t mask) {
  uint64_t addresses[32];
  laneAddresses(warp, i.refs[1], i.offset, addresses);
  for (uint32_t rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    const Space space = resolve(i.space, addresses[lane]);
    uint8_t* place = faultingPlace(warp, space, addresses[lane], sizeof(T), lane);
    if (space == Space::Shared) {
      checkShared(warp, addresses[lane], sizeof(T), lane, SharedAccess::Atomic);
      warp.block.shared.initialize(addresses[lane], sizeof(T));
    }
    T old;
    std::memcpy(&old, place, sizeof(T));
    const T b = static_cast<T>(laneBits(warp, i.refs[2], lane));
    const T c = i.refs[3].present ? static_cast<T>(laneBits(warp, i.refs[3], lane)) : T{0};
    T next;
    if (i.type == Type::F32) {
      next = static_cast<T>(std::bit_cast<uint32_t>(std::bit_cast<float>(static_cast<uint32_t>(old)) +
                                                    std::bit_cast<float>(static_cast<uint32_t>(b))));
    } else {
      next = combine<T>(static_cast<Operation>(i.mode), old, b, c);
    }
    std::memcpy(place, &next, sizeof(T));
    if (i.refs[0].present) setLaneBits(warp, i.refs[0], lane, static_cast<std::make_unsigned_t<T>>(old));
  }
}

Operation operationOf(const Decoder& d) {
  static constexpr struct {
    const char* name;
    Operation operation;
  } names[] = {{"add", Operation::Add},       {"min", Operation::Min},     {"max", Operation::Max},
               {"and", Operation::And},       {"or", Operation::Or},       {"xor", Operation::Xor},
               {"exch", Operation::Exchange}, {"cas", Operation::Compare}, {"inc", Operation::Increment},
               {"dec", Operation::Decrement}};
  for (const auto& entry : names) {
    if (d.has(entry.name)) return entry.operation;
  }
  return Operation::None;
}

void decodeAtomic(Decoder& d) {
  const bool returns = d.parts[0] == "atom";
  const Type type = d.lastType();
  const Operation operation = operationOf(d);
  if (operation == Operation::None || d.has("shared::cluster") || d.has("v2") || d.has("v4")) return;
  if (type == Type::F32 && operation != Operation::Add) return;
  d.out.space = d.has("global")                           ? Space::Global
                : d.has("shared") || d.has("shared::cta") ? Space::Shared
                                                          : Space::Generic;
  d.out.type = type;
  d.out.mode = static_cast<int>(operation);
  size_t next = 0;
  d.add(returns ? d.operand(next++) : Operand(), type);
  d.addAddress(d.operand(next++));
  d.add(d.operand(next++), type);
  if (operation == Operation::Compare) d.add(d.operand(next), type);
  Handler handler = nullptr;
  switch (type) {
    case Type::U32:
    case Type::B32:
    case Type::F32: handler = atomic<uint32_t>; break;
    case Type::S32: handler = atomic<int32_t>; break;
    case Type::U64:
    case Type::B64: handler = atomic<uint64_t>; break;
    case Type::S64: handler = atomic<int64_t>; break;
    default: break;
  }
  d.setHandler(handler, InstructionClass::Atomic);
}

}  // namespace

void addAtomicDecoders(Decoders& list) {
  list["atom"] = decodeAtomic;
  list["red"] = decodeAtomic;
}

}  // namespace fused_attention::ptx
