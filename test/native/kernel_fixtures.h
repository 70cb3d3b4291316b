// What the tests of tile operations share: seeded numbers, rows, states, and a loop over the targets that run here.
#pragma once

#include <cfloat>
#include <cstring>
#include <limits>
#include <random>

#include "backend.h"
#include "cpu/kernels.h"
#include "test.h"

namespace fused_attention {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kUnit = 0x1p-24;

std::mt19937 generator(5);  // of each test file
inline float normal() { return std::normal_distribution<float>()(generator); }
inline int64_t integer(int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

inline std::vector<float> normals(int64_t count, float deviation = 1) {
  std::vector<float> made(static_cast<size_t>(count));
  for (float& x : made) x = normal() * deviation;
  return made;
}

/// Rows in memory of their own, so that a sanitizer sees a read past any of them.
struct Rows {
  std::vector<std::vector<float>> memory;
  std::vector<const float*> rows;
  Rows(int64_t count, int64_t dim) {
    for (int64_t i = 0; i < count; ++i) memory.push_back(normals(dim));
    for (const auto& row : memory) rows.push_back(row.data());
  }
};

struct State {
  std::vector<float> reference, sum, moment, maximum, rescale;
  explicit State(int lanes)
      : reference(size_t(lanes), -FLT_MAX),
        sum(size_t(lanes), 0.0f),
        moment(size_t(lanes), 0.0f),
        maximum(size_t(lanes), -kInfinity),
        rescale(size_t(lanes), kNaN) {}
  SoftmaxState softmax() { return {reference.data(), sum.data(), moment.data(), maximum.data()}; }
};

inline bool sameBits(float a, float b) { return std::memcmp(&a, &b, 4) == 0; }

template <class Body>
void forEachTarget(const Body& body) {
  for (Isa isa : cpuInfo().usable) {
    const int before = test::failuresHere;
    body(kernelsFor(isa));
    if (test::failuresHere > before) FAIL(std::string("on ") + isaName(isa));
  }
}

}  // namespace
}  // namespace fused_attention
