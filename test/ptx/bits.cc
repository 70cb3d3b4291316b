// Logic, shifts, bit fields and permutations of bytes.
#include <bit>

#include "decoder.h"
#include "lanes.h"

namespace fused_attention::ptx {

namespace {

struct And {
  template <class T>
  T operator()(T a, T b) const {
    return a & b;
  }
};
struct Or {
  template <class T>
  T operator()(T a, T b) const {
    return a | b;
  }
};
struct Xor {
  template <class T>
  T operator()(T a, T b) const {
    return a ^ b;
  }
};
struct Not {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(~a);
  }
};
struct Cnot {
  template <class T>
  T operator()(T a) const {
    return a == 0 ? 1 : 0;
  }
};

// Shift amounts clamp at the width.
struct Shl {
  template <class T>
  T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? 0 : static_cast<T>(static_cast<uint64_t>(a) << n);
  }
};
struct Shr {
  template <class T>
  T operator()(T a, uint32_t n) const {
    const uint32_t last = 8 * sizeof(T) - 1;
    if (std::is_unsigned_v<T> && n > last) return 0;
    return static_cast<T>(a >> (n > last ? last : n));
  }
};
template <bool left, bool wraps>
struct FunnelShift {
  uint32_t operator()(uint32_t low, uint32_t high, uint32_t n) const {
    n = wraps ? n & 31 : n > 32 ? 32 : n;
    const uint64_t both = static_cast<uint64_t>(high) << 32 | low;
    return static_cast<uint32_t>(left ? both << n >> 32 : both >> n);
  }
};

struct Popc {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::popcount(a));
  }
};
struct Clz {
  template <class T>
  uint32_t operator()(T a) const {
    return static_cast<uint32_t>(std::countl_zero(a));
  }
};
struct Brev {
  template <class T>
  T operator()(T a) const {
    T out = 0;
    for (size_t bit = 0; bit < 8 * sizeof(T); ++bit) out |= static_cast<T>((a >> bit & 1) << (8 * sizeof(T) - 1 - bit));
    return out;
  }
};
// Position of the highest bit that differs from the sign, ~0 when there is none; as a shift amount when `shifts`.
template <bool shifts>
struct Bfind {
  template <class T>
  uint32_t operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    const U value = static_cast<U>(a < 0 ? ~a : a);
    if (value == 0) return ~0u;
    const uint32_t zeros = static_cast<uint32_t>(std::countl_zero(value));
    return shifts ? zeros : 8 * sizeof(T) - 1 - zeros;
  }
};
struct Bfe {
  template <class T>
  T operator()(T a, uint32_t position, uint32_t length) const {
    using U = std::make_unsigned_t<T>;
    const uint32_t width = 8 * sizeof(T), first = position & 255, count = length & 255;
    const uint32_t signAt = first + count - 1 < width - 1 ? first + count - 1 : width - 1;
    const bool negative = std::is_signed_v<T> && count > 0 && (static_cast<U>(a) >> signAt & 1);
    U out = first < width ? static_cast<U>(a) >> first : 0;
    const uint32_t present = first < width ? width - first : 0;
    const uint32_t kept = count < present ? count : present;
    const U low = kept >= width ? ~U{0} : (U{1} << kept) - 1;
    out &= low;
    return static_cast<T>(negative ? out | ~low : out);
  }
};
struct Bfi {
  template <class T>
  T operator()(T a, T b, uint32_t position, uint32_t length) const {
    const uint32_t width = 8 * sizeof(T), first = position & 255, count = length & 255;
    if (first >= width || count == 0) return b;
    const T low = count >= width ? ~T{0} : (T{1} << count) - 1;
    return static_cast<T>((b & ~(low << first)) | ((a & low) << first));
  }
};

template <class F>
void decodeLogic(Decoder& d) {
  const Type type = d.type();
  d.addAll(type);
  Handler handler = nullptr;
  switch (type) {
    case Type::B16: handler = &apply<F, uint16_t, uint16_t, uint16_t>; break;
    case Type::B32: handler = &apply<F, uint32_t, uint32_t, uint32_t>; break;
    case Type::B64: handler = &apply<F, uint64_t, uint64_t, uint64_t>; break;
    case Type::Pred:
      handler = [](Warp& warp, const Instruction& i, uint32_t mask) {
        setPredicate(warp, i.refs[0], mask, F{}(predicate(warp, i.refs[1]), predicate(warp, i.refs[2])));
      };
      break;
    default: break;
  }
  d.setHandler(handler, type == Type::Pred ? InstructionClass::Compare : InstructionClass::Integer);
}

void decodeNot(Decoder& d) {
  const Type type = d.type();
  d.addAll(type);
  Handler handler = nullptr;
  switch (type) {
    case Type::B16: handler = &apply<Not, uint16_t, uint16_t>; break;
    case Type::B32: handler = &apply<Not, uint32_t, uint32_t>; break;
    case Type::B64: handler = &apply<Not, uint64_t, uint64_t>; break;
    case Type::Pred:
      handler = [](Warp& warp, const Instruction& i, uint32_t mask) {
        setPredicate(warp, i.refs[0], mask, ~predicate(warp, i.refs[1]));
      };
      break;
    default: break;
  }
  d.setHandler(handler, type == Type::Pred ? InstructionClass::Compare : InstructionClass::Integer);
}

void decodeCnot(Decoder& d) {
  d.addAll(d.type());
  d.setHandler(d.type() == Type::B64   ? &apply<Cnot, uint64_t, uint64_t>
               : d.type() == Type::B16 ? &apply<Cnot, uint16_t, uint16_t>
                                       : &apply<Cnot, uint32_t, uint32_t>,
               InstructionClass::Integer);
}

template <class F>
void decodeShift(Decoder& d) {
  const Type type = d.type();
  d.add(d.operand(0), type);
  d.add(d.operand(1), type);
  d.add(d.operand(2), Type::U32);
  Handler handler = nullptr;
  switch (type) {
    case Type::B16:
    case Type::U16: handler = &apply<F, uint16_t, uint16_t, uint32_t>; break;
    case Type::S16: handler = &apply<F, int16_t, int16_t, uint32_t>; break;
    case Type::B32:
    case Type::U32: handler = &apply<F, uint32_t, uint32_t, uint32_t>; break;
    case Type::S32: handler = &apply<F, int32_t, int32_t, uint32_t>; break;
    case Type::B64:
    case Type::U64: handler = &apply<F, uint64_t, uint64_t, uint32_t>; break;
    case Type::S64: handler = &apply<F, int64_t, int64_t, uint32_t>; break;
    default: break;
  }
  d.setHandler(handler, InstructionClass::Integer);
}

void decodeFunnel(Decoder& d) {
  d.addAll(Type::B32);
  using U = uint32_t;
  const bool wraps = d.has("wrap");
  d.setHandler(
      d.has("l")
          ? (wraps ? &apply<FunnelShift<true, true>, U, U, U, U> : &apply<FunnelShift<true, false>, U, U, U, U>)
          : (wraps ? &apply<FunnelShift<false, true>, U, U, U, U> : &apply<FunnelShift<false, false>, U, U, U, U>),
      InstructionClass::Integer);
}

void lop3(Warp& warp, const Instruction& i, uint32_t mask) {
  const uint32_t *a = source<uint32_t>(warp, i.refs[1]), *b = source<uint32_t>(warp, i.refs[2]),
                 *c = source<uint32_t>(warp, i.refs[3]);
  uint32_t terms[8];
  for (int term = 0; term < 8; ++term) terms[term] = i.mode >> term & 1 ? ~0u : 0;
  eachLane(destination<uint32_t>(warp, i.refs[0]), mask, [&](int lane) {
    const uint32_t x = a[lane], y = b[lane], z = c[lane];
    return (terms[0] & ~x & ~y & ~z) | (terms[1] & ~x & ~y & z) | (terms[2] & ~x & y & ~z) | (terms[3] & ~x & y & z) |
           (terms[4] & x & ~y & ~z) | (terms[5] & x & ~y & z) | (terms[6] & x & y & ~z) | (terms[7] & x & y & z);
  });
}

void decodeLop3(Decoder& d) {
  if (d.operands() != 5 || d.operand(4).kind != Operand::Integer) return;
  for (int i = 0; i < 4; ++i) d.add(d.operand(i), Type::B32);
  d.out.mode = static_cast<int>(d.operand(4).value);
  d.setHandler(lop3, InstructionClass::Integer);
}

// The default mode of prmt: nibbles of c choose bytes of {b, a}; bit 3 of a nibble spreads the byte's sign.
struct Prmt {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    const uint64_t both = static_cast<uint64_t>(b) << 32 | a;
    uint32_t out = 0;
    for (int byte = 0; byte < 4; ++byte) {
      const uint32_t choice = c >> (4 * byte) & 15;
      uint32_t value = static_cast<uint32_t>(both >> (8 * (choice & 7))) & 255;
      if (choice & 8) value = value & 128 ? 255 : 0;
      out |= value << (8 * byte);
    }
    return out;
  }
};

void decodePrmt(Decoder& d) {
  if (d.parts.size() != 2) return;  // f4e, b4e and the like
  d.addAll(Type::B32);
  d.setHandler(&apply<Prmt, uint32_t, uint32_t, uint32_t, uint32_t>, InstructionClass::Integer);
}

template <class F>
void decodeCount(Decoder& d) {
  d.add(d.operand(0), Type::U32);
  d.add(d.operand(1), d.type());
  d.setHandler(bytesOf(d.type()) == 8 ? &apply<F, uint32_t, uint64_t> : &apply<F, uint32_t, uint32_t>,
               InstructionClass::Integer);
}

void decodeBrev(Decoder& d) {
  d.addAll(d.type());
  d.setHandler(bytesOf(d.type()) == 8 ? &apply<Brev, uint64_t, uint64_t> : &apply<Brev, uint32_t, uint32_t>,
               InstructionClass::Integer);
}

template <bool shifts>
Handler bfindHandler(Type type) {
  using F = Bfind<shifts>;
  switch (type) {
    case Type::U32: return &apply<F, uint32_t, uint32_t>;
    case Type::S32: return &apply<F, uint32_t, int32_t>;
    case Type::U64: return &apply<F, uint32_t, uint64_t>;
    case Type::S64: return &apply<F, uint32_t, int64_t>;
    default: return nullptr;
  }
}

void decodeBfind(Decoder& d) {
  d.add(d.operand(0), Type::U32);
  d.add(d.operand(1), d.type());
  d.setHandler(d.has("shiftamt") ? bfindHandler<true>(d.type()) : bfindHandler<false>(d.type()),
               InstructionClass::Integer);
}

void decodeBfe(Decoder& d) {
  d.add(d.operand(0), d.type());
  d.add(d.operand(1), d.type());
  d.add(d.operand(2), Type::U32);
  d.add(d.operand(3), Type::U32);
  Handler handler = nullptr;
  switch (d.type()) {
    case Type::U32: handler = &apply<Bfe, uint32_t, uint32_t, uint32_t, uint32_t>; break;
    case Type::S32: handler = &apply<Bfe, int32_t, int32_t, uint32_t, uint32_t>; break;
    case Type::U64: handler = &apply<Bfe, uint64_t, uint64_t, uint32_t, uint32_t>; break;
    case Type::S64: handler = &apply<Bfe, int64_t, int64_t, uint32_t, uint32_t>; break;
    default: break;
  }
  d.setHandler(handler, InstructionClass::Integer);
}

void decodeBfi(Decoder& d) {
  for (int i = 0; i < 3; ++i) d.add(d.operand(i), d.type());
  d.add(d.operand(3), Type::U32);
  d.add(d.operand(4), Type::U32);
  d.setHandler(bytesOf(d.type()) == 8 ? &apply<Bfi, uint64_t, uint64_t, uint64_t, uint32_t, uint32_t>
                                      : &apply<Bfi, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>,
               InstructionClass::Integer);
}

}  // namespace

void addBitDecoders(Decoders& list) {
  list["and"] = decodeLogic<And>;
  list["or"] = decodeLogic<Or>;
  list["xor"] = decodeLogic<Xor>;
  list["not"] = decodeNot;
  list["cnot"] = decodeCnot;
  list["shl"] = decodeShift<Shl>;
  list["shr"] = decodeShift<Shr>;
  list["shf"] = decodeFunnel;
  list["lop3"] = decodeLop3;
  list["prmt"] = decodePrmt;
  list["popc"] = decodeCount<Popc>;
  list["clz"] = decodeCount<Clz>;
  list["brev"] = decodeBrev;
  list["bfind"] = decodeBfind;
  list["bfe"] = decodeBfe;
  list["bfi"] = decodeBfi;
}

}  // namespace fused_attention::ptx
