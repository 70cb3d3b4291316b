// Integer arithmetic.
#include <algorithm>

#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
struct WiderOf;
template <>
struct WiderOf<uint16_t> {
  using type = uint32_t;
};
template <>
struct WiderOf<int16_t> {
  using type = int32_t;
};
template <>
struct WiderOf<uint32_t> {
  using type = uint64_t;
};
template <>
struct WiderOf<int32_t> {
  using type = int64_t;
};
template <>
struct WiderOf<uint64_t> {
  using type = unsigned __int128;
};
template <>
struct WiderOf<int64_t> {
  using type = __int128;
};
template <class T>
using Wider = typename WiderOf<T>::type;

// Wrapping arithmetic goes by unsigned numbers of at least 32 bits: C++ would make signed ones of shorter operands.
template <class T>
uint64_t bits(T a) {
  return static_cast<uint64_t>(static_cast<Unsigned<T>>(a));
}

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(bits(a) + bits(b));
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(bits(a) - bits(b));
  }
};
struct MulLo {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>(bits(a) * bits(b));
  }
};
struct MulHi {
  template <class T>
  T operator()(T a, T b) const {
    return static_cast<T>((static_cast<Wider<T>>(a) * static_cast<Wider<T>>(b)) >> (8 * sizeof(T)));
  }
};
struct MulWide {
  template <class T>
  Wider<T> operator()(T a, T b) const {
    return static_cast<Wider<T>>(a) * static_cast<Wider<T>>(b);
  }
};
struct MadLo {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(MulLo{}(a, b), c);
  }
};
struct MadHi {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(MulHi{}(a, b), c);
  }
};
struct MadWide {
  template <class T>
  Wider<T> operator()(T a, T b, Wider<T> c) const {
    return Add{}(MulWide{}(a, b), c);
  }
};
// Division by zero gives all ones, and its remainder the dividend, as devices do.
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return static_cast<T>(~T{0});
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return Sub{}(T{0}, a);
    }
    return static_cast<T>(a / b);
  }
};
struct Rem {
  template <class T>
  T operator()(T a, T b) const {
    if (b == 0) return a;
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return 0;
    }
    return static_cast<T>(a % b);
  }
};
struct Min {
  template <class T>
  T operator()(T a, T b) const {
    return std::min(a, b);
  }
};
struct Max {
  template <class T>
  T operator()(T a, T b) const {
    return std::max(a, b);
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return a < 0 ? Sub{}(T{0}, a) : a;
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return Sub{}(T{0}, a);
  }
};
struct Sad {
  template <class T>
  T operator()(T a, T b, T c) const {
    return Add{}(c, a < b ? Sub{}(b, a) : Sub{}(a, b));
  }
};

template <class F, int arity, class T>
Handler handlerOf() {
  if constexpr (arity == 1)
    return &apply<F, T, T>;
  else if constexpr (arity == 2)
    return &apply<F, T, T, T>;
  else
    return &apply<F, T, T, T, T>;
}

template <class F, int arity>
Handler byType(Type type) {
  switch (type) {
    case Type::U16:
    case Type::B16: return handlerOf<F, arity, uint16_t>();
    case Type::S16: return handlerOf<F, arity, int16_t>();
    case Type::U32:
    case Type::B32: return handlerOf<F, arity, uint32_t>();
    case Type::S32: return handlerOf<F, arity, int32_t>();
    case Type::U64:
    case Type::B64: return handlerOf<F, arity, uint64_t>();
    case Type::S64: return handlerOf<F, arity, int64_t>();
    default: return nullptr;
  }
}

template <class F, int arity>
void decode(Decoder& d) {
  if (d.has("sat") || d.operands() != arity + 1) return;
  d.addAll(d.type());
  d.setHandler(byType<F, arity>(d.type()), InstructionClass::Integer);
}

bool ofFloats(const Decoder& d) {
  const Type type = d.type();
  return isFloat(type) || type == Type::F16x2 || type == Type::BF16x2;
}

template <class F, int arity>
void decodeEither(Decoder& d) {
  ofFloats(d) ? decodeFloat(d) : decode<F, arity>(d);
}

// --- carries ---

template <class W, bool subtracts, bool takes, bool gives>
void withCarry(Warp& warp, const Instruction& instruction, uint32_t mask) {
  const W *a = source<W>(warp, instruction.refs[1]), *b = source<W>(warp, instruction.refs[2]);
  W* d = destination<W>(warp, instruction.refs[0]);
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const unsigned __int128 in = takes ? warp.carry >> lane & 1 : 0;
    const unsigned __int128 wide = subtracts ? static_cast<unsigned __int128>(a[lane]) - b[lane] - in
                                             : static_cast<unsigned __int128>(a[lane]) + b[lane] + in;
    d[lane] = static_cast<W>(wide);
    if (gives) warp.carry = (warp.carry & ~(1u << lane)) | (static_cast<uint32_t>(wide >> (8 * sizeof(W)) & 1) << lane);
  }
}

template <bool subtracts, bool takes, bool gives>
void decodeCarry(Decoder& d) {
  d.addAll(d.type());
  d.setHandler(bytesOf(d.type()) == 8 ? &withCarry<uint64_t, subtracts, takes, gives>
                                      : &withCarry<uint32_t, subtracts, takes, gives>,
               InstructionClass::Integer);
}

void decodeAdd(Decoder& d) { d.has("cc") ? decodeCarry<false, false, true>(d) : decodeEither<Add, 2>(d); }
void decodeSub(Decoder& d) { d.has("cc") ? decodeCarry<true, false, true>(d) : decodeEither<Sub, 2>(d); }
void decodeAddc(Decoder& d) { d.has("cc") ? decodeCarry<false, true, true>(d) : decodeCarry<false, true, false>(d); }
void decodeSubc(Decoder& d) { d.has("cc") ? decodeCarry<true, true, true>(d) : decodeCarry<true, true, false>(d); }

// --- products ---

Type widerType(Type type) {
  switch (type) {
    case Type::U16: return Type::U32;
    case Type::S16: return Type::S32;
    case Type::U32: return Type::U64;
    default: return Type::S64;
  }
}

void decodeMul(Decoder& d) {
  if (ofFloats(d)) return decodeFloat(d);
  const Type type = d.type();
  if (d.has("lo")) return decode<MulLo, 2>(d);
  if (d.has("hi")) return decode<MulHi, 2>(d);
  if (!d.has("wide")) return;
  d.addAll(type);
  Handler handler = nullptr;
  switch (type) {
    case Type::U16: handler = &apply<MulWide, uint32_t, uint16_t, uint16_t>; break;
    case Type::S16: handler = &apply<MulWide, int32_t, int16_t, int16_t>; break;
    case Type::U32: handler = &apply<MulWide, uint64_t, uint32_t, uint32_t>; break;
    case Type::S32: handler = &apply<MulWide, int64_t, int32_t, int32_t>; break;
    default: break;
  }
  d.setHandler(handler, InstructionClass::Integer);
}

void decodeMad(Decoder& d) {
  if (ofFloats(d)) return decodeFloat(d);
  if (d.has("cc")) return;
  const Type type = d.type();
  if (d.has("lo")) return decode<MadLo, 3>(d);
  if (d.has("hi")) return decode<MadHi, 3>(d);
  if (!d.has("wide") || d.operands() != 4) return;
  d.add(d.operand(0), widerType(type));
  d.add(d.operand(1), type);
  d.add(d.operand(2), type);
  d.add(d.operand(3), widerType(type));
  Handler handler = nullptr;
  switch (type) {
    case Type::U16: handler = &apply<MadWide, uint32_t, uint16_t, uint16_t, uint32_t>; break;
    case Type::S16: handler = &apply<MadWide, int32_t, int16_t, int16_t, int32_t>; break;
    case Type::U32: handler = &apply<MadWide, uint64_t, uint32_t, uint32_t, uint64_t>; break;
    case Type::S32: handler = &apply<MadWide, int64_t, int32_t, int32_t, int64_t>; break;
    default: break;
  }
  d.setHandler(handler, InstructionClass::Integer);
}

}  // namespace

void addIntegerDecoders(Decoders& list) {
  list["add"] = decodeAdd;
  list["addc"] = decodeAddc;
  list["sub"] = decodeSub;
  list["subc"] = decodeSubc;
  list["mul"] = decodeMul;
  list["mad"] = decodeMad;
  list["div"] = decodeEither<Div, 2>;
  list["rem"] = decode<Rem, 2>;
  list["min"] = decodeEither<Min, 2>;
  list["max"] = decodeEither<Max, 2>;
  list["abs"] = decodeEither<Abs, 1>;
  list["neg"] = decodeEither<Neg, 1>;
  list["sad"] = decode<Sad, 3>;
}

}  // namespace fused_attention::ptx
