// Arithmetic, logic, comparisons and conversions against the same in C++, on special values and random ones.
#include <algorithm>
#include <bit>
#include <cfenv>
#include <cmath>
#include <random>

#include "half.h"
#include "runner.h"

using namespace fused_attention::ptx;

namespace {

template <class T>
struct Inputs {
  std::vector<T> a, b, c;
};

// All triples of the special values, and random bits.
template <class T>
Inputs<T> inputsOf(const std::vector<T>& special) {
  Inputs<T> in;
  for (const T a : special) {
    for (const T b : special) {
      for (const T c : special) {
        in.a.push_back(a);
        in.b.push_back(b);
        in.c.push_back(c);
      }
    }
  }
  std::mt19937_64 random(7);
  const auto next = [&] {
    if constexpr (sizeof(T) == 8)
      return std::bit_cast<T>(static_cast<uint64_t>(random()));
    else
      return std::bit_cast<T>(static_cast<uint32_t>(random()));
  };
  const size_t count = (in.a.size() + 1500) / 64 * 64;
  while (in.a.size() < count) {
    in.a.push_back(next());
    in.b.push_back(next());
    in.c.push_back(next());
  }
  return in;
}

const Inputs<uint32_t>& words() {
  static const auto in = inputsOf<uint32_t>(
      {0, 1, 2, 5, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0x12345678, 0x3c00bc00, 0x7c00fe01});
  return in;
}
const Inputs<uint64_t>& doubleWords() {
  static const auto in = inputsOf<uint64_t>(
      {0, 1, 31, 63, 64, 200, 0x7fffffffffffffff, 0x8000000000000000, ~uint64_t{0}, 0xffffffff, 0x0123456789abcdef});
  return in;
}
const Inputs<float>& singles() {
  static const auto in =
      inputsOf<float>({0.0f, -0.0f, 1.0f, -1.5f, 0.5f, 2.5f, 1e-40f, 65519.9f, 65520.0f, 3e9f, -1e30f, INFINITY, NAN});
  return in;
}
const Inputs<double>& doubles() {
  static const auto in = inputsOf<double>({0.0, -0.0, 1.0, -1.5, 1e-310, 1e300, 5e18, -1e19, INFINITY, NAN});
  return in;
}

template <class T>
bool same(T a, T b, double relative) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) && std::isnan(b)) return true;
    if (relative > 0 && std::isfinite(a) && std::isfinite(b))
      return std::fabs(a - b) <= relative * std::fabs(b) + 1e-42;
    return a == b && std::signbit(a) == std::signbit(b);
  }
  return a == b;
}

template <class T, class F>
void check(Runner& runner, const Inputs<T>& in, const char* kernel, F reference, double relative = 0) {
  const size_t count = in.a.size();
  const uint64_t a = runner.upload(in.a), b = runner.upload(in.b), c = runner.upload(in.c);
  const uint64_t d = runner.memory.allocate(count * sizeof(T));
  CHECK(!runner.launch(kernel, {static_cast<uint32_t>(count / 64)}, {64}, 0, a, b, c, d));
  const auto result = runner.download<T>(d, count);
  for (size_t i = 0; i < count; ++i) {
    const T expected = reference(in.a[i], in.b[i], in.c[i]);
    if (!same(result[i], expected, relative)) {
      std::ostringstream text;
      text << kernel << '(' << in.a[i] << ", " << in.b[i] << ", " << in.c[i] << ") gave " << result[i] << ", not "
           << expected;
      FAIL(text.str());
      break;
    }
  }
}

using U = uint32_t;
using S = int32_t;
using L = uint64_t;
using SL = int64_t;
U of(float value) { return std::bit_cast<U>(value); }
S sign(U value) { return static_cast<S>(value); }

template <class T, class M>
T bitField(T value, M position, M length) {  // bit by bit, as the ISA tells it
  constexpr int width = 8 * sizeof(T);
  const int first = position & 255, count = length & 255;
  const int last = std::min<int>(first + count - 1, width - 1);
  const bool fill = std::is_signed_v<T> && count > 0 && (value >> last & 1);
  std::make_unsigned_t<T> out = 0;
  for (int bit = 0; bit < width; ++bit) {
    const bool set = bit < count && first + bit < width ? (value >> (first + bit) & 1) != 0 : fill;
    out |= static_cast<std::make_unsigned_t<T>>(set) << bit;
  }
  return static_cast<T>(out);
}

// Sums of products of f16 in units of 2^-48, exactly; and the nearest f16 of one, by comparing all of them.
__int128 exactly(uint16_t half) {
  return static_cast<__int128>(std::ldexp(static_cast<double>(toFloat(Float16{half})), 24));
}
uint16_t nearestHalf(__int128 units, bool negativeZero) {
  const bool negative = units < 0;
  const __int128 magnitude = negative ? -units : units;
  int below = 0, above = 0x7c00;  // the infinity stands for 2^16
  const auto value = [](int bits) {
    return bits == 0x7c00 ? __int128{1} << 64 : exactly(static_cast<uint16_t>(bits)) << 24;
  };
  while (above - below > 1) {
    const int middle = (above + below) / 2;
    (value(middle) <= magnitude ? below : above) = middle;
  }
  const __int128 down = magnitude - value(below), up = value(above) - magnitude;
  const int nearest = down < up ? below : up < down ? above : below % 2 == 0 ? below : above;
  return static_cast<uint16_t>(nearest | (negative || (magnitude == 0 && negativeZero) ? 0x8000 : 0));
}
bool finite(uint16_t half) { return (half & 0x7c00) != 0x7c00; }

// Halves of finite values from the exact sum; others, and signs of zeros, from float, which holds them all.
uint16_t fmaHalf(uint16_t a, uint16_t b, uint16_t c) {
  const float wide = std::fma(toFloat(Float16{a}), toFloat(Float16{b}), toFloat(Float16{c}));
  if (!finite(a) || !finite(b) || !finite(c)) return narrow<Float16>(wide).bits;
  return nearestHalf(exactly(a) * exactly(b) + (exactly(c) << 24), std::signbit(wide));
}
template <class F>
U eachHalf(U a, U b, U c, F f) {
  const auto one = [&](int shift) {
    return static_cast<U>(
        f(static_cast<uint16_t>(a >> shift), static_cast<uint16_t>(b >> shift), static_cast<uint16_t>(c >> shift)));
  };
  return one(0) | one(16) << 16;
}

template <class F>
auto rounding(int mode, F f) {
  return [=](auto... values) {
    std::fesetround(mode);
    const volatile float result = f(static_cast<volatile float&>(values)...);
    std::fesetround(FE_TONEAREST);
    return static_cast<float>(result);
  };
}

}  // namespace

TEST(integers_of_32_bits) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, U (*reference)(U, U, U)) { check(runner, words(), kernel, reference); };
  test("add_u32", [](U a, U b, U) { return a + b; });
  test("sub_s32", [](U a, U b, U) { return a - b; });
  test("mul_lo_u32", [](U a, U b, U) { return a * b; });
  test("mul_hi_u32", [](U a, U b, U) { return static_cast<U>(static_cast<L>(a) * b >> 32); });
  test("mul_hi_s32", [](U a, U b, U) { return static_cast<U>(static_cast<SL>(sign(a)) * sign(b) >> 32); });
  test("mad_lo_s32", [](U a, U b, U c) { return a * b + c; });
  test("mad_hi_u32", [](U a, U b, U c) { return static_cast<U>(static_cast<L>(a) * b >> 32) + c; });
  test("div_u32", [](U a, U b, U) { return b == 0 ? ~0u : a / b; });
  test("div_s32", [](U a, U b, U) { return b == 0 ? ~0u : static_cast<U>(static_cast<SL>(sign(a)) / sign(b)); });
  test("rem_u32", [](U a, U b, U) { return b == 0 ? a : a % b; });
  test("rem_s32", [](U a, U b, U) { return b == 0 ? a : static_cast<U>(static_cast<SL>(sign(a)) % sign(b)); });
  test("min_s32", [](U a, U b, U) { return static_cast<U>(std::min(sign(a), sign(b))); });
  test("max_u32", [](U a, U b, U) { return std::max(a, b); });
  test("abs_s32", [](U a, U, U) { return sign(a) < 0 ? 0 - a : a; });
  test("neg_s32", [](U a, U, U) { return 0 - a; });
  test("sad_u32", [](U a, U b, U c) { return c + (a < b ? b - a : a - b); });
  test("mul_wide_s16", [](U a, U b, U) { return static_cast<U>(static_cast<int16_t>(a) * static_cast<int16_t>(b)); });
  test("add_s16", [](U a, U b, U) { return static_cast<U>(static_cast<int16_t>(a + b)); });
}

TEST(bits_of_32) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, U (*reference)(U, U, U)) { check(runner, words(), kernel, reference); };
  test("and_b32", [](U a, U b, U) { return a & b; });
  test("or_b32", [](U a, U b, U) { return a | b; });
  test("xor_b32", [](U a, U b, U) { return a ^ b; });
  test("not_b32", [](U a, U, U) { return ~a; });
  test("cnot_b32", [](U a, U, U) { return a == 0 ? 1u : 0u; });
  test("shl_b32", [](U a, U b, U) { return b > 31 ? 0 : a << b; });
  test("shr_u32", [](U a, U b, U) { return b > 31 ? 0 : a >> b; });
  test("shr_s32", [](U a, U b, U) { return static_cast<U>(sign(a) >> std::min(b, 31u)); });
  test("shf_l_wrap", [](U a, U b, U c) { return static_cast<U>(((static_cast<L>(b) << 32 | a) << (c % 32)) >> 32); });
  test("shf_l_clamp",
       [](U a, U b, U c) { return static_cast<U>(((static_cast<L>(b) << 32 | a) << std::min(c, 32u)) >> 32); });
  test("shf_r_wrap", [](U a, U b, U c) { return static_cast<U>((static_cast<L>(b) << 32 | a) >> (c % 32)); });
  test("shf_r_clamp", [](U a, U b, U c) { return static_cast<U>((static_cast<L>(b) << 32 | a) >> std::min(c, 32u)); });
  test("lop3_select", [](U a, U b, U c) { return (a & b) | (~a & c); });
  test("lop3_odd", [](U a, U b, U c) { return a ^ b ^ c; });
  test("prmt_b32", [](U a, U b, U c) {
    uint8_t bytes[8];
    std::memcpy(bytes, &a, 4);
    std::memcpy(bytes + 4, &b, 4);
    U out = 0;
    for (int i = 0; i < 4; ++i) {
      const U nibble = c >> (4 * i) & 15;
      const uint8_t byte = bytes[nibble % 8];
      out |= static_cast<U>(nibble < 8 ? byte : byte < 128 ? 0 : 255) << (8 * i);
    }
    return out;
  });
  test("popc_b32", [](U a, U, U) { return static_cast<U>(std::popcount(a)); });
  test("clz_b32", [](U a, U, U) { return static_cast<U>(std::countl_zero(a)); });
  test("brev_b32", [](U a, U, U) {
    U out = 0;
    for (int bit = 0; bit < 32; ++bit) out = out << 1 | (a >> bit & 1);
    return out;
  });
  test("bfind_u32", [](U a, U, U) { return a == 0 ? ~0u : 31u - std::countl_zero(a); });
  test("bfind_s32", [](U a, U, U) {
    const U x = sign(a) < 0 ? ~a : a;
    return x == 0 ? ~0u : 31u - std::countl_zero(x);
  });
  test("bfe_u32", [](U a, U b, U c) { return bitField(a, b, c); });
  test("bfe_s32", [](U a, U b, U c) { return static_cast<U>(bitField(sign(a), b, c)); });
  test("bfi_b32", [](U a, U b, U c) {
    U out = b;
    for (int bit = 0; bit < 7 && (c & 255) + bit < 32; ++bit) {
      const U at = 1u << ((c & 255) + bit);
      out = a >> bit & 1 ? out | at : out & ~at;
    }
    return out;
  });
  test("halves", [](U a, U, U) { return a >> 16 | a << 16; });
}

TEST(comparisons_and_selections) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, U (*reference)(U, U, U)) { check(runner, words(), kernel, reference); };
  test("selp_lt", [](U a, U b, U c) { return sign(a) < sign(b) ? c : a; });
  test("setp_lo", [](U a, U b, U) { return a < b ? 1u : 0u; });
  test("setp_and", [](U a, U b, U c) { return sign(a) >= sign(b) && c != 0 ? 1u : 0u; });
  test("setp_pair", [](U a, U b, U c) {
    const bool with = c != 1, p = (a > b) != with, q = !(a > b) != with;
    return (p ? 1u : 0u) | (q ? 2u : 0u);
  });
  test("set_f32", [](U a, U b, U) { return sign(a) <= sign(b) ? of(1) : 0u; });
  test("slct_s32", [](U a, U b, U c) { return sign(c) >= 0 ? a : b; });
  test("guarded", [](U a, U b, U c) { return a < b ? a + b : c - 1; });
  const auto floats = [&](const char* kernel, float (*reference)(float, float, float)) {
    check(runner, singles(), kernel, reference);
  };
  floats("setp_ltu_f32", [](float a, float b, float) { return a < b || std::isnan(a) || std::isnan(b) ? 1.0f : 0.0f; });
  floats("setp_ne_f32",
         [](float a, float b, float) { return a != b && !std::isnan(a) && !std::isnan(b) ? 1.0f : 0.0f; });
  floats("setp_nan_f32", [](float a, float b, float) { return std::isnan(a) || std::isnan(b) ? 1.0f : 0.0f; });
}

TEST(integers_of_64_bits) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, L (*reference)(L, L, L)) {
    check(runner, doubleWords(), kernel, reference);
  };
  test("add_u64", [](L a, L b, L) { return a + b; });
  test("mul_lo_u64", [](L a, L b, L) { return a * b; });
  test("mul_hi_u64", [](L a, L b, L) { return static_cast<L>(static_cast<unsigned __int128>(a) * b >> 64); });
  test("mul_hi_s64", [](L a, L b, L) {
    return static_cast<L>(static_cast<__int128>(static_cast<SL>(a)) * static_cast<SL>(b) >> 64);
  });
  test("mul_wide_u32", [](L a, L b, L) { return (a & 0xffffffff) * (b & 0xffffffff); });
  test("mul_wide_s32",
       [](L a, L b, L) { return static_cast<L>(static_cast<SL>(static_cast<S>(a)) * static_cast<S>(b)); });
  test("mad_wide_s32",
       [](L a, L b, L c) { return static_cast<L>(static_cast<SL>(static_cast<S>(a)) * static_cast<S>(b)) + c; });
  test("div_s64", [](L a, L b, L) {
    return b == 0 ? ~L{0} : b == ~L{0} ? 0 - a : static_cast<L>(static_cast<SL>(a) / static_cast<SL>(b));
  });
  test("rem_u64", [](L a, L b, L) { return b == 0 ? a : a % b; });
  test("shl_b64", [](L a, L b, L) { return static_cast<U>(b) > 63 ? 0 : a << b; });
  test("shr_s64", [](L a, L b, L) { return static_cast<L>(static_cast<SL>(a) >> std::min<U>(static_cast<U>(b), 63)); });
  test("min_s64", [](L a, L b, L) { return static_cast<L>(std::min(static_cast<SL>(a), static_cast<SL>(b))); });
  test("bfe_u64", [](L a, L b, L c) { return bitField(a, b, c); });
  test("carry", [](L a, L b, L) { return a + b; });
  test("borrow", [](L a, L b, L) { return a - b; });
}

TEST(singles) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, auto reference, double relative = 0) {
    check(runner, singles(), kernel, reference, relative);
  };
  const auto flush = [](float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; };
  test("add_f32", [](float a, float b, float) { return a + b; });
  test("sub_f32", [](float a, float b, float) { return a - b; });
  test("mul_f32", [](float a, float b, float) { return a * b; });
  test("mul_ftz_f32", [&](float a, float b, float) { return flush(flush(a) * flush(b)); });
  test("add_sat_f32", [](float a, float b, float) { return a + b > 0 ? std::min(a + b, 1.0f) : 0.0f; });
  test("fma_f32", [](float a, float b, float c) { return std::fma(a, b, c); });
  test("fma_rz_f32", rounding(FE_TOWARDZERO, [](float a, float b, float c) { return std::fma(a, b, c); }));
  test("add_rm_f32", rounding(FE_DOWNWARD, [](float a, float b, float) { return a + b; }));
  test("mul_rp_f32", rounding(FE_UPWARD, [](float a, float b, float) { return a * b; }));
  test("div_f32", [](float a, float b, float) { return a / b; });
  test("min_f32", [](float a, float b, float) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) ? b : a;
    return a == b ? (std::signbit(a) ? a : b) : std::min(a, b);
  });
  test("max_nan_f32", [](float a, float b, float) {
    return std::isnan(a) || std::isnan(b) ? NAN : a == 0 && b == 0 ? (std::signbit(a) ? b : a) : std::fmax(a, b);
  });
  test("abs_f32", [](float a, float, float) { return std::fabs(a); });
  test("neg_f32", [](float a, float, float) { return -a; });
  test("sqrt_f32", [](float a, float, float) { return std::sqrt(a); });
  test(
      "rcp_f32", [](float a, float, float) { return 1 / a; }, 0x1p-22);
  test(
      "rsqrt_f32", [](float a, float, float) { return static_cast<float>(1 / std::sqrt(static_cast<double>(a))); },
      0x1p-22);
  test(
      "ex2_f32", [](float a, float, float) { return static_cast<float>(std::exp2(static_cast<double>(a))); }, 0x1p-21);
  test(
      "lg2_f32", [](float a, float, float) { return static_cast<float>(std::log2(static_cast<double>(a))); }, 0x1p-21);
  test(
      "tanh_f32", [](float a, float, float) { return static_cast<float>(std::tanh(static_cast<double>(a))); }, 0x1p-10);
}

TEST(doubles) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, double (*reference)(double, double, double)) {
    check(runner, doubles(), kernel, reference);
  };
  test("add_f64", [](double a, double b, double) { return a + b; });
  test("fma_f64", [](double a, double b, double c) { return std::fma(a, b, c); });
  test("div_f64", [](double a, double b, double) { return a / b; });
}

TEST(conversions) {
  Runner runner("arithmetic");
  const auto words = [&](const char* kernel, L (*reference)(L, L, L)) {
    check(runner, doubleWords(), kernel, reference);
  };
  words("cvt_u8", [](L a, L, L) { return a & 255; });
  words("cvt_s8", [](L a, L, L) { return static_cast<L>(static_cast<SL>(static_cast<int8_t>(a))); });
  words("cvt_sat_u16", [](L a, L, L) { return static_cast<L>(std::clamp<S>(static_cast<S>(a), 0, 65535)); });
  words("cvt_f32_u64", [](L a, L, L) { return static_cast<L>(of(static_cast<float>(a))); });
  words("cvt_rz_f32_s64", [](L a, L, L) {
    const SL value = static_cast<SL>(a);
    float nearest = static_cast<float>(value);
    if (std::fabs(static_cast<long double>(nearest)) > std::fabs(static_cast<long double>(value)))
      nearest = std::nextafter(nearest, 0.0f);
    return static_cast<L>(of(nearest));
  });
  words("cvt_f64_s64", [](L a, L, L) { return std::bit_cast<L>(static_cast<double>(static_cast<SL>(a))); });
  const auto singles_ = [&](const char* kernel, float (*reference)(float, float, float)) {
    check(runner, singles(), kernel, reference);
  };
  singles_("cvt_rni_f32", [](float a, float, float) { return std::nearbyint(a); });
  singles_("cvt_rmi_f32", [](float a, float, float) { return std::floor(a); });
  // Volatile, because compilers fold a conversion to an integer and back, and keep a zero's sign.
  singles_("cvt_rzi_s32", [](float a, float, float) {
    if (std::isnan(a)) return 0.0f;
    const volatile S whole = static_cast<S>(std::clamp<double>(std::trunc(a), INT32_MIN, INT32_MAX));
    return static_cast<float>(whole);
  });
  singles_("cvt_rni_u32", [](float a, float, float) {
    if (std::isnan(a)) return 0.0f;
    const volatile U whole = static_cast<U>(std::clamp<double>(std::nearbyint(a), 0, UINT32_MAX));
    return static_cast<float>(whole);
  });
  singles_("cvt_f16", [](float a, float, float) { return static_cast<float>(static_cast<_Float16>(a)); });
  singles_("cvt_rz_f16", [](float a, float, float) {
    if (std::isnan(a) || std::isinf(a)) return a;
    _Float16 nearest = static_cast<_Float16>(a);
    if (std::fabs(static_cast<float>(nearest)) > std::fabs(a)) {
      nearest = std::bit_cast<_Float16>(static_cast<uint16_t>(std::bit_cast<uint16_t>(nearest) - 1));
    }
    return static_cast<float>(nearest);
  });
  // Of pairs the first source is the upper half; this kernel keeps the lower one.
  singles_("cvt_pair_bf16", [](float, float b, float) {
    const U bits = of(b);
    return std::isnan(b) ? b : std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
  });
  singles_("cvt_pair_f16", [](float a, float, float) { return static_cast<float>(static_cast<_Float16>(a)); });
  singles_("cvt_tf32", [](float a, float, float) {
    return std::isfinite(a) ? std::bit_cast<float>((of(a) + 0x1000) & 0xffffe000) : a;
  });
  const auto doubles_ = [&](const char* kernel, double (*reference)(double, double, double)) {
    check(runner, doubles(), kernel, reference);
  };
  doubles_("cvt_f32_f64", [](double a, double, double) { return static_cast<double>(static_cast<float>(a)); });
  doubles_("cvt_rzi_s64", [](double a, double, double) {
    if (std::isnan(a)) return -0x1p63;
    if (std::fabs(a) >= 0x1p63) return std::copysign(0x1p63, a);
    const volatile SL whole = static_cast<SL>(a);
    return static_cast<double>(whole);
  });
}

TEST(pairs_of_halves) {
  Runner runner("arithmetic");
  const auto test = [&](const char* kernel, U (*reference)(U, U, U)) { check(runner, words(), kernel, reference); };
  constexpr uint16_t one = 0x3c00, negativeZero = 0x8000;
  test("add_f16x2", [](U a, U b, U) {
    return eachHalf(a, b, 0, [](uint16_t x, uint16_t y, uint16_t) { return fmaHalf(x, one, y); });
  });
  test("mul_f16x2", [](U a, U b, U) {
    return eachHalf(a, b, 0, [](uint16_t x, uint16_t y, uint16_t) {
      // An addend of the product's own sign leaves a zero's sign alone.
      return fmaHalf(x, y, (x ^ y) & 0x8000 ? negativeZero : uint16_t{0});
    });
  });
  test("fma_f16x2", [](U a, U b, U c) { return eachHalf(a, b, c, fmaHalf); });
  test("max_f16x2", [](U a, U b, U) {
    return eachHalf(a, b, 0, [](uint16_t x, uint16_t y, uint16_t) {
      const float p = toFloat(Float16{x}), q = toFloat(Float16{y});
      if (std::isnan(p) && std::isnan(q)) return uint16_t{0x7fff};
      if (std::isnan(p) || std::isnan(q)) return std::isnan(p) ? y : x;
      return p > q || (p == q && y == negativeZero) ? x : y;
    });
  });
  test("neg_f16x2", [](U a, U, U) { return a ^ 0x80008000; });
  test("fma_bf16x2", [](U a, U b, U c) {
    return eachHalf(a, b, c, [](uint16_t x, uint16_t y, uint16_t z) {
      // The product is exact; what a sum loses decides only where it would be a tie, and the way it decides is its
      // sign.
      const long double product = static_cast<long double>(toFloat(BFloat16{x})) * toFloat(BFloat16{y});
      const long double addend = toFloat(BFloat16{z}), sum = product + addend;
      if (std::isnan(sum)) return uint16_t{0x7fff};
      const bool productIsLarger = std::fabs(product) > std::fabs(addend);
      const long double lost = productIsLarger ? addend - (sum - product) : product - (sum - addend);
      const double nearest = static_cast<double>(sum);
      const long double rest = sum - nearest != 0 ? sum - nearest : lost;
      double odd = nearest;
      if (std::isfinite(nearest) && rest != 0 && !(std::bit_cast<L>(nearest) & 1)) {
        odd = std::nextafter(nearest, rest > 0 ? INFINITY : -INFINITY);
      }
      return narrow<BFloat16>(odd).bits;
    });
  });
  test("max_bf16x2", [](U a, U b, U) {
    return eachHalf(a, b, 0, [](uint16_t x, uint16_t y, uint16_t) {
      const float p = toFloat(BFloat16{x}), q = toFloat(BFloat16{y});
      if (std::isnan(p) || std::isnan(q)) return uint16_t{0x7fff};
      return p > q || (p == q && y == negativeZero) ? x : y;
    });
  });
}
