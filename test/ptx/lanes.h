// Typed access to the 32 lanes of an operand, and loops over them that the host's compiler vectorises.
#pragma once

#include <bit>
#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#include "half.h"
#include "instruction.h"
#include "warp.h"

namespace fused_attention::ptx {

inline constexpr uint32_t allLanes = ~uint32_t{0};

// Values of up to 32 bits live in words, those of 64 in double words.
template <class T>
using Word = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;

template <class T>
T unpack(Word<T> word) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<T>(word);
  else if constexpr (sizeof(T) == 2)
    return std::bit_cast<T>(static_cast<uint16_t>(word));
  else
    return std::bit_cast<T>(word);
}

template <class T>
Word<T> pack(T value) {
  if constexpr (std::is_integral_v<T>)
    return static_cast<std::make_unsigned_t<T>>(value);
  else if constexpr (sizeof(T) == 2)
    return std::bit_cast<uint16_t>(value);
  else
    return std::bit_cast<Word<T>>(value);
}

template <class W>
const W* source(const Warp& warp, const Ref& ref) {
  return static_cast<const W*>(ref.constant != nullptr ? ref.constant : warp.registers + ref.offset);
}
template <class W>
W* destination(Warp& warp, const Ref& ref) {
  return reinterpret_cast<W*>(warp.registers + ref.offset);
}

// A lane's bits, whichever kind of register holds them.
inline uint64_t laneBits(const Warp& warp, const Ref& ref, int lane) {
  return ref.kind == SlotKind::Double ? source<uint64_t>(warp, ref)[lane] : source<uint32_t>(warp, ref)[lane];
}
inline void setLaneBits(Warp& warp, const Ref& ref, int lane, uint64_t bits) {
  if (ref.kind == SlotKind::Double) {
    destination<uint64_t>(warp, ref)[lane] = bits;
  } else {
    destination<uint32_t>(warp, ref)[lane] = static_cast<uint32_t>(bits);
  }
}

inline uint32_t predicate(const Warp& warp, const Ref& ref) {
  const uint32_t lanes = *source<uint32_t>(warp, ref);
  return ref.negated ? ~lanes : lanes;
}
inline void setPredicate(Warp& warp, const Ref& ref, uint32_t mask, uint32_t value) {
  if (!ref.present) return;
  uint32_t* lanes = destination<uint32_t>(warp, ref);
  *lanes = (*lanes & ~mask) | (value & mask);
}

template <class W, class F>
void eachLane(W* to, uint32_t mask, const F& f) {
  if (mask == allLanes) {
#pragma GCC ivdep
    for (int lane = 0; lane < 32; ++lane) to[lane] = f(lane);
    return;
  }
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) to[lane] = f(lane);
  }
}

// refs[0] = F(refs[1], refs[2], …), lane by lane. F has no state.
template <class F, class D, class... S>
void apply(Warp& warp, const Instruction& instruction, uint32_t mask) {
  [&]<size_t... I>(std::index_sequence<I...>) {
    const std::tuple<const Word<S>*...> from{source<Word<S>>(warp, instruction.refs[1 + I])...};
    eachLane(destination<Word<D>>(warp, instruction.refs[0]), mask,
             [&](int lane) { return pack<D>(F{}(unpack<S>(std::get<I>(from)[lane])...)); });
  }
  (std::index_sequence_for<S...>{});
}

}  // namespace fused_attention::ptx
