// Rotary embedding against complex rotation in double, both pairings, parts of a row, and distances.
#include "cache/rotary.h"

#include <complex>

#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

Rotary rotaryOf(int64_t begin, int64_t pairs, bool interleaved) {
  Rotary rotary{begin, interleaved, {}};
  for (int64_t f = 0; f < pairs; ++f) rotary.frequencies.push_back(std::pow(10000.0, -double(f) / double(pairs)));
  return rotary;
}

std::vector<float> turned(const Rotary& rotary, int64_t position, std::vector<float> row) {
  std::vector<float> cosines(rotary.frequencies.size()), sines(cosines);
  angles(rotary, position, cosines.data(), sines.data());
  turn(rotary, cosines.data(), sines.data(), row.data());
  return row;
}

TEST(rotary_turns_pairs_by_position_times_frequency) {
  for (int round = 0; round < 200; ++round) {
    const int64_t pairs = integer(1, 40), begin = integer(0, 9), rest = integer(0, 5);
    const Rotary rotary = rotaryOf(begin, pairs, integer(0, 1));
    const int64_t position = integer(-5, 1 << 20);
    const std::vector<float> row = normals(begin + 2 * pairs + rest), got = turned(rotary, position, row);
    std::vector<bool> seen(row.size(), false);
    for (int64_t f = 0; f < pairs; ++f) {
      const size_t x = size_t(begin + (rotary.interleaved ? 2 * f : f));
      const size_t y = size_t(begin + (rotary.interleaved ? 2 * f + 1 : f + pairs));
      const std::complex<double> pair(row[x], row[y]);
      const std::complex<double> expected = pair * std::polar(1.0, double(position) * rotary.frequencies[size_t(f)]);
      const double bound = 4 * kUnit * std::abs(pair);
      CHECK_NEAR(double(got[x]), expected.real(), bound);
      CHECK_NEAR(double(got[y]), expected.imag(), bound);
      seen[x] = seen[y] = true;
    }
    for (size_t d = 0; d < row.size(); ++d) {
      if (!seen[d]) CHECK(sameBits(row[d], got[d]));
    }
  }
}

TEST(rotary_position_zero_changes_nothing) {
  const std::vector<float> row = normals(64);
  const std::vector<float> got = turned(rotaryOf(0, 32, true), 0, row);
  for (size_t d = 0; d < row.size(); ++d) CHECK(sameBits(row[d], got[d]));
}

TEST(rotary_products_go_by_distance) {
  for (const bool interleaved : {false, true}) {
    const Rotary rotary = rotaryOf(0, 16, interleaved);
    const std::vector<float> query = normals(32), key = normals(32);
    const auto product = [&](int64_t i, int64_t j) {
      const std::vector<float> q = turned(rotary, i, query), k = turned(rotary, j, key);
      double sum = 0;
      for (size_t d = 0; d < 32; ++d) sum += double(q[d]) * double(k[d]);
      return sum;
    };
    for (const int64_t shift : {1, 100, 12345}) CHECK_NEAR(product(7 + shift, 3 + shift), product(7, 3), 1e-4);
  }
}

}  // namespace
}  // namespace fused_attention
