// ldmatrix and mma against matrices laid out here as the PTX ISA's tables of fragments say, element by element.
#include <bit>
#include <cmath>
#include <random>

#include "half.h"
#include "runner.h"

using namespace fused_attention::ptx;

namespace {

struct Element {
  int row, column;
};

// "Matrix Fragments for mma.m16n8k16 with floating point type": element i of a lane.
Element aOfHalves(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {upper ? group : group + 8, i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8};
}
Element bOfHalves(int lane, int i) {
  const int thread = lane % 4;
  return {i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8, lane >> 2};
}
Element cOf(int lane, int i) { return {i < 2 ? lane >> 2 : (lane >> 2) + 8, (lane % 4) * 2 + (i & 1)}; }
// "Matrix Fragments for mma.m16n8k8", .tf32.
Element aOfTf32(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i == 0 || i == 2 ? group : group + 8, i < 2 ? thread : thread + 4};
}
Element bOfTf32(int lane, int i) { return {i == 0 ? lane % 4 : lane % 4 + 4, lane >> 2}; }

struct Matrices {
  float a[16][16], b[16][8], c[16][8];
};

Matrices randomMatrices(float (*round)(float)) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  Matrices m;
  for (auto& row : m.a)
    for (float& x : row) x = round(normal(random));
  for (auto& row : m.b)
    for (float& x : row) x = round(normal(random));
  for (auto& row : m.c)
    for (float& x : row) x = normal(random);
  return m;
}

// `bits` of one element; two a register for halves.
template <class Bits>
void checkMma(const char* kernel, int k, bool halves, const Matrices& m, Bits bits) {
  const int elements = halves ? 2 : 1, ra = halves ? k / 4 : k / 2, rb = ra / 2;
  std::vector<uint32_t> a(ra * 32), b(rb * 32);
  std::vector<float> c(4 * 32);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < ra * elements; ++i) {
      const Element e = halves ? aOfHalves(lane, i) : aOfTf32(lane, i);
      a[i / elements * 32 + lane] |= bits(m.a[e.row][e.column]) << (16 * (i % elements));
    }
    for (int i = 0; i < rb * elements; ++i) {
      const Element e = halves ? bOfHalves(lane, i) : bOfTf32(lane, i);
      b[i / elements * 32 + lane] |= bits(m.b[e.row][e.column]) << (16 * (i % elements));
    }
    for (int i = 0; i < 4; ++i) c[i * 32 + lane] = m.c[cOf(lane, i).row][cOf(lane, i).column];
  }
  Runner runner("matrix");
  const uint64_t d = runner.memory.allocate(512);
  CHECK(!runner.launch(kernel, {1}, {32}, 0, runner.upload(a), runner.upload(b), runner.upload(c), d));
  const auto result = runner.download<float>(d, 128);
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const Element e = cOf(lane, i);
      long double sum = m.c[e.row][e.column];
      for (int inner = 0; inner < k; ++inner) sum += static_cast<long double>(m.a[e.row][inner]) * m.b[inner][e.column];
      CHECK_NEAR(result[i * 32 + lane], static_cast<double>(sum),
                 0x1p-23 * std::fabs(static_cast<double>(sum)) + 1e-12);
    }
  }
}

float toHalf(float x) { return toFloat(narrow<Float16>(x)); }
float toBrain(float x) { return toFloat(narrow<BFloat16>(x)); }
float toTf(float x) { return std::bit_cast<float>(toTf32(x, false)); }

}  // namespace

TEST(mma_of_halves) {
  const auto half = [](float x) { return static_cast<uint32_t>(narrow<Float16>(x).bits); };
  checkMma("mmaF16", 16, true, randomMatrices(toHalf), half);
  checkMma("mmaF16K8", 8, true, randomMatrices(toHalf), half);
  checkMma("mmaBF16", 16, true, randomMatrices(toBrain),
           [](float x) { return static_cast<uint32_t>(narrow<BFloat16>(x).bits); });
}

TEST(mma_of_tf32) {
  // The lower bits of an operand must not matter.
  const auto bits = [](float x) { return std::bit_cast<uint32_t>(x) | 0x1fff; };
  checkMma("mmaTF32", 8, false, randomMatrices(toTf), bits);
  checkMma("mmaTF32K4", 4, false, randomMatrices(toTf), bits);
}

TEST(ldmatrix) {
  Runner runner("matrix");
  std::vector<uint16_t> in(4 * 64);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<uint16_t>(i * 251 + 7);
  const uint64_t out = runner.memory.allocate(5 * 4 * 128);
  CHECK(!runner.launch("loadMatrices", {1}, {32}, 0, runner.upload(in), out));
  const auto result = runner.download<uint32_t>(out, 5 * 4 * 32);
  const auto expected = [&](int matrix, int lane, bool transposed) {
    const int row = lane / 4, column = 2 * (lane % 4);
    const auto at = [&](int r, int c) { return static_cast<uint32_t>(in[64 * matrix + 8 * r + c]); };
    return transposed ? at(column, row) | at(column + 1, row) << 16 : at(row, column) | at(row, column + 1) << 16;
  };
  const struct {
    int count;
    bool transposed;
  } variants[] = {{1, false}, {2, true}, {4, false}, {4, true}, {1, false}};  // the last is a matrix transposed twice
  for (int variant = 0; variant < 5; ++variant) {
    for (int matrix = 0; matrix < variants[variant].count; ++matrix) {
      for (int lane = 0; lane < 32; ++lane) {
        CHECK_EQ(result[(variant * 4 + matrix) * 32 + lane], expected(matrix, lane, variants[variant].transposed));
      }
    }
  }
}
