// Runs tile bytecode (bytecode.h). Compiled with kernels.inl, under the same rules.
//
// Every operation works on each value by itself and rounds after each step, so a value does not depend on the tile that
// it is in, nor on the steps being one sweep or several.

#pragma once

#include "../bytecode.h"
#include "functions.inl"
#include "softcap.inl"

namespace fused_attention {
namespace {

/// The strip under way.
struct Strip {
  const TileRun& run;
  int64_t first, keys;
  Int clamped;  // set where an index had to be clamped

  int lanes() const { return run.lanes; }
  float* panel(int index) const {
    return index < run.inputCount ? run.inputs[index] + first * run.lanes
                                  : run.scratch + (index - run.inputCount) * run.strip * run.lanes;
  }
  template <Shape Of>
  const float* operand(int index) const {
    if constexpr (Of == Shape::panel) return panel(index);
    if constexpr (Of == Shape::lane) return run.laneVectors + index * run.lanes;
    return run.keyVectors[index] + first;
  }
};

SIMD Float broadcastCell(const float* p) {
  int32_t bits;
  std::memcpy(&bits, p, 4);
  return asFloat(broadcastInt(bits));
}

/// One operand in one column of vectors.
template <Shape Of, bool Boolean>
struct Column {
  const float* at;
  int lanes;
  Float constant;

  SIMD Column(const Strip& strip, int index, int lane)
      : at(strip.operand<Of>(index)), lanes(strip.lanes()), constant{} {
    if constexpr (Of == Shape::lane) constant = load(at + lane);
    if constexpr (Of == Shape::panel) at += lane;
  }
  SIMD Float operator[](int64_t key) const {
    if constexpr (Of == Shape::lane) return constant;
    if constexpr (Of == Shape::panel) return load(at + key * lanes);
    if constexpr (Boolean) return asFloat(-asInt(broadcastCell(at + key)));
    return broadcastCell(at + key);
  }
};

// --- what instructions do to each value ----------------------------------------------------------------------------

#define INTEGER_UNARY(Name, expression)  \
  struct Name {                          \
    static SIMD Float of(Float x) {      \
      const Int a = asInt(x);            \
      return asFloat((Int)(expression)); \
    }                                    \
  };
#define INTEGER_BINARY(Name, expression)     \
  struct Name {                              \
    static constexpr bool boolean = false;   \
    static SIMD Float of(Float x, Float y) { \
      const Int a = asInt(x), b = asInt(y);  \
      return asFloat((Int)(expression));     \
    }                                        \
  };
#define REAL_UNARY(Name, expression)                     \
  struct Name {                                          \
    static SIMD Float of(Float a) { return expression; } \
  };
#define REAL_BINARY(Name, expression)                             \
  struct Name {                                                   \
    static constexpr bool boolean = false;                        \
    static SIMD Float of(Float a, Float b) { return expression; } \
  };
#define BOOLEAN_BINARY(Name, expression)     \
  struct Name {                              \
    static constexpr bool boolean = true;    \
    static SIMD Float of(Float x, Float y) { \
      const Int a = asInt(x), b = asInt(y);  \
      return asFloat((Int)(expression));     \
    }                                        \
  };

SIMD Int pick(Int mask, Int yes, Int no) { return (yes & mask) | (no & ~mask); }

// Unsigned: what nobody sees may wrap.
INTEGER_UNARY(NegInteger, -(Unsigned)a)
INTEGER_UNARY(AbsInteger, pick(a < Int{}, (Int) - (Unsigned)a, a))
INTEGER_UNARY(SignInteger, (a < Int{}) - (a > Int{}))
INTEGER_UNARY(BitNot, ~a)
INTEGER_BINARY(AddInteger, (Unsigned)a + (Unsigned)b)
INTEGER_BINARY(SubInteger, (Unsigned)a - (Unsigned)b)
INTEGER_BINARY(MulInteger, (Unsigned)a*(Unsigned)b)
INTEGER_BINARY(MinInteger, pick(a < b, a, b))
INTEGER_BINARY(MaxInteger, pick(a > b, a, b))
INTEGER_BINARY(BitAnd, a& b)
INTEGER_BINARY(BitOr, a | b)
INTEGER_BINARY(BitXor, a ^ b)
INTEGER_BINARY(ShiftLeft, (Unsigned)a << (Unsigned)(b & broadcastInt(31)))
INTEGER_BINARY(ShiftRight, a >> (b & broadcastInt(31)))
INTEGER_BINARY(ShiftRightLogical, (Unsigned)a >> (Unsigned)(b & broadcastInt(31)))
INTEGER_BINARY(LtInteger, a < b)
INTEGER_BINARY(LeInteger, a <= b)
INTEGER_BINARY(EqInteger, a == b)
INTEGER_BINARY(NeInteger, a != b)
REAL_BINARY(DifferenceToReal, toFloat((Int)((Unsigned)asInt(a) - (Unsigned)asInt(b))))
REAL_BINARY(DistanceToReal, toFloat(asInt(AbsInteger::of(asFloat((Int)((Unsigned)asInt(a) - (Unsigned)asInt(b)))))))
REAL_UNARY(ToReal, toFloat(asInt(a)))

// As Math has them: NaN if either is, and -0 below 0. Values that compare equal differ at most in their sign.
SIMD Float lesser(Float a, Float b) {
  const Float least = select(a == b, asFloat(asInt(a) | asInt(b)), select(a < b, a, b));
  return select(a != a, a, least);
}
SIMD Float greater(Float a, Float b) {
  const Float most = select(a == b, asFloat(asInt(a) & asInt(b)), select(a > b, a, b));
  return select(a != a, a, most);
}
SIMD Float signOf(Float a) {
  const Int sign = asInt(a) & broadcastInt(int32_t(0x80000000u));
  const Float one = asFloat(asInt(broadcast(1.0f)) | sign);
  return select((a != a) | (a == Float{}), a, one);
}
REAL_BINARY(AddReal, a + b)
REAL_BINARY(SubReal, a - b)
REAL_BINARY(SubFromReal, b - a)
REAL_BINARY(MulReal, a* b)
REAL_BINARY(DivReal, a / b)
REAL_BINARY(MinReal, lesser(a, b))
REAL_BINARY(MaxReal, greater(a, b))
REAL_BINARY(LtReal, asFloat((Int)(a < b)))
REAL_BINARY(LeReal, asFloat((Int)(a <= b)))
REAL_BINARY(EqReal, asFloat((Int)(a == b)))
REAL_BINARY(NeReal, asFloat((Int)(a != b)))
REAL_BINARY(PowReal, power(a, b))
REAL_UNARY(NegReal, asFloat(asInt(a) ^ broadcastInt(int32_t(0x80000000u))))
REAL_UNARY(AbsReal, absolute(a))
REAL_UNARY(SignReal, signOf(a))
REAL_UNARY(FloorReal, floor(a))
REAL_UNARY(CeilReal, ceil(a))
REAL_UNARY(TruncReal, trunc(a))
REAL_UNARY(SqrtReal, squareRoot(a))
REAL_UNARY(ExpReal, exponential(a))
REAL_UNARY(LogReal, naturalLogarithm(a))
REAL_UNARY(Log2Real, binaryLogarithm(a))
REAL_UNARY(TanhReal, hyperbolicTangent(a))
REAL_UNARY(SinReal, sine(a, 0))
REAL_UNARY(CosReal, sine(a, 1))
INTEGER_UNARY(NotBoolean, ~a)
BOOLEAN_BINARY(AndBoolean, a& b)
BOOLEAN_BINARY(OrBoolean, a | b)
BOOLEAN_BINARY(EqBoolean, ~(a ^ b))
BOOLEAN_BINARY(NeBoolean, a ^ b)

// --- integer division ----------------------------------------------------------------------------------------------

SIMD Double halfWithSign(Double a) { return (Double)(((Long)a & integers(INT64_MIN)) | (Long)constants(0.5)); }

/// a / b without its fraction. Moving a away from 0 by a half keeps the quotient on its side of every whole number, and
/// 2^-33 away from it: rounding the reciprocal does no harm. So it is exact.
SIMD Int quotient(Int a, Double reciprocal) {
  const Double wide = widen(a);
  return truncated((wide + halfWithSign(wide)) * reciprocal);
}

struct TruncDiv {
  static SIMD Int of(Int, Int, Int q) { return q; }
};
struct Mod {
  static SIMD Int of(Int a, Int b, Int q) { return a - q * b; }
};
struct FloorDiv {
  static SIMD Int of(Int a, Int b, Int q) {
    const Int rest = a - q * b;
    return q + ((rest != Int{}) & ((rest ^ b) < Int{}));
  }
};
struct CeilDiv {
  static SIMD Int of(Int a, Int b, Int q) {
    const Int rest = a - q * b;
    return q - ((rest != Int{}) & ((rest ^ b) >= Int{}));
  }
};

template <class Op, Shape Divisor>
void divide(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<Shape::panel, false> a(strip, in.a, lane);
    const Column<Divisor, false> b(strip, in.b, lane);
    const Double reciprocal = constants(1.0) / widen(asInt(b.constant));
    for (int64_t key = 0; key < strip.keys; ++key) {
      const Int dividend = asInt(a[key]), divisor = asInt(b[key]);
      const Int q = quotient(dividend, Divisor == Shape::lane ? reciprocal : constants(1.0) / widen(divisor));
      store(out + key * lanes + lane, asFloat(Op::of(dividend, divisor, q)));
    }
  }
}

// --- sweeps --------------------------------------------------------------------------------------------------------

template <class Op>
void unary(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const float* a = strip.panel(in.a);
  const int64_t count = strip.keys * strip.lanes();
#pragma GCC unroll 2
  for (int64_t i = 0; i < count; i += kWidth) store(out + i, Op::of(load(a + i)));
}

template <class Op, Shape A, Shape B, bool Scaled = false>
void binary(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  const Float factor = broadcast(in.value);
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<A, Op::boolean> a(strip, in.a, lane);
    const Column<B, Op::boolean> b(strip, in.b, lane);
#pragma GCC unroll 4
    for (int64_t key = 0; key < strip.keys; ++key) {
      const Float value = Op::of(a[key], b[key]);
      store(out + key * lanes + lane, Scaled ? value * factor : value);
    }
  }
}

/// Op of a product and a third operand.
template <class Op, Shape B, bool Scaled>
void product(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  const Float factor = broadcast(in.value);
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<Shape::panel, false> a(strip, in.a, lane), c(strip, in.c, lane);
    const Column<B, false> b(strip, in.b, lane);
#pragma GCC unroll 4
    for (int64_t key = 0; key < strip.keys; ++key) {
      const Float value = Op::of(a[key] * b[key], c[key]);
      store(out + key * lanes + lane, Scaled ? value * factor : value);
    }
  }
}

template <Shape A>
void copy(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<A, false> a(strip, in.a, lane);
    for (int64_t key = 0; key < strip.keys; ++key) store(out + key * lanes + lane, a[key]);
  }
}

/// Booleans of key vectors are 1 or 0: `c` tells whether it copies such ones.
void copyBooleanKeys(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<Shape::key, true> a(strip, in.a, lane);
    for (int64_t key = 0; key < strip.keys; ++key) store(out + key * lanes + lane, a[key]);
  }
}

template <Shape C, Shape A, Shape B>
void choose(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<C, true> condition(strip, in.a, lane);
    const Column<A, false> a(strip, in.b, lane);
    const Column<B, false> b(strip, in.c, lane);
    for (int64_t key = 0; key < strip.keys; ++key) {
      store(out + key * lanes + lane, select(asInt(condition[key]), a[key], b[key]));
    }
  }
}

template <Shape A>
void writeWords(Strip& strip, const Instruction& in) {
  uint64_t* words = strip.run.words + strip.first;
  for (int lane = 0; lane < strip.lanes(); lane += kWidth) {
    const Column<A, true> a(strip, in.a, lane);
    for (int64_t key = 0; key < strip.keys; ++key) {
      const uint64_t bits = uint64_t(bitsOfLanes(asInt(a[key]))) << lane;
      words[key] = lane == 0 ? bits : words[key] | bits;
    }
  }
}

void capScores(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const float* a = strip.panel(in.a);
  const Float cap = broadcast(in.value), inverse = broadcast(float(1.0 / double(in.value)));
  const int64_t count = strip.keys * strip.lanes();
  for (int64_t i = 0; i < count; i += kWidth) store(out + i, softcapped(load(a + i), cap, inverse));
}

// --- tables --------------------------------------------------------------------------------------------------------

/// An index moved into [0, size), and a note of those that had to be. Size 0 clamps to 0: the table has a cell anyway.
SIMD Int clampedIndex(Int index, Int last, Int& clamped) {
  const Int low = pick(index > Int{}, index, Int{});
  const Int inside = pick(low < last, low, last);
  clamped |= inside != index;
  return inside;
}

SIMD Int lastOf(int32_t size) { return broadcastInt(size > 0 ? size - 1 : 0); }

void readOne(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const float* a = strip.panel(in.a);
  const int32_t* table = strip.run.tables[in.table];
  const Int last = lastOf(in.size[0]);
  Int clamped = strip.clamped;
  if (in.size[0] == 0) clamped = ~Int{};
  const int64_t count = strip.keys * strip.lanes();
  for (int64_t i = 0; i < count; i += kWidth) {
    store(out + i, asFloat(gather(table, clampedIndex(asInt(load(a + i)), last, clamped))));
  }
  strip.clamped = clamped;
}

template <bool Reads, Shape A, Shape B>
void indexTwo(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const int lanes = strip.lanes();
  const int32_t* table = Reads ? strip.run.tables[in.table] : nullptr;
  const Int lastA = lastOf(in.size[0]), lastB = lastOf(in.size[1]), stride = broadcastInt(in.stride);
  Int clamped = strip.clamped;
  if (in.size[0] == 0 || in.size[1] == 0) clamped = ~Int{};
  for (int lane = 0; lane < lanes; lane += kWidth) {
    const Column<A, false> a(strip, in.a, lane);
    const Column<B, false> b(strip, in.b, lane);
    for (int64_t key = 0; key < strip.keys; ++key) {
      const Int row = clampedIndex(asInt(a[key]), lastA, clamped) * stride;
      const Int index = row + clampedIndex(asInt(b[key]), lastB, clamped);
      store(out + key * lanes + lane, asFloat(Reads ? gather(table, index) : index));
    }
  }
  strip.clamped = clamped;
}

void outside(Strip& strip, const Instruction& in) {
  float* out = strip.panel(in.out);
  const float* a = strip.panel(in.a);
  const Int size = broadcastInt(in.size[0]);
  const int64_t count = strip.keys * strip.lanes();
  for (int64_t i = 0; i < count; i += kWidth) {
    const Int index = asInt(load(a + i));
    store(out + i, asFloat((index < Int{}) | (index >= size)));
  }
}

// --- handlers ------------------------------------------------------------------------------------------------------

using Handler = void (*)(Strip&, const Instruction&);

struct Handlers {
  Handler of[kHandlers];

  constexpr void put(TileOp op, Handler handler, Shape a = Shape::panel, Shape b = Shape::panel,
                     Shape c = Shape::panel) {
    of[handlerOf(op, a, b, c)] = handler;
  }
  template <class Op, bool Scaled = false>
  constexpr void commutative(TileOp op) {
    put(op, binary<Op, Shape::panel, Shape::panel, Scaled>);
    put(op, binary<Op, Shape::panel, Shape::lane, Scaled>, Shape::panel, Shape::lane);
    put(op, binary<Op, Shape::panel, Shape::key, Scaled>, Shape::panel, Shape::key);
    put(op, binary<Op, Shape::lane, Shape::key, Scaled>, Shape::lane, Shape::key);
  }
  template <class Op, bool Scaled = false>
  constexpr void ordered(TileOp op) {
    commutative<Op, Scaled>(op);
    put(op, binary<Op, Shape::lane, Shape::panel, Scaled>, Shape::lane, Shape::panel);
    put(op, binary<Op, Shape::key, Shape::panel, Scaled>, Shape::key, Shape::panel);
    put(op, binary<Op, Shape::key, Shape::lane, Scaled>, Shape::key, Shape::lane);
  }
  template <class Op>
  constexpr void products(TileOp op, TileOp scaled) {
    put(op, product<Op, Shape::panel, false>);
    put(op, product<Op, Shape::lane, false>, Shape::panel, Shape::lane);
    put(scaled, product<Op, Shape::panel, true>);
    put(scaled, product<Op, Shape::lane, true>, Shape::panel, Shape::lane);
  }
  template <class Op>
  constexpr void division(TileOp op) {
    put(op, divide<Op, Shape::panel>);
    put(op, divide<Op, Shape::lane>, Shape::panel, Shape::lane);
  }
  template <bool Reads>
  constexpr void indexing(TileOp op) {
    put(op, indexTwo<Reads, Shape::panel, Shape::panel>);
    put(op, indexTwo<Reads, Shape::panel, Shape::lane>, Shape::panel, Shape::lane);
    put(op, indexTwo<Reads, Shape::panel, Shape::key>, Shape::panel, Shape::key);
    put(op, indexTwo<Reads, Shape::lane, Shape::key>, Shape::lane, Shape::key);
    put(op, indexTwo<Reads, Shape::lane, Shape::panel>, Shape::lane, Shape::panel);
    put(op, indexTwo<Reads, Shape::key, Shape::panel>, Shape::key, Shape::panel);
    put(op, indexTwo<Reads, Shape::key, Shape::lane>, Shape::key, Shape::lane);
  }
  template <Shape C, Shape A>
  constexpr void choosing() {
    put(TileOp::select, choose<C, A, Shape::panel>, C, A, Shape::panel);
    put(TileOp::select, choose<C, A, Shape::lane>, C, A, Shape::lane);
    put(TileOp::select, choose<C, A, Shape::key>, C, A, Shape::key);
  }
  template <Shape C>
  constexpr void choosing() {
    choosing<C, Shape::panel>();
    choosing<C, Shape::lane>();
    choosing<C, Shape::key>();
  }
};

constexpr Handlers makeHandlers() {
  Handlers h{};
  h.put(TileOp::copy, copy<Shape::panel>);
  h.put(TileOp::copy, copy<Shape::lane>, Shape::lane);
  h.put(TileOp::copy, copy<Shape::key>, Shape::key);
  h.put(TileOp::copy, copyBooleanKeys, Shape::key, Shape::key);
  h.commutative<AddInteger>(TileOp::addInteger);
  h.ordered<SubInteger>(TileOp::subInteger);
  h.commutative<MulInteger>(TileOp::mulInteger);
  h.division<Mod>(TileOp::modInteger);
  h.division<FloorDiv>(TileOp::floorDivInteger);
  h.division<CeilDiv>(TileOp::ceilDivInteger);
  h.division<TruncDiv>(TileOp::truncDivInteger);
  h.put(TileOp::negInteger, unary<NegInteger>);
  h.put(TileOp::absInteger, unary<AbsInteger>);
  h.commutative<MinInteger>(TileOp::minInteger);
  h.commutative<MaxInteger>(TileOp::maxInteger);
  h.put(TileOp::signInteger, unary<SignInteger>);
  h.commutative<BitAnd>(TileOp::bitAnd);
  h.commutative<BitOr>(TileOp::bitOr);
  h.commutative<BitXor>(TileOp::bitXor);
  h.put(TileOp::bitNot, unary<BitNot>);
  h.put(TileOp::shiftLeft, binary<ShiftLeft, Shape::panel, Shape::panel>);
  h.put(TileOp::shiftRight, binary<ShiftRight, Shape::panel, Shape::panel>);
  h.put(TileOp::shiftRightLogical, binary<ShiftRightLogical, Shape::panel, Shape::panel>);
  h.ordered<LtInteger>(TileOp::ltInteger);
  h.ordered<LeInteger>(TileOp::leInteger);
  h.commutative<EqInteger>(TileOp::eqInteger);
  h.commutative<NeInteger>(TileOp::neInteger);
  h.put(TileOp::toReal, unary<ToReal>);
  h.ordered<DifferenceToReal>(TileOp::differenceToReal);
  h.commutative<DistanceToReal>(TileOp::distanceToReal);
  h.commutative<AddReal>(TileOp::addReal);
  h.ordered<SubReal>(TileOp::subReal);
  h.commutative<MulReal>(TileOp::mulReal);
  h.ordered<DivReal>(TileOp::divReal);
  h.put(TileOp::negReal, unary<NegReal>);
  h.put(TileOp::absReal, unary<AbsReal>);
  h.commutative<MinReal>(TileOp::minReal);
  h.commutative<MaxReal>(TileOp::maxReal);
  h.put(TileOp::signReal, unary<SignReal>);
  h.ordered<LtReal>(TileOp::ltReal);
  h.ordered<LeReal>(TileOp::leReal);
  h.commutative<EqReal>(TileOp::eqReal);
  h.commutative<NeReal>(TileOp::neReal);
  h.put(TileOp::floorReal, unary<FloorReal>);
  h.put(TileOp::ceilReal, unary<CeilReal>);
  h.put(TileOp::truncReal, unary<TruncReal>);
  h.put(TileOp::sqrtReal, unary<SqrtReal>);
  h.put(TileOp::expReal, unary<ExpReal>);
  h.put(TileOp::logReal, unary<LogReal>);
  h.put(TileOp::log2Real, unary<Log2Real>);
  h.put(TileOp::tanhReal, unary<TanhReal>);
  h.put(TileOp::sinReal, unary<SinReal>);
  h.put(TileOp::cosReal, unary<CosReal>);
  h.put(TileOp::powReal, binary<PowReal, Shape::panel, Shape::panel>);
  h.put(TileOp::softcap, capScores);
  h.commutative<AddReal, true>(TileOp::addScaled);
  h.ordered<SubReal, true>(TileOp::subScaled);
  h.commutative<MulReal, true>(TileOp::mulScaled);
  h.products<AddReal>(TileOp::productPlus, TileOp::productPlusScaled);
  h.products<SubReal>(TileOp::productMinus, TileOp::productMinusScaled);
  h.products<SubFromReal>(TileOp::minusProduct, TileOp::minusProductScaled);
  h.put(TileOp::notBoolean, unary<NotBoolean>);
  h.commutative<AndBoolean>(TileOp::andBoolean);
  h.commutative<OrBoolean>(TileOp::orBoolean);
  h.commutative<EqBoolean>(TileOp::eqBoolean);
  h.commutative<NeBoolean>(TileOp::neBoolean);
  h.choosing<Shape::panel>();
  h.choosing<Shape::lane>();
  h.choosing<Shape::key>();
  h.indexing<false>(TileOp::indexTwo);
  h.put(TileOp::readOne, readOne);
  h.indexing<true>(TileOp::readTwo);
  h.put(TileOp::outside, outside);
  h.put(TileOp::words, writeWords<Shape::panel>);
  h.put(TileOp::words, writeWords<Shape::lane>, Shape::lane);
  h.put(TileOp::words, writeWords<Shape::key>, Shape::key);
  return h;
}

bool runTile(const TileRun& run) {
  static constexpr Handlers handlers = makeHandlers();
  Strip strip{run, 0, 0, Int{}};
  for (; strip.first < run.keys; strip.first += run.strip) {
    const int64_t rest = run.keys - strip.first;
    strip.keys = rest < run.strip ? rest : run.strip;
    for (int i = 0; i < run.instructions; ++i) {
      const Instruction& instruction = run.code[i];
      handlers.of[instruction.handler](strip, instruction);
    }
  }
  return any(strip.clamped);
}

}  // namespace
}  // namespace fused_attention
