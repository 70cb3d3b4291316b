// Masks that are products of ranges along the axes of a grid: what is read off the ranges equals the program, pair by
// pair; boxes of queries cover every row once; results equal those of the program alone, whatever the tiles. Numbers of
// a product that mean nothing are refused.
#include <algorithm>

#include "cpu/query_block.h"
#include "error.h"
#include "graph_builder.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

struct Grid {
  int64_t origin = 0;
  std::vector<int64_t> lengths, periods;
  std::vector<std::vector<int32_t>> starts, ends;

  int64_t cells() const {
    int64_t count = 1;
    for (const int64_t length : lengths) count *= length;
    return count;
  }
};

Grid randomGrid() {
  Grid grid;
  grid.origin = integer(0, 3) == 0 ? integer(1, 30) : 0;
  const int64_t axes = integer(1, 3), most[] = {400, 24, 9};
  for (int64_t a = 0; a < axes; ++a) {
    const int64_t length = integer(1, most[axes - 1]), reach = integer(0, std::max<int64_t>(1, length / 3));
    std::vector<int32_t> start, end;
    for (int64_t at = 0; at < length; ++at) {
      start.push_back(int32_t(std::max<int64_t>(0, at - reach - integer(0, 1))));
      end.push_back(int32_t(std::min(length, at + integer(0, reach + 1))));
    }
    grid.lengths.push_back(length);
    grid.periods.push_back(integer(0, 2) == 0 ? integer(1, length) : 1);
    grid.starts.push_back(std::move(start));
    grid.ends.push_back(std::move(end));
  }
  return grid;
}

bool sees(const Grid& grid, int64_t i, int64_t j) {
  if (i < grid.origin || j < grid.origin) return true;
  i -= grid.origin;
  j -= grid.origin;
  for (size_t a = grid.lengths.size(); a-- > 0;) {
    const int64_t x = i % grid.lengths[a], c = j % grid.lengths[a];
    if (c < grid.starts[a][size_t(x)] || c >= grid.ends[a][size_t(x)] || (c - x) % grid.periods[a] != 0) return false;
    i /= grid.lengths[a];
    j /= grid.lengths[a];
  }
  return true;
}

/// A table of all pairs; with the grid's form beside it, or without.
std::shared_ptr<const Program> programOf(const Grid& grid, bool withForm) {
  GraphBuilder g;
  const int64_t positions = grid.origin + grid.cells();
  std::vector<int32_t> pairs;
  for (int64_t i = 0; i < positions; ++i) {
    for (int64_t j = 0; j < positions; ++j) pairs.push_back(sees(grid, i, j));
  }
  const int table = g.table(pairs, {positions, positions});
  std::vector<double> form{double(grid.lengths.size()), double(grid.origin)};
  for (size_t a = 0; a < grid.lengths.size(); ++a) {
    const int start = g.table(grid.starts[a], {grid.lengths[a]}), end = g.table(grid.ends[a], {grid.lengths[a]});
    for (const int64_t number : {grid.lengths[a], grid.periods[a], int64_t(start), int64_t(end)}) {
      form.push_back(double(number));
    }
  }
  const int seen = g.eq(g.read(table, {g.i(), g.j()}), g.integer(1));
  return withForm ? g.product(seen, form) : g.mask(seen);
}

Problem problemOf(const Grid& grid, bool wholeSequence, Dtype dtype) {
  Problem p;
  p.batch = 1;
  p.headsQ = 2;
  p.headsKv = 1;
  p.keys = grid.origin + grid.cells();
  p.queries = wholeSequence ? p.keys : grid.cells();
  p.dimQk = p.dimV = 20;
  const auto layout = [](int64_t heads, int64_t rows, Dtype type) {
    return Layout{type, 0, heads * rows * 20, rows * 20, 20};
  };
  p.query = p.output = layout(2, p.queries, Dtype::float32);
  p.key = p.value = layout(1, p.keys, dtype);
  p.scale = 0.2;
  return p;
}

TEST(grid_keys_equal_the_program) {
  for (int round = 0; round < 60; ++round) {
    const Grid grid = randomGrid();
    Problem p = problemOf(grid, integer(0, 1) == 1, Dtype::float32);
    p.mask = programOf(grid, true);
    const CpuPlan plan(p, nullptr, nullptr);
    const SequencePlan& cut = plan.sequences()[0];
    if (!cut.order) continue;  // few or packed queries
    std::vector<int64_t> rows = cut.order->rows;
    std::sort(rows.begin(), rows.end());
    bool once = int64_t(rows.size()) == p.queries;
    for (size_t row = 0; row < rows.size(); ++row) once &= rows[row] == int64_t(row);
    CHECK(once);
    const MaskMap& map = *cut.programs->map;
    std::vector<KeyRun> moved;
    int64_t wrong = 0;
    double pairs = 0;
    for (int64_t group = 0; group < cut.groups; ++group) {
      const GroupLanes lanes(p, cut, plan.kernels(), 0, group);
      std::vector<uint64_t> seen(size_t(p.keys), 0);
      for (const KeyRun& run : map.runs(0, group, moved)) {
        for (int64_t n = 0; n < run.count(); ++n) {
          seen[size_t(run.begin + n * run.step)] = run.full ? everyLane(lanes.lanes) : map.words(run)[n];
        }
      }
      for (int64_t key = 0; key < p.keys; ++key) {
        for (int t = 0; t < lanes.lanes.count; ++t) {
          const bool expected = sees(grid, lanes.row[t] + p.keys - p.queries, key);
          wrong += bool(seen[size_t(key)] >> t & 1) != expected;
          pairs += expected;
        }
      }
    }
    CHECK_EQ(wrong, 0);
    CHECK_EQ(map.pairs(), pairs * 2);
  }
}

TEST(grid_groups_of_small_windows_fill_more_than_one_vector) {
  constexpr int64_t length = 28, window = 7;
  Grid grid;
  for (int axis = 0; axis < 2; ++axis) {
    grid.lengths.push_back(length);
    grid.periods.push_back(1);
    grid.starts.emplace_back();
    grid.ends.emplace_back();
    for (int64_t at = 0; at < length; ++at) {
      const int64_t start = std::clamp<int64_t>(at - window / 2, 0, length - window);
      grid.starts.back().push_back(int32_t(start));
      grid.ends.back().push_back(int32_t(start + window));
    }
  }
  Problem p = problemOf(grid, true, Dtype::float32);
  p.mask = programOf(grid, true);
  const CpuPlan plan(p, nullptr, nullptr);
  if (plan.kernels().width > 8) return;  // a vector holds a box of 4 x 4
  CHECK(plan.sequences()[0].groups * 2 * plan.kernels().width <= p.queries);
}

TEST(grid_results_equal_those_of_the_program) {
  forEachTarget([](const Kernels& kernels) {
    int gathered = 0, orders = 0;
    for (int round = 0; round < 12; ++round) {
      const Grid grid = randomGrid();
      const Dtype dtype = round % 3 == 2 ? Dtype::bfloat16 : Dtype::float32;
      Problem p = problemOf(grid, round % 2 == 1, dtype);
      p.isa = kernels.isa;
      p.threads = int32_t(integer(1, 3));
      const std::vector<float> query = normals(p.headsQ * p.queries * p.dimQk);
      std::vector<float> keys = normals(p.keys * p.dimQk), values = normals(p.keys * p.dimV);
      std::vector<uint16_t> halfKeys, halfValues;
      for (const float x : keys) halfKeys.push_back(uint16_t(std::bit_cast<uint32_t>(x) >> 16));
      for (const float x : values) halfValues.push_back(uint16_t(std::bit_cast<uint32_t>(x) >> 16));
      std::vector<float> outputs[2];
      for (const bool withForm : {true, false}) {
        p.mask = programOf(grid, withForm);
        const CpuPlan plan(p, nullptr, nullptr);
        gathered += plan.sequences()[0].programs->map->gathered();
        orders += plan.sequences()[0].order != nullptr;
        std::vector<float>& output = outputs[withForm];
        output.assign(size_t(p.headsQ * p.queries * p.dimV), kNaN);
        Pointers pointers;
        pointers.query = query.data();
        pointers.key = dtype == Dtype::float32 ? static_cast<const void*>(keys.data()) : halfKeys.data();
        pointers.value = dtype == Dtype::float32 ? static_cast<const void*>(values.data()) : halfValues.data();
        pointers.output = output.data();
        cpuBackend().run(plan, pointers, CancelFlag());
      }
      double worst = 0;
      for (size_t at = 0; at < outputs[0].size(); ++at) {
        const double away = std::abs(double(outputs[0][at]) - double(outputs[1][at]));
        if (!(away <= worst)) worst = away;
      }
      CHECK(worst < 1e-5);
    }
    CHECK(gathered > 2);  // wide groups see most of a small grid
    CHECK(orders > 4);
  });
}

TEST(grid_numbers_that_mean_nothing_are_refused) {
  const auto refused = [](std::vector<double> form) {
    GraphBuilder g;
    g.table(std::vector<int32_t>{0, 0, 1}, {3});
    g.table(std::vector<int32_t>{2, 3, 3}, {3});
    g.table(std::vector<int32_t>{2, 3, 4}, {3});
    g.table(std::vector<float>{1, 2, 3}, {3});
    try {
      g.product(g.le(g.j(), g.i()), std::move(form));
    } catch (const CodedError&) {
      return true;
    }
    return false;
  };
  CHECK(!refused({1, 0, 3, 1, 0, 1}));
  CHECK(refused({0, 0}));
  CHECK(refused({4, 0, 3, 1, 0, 1}));
  CHECK(refused({1, -1, 3, 1, 0, 1}));
  CHECK(refused({1, 0, 4, 1, 0, 1}));
  CHECK(refused({1, 0, 3, 0, 0, 1}));
  CHECK(refused({1, 0, 3, 4, 0, 1}));
  CHECK(refused({1, 0, 3, 1, 0, 2}));
  CHECK(refused({1, 0, 3, 1, 0, 3}));
  CHECK(refused({1, 0, 3, 1, 0, 4}));
  CHECK(refused({1, 0, 3, 1, 0}));
  CHECK(refused({1, 0, 3, 1, 0, 1, 0}));
  CHECK(refused({2, 0, 3, 1, 0, 1, 2e9, 1, 0, 1}));
}

}  // namespace
}  // namespace fused_attention
