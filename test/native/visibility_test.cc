// Runs and transposed runs of bands, with mask tensors and without, against asking every pair. Other programs are in
// bounds_test.cc.
#include "tiles/visibility.h"

#include <algorithm>
#include <random>

#include "graph_builder.h"
#include "test.h"

namespace fused_attention {
namespace {

std::mt19937 generator(11);

int64_t integer(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(generator); }
bool chance(int percent) { return integer(1, 100) <= percent; }

constexpr int64_t kFar = 1000;

struct Scene {
  Problem problem;
  Sequence sequence;
  std::vector<std::vector<uint8_t>> memory;
  std::vector<const uint8_t*> masks;
  int64_t low = -kFar, high = kFar;  // of j - i

  bool allowed(int64_t head, int64_t row, int64_t key) const {
    const int64_t distance = key - (queryStart(problem, sequence) + row);
    if (distance < low || distance > high) return false;
    for (size_t m = 0; m < masks.size(); ++m) {
      const GridLayout& g = problem.masks[m];
      if (!masks[m][g.offset + sequence.batch * g.batch + head * g.head + row * g.row + key * g.column]) return false;
    }
    return true;
  }
};

int64_t reach() {
  const int64_t reaches[] = {0, 1, integer(0, 8), integer(0, 40), kFar};
  return reaches[integer(0, 4)];
}

Scene randomScene(int masks) {
  Scene scene;
  Problem& p = scene.problem;
  p.headsQ = integer(1, 4);
  p.headsKv = 1;
  p.batch = 2;
  p.queries = integer(1, 40);
  p.keys = integer(1, 60);
  p.align = chance(50) ? Align::topLeft : Align::bottomRight;
  scene.sequence = {1, 0, chance(50) ? p.queries : integer(1, p.queries), 0, chance(50) ? p.keys : integer(0, p.keys)};
  if (!chance(20)) {
    scene.low = -reach();
    scene.high = reach();
    GraphBuilder g;
    const int distance = g.apply(Op::sub, {g.j(), g.i()});
    const int low = g.integer(int32_t(scene.low)), high = g.integer(int32_t(scene.high));
    p.mask = g.mask(g.land(g.le(low, distance), g.le(distance, high)));
  }
  for (int m = 0; m < masks; ++m) {
    GridLayout g;
    g.offset = integer(0, 3);
    g.column = chance(80) ? integer(1, 3) : 0;
    g.row = chance(60) ? p.keys * 3 + integer(0, 2) : 0;
    g.head = chance(60) ? p.queries * (p.keys * 3 + 2) : 0;
    g.batch = chance(60) ? p.headsQ * p.queries * (p.keys * 3 + 2) : 0;
    const int density = chance(50) ? 60 : 95;
    std::vector<uint8_t> bytes(size_t(4 + 2 * p.headsQ * p.queries * (p.keys * 3 + 3)));
    const uint8_t values[] = {1, 255, 2, 128};
    for (uint8_t& byte : bytes) byte = chance(density) ? values[integer(0, 3)] : 0;
    p.masks.push_back(g);
    scene.memory.push_back(std::move(bytes));
  }
  for (const auto& bytes : scene.memory) scene.masks.push_back(bytes.data());
  return scene;
}

Range within(int64_t size) {
  const int64_t a = integer(0, size), b = integer(0, size);
  return {std::min(a, b), std::max(a, b)};
}

int64_t places = 0,
        loose = 0;  // where runs without mask tensors were compared, and where they said less than they could

/// `seen(outer, inner)`: whether the outer index of the box and the inner index of a run make a visible pair.
template <class Seen>
void checkRuns(const std::vector<Run>& runs, Range box, Range inside, bool masked, const Seen& seen) {
  int64_t end = inside.begin;
  for (const Run& run : runs) {
    CHECK(!run.empty());
    CHECK(run.begin >= end);
    end = run.end;
  }
  CHECK(end <= inside.end || runs.empty());
  for (int64_t inner = inside.begin; inner < inside.end; ++inner) {
    bool some = false, every = true;
    for (int64_t outer = box.begin; outer < box.end; ++outer) {
      some |= seen(outer, inner);
      every &= seen(outer, inner);
    }
    bool listed = false, full = false;
    for (const Run& run : runs) {
      if (inner >= run.begin && inner < run.end) listed = true, full = run.full;
    }
    CHECK(listed || !some);
    if (!box.empty()) CHECK(every || !full);
    if (masked || box.empty()) continue;
    ++places;
    // Inside a partial stretch single keys may go unnoticed, hidden or full.
    loose += listed != some || full != every;
  }
}

TEST(visibility_runs_equal_brute_force) {
  for (int round = 0; round < 3000; ++round) {
    const Scene scene = randomScene(round % 4 == 3 ? 1 : 0);
    const bool masked = !scene.masks.empty();
    Visibility visibility(scene.problem, scene.sequence);
    Range rows = within(scene.sequence.queries);
    const Range keys = within(scene.sequence.keys);
    if (round % 2 == 0 && rows.end > rows.begin) {
      // Boxes of which many are to come.
      const int64_t count = integer(1, std::max<int64_t>(1, scene.sequence.queries / 4));
      visibility.prepareBoxes(count);
      rows.begin = integer(0, scene.sequence.queries - count);
      rows.end = rows.begin + count;
    }
    std::vector<Run> runs;
    visibility.runs(rows, keys, runs);
    checkRuns(runs, rows, keys, masked, [&](int64_t row, int64_t key) { return scene.allowed(0, row, key); });
    runs.clear();
    visibility.runsT(keys, rows, runs);
    checkRuns(runs, keys, rows, masked, [&](int64_t key, int64_t row) { return scene.allowed(0, row, key); });
  }
  CHECK(places > 20000);
  CHECK_EQ(loose * 1000 < places ? 0 : loose, int64_t{0});
}

TEST(visibility_runs_are_appended) {
  Scene scene = randomScene(0);
  scene.problem.mask = nullptr;
  scene.sequence = {0, 0, 4, 0, 9};
  const Visibility visibility(scene.problem, scene.sequence);
  std::vector<Run> runs{{{0, 1}, false}};
  visibility.runs({0, 4}, {2, 7}, runs);
  CHECK_EQ(runs.size(), size_t{2});
  CHECK(runs[1].begin == 2 && runs[1].end == 7 && runs[1].full);
}

}  // namespace
}  // namespace fused_attention
