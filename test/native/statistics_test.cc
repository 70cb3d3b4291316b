// Statistics against weights worked out pair by pair in double, for every target: references that rise, chunks that
// begin anew, few queries and heads that share lanes.
#include <algorithm>
#include <cmath>

#include "cpu/plan.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

struct Shape {
  int64_t headsQ, headsKv, queries, keys, dim;
};

Problem problemOf(const Shape& s) {
  Problem p;
  p.batch = 1;
  p.headsQ = s.headsQ;
  p.headsKv = s.headsKv;
  p.queries = s.queries;
  p.keys = s.keys;
  p.dimQk = p.dimV = s.dim;
  p.query = p.output = Layout{Dtype::float32, 0, s.headsQ * s.queries * s.dim, s.queries * s.dim, s.dim};
  p.key = p.value = Layout{Dtype::float32, 0, s.headsKv * s.keys * s.dim, s.keys * s.dim, s.dim};
  p.scale = 1.5;
  p.threads = int32_t(integer(1, 3));
  return p;
}

/// p(i, j) of each head, query and key.
std::vector<double> weightsOf(const Problem& p, const std::vector<float>& query, const std::vector<float>& key,
                              const std::vector<float>& sinks) {
  std::vector<double> weights;
  for (int64_t h = 0; h < p.headsQ; ++h) {
    for (int64_t i = 0; i < p.queries; ++i) {
      std::vector<double> row;
      double sum = sinks.empty() ? 0 : std::exp(double(sinks[size_t(h)]));
      for (int64_t j = 0; j < p.keys; ++j) {
        double dot = 0;
        for (int64_t d = 0; d < p.dimQk; ++d) {
          dot += double(query[size_t((h * p.queries + i) * p.dimQk + d)]) *
                 double(key[size_t((h / p.groupSize() * p.keys + j) * p.dimQk + d)]);
        }
        row.push_back(std::exp(p.scale * dot));
        sum += row.back();
      }
      for (const double weight : row) weights.push_back(weight / sum);
    }
  }
  return weights;
}

bool near(double actual, double expected) { return std::abs(actual - expected) <= 3e-5 * expected + 1e-9; }

TEST(statistics_equal_those_of_the_weights) {
  const Shape shapes[] = {{2, 2, 70, 300, 20}, {4, 1, 3, 1500, 20}, {2, 1, 1, 700, 33}, {1, 1, 130, 1100, 5}};
  forEachTarget([&](const Kernels& kernels) {
    for (const Shape& shape : shapes) {
      Problem p = problemOf(shape);
      p.isa = kernels.isa;
      Statistics& s = p.statistics;
      s.mass = {{0, 1}, {1, 200}, {250, shape.keys}};
      s.columns = {{0, 1}, {17, 18}, {shape.keys - 1, shape.keys}};
      s.top = integer(1, 16);
      s.blockRows = 24;
      s.blockKeys = 100;
      s.blockSums = s.blockMaxima = s.columnSums = true;
      const std::vector<float> query = normals(p.headsQ * p.queries * p.dimQk);
      const std::vector<float> key = normals(p.headsKv * p.keys * p.dimQk);
      const std::vector<float> value = normals(p.headsKv * p.keys * p.dimV);
      std::vector<float> sinks;
      p.hasSinks = integer(0, 1) == 1;
      if (p.hasSinks) sinks = normals(p.headsQ);
      const std::vector<double> weights = weightsOf(p, query, key, sinks);

      const auto room = [](int64_t count) { return std::vector<float>(size_t(count), kNaN); };
      const int64_t rows = p.headsQ * p.queries, top = s.top;
      const int64_t rowBlocks = ceilDiv(p.queries, s.blockRows), keyBlocks = ceilDiv(p.keys, s.blockKeys);
      std::vector<float> output = room(rows * p.dimV), mass = room(rows * 3), columns = room(rows * 3);
      std::vector<float> topWeights = room(rows * top), sums = room(p.headsQ * rowBlocks * keyBlocks), maxima = sums;
      std::vector<float> columnSums = room(p.headsQ * p.keys);
      std::vector<int32_t> topColumns(size_t(rows * top), -7);
      Pointers pointers;
      pointers.query = query.data();
      pointers.key = key.data();
      pointers.value = value.data();
      pointers.output = output.data();
      pointers.sinks = sinks.data();
      pointers.statistics = {mass.data(), columns.data(), topColumns.data(), topWeights.data(),
                             sums.data(), maxima.data(),  columnSums.data()};
      cpuBackend().run(CpuPlan(p, nullptr, nullptr), pointers, CancelFlag());

      int64_t wrong = 0;
      std::vector<double> blockSums(sums.size(), 0), blockMaxima(sums.size(), 0), allColumns(columnSums.size(), 0);
      for (int64_t row = 0; row < rows; ++row) {
        const double* own = weights.data() + row * p.keys;
        for (size_t n = 0; n < 3; ++n) {
          double sum = 0;
          for (int64_t j = s.mass[n].begin; j < s.mass[n].end; ++j) sum += own[j];
          wrong += !near(mass[size_t(row) * 3 + n], sum);
          wrong += !near(columns[size_t(row) * 3 + n], own[s.columns[n].begin]);
        }
        std::vector<double> ranked(own, own + p.keys);
        std::sort(ranked.rbegin(), ranked.rend());
        for (int64_t n = 0; n < top; ++n) {
          const int32_t column = topColumns[size_t(row * top + n)];
          const double weight = topWeights[size_t(row * top + n)];
          wrong += column < 0 || column >= p.keys || !near(weight, own[column]) || !near(weight, ranked[size_t(n)]);
        }
        const int64_t head = row / p.queries, i = row % p.queries;
        for (int64_t j = 0; j < p.keys; ++j) {
          const auto at = size_t((head * rowBlocks + i / s.blockRows) * keyBlocks + j / s.blockKeys);
          blockSums[at] += own[j];
          blockMaxima[at] = std::max(blockMaxima[at], own[j]);
          allColumns[size_t(head * p.keys + j)] += own[j];
        }
      }
      for (size_t n = 0; n < sums.size(); ++n) {
        wrong += !near(sums[n], blockSums[n]) + !near(maxima[n], blockMaxima[n]);
      }
      for (size_t n = 0; n < columnSums.size(); ++n) wrong += !near(columnSums[n], allColumns[n]);
      CHECK_EQ(wrong, 0);
    }
  });
}

}  // namespace
}  // namespace fused_attention
