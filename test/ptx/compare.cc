// setp, set, selp and slct.
#include <cmath>

#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

template <class T>
auto comparable(T value) {
  if constexpr (std::is_arithmetic_v<T>)
    return value;
  else
    return toFloat(value);
}

struct Eq {
  template <class T>
  bool operator()(T a, T b) const {
    return a == b;
  }
};
struct Lt {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b;
  }
};
struct Le {
  template <class T>
  bool operator()(T a, T b) const {
    return a <= b;
  }
};
struct Gt {
  template <class T>
  bool operator()(T a, T b) const {
    return a > b;
  }
};
struct Ge {
  template <class T>
  bool operator()(T a, T b) const {
    return a >= b;
  }
};
// Ordered: false where a NaN takes part; `ne` alone differs from C++ there.
struct Ne {
  template <class T>
  bool operator()(T a, T b) const {
    return a < b || a > b;
  }
};
struct Num {
  template <class T>
  bool operator()(T a, T b) const {
    return a == a && b == b;
  }
};
template <class Ordered>  // true where a NaN takes part
struct Or {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a == a) || !(b == b) || Ordered{}(a, b);
  }
};
struct Nan {
  template <class T>
  bool operator()(T a, T b) const {
    return !(a == a) || !(b == b);
  }
};

template <class T, class C>
uint32_t compareLanes(const Warp& warp, const Ref& first, const Ref& second) {
  const Word<T>*a = source<Word<T>>(warp, first), *b = source<Word<T>>(warp, second);
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    bits |= static_cast<uint32_t>(C{}(comparable(unpack<T>(a[lane])), comparable(unpack<T>(b[lane])))) << lane;
  }
  return bits;
}

enum Combination { None, And, Or_, Xor };

uint32_t combine(int mode, uint32_t bits, uint32_t with) {
  return mode == And ? bits & with : mode == Or_ ? bits | with : mode == Xor ? bits ^ with : bits;
}

// refs: p, q (absent when not given), a, b, c.
template <class T, class C>
void setp(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t bits = compareLanes<T, C>(warp, i.refs[2], i.refs[3]);
  const uint32_t with = i.mode == None ? 0 : predicate(warp, i.refs[4]);
  setPredicate(warp, i.refs[0], mask, combine(i.mode, bits, with));
  setPredicate(warp, i.refs[1], mask, combine(i.mode, ~bits, with));
}

// Of pairs p is of the low halves and q of the high ones. Halves of a register, as floats.
template <class N, class C>
void setpPair(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t *a = source<uint32_t>(warp, i.refs[2]), *b = source<uint32_t>(warp, i.refs[3]);
  const uint32_t with = i.mode == None ? 0 : predicate(warp, i.refs[4]);
  for (int half = 0; half < 2; ++half) {
    uint32_t bits = 0;
    for (int lane = 0; lane < 32; ++lane) {
      const N x{static_cast<uint16_t>(a[lane] >> (16 * half))}, y{static_cast<uint16_t>(b[lane] >> (16 * half))};
      bits |= static_cast<uint32_t>(C{}(toFloat(x), toFloat(y))) << lane;
    }
    setPredicate(warp, i.refs[half], mask, combine(i.mode, bits, with));
  }
}

// refs: d, absent, a, b, c.
template <class T, class C>
void set(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t with = i.mode == None ? 0 : predicate(warp, i.refs[4]);
  const uint32_t bits = combine(i.mode, compareLanes<T, C>(warp, i.refs[2], i.refs[3]), with);
  const uint32_t yes = i.type == Type::F32 ? 0x3f800000 : ~0u;
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int lane) { return bits >> lane & 1 ? yes : 0u; });
}

template <class C>
struct SetpOf {
  template <class T>
  static constexpr Handler handler = &setp<T, C>;
};
template <class C>
struct SetOf {
  template <class T>
  static constexpr Handler handler = &set<T, C>;
};

template <class Of>
Handler ofIntegers(Type type, bool asSigned) {
  switch (type) {
    case Type::B16:
    case Type::U16: return Of::template handler<uint16_t>;
    case Type::S16: return asSigned ? Of::template handler<int16_t> : Of::template handler<uint16_t>;
    case Type::B32:
    case Type::U32: return Of::template handler<uint32_t>;
    case Type::S32: return asSigned ? Of::template handler<int32_t> : Of::template handler<uint32_t>;
    case Type::B64:
    case Type::U64: return Of::template handler<uint64_t>;
    case Type::S64: return asSigned ? Of::template handler<int64_t> : Of::template handler<uint64_t>;
    default: return nullptr;
  }
}

template <class Of>
Handler ofFloats(Type type) {
  switch (type) {
    case Type::F32: return Of::template handler<float>;
    case Type::F64: return Of::template handler<double>;
    case Type::F16: return Of::template handler<Float16>;
    case Type::BF16: return Of::template handler<BFloat16>;
    default: return nullptr;
  }
}

template <template <class> class Of>
Handler comparison(std::string_view name, Type type) {
  if (isFloat(type)) {
    if (name == "eq") return ofFloats<Of<Eq>>(type);
    if (name == "ne") return ofFloats<Of<Ne>>(type);
    if (name == "lt") return ofFloats<Of<Lt>>(type);
    if (name == "le") return ofFloats<Of<Le>>(type);
    if (name == "gt") return ofFloats<Of<Gt>>(type);
    if (name == "ge") return ofFloats<Of<Ge>>(type);
    if (name == "equ") return ofFloats<Of<Or<Eq>>>(type);
    if (name == "neu") return ofFloats<Of<Or<Ne>>>(type);
    if (name == "ltu") return ofFloats<Of<Or<Lt>>>(type);
    if (name == "leu") return ofFloats<Of<Or<Le>>>(type);
    if (name == "gtu") return ofFloats<Of<Or<Gt>>>(type);
    if (name == "geu") return ofFloats<Of<Or<Ge>>>(type);
    if (name == "num") return ofFloats<Of<Num>>(type);
    if (name == "nan") return ofFloats<Of<Nan>>(type);
    return nullptr;
  }
  if (name == "eq") return ofIntegers<Of<Eq>>(type, true);
  if (name == "ne") return ofIntegers<Of<Ne>>(type, true);
  if (name == "lt") return ofIntegers<Of<Lt>>(type, true);
  if (name == "le") return ofIntegers<Of<Le>>(type, true);
  if (name == "gt") return ofIntegers<Of<Gt>>(type, true);
  if (name == "ge") return ofIntegers<Of<Ge>>(type, true);
  if (name == "lo") return ofIntegers<Of<Lt>>(type, false);
  if (name == "ls") return ofIntegers<Of<Le>>(type, false);
  if (name == "hi") return ofIntegers<Of<Gt>>(type, false);
  if (name == "hs") return ofIntegers<Of<Ge>>(type, false);
  return nullptr;
}

template <class N>
Handler pairComparison(std::string_view name) {
  if (name == "eq") return setpPair<N, Eq>;
  if (name == "ne") return setpPair<N, Ne>;
  if (name == "lt") return setpPair<N, Lt>;
  if (name == "le") return setpPair<N, Le>;
  if (name == "gt") return setpPair<N, Gt>;
  if (name == "ge") return setpPair<N, Ge>;
  return nullptr;
}

int combination(const Decoder& d) { return d.has("and") ? And : d.has("or") ? Or_ : d.has("xor") ? Xor : None; }

void addComparison(Decoder& d, Type type, Type result) {
  const Operand& target = d.operand(0);
  d.add(target, result);
  if (target.kind != Operand::Pair) d.add(Operand(), result);
  d.add(d.operand(1), type);
  d.add(d.operand(2), type);
  d.out.mode = combination(d);
  if (d.out.mode != None) d.add(d.operand(3), Type::Pred);
}

void decodeSetp(Decoder& d) {
  const Type type = d.type();
  addComparison(d, type, Type::Pred);
  const std::string_view name = d.parts[1];
  d.setHandler(type == Type::F16x2    ? pairComparison<Float16>(name)
               : type == Type::BF16x2 ? pairComparison<BFloat16>(name)
                                      : comparison<SetpOf>(name, type),
               InstructionClass::Compare);
}

void decodeSet(Decoder& d) {
  const Type result = d.type(0), type = d.type(1);
  if (result != Type::U32 && result != Type::S32 && result != Type::F32) return;
  addComparison(d, type, result);
  d.out.type = result;
  d.setHandler(comparison<SetOf>(d.parts[1], type), InstructionClass::Compare);
}

template <class W>
void selp(Warp& warp, const Instruction& i, uint32_t mask) {
  const W *a = source<W>(warp, i.refs[1]), *b = source<W>(warp, i.refs[2]);
  const uint32_t p = predicate(warp, i.refs[3]);
  eachLane(destination<W>(warp, i.refs[0]), mask, [&](int lane) { return p >> lane & 1 ? a[lane] : b[lane]; });
}

void decodeSelp(Decoder& d) {
  for (int i = 0; i < 3; ++i) d.add(d.operand(i), d.type());
  d.add(d.operand(3), Type::Pred);
  d.setHandler(bytesOf(d.type()) == 8 ? selp<uint64_t> : selp<uint32_t>, InstructionClass::Compare);
}

template <class W, class C>
void slct(Warp& warp, const Instruction& i, uint32_t mask) {
  const W *a = source<W>(warp, i.refs[1]), *b = source<W>(warp, i.refs[2]);
  const uint32_t* c = source<uint32_t>(warp, i.refs[3]);
  eachLane(destination<W>(warp, i.refs[0]), mask,
           [&](int lane) { return std::bit_cast<C>(c[lane]) >= 0 ? a[lane] : b[lane]; });
}

void decodeSlct(Decoder& d) {
  for (int i = 0; i < 3; ++i) d.add(d.operand(i), d.type());
  d.add(d.operand(3), d.type(1));
  const bool wide = bytesOf(d.type()) == 8, byFloat = d.type(1) == Type::F32;
  d.setHandler(wide ? (byFloat ? slct<uint64_t, float> : slct<uint64_t, int32_t>)
                    : (byFloat ? slct<uint32_t, float> : slct<uint32_t, int32_t>),
               InstructionClass::Compare);
}

}  // namespace

void addCompareDecoders(Decoders& list) {
  list["setp"] = decodeSetp;
  list["set"] = decodeSet;
  list["selp"] = decodeSelp;
  list["slct"] = decodeSlct;
}

}  // namespace fused_attention::ptx
