// cvt between all integers and floats, and cvta.
#include <cmath>

#include "decoder.h"
#include "lanes.h"
#include "memory.h"
#include "rounding.h"

namespace fused_attention::ptx {

namespace {

using Wide = __int128;

struct Conversion {
  Type to, from;
  Rounding rounding;
  bool integral;  // rni, rzi, rmi, rpi: to an integer, though the type may be a float
  bool saturates, flushes, clampsNegative, finite, away;
};

int packMode(const Conversion& c) {
  return static_cast<int>(c.rounding) | c.integral << 2 | c.saturates << 3 | c.flushes << 4 | c.clampsNegative << 5 |
         c.finite << 6 | c.away << 7 | static_cast<int>(c.from) << 8;
}
Conversion unpackMode(const Instruction& i) {
  const int m = i.mode;
  return {i.type,
          static_cast<Type>(m >> 8),
          static_cast<Rounding>(m & 3),
          (m >> 2 & 1) != 0,
          (m >> 3 & 1) != 0,
          (m >> 4 & 1) != 0,
          (m >> 5 & 1) != 0,
          (m >> 6 & 1) != 0,
          (m >> 7 & 1) != 0};
}

double floatValue(Type type, uint64_t bits) {
  switch (type) {
    case Type::F16: return toFloat(Float16{static_cast<uint16_t>(bits)});
    case Type::BF16: return toFloat(BFloat16{static_cast<uint16_t>(bits)});
    case Type::F64: return std::bit_cast<double>(bits);
    default: return std::bit_cast<float>(static_cast<uint32_t>(bits));
  }
}

Wide integerValue(Type type, uint64_t bits) {
  const int unused = 64 - 8 * bytesOf(type);
  return isSigned(type) ? Wide(static_cast<int64_t>(bits << unused) >> unused) : Wide(bits << unused >> unused);
}

double roundToIntegral(double value, Rounding rounding) {
  switch (rounding) {
    case Rounding::Zero: return std::trunc(value);
    case Rounding::Down: return std::floor(value);
    case Rounding::Up: return std::ceil(value);
    default: return std::nearbyint(value);
  }
}

template <class N>
uint64_t narrowBits(double value, const Conversion& c) {
  if (std::isnan(value)) return N::canonicalNan;
  if (c.clampsNegative && !(value > 0)) value = 0;
  if (c.saturates) value = value > 0 ? std::min(value, 1.0) : 0.0;
  N result = narrow<N>(value, c.rounding == Rounding::Zero);
  if (c.rounding == Rounding::Down || c.rounding == Rounding::Up) {
    // Towards zero, and one step further where that was not the direction.
    result = narrow<N>(value, true);
    if (toFloat(result) != value && (value > 0) == (c.rounding == Rounding::Up)) ++result.bits;
  }
  if (c.finite && (result.bits & 0x7fff) == N::infinity) --result.bits;
  return result.bits;
}

uint64_t toFloatBits(double value, const Conversion& c) {
  switch (c.to) {
    case Type::F64: return std::bit_cast<uint64_t>(value);
    case Type::F16: return narrowBits<Float16>(value, c);
    case Type::BF16: return narrowBits<BFloat16>(value, c);
    case Type::TF32: return toTf32(static_cast<float>(c.clampsNegative && value < 0 ? 0.0 : value), c.away);
    default: {
      if (std::isnan(value)) return c.saturates ? 0 : 0x7fffffff;
      float result = roundToFloat(value, c.rounding);
      if (c.flushes && std::fabs(result) < 0x1p-126f) result = std::copysign(0.0f, result);
      if (c.saturates) result = result > 0 ? std::min(result, 1.0f) : 0.0f;
      return std::bit_cast<uint32_t>(result);
    }
  }
}

Wide least(Type type) { return isSigned(type) ? -(Wide{1} << (8 * bytesOf(type) - 1)) : 0; }
Wide most(Type type) { return (Wide{1} << (8 * bytesOf(type) - isSigned(type))) - 1; }

uint64_t floatToInteger(double value, const Conversion& c) {
  if (std::isnan(value)) {
    const bool zero = c.from != Type::F64 && bytesOf(c.to) != 8;
    return zero ? 0 : uint64_t{1} << (8 * bytesOf(c.to) - 1);
  }
  const double whole = roundToIntegral(value, c.rounding);
  if (whole <= static_cast<double>(least(c.to))) return static_cast<uint64_t>(least(c.to));
  if (whole >= static_cast<double>(most(c.to))) return static_cast<uint64_t>(most(c.to));
  return static_cast<uint64_t>(static_cast<Wide>(whole));
}

uint64_t integerToInteger(Wide value, const Conversion& c) {
  if (c.saturates) value = value < least(c.to) ? least(c.to) : value > most(c.to) ? most(c.to) : value;
  return static_cast<uint64_t>(integerValue(c.to, static_cast<uint64_t>(value)));
}

// Rounded to odd where 53 bits are too few.
double integerToDouble(Wide value) {
  const double high = static_cast<double>(static_cast<int64_t>(value >> 32)) * 0x1p32;
  return addToOdd(high, static_cast<double>(static_cast<uint32_t>(value)));
}

uint64_t convertLane(uint64_t bits, const Conversion& c) {
  if (!isFloat(c.from)) {
    const Wide value = integerValue(c.from, bits);
    if (!isFloat(c.to)) return integerToInteger(value, c);
    if (c.to == Type::F64) {
      return std::bit_cast<uint64_t>(isSigned(c.from) ? static_cast<double>(static_cast<int64_t>(value))
                                                      : static_cast<double>(static_cast<uint64_t>(value)));
    }
    return toFloatBits(integerToDouble(value), c);
  }
  double value = floatValue(c.from, bits);
  if (c.flushes && c.from == Type::F32 && std::fabs(value) < 0x1p-126) value = std::copysign(0.0, value);
  if (!isFloat(c.to)) return floatToInteger(value, c);
  if (c.integral) value = roundToIntegral(value, c.rounding);
  return toFloatBits(value, c);
}

void convert(Warp& warp, const Instruction& i, uint32_t mask) {
  const Conversion c = unpackMode(i);
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) setLaneBits(warp, i.refs[0], lane, convertLane(laneBits(warp, i.refs[1], lane), c));
  }
}

// refs: d, high, low.
void convertPair(Warp& warp, const Instruction& i, uint32_t mask) {
  const Conversion c = unpackMode(i);
  const uint32_t *high = source<uint32_t>(warp, i.refs[1]), *low = source<uint32_t>(warp, i.refs[2]);
  uint32_t* d = destination<uint32_t>(warp, i.refs[0]);
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) {
      d[lane] = static_cast<uint32_t>(convertLane(high[lane], c) << 16 | (convertLane(low[lane], c) & 0xffff));
    }
  }
}

// The common ones, over all lanes at once.
struct Extend {
  uint64_t operator()(uint32_t a) const { return a; }
};
struct ExtendSigned {
  int64_t operator()(int32_t a) const { return a; }
};
struct Truncate {
  uint32_t operator()(uint64_t a) const { return static_cast<uint32_t>(a); }
};
struct SignedToFloat {
  float operator()(int32_t a) const { return static_cast<float>(a); }
};
struct HalfToFloat {
  template <class N>
  float operator()(N a) const {
    return toFloat(a);
  }
};

Handler common(const Conversion& c) {
  if (c.saturates || c.flushes || c.integral || c.rounding != Rounding::Nearest) return nullptr;
  if (c.from == Type::U32 && (c.to == Type::U64 || c.to == Type::S64)) return &apply<Extend, uint64_t, uint32_t>;
  if (c.from == Type::S32 && (c.to == Type::U64 || c.to == Type::S64)) return &apply<ExtendSigned, int64_t, int32_t>;
  if (bytesOf(c.from) == 8 && !isFloat(c.from) && (c.to == Type::U32 || c.to == Type::S32))
    return &apply<Truncate, uint32_t, uint64_t>;
  if (c.from == Type::S32 && c.to == Type::F32) return &apply<SignedToFloat, float, int32_t>;
  if (c.from == Type::F16 && c.to == Type::F32) return &apply<HalfToFloat, float, Float16>;
  if (c.from == Type::BF16 && c.to == Type::F32) return &apply<HalfToFloat, float, BFloat16>;
  return nullptr;
}

void decodeCvt(Decoder& d) {
  Conversion c{};
  c.to = d.type(0);
  c.from = d.type(1);
  if (c.to == Type::None || c.from == Type::None) return;
  c.integral = d.has("rni") || d.has("rzi") || d.has("rmi") || d.has("rpi");
  c.rounding = d.has("rz") || d.has("rzi")   ? Rounding::Zero
               : d.has("rm") || d.has("rmi") ? Rounding::Down
               : d.has("rp") || d.has("rpi") ? Rounding::Up
                                             : Rounding::Nearest;
  c.saturates = d.has("sat");
  c.flushes = d.has("ftz");
  c.clampsNegative = d.has("relu");
  c.finite = d.has("satfinite");
  c.away = d.has("rna");
  const bool pair = c.to == Type::F16x2 || c.to == Type::BF16x2;
  d.add(d.operand(0), c.to);
  for (size_t i = 1; i < d.operands(); ++i) d.add(d.operand(i), c.from);
  if (pair) {
    if (c.from != Type::F32 || d.operands() != 3) return;
    c.to = c.to == Type::F16x2 ? Type::F16 : Type::BF16;
  } else if (d.operands() != 2) {
    return;
  }
  d.out.type = c.to;
  d.out.mode = packMode(c);
  const bool plain = d.out.refs[0].kind == slotKindOf(c.to) && d.out.refs[1].kind == slotKindOf(c.from);
  Handler handler = pair ? convertPair : plain ? common(c) : nullptr;
  d.setHandler(handler != nullptr ? handler : convert,
               isFloat(c.to) || isFloat(c.from) ? InstructionClass::Convert : InstructionClass::Integer);
}

// --- cvta: between an address space and its window of the generic one ---

void addOffset(Warp& warp, const Instruction& i, uint32_t mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1)
      setLaneBits(warp, i.refs[0], lane, laneBits(warp, i.refs[1], lane) + static_cast<uint64_t>(i.offset));
  }
}

void decodeCvta(Decoder& d) {
  d.addAll(Type::U64);
  const bool to = d.has("to");
  const uint64_t window = d.has("shared") || d.has("shared::cta")   ? sharedWindow
                          : d.has("local")                          ? localWindow
                          : d.has("param") || d.has("param::entry") ? paramWindow
                                                                    : 0;
  d.out.offset = static_cast<int64_t>(to ? 0 - window : window);
  d.setHandler(addOffset, InstructionClass::Integer);
}

void isspacep(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    const uint64_t address = laneBits(warp, i.refs[1], lane);
    const uint64_t first = static_cast<uint64_t>(i.offset);
    const bool inside = first == globalWindow ? address >= first : address >= first && address < first + windowBytes;
    bits |= static_cast<uint32_t>(inside) << lane;
  }
  setPredicate(warp, i.refs[0], mask, bits);
}

void decodeIsspacep(Decoder& d) {
  d.add(d.operand(0), Type::Pred);
  d.add(d.operand(1), Type::U64);
  d.out.offset = static_cast<int64_t>(d.has("shared") || d.has("shared::cta") ? sharedWindow
                                      : d.has("local")                        ? localWindow
                                      : d.has("param")                        ? paramWindow
                                                                              : globalWindow);
  d.setHandler(isspacep, InstructionClass::Compare);
}

}  // namespace

void addConvertDecoders(Decoders& list) {
  list["cvt"] = decodeCvt;
  list["cvta"] = decodeCvta;
  list["isspacep"] = decodeIsspacep;
}

}  // namespace fused_attention::ptx
