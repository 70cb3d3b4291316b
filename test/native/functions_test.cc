// The functions of reals that programs call, on every instruction set that runs here, against double: every float32 at
// a stride, every exponent, and the specials of JavaScript's Math.
#include <algorithm>

#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

/// op(a) or op(a, b) of values in any number.
std::vector<float> apply(const Kernels& kernels, TileOp op, std::vector<float> a, std::vector<float> b = {}) {
  const size_t count = a.size(), lanes = size_t(kernels.width), keys = (count + lanes - 1) / lanes;
  a.resize(keys * lanes);
  b.resize(keys * lanes);
  Instruction in;
  in.handler = handlerOf(op, Shape::panel);
  in.b = 1;
  float* panels[] = {a.data(), b.data()};
  TileRun run{};
  run.code = &in;
  run.instructions = 1;
  run.lanes = int(lanes);
  run.keys = run.strip = int64_t(keys);
  run.inputs = panels;
  run.inputCount = 2;
  kernels.runTile(run);
  a.resize(count);
  return a;
}

float fromBits(uint32_t bits) {
  float x;
  std::memcpy(&x, &bits, 4);
  return x;
}

/// Every float32 at a stride that visits all exponents and both signs, and what lies around whole and half numbers.
std::vector<float> manyFloats() {
  std::vector<float> made;
  for (uint64_t bits = 0; bits < (uint64_t{1} << 32); bits += 9973) made.push_back(fromBits(uint32_t(bits)));
  for (int n = -300; n <= 300; ++n) {
    for (int step = -3; step <= 3; ++step) {
      float x = float(n) * 0.5f;
      for (int k = 0; k < std::abs(step); ++k) x = std::nextafterf(x, step < 0 ? -kInfinity : kInfinity);
      made.push_back(x);
    }
  }
  for (float x : {0.0f, -0.0f, kInfinity, -kInfinity, kNaN, FLT_MAX, -FLT_MAX, FLT_MIN, 0x1p-149f, 1.0f, -1.0f}) {
    made.push_back(x);
  }
  return made;
}

/// Distance in units in the last place of the float32 nearest to `expected`; infinite where one is special and the
/// other is not.
double ulps(float got, double expected) {
  const float nearest = float(expected);
  if (std::isnan(nearest)) return std::isnan(got) ? 0 : INFINITY;
  if (std::isnan(got)) return INFINITY;
  if (std::isinf(nearest) || std::isinf(got)) {
    if (got == nearest) return 0;
    // One step over the edge of the range is as good as any other.
    return std::abs(got) == FLT_MAX || std::abs(nearest) == FLT_MAX ? 1 : INFINITY;
  }
  const float magnitude = std::max(std::abs(nearest), FLT_MIN);
  const double unit = double(std::nextafterf(magnitude, kInfinity)) - magnitude;
  return std::abs(double(got) - expected) / unit;
}

void checkFunction(TileOp op, double (*expected)(double), double bound, const std::vector<float>& inputs) {
  forEachTarget([&](const Kernels& kernels) {
    const std::vector<float> got = apply(kernels, op, inputs);
    double worst = 0;
    float where = 0;
    for (size_t i = 0; i < inputs.size(); ++i) {
      const double off = ulps(got[i], expected(double(inputs[i])));
      if (off > worst) worst = off, where = inputs[i];
    }
    if (!(worst <= bound)) FAIL(std::to_string(worst) + " units off at " + std::to_string(where));
    if (std::getenv("FUSED_ATTENTION_VERBOSE"))
      std::printf("  op %d %s: %.3f at %g\n", int(op), isaName(kernels.isa), worst, double(where));
  });
}

TEST(functions_of_one_real) {
  const std::vector<float> inputs = manyFloats();
  checkFunction(
      TileOp::expReal, [](double x) { return std::exp(x); }, 1.2, inputs);
  checkFunction(
      TileOp::logReal, [](double x) { return std::log(x); }, 1.0, inputs);
  checkFunction(
      TileOp::log2Real, [](double x) { return std::log2(x); }, 1.5, inputs);
  checkFunction(
      TileOp::tanhReal, [](double x) { return std::tanh(x); }, 1.5, inputs);
  checkFunction(
      TileOp::sinReal, [](double x) { return std::sin(x); }, 0.6, inputs);
  checkFunction(
      TileOp::cosReal, [](double x) { return std::cos(x); }, 0.6, inputs);
  checkFunction(
      TileOp::sqrtReal, [](double x) { return std::sqrt(x); }, 0.5, inputs);
  checkFunction(
      TileOp::floorReal, [](double x) { return std::floor(x); }, 0, inputs);
  checkFunction(
      TileOp::ceilReal, [](double x) { return std::ceil(x); }, 0, inputs);
  checkFunction(
      TileOp::truncReal, [](double x) { return std::trunc(x); }, 0, inputs);
}

TEST(functions_dense_where_they_bend) {
  std::vector<float> inputs;
  for (float x = 0.1f; x < 3.0f; x = x + 0x1p-20f) inputs.push_back(x);
  checkFunction(
      TileOp::expReal, [](double x) { return std::exp(x); }, 1.2, inputs);
  checkFunction(
      TileOp::logReal, [](double x) { return std::log(x); }, 1.0, inputs);
  checkFunction(
      TileOp::log2Real, [](double x) { return std::log2(x); }, 1.5, inputs);
  checkFunction(
      TileOp::tanhReal, [](double x) { return std::tanh(x); }, 1.5, inputs);
  checkFunction(
      TileOp::sinReal, [](double x) { return std::sin(x); }, 0.6, inputs);
  checkFunction(
      TileOp::cosReal, [](double x) { return std::cos(x); }, 0.6, inputs);
}

/// Math.pow: unlike C's, NaN for a base of 1 or -1 with an exponent that is infinite or NaN.
double mathPow(double x, double y) {
  if (std::isnan(y)) return NAN;
  if (std::isinf(y) && std::abs(x) == 1) return NAN;
  return std::pow(x, y);
}

TEST(functions_pow) {
  std::vector<float> a, b;
  const float specials[] = {0.0f,    -0.0f,    1.0f,      -1.0f,   0.5f,        -0.5f,       2.0f,
                            -2.0f,   3.0f,     -3.0f,     2.5f,    kInfinity,   -kInfinity,  kNaN,
                            FLT_MAX, -FLT_MAX, 0x1p-149f, 0x1p24f, 0x1p24f + 2, 16777215.0f, -16777215.0f};
  for (float x : specials) {
    for (float y : specials) a.push_back(x), b.push_back(y);
  }
  for (int n = 0; n < 400000; ++n) {
    const float x = fromBits(uint32_t(generator()));
    a.push_back(n % 3 == 0 ? std::abs(normal()) * 10 : n % 3 == 1 ? float(integer(-40, 40)) : x);
    b.push_back(n % 2 == 0 ? normal() * 10 : float(integer(-30, 30)));
  }
  forEachTarget([&](const Kernels& kernels) {
    const std::vector<float> got = apply(kernels, TileOp::powReal, a, b);
    double worst = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      const double expected = mathPow(a[i], b[i]);
      const double off = ulps(got[i], expected);
      if (off > 0.6) FAIL(test::both("pow", a[i], b[i]) + ": " + std::to_string(got[i]));
      if (expected == 0 || std::isinf(expected)) CHECK_EQ(std::signbit(got[i]), std::signbit(expected));
      worst = std::max(worst, off);
    }
  });
}

TEST(functions_keep_the_sign_of_zero) {
  forEachTarget([](const Kernels& kernels) {
    for (TileOp op : {TileOp::tanhReal, TileOp::sinReal, TileOp::sqrtReal, TileOp::floorReal, TileOp::ceilReal,
                      TileOp::truncReal, TileOp::signReal}) {
      const std::vector<float> got = apply(kernels, op, {0.0f, -0.0f});
      CHECK(sameBits(got[0], 0.0f) && sameBits(got[1], -0.0f));
    }
    CHECK(sameBits(apply(kernels, TileOp::minReal, {0.0f}, {-0.0f})[0], -0.0f));
    CHECK(sameBits(apply(kernels, TileOp::minReal, {-0.0f}, {0.0f})[0], -0.0f));
    CHECK(sameBits(apply(kernels, TileOp::maxReal, {0.0f}, {-0.0f})[0], 0.0f));
    CHECK(sameBits(apply(kernels, TileOp::maxReal, {-0.0f}, {0.0f})[0], 0.0f));
    for (TileOp op : {TileOp::minReal, TileOp::maxReal}) {
      CHECK(std::isnan(apply(kernels, op, {kNaN}, {1.0f})[0]));
      CHECK(std::isnan(apply(kernels, op, {1.0f}, {kNaN})[0]));
    }
    CHECK(std::isnan(apply(kernels, TileOp::signReal, {kNaN})[0]));
    CHECK_EQ(apply(kernels, TileOp::signReal, {-3.0f})[0], -1.0f);
  });
}

/// Bits of an int32 in a float, and back.
float cell(int32_t x) { return fromBits(uint32_t(x)); }
int32_t integerOf(float x) {
  int32_t bits;
  std::memcpy(&bits, &x, 4);
  return bits;
}

TEST(functions_integer_division_is_exact) {
  std::vector<int64_t> values{0,  1,   -1,    2,     -2,     3,          7,           -7,
                              10, 127, 65535, 65536, -65537, 2147483647, -2147483647, -2147483648LL};
  for (int n = 0; n < 300; ++n) values.push_back(int32_t(generator()) >> integer(0, 30));
  std::vector<float> a, b;
  for (int64_t x : values) {
    for (int64_t y : values) {
      if (y == 0 || (x == -2147483648LL && y == -1)) continue;
      a.push_back(cell(int32_t(x)));
      b.push_back(cell(int32_t(y)));
    }
  }
  const auto floorDiv = [](int64_t x, int64_t y) { return x / y - (x % y != 0 && (x % y < 0) != (y < 0)); };
  forEachTarget([&](const Kernels& kernels) {
    const auto q = apply(kernels, TileOp::truncDivInteger, a, b), m = apply(kernels, TileOp::modInteger, a, b);
    const auto f = apply(kernels, TileOp::floorDivInteger, a, b), c = apply(kernels, TileOp::ceilDivInteger, a, b);
    for (size_t i = 0; i < a.size(); ++i) {
      const int64_t x = integerOf(a[i]), y = integerOf(b[i]);
      CHECK_EQ(integerOf(q[i]), x / y);
      CHECK_EQ(integerOf(m[i]), x % y);
      CHECK_EQ(integerOf(f[i]), floorDiv(x, y));
      CHECK_EQ(integerOf(c[i]), -floorDiv(-x, y));
    }
    // The divisor in a lane vector takes the other path.
    for (int64_t y : values) {
      if (y == 0) continue;
      std::vector<float> panel;
      for (int64_t x : values) {
        if (!(x == -2147483648LL && y == -1)) panel.push_back(cell(int32_t(x)));
      }
      panel.resize((panel.size() + size_t(kernels.width) - 1) / size_t(kernels.width) * size_t(kernels.width));
      std::vector<float> out(panel.size());
      const std::vector<float> divisor(size_t(kernels.width), cell(int32_t(y)));
      Instruction in;
      in.handler = handlerOf(TileOp::modInteger, Shape::panel, Shape::lane);
      in.out = 1;
      float* panels[] = {panel.data(), out.data()};
      TileRun run{&in,     1,      nullptr, kernels.width, int64_t(panel.size()) / kernels.width,
                  16,      panels, 2,       nullptr,       divisor.data(),
                  nullptr, nullptr};
      kernels.runTile(run);
      for (size_t i = 0; i < panel.size(); ++i) CHECK_EQ(integerOf(out[i]), int64_t(integerOf(panel[i])) % y);
    }
  });
}

}  // namespace
}  // namespace fused_attention
