// Arithmetic of floats: f32 and f64 as the host does it, halves by way of double with one rounding at the end.
#include <algorithm>
#include <cmath>

#include "decoder.h"
#include "lanes.h"
#include "rounding.h"

namespace fused_attention::ptx {

namespace {

struct Add {
  template <class T>
  T operator()(T a, T b) const {
    return a + b;
  }
};
struct Sub {
  template <class T>
  T operator()(T a, T b) const {
    return a - b;
  }
};
struct Mul {
  template <class T>
  T operator()(T a, T b) const {
    return a * b;
  }
};
struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    return std::fma(a, b, c);
  }
};
struct Div {
  template <class T>
  T operator()(T a, T b) const {
    return a / b;
  }
};
struct Abs {
  template <class T>
  T operator()(T a) const {
    return std::fabs(a);
  }
};
struct Neg {
  template <class T>
  T operator()(T a) const {
    return -a;
  }
};
struct Sqrt {
  template <class T>
  T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct Rcp {
  template <class T>
  T operator()(T a) const {
    return T{1} / a;
  }
};
struct Rsqrt {
  template <class T>
  T operator()(T a) const {
    return static_cast<T>(1 / std::sqrt(static_cast<double>(a)));
  }
};
struct Ex2 {
  template <class T>
  T operator()(T a) const {
    return std::exp2(a);
  }
};
struct Lg2 {
  template <class T>
  T operator()(T a) const {
    return std::log2(a);
  }
};
struct Sin {
  template <class T>
  T operator()(T a) const {
    return std::sin(a);
  }
};
struct Cos {
  template <class T>
  T operator()(T a) const {
    return std::cos(a);
  }
};
struct Tanh {
  template <class T>
  T operator()(T a) const {
    return std::tanh(a);
  }
};
struct Copysign {
  template <class T>
  T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};

// The number where one is a NaN (unless NaNs are asked for), and -0 below +0.
template <bool least, bool nans>
struct Extreme {
  template <class T>
  T operator()(T a, T b) const {
    if (std::isnan(a) || std::isnan(b)) {
      if (nans) return static_cast<T>(NAN);
      return std::isnan(a) ? b : a;
    }
    if (a == b) return std::signbit(a) == least ? a : b;
    return (a < b) == least ? a : b;
  }
};

// --- f32 ---

template <bool flushes>
float flush(float value) {
  return flushes && std::fabs(value) < 0x1p-126f ? std::copysign(0.0f, value) : value;
}

template <class F, bool flushes, bool saturates>
struct Single {
  template <class... T>
  float operator()(T... values) const {
    const float result = flush<flushes>(F{}(flush<flushes>(values)...));
    if (!saturates) return result;
    return result > 0 ? std::min(result, 1.0f) : 0.0f;  // a NaN too
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
Handler single(const Decoder& d) {
  const bool flushes = d.has("ftz"), saturates = d.has("sat");
  if (flushes)
    return saturates ? handlerOf<Single<F, true, true>, arity, float>()
                     : handlerOf<Single<F, true, false>, arity, float>();
  return saturates ? handlerOf<Single<F, false, true>, arity, float>()
                   : handlerOf<Single<F, false, false>, arity, float>();
}

// Sums and products with a directed rounding: exact or rounded to odd in double, then rounded as asked for. `negated`
// is the same of the opposite number: a sum that cancels is -0 when rounded down.
template <class F>
struct Exact;
template <>
struct Exact<Add> {
  double operator()(double a, double b) const { return addToOdd(a, b); }
  double negated(double a, double b) const { return -a - b; }
};
template <>
struct Exact<Sub> {
  double operator()(double a, double b) const { return addToOdd(a, -b); }
  double negated(double a, double b) const { return b - a; }
};
template <>
struct Exact<Mul> {
  double operator()(double a, double b) const { return a * b; }
  double negated(double a, double b) const { return -a * b; }
};
template <>
struct Exact<Fma> {
  double operator()(double a, double b, double c) const { return addToOdd(a * b, c); }
  double negated(double a, double b, double c) const { return -a * b - c; }
};

template <class F, Rounding rounding>
struct Directed {
  template <class... T>
  float operator()(T... values) const {
    double exact = Exact<F>{}(static_cast<double>(values)...);
    if (rounding == Rounding::Down && exact == 0) exact = -Exact<F>{}.negated(static_cast<double>(values)...);
    return roundToFloat(exact, rounding);
  }
};

template <class F, int arity>
Handler directed(const Decoder& d) {
  if (d.has("rz")) return single<Directed<F, Rounding::Zero>, arity>(d);
  if (d.has("rm")) return single<Directed<F, Rounding::Down>, arity>(d);
  return single<Directed<F, Rounding::Up>, arity>(d);
}

bool isDirected(const Decoder& d) { return d.has("rz") || d.has("rm") || d.has("rp"); }

// --- halves ---

template <class F>
struct Doubly : F {};  // of values exact in double, with a result that may be rounded once more
template <>
struct Doubly<Add> : Exact<Add> {};
template <>
struct Doubly<Sub> : Exact<Sub> {};
template <>
struct Doubly<Fma> : Exact<Fma> {};

template <class N>
struct Pair {
  N low, high;
};

template <class F, class N, bool clampsNegative, bool saturates>
struct Half {
  template <class... T>
  N operator()(T... values) const {
    double result = Doubly<F>{}(static_cast<double>(toFloat(values))...);
    if (saturates) result = result > 0 ? std::min(result, 1.0) : 0.0;
    if (clampsNegative && result < 0) result = 0;
    return narrow<N>(result);
  }
};
template <class F, class N, bool clampsNegative, bool saturates>
struct HalfPair {
  template <class... T>
  Pair<N> operator()(T... values) const {
    using One = Half<F, N, clampsNegative, saturates>;
    return {One{}(values.low...), One{}(values.high...)};
  }
};

template <class F, int arity, class N, bool clampsNegative, bool saturates>
Handler half(bool pairs) {
  return pairs ? handlerOf<HalfPair<F, N, clampsNegative, saturates>, arity, Pair<N>>()
               : handlerOf<Half<F, N, clampsNegative, saturates>, arity, N>();
}

template <class F, int arity, class N>
Handler half(const Decoder& d, bool pairs) {
  if (d.has("relu")) return half<F, arity, N, true, false>(pairs);
  if (d.has("sat")) return half<F, arity, N, false, true>(pairs);
  return half<F, arity, N, false, false>(pairs);
}

// abs and neg of a half change nothing but its sign, of a NaN too.
struct AbsBits {
  template <class T>
  T operator()(T a) const {
    return sizeof(T) == 2 ? a & 0x7fff : a & 0x7fff7fffu;
  }
};
struct NegBits {
  template <class T>
  T operator()(T a) const {
    return sizeof(T) == 2 ? a ^ 0x8000 : a ^ 0x80008000u;
  }
};

// --- decoding ---

template <class F, int arity>
Handler byType(const Decoder& d) {
  switch (d.type()) {
    case Type::F32: return single<F, arity>(d);
    case Type::F64: return handlerOf<F, arity, double>();
    case Type::F16: return half<F, arity, Float16>(d, false);
    case Type::F16x2: return half<F, arity, Float16>(d, true);
    case Type::BF16: return half<F, arity, BFloat16>(d, false);
    case Type::BF16x2: return half<F, arity, BFloat16>(d, true);
    default: return nullptr;
  }
}

InstructionClass classOf(Type type) {
  return type == Type::F32   ? InstructionClass::Float32
         : type == Type::F64 ? InstructionClass::Float64
                             : InstructionClass::Half;
}

template <class F, int arity>
void decodeArithmetic(Decoder& d) {
  if (d.operands() != arity + 1) return;
  d.addAll(d.type());
  Handler handler = nullptr;
  if constexpr (requires { Exact<F>{}; }) {
    if (isDirected(d)) {
      if (d.type() == Type::F32) d.setHandler(directed<F, arity>(d), InstructionClass::Float32);
      return;
    }
  }
  if (!isDirected(d)) handler = byType<F, arity>(d);
  d.setHandler(handler, classOf(d.type()));
}

template <bool least>
void decodeExtreme(Decoder& d) {
  if (d.has("xorsign")) return;
  d.has("NaN") ? decodeArithmetic<Extreme<least, true>, 2>(d) : decodeArithmetic<Extreme<least, false>, 2>(d);
}

template <class F, class B>
void decodeSign(Decoder& d) {
  const int bytes = bytesOf(d.type());
  if (d.type() == Type::F32 || bytes == 8) return decodeArithmetic<F, 1>(d);
  d.addAll(d.type());
  d.setHandler(bytes == 2 ? &apply<B, uint16_t, uint16_t> : &apply<B, uint32_t, uint32_t>, InstructionClass::Half);
}

template <class F>
void decodeSpecial(Decoder& d) {
  decodeArithmetic<F, 1>(d);
  d.out.kind = InstructionClass::Special;
}

void decodeDiv(Decoder& d) {
  decodeArithmetic<Div, 2>(d);
  d.out.kind = InstructionClass::Special;
}

template <class Test>
void testLanes(Warp& warp, const Instruction& i, uint32_t mask) {
  uint32_t bits = 0;
  for (int lane = 0; lane < 32; ++lane) {
    const uint64_t value = laneBits(warp, i.refs[1], lane);
    const bool holds = i.refs[1].kind == SlotKind::Double ? Test{}(std::bit_cast<double>(value))
                                                          : Test{}(std::bit_cast<float>(static_cast<uint32_t>(value)));
    bits |= static_cast<uint32_t>(holds) << lane;
  }
  setPredicate(warp, i.refs[0], mask, bits);
}
struct Finite {
  template <class T>
  bool operator()(T a) const {
    return std::isfinite(a);
  }
};
struct Infinite {
  template <class T>
  bool operator()(T a) const {
    return std::isinf(a);
  }
};
struct Number {
  template <class T>
  bool operator()(T a) const {
    return !std::isnan(a);
  }
};
struct NotANumber {
  template <class T>
  bool operator()(T a) const {
    return std::isnan(a);
  }
};

void decodeTestp(Decoder& d) {
  d.add(d.operand(0), Type::Pred);
  d.add(d.operand(1), d.type());
  d.setHandler(d.has("finite")       ? testLanes<Finite>
               : d.has("infinite")   ? testLanes<Infinite>
               : d.has("number")     ? testLanes<Number>
               : d.has("notanumber") ? testLanes<NotANumber>
                                     : Handler(nullptr),
               InstructionClass::Compare);
}

}  // namespace

void decodeFloat(Decoder& d) {
  const std::string_view opcode = d.parts[0];
  if (opcode == "add") return decodeArithmetic<Add, 2>(d);
  if (opcode == "sub") return decodeArithmetic<Sub, 2>(d);
  if (opcode == "mul") return decodeArithmetic<Mul, 2>(d);
  if (opcode == "mad" || opcode == "fma") return decodeArithmetic<Fma, 3>(d);
  if (opcode == "div") return decodeDiv(d);
  if (opcode == "min") return decodeExtreme<true>(d);
  if (opcode == "max") return decodeExtreme<false>(d);
  if (opcode == "abs") return decodeSign<Abs, AbsBits>(d);
  if (opcode == "neg") return decodeSign<Neg, NegBits>(d);
}

void addFloatDecoders(Decoders& list) {
  list["fma"] = decodeFloat;
  list["copysign"] = decodeArithmetic<Copysign, 2>;
  list["sqrt"] = decodeSpecial<Sqrt>;
  list["rcp"] = decodeSpecial<Rcp>;
  list["rsqrt"] = decodeSpecial<Rsqrt>;
  list["ex2"] = decodeSpecial<Ex2>;
  list["lg2"] = decodeSpecial<Lg2>;
  list["sin"] = decodeSpecial<Sin>;
  list["cos"] = decodeSpecial<Cos>;
  list["tanh"] = decodeSpecial<Tanh>;
  list["testp"] = decodeTestp;
}

}  // namespace fused_attention::ptx
