// What the analysis says of boxes, runs and blocks of programs, against every pair of them: random programs, the
// patterns that the library has, and their combinations.
#include <algorithm>

#include "error.h"
#include "program/box_view.h"
#include "program_interpreter.h"
#include "random_graph.h"
#include "tiles/block_map.h"
#include "tiles/visibility.h"

namespace fused_attention {
namespace {

using Programs = std::shared_ptr<const Program>;

/// A sequence with a program, and all of its pairs.
class Scene {
 public:
  static constexpr int kHidden = 1, kVisible = 2, kPoison = 4;

  Scene(Programs program, int64_t queries, int64_t keys, bool topLeft, int64_t heads = 1, int64_t group = 1,
        int64_t batch = 0) {
    problem.batch = 2;
    problem.headsQ = heads;
    problem.headsKv = heads / group;
    problem.queries = queries;
    problem.keys = keys;
    problem.align = topLeft ? Align::topLeft : Align::bottomRight;
    problem.mask = program;
    problem.masks.resize(size_t(program->graph().grids));
    sequence = {batch, 0, queries, 0, keys};
    place = {batch, queries, keys, queryStart(problem, sequence), heads, group};
    Interpreter oracle(*program, place);
    oracle.grid = [](int grid, int64_t head, int64_t row, int64_t column) {
      return (row * 7 + column * 5 + head * 3 + grid) % 11 < 6;
    };
    for (int64_t head = 0; head < heads; ++head) {
      for (int64_t row = 0; row < queries; ++row) {
        for (int64_t column = 0; column < keys; ++column) {
          const PairValue value = oracle.result(head, row, column);
          pairs_.push_back(uint8_t(value.poison ? kPoison : value.cell.integer ? kVisible : kHidden));
        }
      }
    }
  }

  /// What occurs in a box, of a head or of all.
  int of(Range rows, Range columns, int64_t head = Bounds::kAllHeads) const {
    int found = 0;
    for (int64_t h = std::max<int64_t>(head, 0); h <= (head < 0 ? place.headsQ - 1 : head); ++h) {
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const uint8_t* line = pairs_.data() + (h * place.queries + row) * place.keys;
        for (int64_t column = columns.begin; column < columns.end; ++column) found |= line[column];
      }
    }
    return found;
  }

  bool readsGrids() const { return problem.mask->graph().grids > 0; }

  Problem problem;
  Sequence sequence;
  Place place;

 private:
  std::vector<uint8_t> pairs_;
};

Range someOf(int64_t size) {
  const int64_t a = integer(0, size - 1), b = integer(0, size - 1);
  return {std::min(a, b), std::max(a, b) + 1};
}

void checkVerdict(const Scene& scene, BoxView& view, Range rows, Range columns, int64_t head) {
  view.setRows(rows);
  view.setColumns(columns);
  const Verdict verdict = view.verdict();
  const int found = scene.of(rows, columns, head);
  CHECK(!verdict.never() || found == Scene::kHidden);
  CHECK(!verdict.always() || found == Scene::kVisible);
  CHECK(verdict.mayHide || verdict.mayShow);
  if (verdict.certain) {
    CHECK_EQ(verdict.mayHide, (found & Scene::kHidden) != 0);
    CHECK_EQ(verdict.mayShow, (found & Scene::kVisible) != 0);
  }
  const bool pair = rows.end - rows.begin == 1 && columns.end - columns.begin == 1 && head >= 0;
  if (pair && !scene.readsGrids() && found != Scene::kPoison) CHECK(verdict.never() || verdict.always());
}

/// Sorted, inside, joined, and true of every key. With `exact` each stretch of four alike is found, ends and all;
/// partial stretches begin and end with a partial key.
template <class Found>
void checkRuns(const std::vector<Run>& runs, Range within, bool exact, const Found& found) {
  int64_t end = within.begin;
  for (size_t n = 0; n < runs.size(); ++n) {
    CHECK(!runs[n].empty());
    CHECK(runs[n].begin >= end);
    if (n > 0 && runs[n].begin == end) CHECK(runs[n].full != runs[n - 1].full);
    end = runs[n].end;
  }
  CHECK(end <= within.end);
  std::vector<int> states, said;
  size_t at = 0;
  for (int64_t inner = within.begin; inner < within.end; ++inner) {
    while (at < runs.size() && runs[at].end <= inner) ++at;
    const bool listed = at < runs.size() && runs[at].begin <= inner, full = listed && runs[at].full;
    const int pairs = found(Range{inner, inner + 1});
    if (!listed) CHECK_EQ(pairs, Scene::kHidden);
    if (full) CHECK_EQ(pairs, Scene::kVisible);
    states.push_back(pairs);
    said.push_back(!listed ? Scene::kHidden : full ? Scene::kVisible : Scene::kHidden | Scene::kVisible);
  }
  if (!exact) return;
  for (size_t n = 0; n < states.size(); ++n) {
    if (states[n] == said[n]) continue;
    size_t from = n, to = n + 1;
    while (from > 0 && states[from - 1] == states[n]) --from;
    while (to < states.size() && states[to] == states[n]) ++to;
    CHECK(to - from < 4);
    CHECK(from > 0 && said[from - 1] == said[n] && to < said.size() && said[to] == said[n]);
  }
}

void checkBothRuns(const Scene& scene, const Visibility& visibility, Range rows, Range columns, int64_t head,
                   bool exact) {
  std::vector<Run> runs;
  visibility.runs(rows, columns, runs, head);
  checkRuns(runs, columns, exact, [&](Range key) { return scene.of(rows, key, head); });
  runs.clear();
  visibility.runsT(columns, rows, runs, head);
  checkRuns(runs, rows, exact, [&](Range row) { return scene.of(row, columns, head); });
}

TileState stateOf(int found) {
  return found == Scene::kHidden ? TileState::none : found == Scene::kVisible ? TileState::full : TileState::partial;
}

void checkBlocks(const Scene& scene, int64_t head, int64_t tileQueries, int64_t tileKeys) {
  const std::vector<TileState> states = blockMap(scene.problem, scene.place.batch, head, tileQueries, tileKeys);
  size_t at = 0;
  for (int64_t row = 0; row < scene.place.queries; row += tileQueries) {
    for (int64_t column = 0; column < scene.place.keys; column += tileKeys) {
      const Range rows{row, std::min(row + tileQueries, scene.place.queries)};
      const Range columns{column, std::min(column + tileKeys, scene.place.keys)};
      const TileState expected = stateOf(scene.of(rows, columns, head));
      const TileState state = states[at++];
      if (scene.readsGrids()) {
        CHECK(state == expected || state == TileState::partial);
      } else {
        CHECK_EQ(int(state), int(expected));
      }
    }
  }
  CHECK_EQ(at, states.size());
}

// --- random programs -------------------------------------------------------------------------------------------------

struct Tightness {
  double open = 0, settled = 0;

  void look(const Scene& scene, BoxView& view, int64_t head, int64_t tile) {
    for (int64_t row = 0; row < scene.place.queries; row += tile) {
      for (int64_t column = 0; column < scene.place.keys; column += tile) {
        const Range rows{row, std::min(row + tile, scene.place.queries)};
        const Range columns{column, std::min(column + tile, scene.place.keys)};
        view.setRows(rows);
        view.setColumns(columns);
        const Verdict verdict = view.verdict();
        if (verdict.never() || verdict.always()) continue;
        ++open;
        const int found = scene.of(rows, columns, head);
        settled += found == Scene::kHidden || found == Scene::kVisible;
      }
    }
  }
};

TEST(bounds_of_random_programs_are_sound) {
  Tightness tightness;
  int scenes = 0;
  for (int round = 0; round < 2600; ++round) {
    const int grids = round % 13 == 0 ? 1 : 0;
    const Programs program = RandomGraph(ProgramKind::mask, round % 5 == 0, grids).make(int(integer(1, 4)));
    const int64_t group = integer(1, 2), heads = group * integer(1, 2);
    const Scene scene(program, integer(1, 64), integer(1, 64), integer(0, 1), heads, group, integer(0, 1));
    std::shared_ptr<const UnaryValues> values;
    try {
      values = std::make_shared<const UnaryValues>(program, scene.place);
    } catch (const CodedError&) {
      continue;  // counted below
    }
    ++scenes;
    const int before = test::failuresHere;
    const int64_t one = integer(0, heads - 1);
    const Visibility visibility(scene.problem, scene.sequence, values);
    for (const int64_t head : {one, Bounds::kAllHeads}) {
      BoxView view(values->bounds(), head);
      for (int box = 0; box < 30; ++box) {
        const Range rows = someOf(scene.place.queries), columns = someOf(scene.place.keys);
        checkVerdict(scene, view, rows, columns, head);
      }
      for (int pair = 0; pair < 20; ++pair) {
        const int64_t row = integer(0, scene.place.queries - 1), column = integer(0, scene.place.keys - 1);
        checkVerdict(scene, view, {row, row + 1}, {column, column + 1}, head);
      }
      checkBothRuns(scene, visibility, someOf(scene.place.queries), someOf(scene.place.keys), head, false);
      if (head >= 0 && grids == 0) tightness.look(scene, view, head, round % 2 ? 16 : 8);
    }
    checkBlocks(scene, one, integer(1, 20), integer(1, 20));
    if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
  }
  CHECK(scenes > 2200);
  const double share = tightness.settled / tightness.open;
  std::printf("  %d random programs: %.1f %% of %.0f open tiles prove empty or full\n", scenes, 100 * share,
              tightness.open);
  CHECK(share <= 0.15);
}

TEST(unary_values_equal_the_definition) {
  for (int round = 0; round < 400; ++round) {
    const ProgramKind kind = round % 2 ? ProgramKind::score : ProgramKind::mask;
    const Programs program = RandomGraph(kind, round % 3 == 0, 0).make(4);
    const int64_t group = integer(1, 3), queries = integer(1, 40), keys = integer(1, 40);
    const Place place{integer(0, 3), queries, keys, integer(0, 1) ? 0 : keys - queries, group * 2, group};
    std::unique_ptr<const UnaryValues> values;
    try {
      values = std::make_unique<const UnaryValues>(program, place);
    } catch (const CodedError&) {
      continue;
    }
    Interpreter oracle(*program, place);
    for (int n = 0; n <= program->result(); ++n) {
      const auto check = [&](Cell cell, bool poison, int64_t head, int64_t row, int64_t column) {
        const PairValue expected = oracle.node(n, head, row, column);
        CHECK_EQ(poison, expected.poison);
        if (!poison) CHECK_EQ(cell.integer, expected.cell.integer);  // bits, of reals too
      };
      if (const Cell* cells = values->byQuery(n)) {
        for (int64_t row = 0; row < queries; ++row) {
          check(cells[row], values->uncertain(n) && values->poisonByQuery(n)[row], 0, row, 0);
        }
      }
      if (const Cell* cells = values->byKey(n)) {
        for (int64_t column = 0; column < keys; ++column) {
          check(cells[column], values->uncertain(n) && values->poisonByKey(n)[column].integer, 0, 0, column);
        }
      }
    }
    const int result = program->result();
    if (program->depends(result) == onQuery) CHECK(values->byQuery(result) != nullptr);
    if (program->depends(result) == onKey) CHECK(values->byKey(result) != nullptr);
  }
}

// --- patterns --------------------------------------------------------------------------------------------------------

struct Pattern {
  const char* name;
  std::function<int(GraphBuilder&)> node;
  bool contiguous;  // a query sees one stretch of keys, so that runs are exact
};

constexpr int64_t kQueries = 90, kKeys = 104;

std::vector<int32_t> idsOf(bool sorted, int values) {
  std::vector<int32_t> ids(static_cast<size_t>(kKeys));
  for (int32_t& id : ids) id = int32_t(integer(0, values - 1));
  if (sorted) std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<Pattern> patterns() {
  const auto distance = [](GraphBuilder& g) { return g.apply(Op::sub, {g.i(), g.j()}); };
  const auto equalIds = [](GraphBuilder& g, std::vector<int32_t> ids) {
    const int table = g.table(std::move(ids), {kKeys});
    return g.eq(g.read(table, {g.i()}), g.read(table, {g.j()}));
  };
  return {
      {"causal", [](GraphBuilder& g) { return g.le(g.j(), g.i()); }, true},
      {"window",
       [=](GraphBuilder& g) {
         return g.land(g.le(distance(g), g.integer(11)),
                       g.le(g.apply(Op::sub, {g.j(), g.i()}), g.parameter(Type::integer, 5)));
       },
       true},
      {"prefix",
       [](GraphBuilder& g) {
         return g.test(Op::lor, {g.le(g.j(), g.i()), g.test(Op::lt, {g.j(), g.integer(37)})});
       },
       true},
      {"sorted documents", [=](GraphBuilder& g) { return equalIds(g, idsOf(true, 9)); }, true},
      {"unsorted documents", [=](GraphBuilder& g) { return equalIds(g, idsOf(false, 23)); }, false},
      {"documents of many ids", [=](GraphBuilder& g) { return equalIds(g, idsOf(true, 5000)); }, true},
      {"documents of rows and columns",
       [](GraphBuilder& g) {
         return g.eq(g.read(g.table(idsOf(true, 7), {kKeys}), {g.leaf(Op::row)}),
                     g.read(g.table(idsOf(true, 7), {kKeys}), {g.leaf(Op::col)}));
       },
       true},
      {"dilated",
       [=](GraphBuilder& g) {
         return g.eq(g.apply(Op::mod, {distance(g), g.integer(5)}), g.integer(0));
       },
       false},
      {"widely dilated",
       [=](GraphBuilder& g) {
         return g.eq(g.apply(Op::mod, {distance(g), g.integer(31)}), g.integer(0));
       },
       false},
      {"strided",
       [=](GraphBuilder& g) {
         const int near = g.test(Op::lt, {distance(g), g.integer(16)});
         const int column = g.eq(g.apply(Op::mod, {distance(g), g.integer(16)}), g.integer(0));
         return g.land(g.le(g.j(), g.i()), g.test(Op::lor, {near, column}));
       },
       false},
      {"shared prefix",
       [](GraphBuilder& g) {
         const auto part = [&](int x) {
           return g.apply(Op::floorDiv, {g.apply(Op::sub, {x, g.integer(30)}), g.integer(17)});
         };
         const int shared = g.test(Op::lt, {g.j(), g.integer(30)});
         return g.land(g.le(g.j(), g.i()), g.test(Op::lor, {shared, g.eq(part(g.i()), part(g.j()))}));
       },
       false},
      {"segments",
       [](GraphBuilder& g) {
         const int ids = g.table(idsOf(true, 6), {kKeys});
         std::vector<int32_t> allowed(36);
         for (int32_t& cell : allowed) cell = int32_t(integer(0, 1));
         const int table = g.table(allowed, {6, 6});
         const int cell = g.read(table, {g.read(ids, {g.i()}), g.read(ids, {g.j()})});
         return g.test(Op::ne, {cell, g.integer(0)});
       },
       false},
      {"real thresholds",
       [](GraphBuilder& g) {
         std::vector<float> reals = normals(kKeys);
         std::sort(reals.begin(), reals.end());
         reals[5] = kNaN;
         return g.test(Op::lt, {g.read(g.table(normals(kKeys), {kKeys}), {g.leaf(Op::row)}),
                                g.read(g.table(reals, {kKeys}), {g.j()})});
       },
       false},
      {"blocks of a layout",
       [](GraphBuilder& g) {
         const auto block = [&](int x) { return g.apply(Op::shr, {x, g.integer(3)}); };
         std::vector<int32_t> layout(13 * 13);
         for (int32_t& cell : layout) cell = int32_t(integer(0, 3) == 0);
         const int cell = g.read(g.table(layout, {13, 13}), {block(g.i()), block(g.j())});
         return g.test(Op::ne, {cell, g.integer(0)});
       },
       false},
  };
}

void checkPattern(const Scene& scene, const std::string& name, bool contiguous) {
  const int before = test::failuresHere;
  checkBlocks(scene, 0, 16, 16);
  checkBlocks(scene, 0, 24, 32);
  checkBlocks(scene, 0, 7, 13);
  const Visibility visibility(scene.problem, scene.sequence);
  for (int box = 0; box < 6; ++box) {
    const Range rows = someOf(scene.place.queries), columns = someOf(scene.place.keys);
    checkBothRuns(scene, visibility, rows, columns, 0, contiguous);
  }
  if (test::failuresHere > before) FAIL(name);
}

TEST(bounds_patterns_equal_brute_force) {
  for (int round = 0; round < 4; ++round) {
    for (const Pattern& pattern : patterns()) {
      GraphBuilder g;
      const Programs program = g.mask(pattern.node(g));
      checkPattern(Scene(program, kQueries, kKeys, round % 2), pattern.name, pattern.contiguous);
    }
  }
}

TEST(bounds_combinations_equal_brute_force) {
  const std::vector<Pattern> all = patterns();
  int number = 0;
  for (const Pattern& first : all) {
    for (const Pattern& second : all) {
      for (const int way : {0, 1, 2}) {
        GraphBuilder g;
        const int a = first.node(g), b = second.node(g);
        const int result = way == 0   ? g.land(a, b)
                           : way == 1 ? g.test(Op::lor, {a, b})
                                      : g.land(a, g.test(Op::lnot, {b}));
        const char* words[] = {" and ", " or ", " and not "};
        checkPattern(Scene(g.mask(result), kQueries, kKeys, ++number % 2),
                     std::string(first.name) + words[way] + second.name, false);
      }
    }
  }
}

TEST(bounds_more_queries_than_keys) {
  for (int round = 0; round < 20; ++round) {
    GraphBuilder g;
    const Programs program = g.mask(g.land(g.le(g.j(), g.i()), g.le(g.i(), g.apply(Op::add, {g.j(), g.integer(9)}))));
    checkPattern(Scene(program, integer(30, 64), integer(1, 30), round % 2), "queries before the keys", true);
  }
}

// --- heads, refusals -------------------------------------------------------------------------------------------------

TEST(bounds_of_one_head_and_of_all) {
  GraphBuilder g;
  const int window = g.read(g.table(std::vector<int32_t>{3, 40, 9, 0}, {4}), {g.leaf(Op::h)});
  const Programs program = g.mask(g.le(g.apply(Op::sub, {g.i(), g.j()}), window));
  const Scene scene(program, 60, 60, false, 4, 2);
  const Visibility visibility(scene.problem, scene.sequence);
  for (int64_t head = Bounds::kAllHeads; head < 4; ++head) {
    for (int box = 0; box < 20; ++box) checkBothRuns(scene, visibility, someOf(60), someOf(60), head, true);
    if (head >= 0) checkBlocks(scene, head, 8, 12);
  }
}

std::string refusal(const Programs& program, const Place& place) {
  try {
    const UnaryValues values(program, place);
  } catch (const CodedError& error) {
    return error.code + " " + error.argument;
  }
  return "";
}

TEST(bounds_refuse_overflow_and_zero_divisors) {
  const Place small{0, 40, 40, 0, 1, 1}, large{0, 70000, 70000, 0, 1, 1};
  const std::string refused = "ERR_OUT_OF_RANGE options.mask";
  const auto positive = [](GraphBuilder& g, int x) { return g.mask(g.test(Op::lt, {g.integer(0), x})); };
  GraphBuilder product, square, mixed, column, guarded, score;
  const Programs products = positive(product, product.apply(Op::mul, {product.i(), product.j()}));
  CHECK_EQ(refusal(products, small), "");
  CHECK_EQ(refusal(products, large), refused);
  const Programs squares = positive(square, square.apply(Op::mul, {square.i(), square.i()}));
  CHECK_EQ(refusal(squares, small), "");
  CHECK_EQ(refusal(squares, large), refused);
  CHECK_EQ(
      refusal(positive(mixed, mixed.apply(Op::mod, {mixed.i(), mixed.apply(Op::sub, {mixed.i(), mixed.j()})})), small),
      refused);
  CHECK_EQ(refusal(positive(column, column.apply(Op::floorDiv, {column.i(), column.j()})), small), refused);
  CHECK_EQ(refusal(positive(guarded,
                            guarded.apply(Op::truncDiv,
                                          {guarded.i(), guarded.apply(Op::add, {guarded.j(), guarded.integer(1)})})),
                   small),
           "");
  const int shifted = score.apply(Op::mul, {score.apply(Op::sub, {score.i(), score.j()}), score.integer(1 << 20)});
  const Programs scores = score.score(score.apply(Op::add, {score.s(), score.node(Op::toReal, Type::real, {shifted})}));
  CHECK_EQ(refusal(scores, small), "");
  CHECK_EQ(refusal(scores, large), "ERR_OUT_OF_RANGE options.score");
}

TEST(bounds_reads_outside_a_table_are_open_but_do_not_overflow) {
  // ids(i + j) leaves its table; the sum on top of it must be taken for what the nearest elements give.
  GraphBuilder g;
  const int table = g.table(std::vector<int32_t>(20, 3), {20});
  const int read = g.apply(Op::add, {g.read(table, {g.apply(Op::add, {g.i(), g.j()})}), g.integer(1)});
  const Programs program = g.mask(g.test(Op::lt, {g.integer(0), read}));
  const Scene scene(program, 16, 16, true);
  CHECK_EQ(refusal(program, scene.place), "");
  const UnaryValues values(program, scene.place);
  BoxView view(values.bounds(), 0);
  view.setRows({0, 8});
  view.setColumns({0, 8});
  CHECK(view.verdict().always());
  view.setColumns({8, 16});
  CHECK(!view.verdict().always());
  checkBlocks(scene, 0, 4, 4);
}

TEST(extremes_equal_those_of_the_stretch) {
  for (int round = 0; round < 60; ++round) {
    const int64_t count = integer(1, 200), most = integer(0, 1) ? 1 : integer(2, 9), rare = integer(0, 30);
    const int kind = round % 3;  // rising, falling, neither
    std::vector<Cell> cells(size_t(count), Cell{});
    for (size_t n = 1; n < cells.size(); ++n) {
      const int64_t step = integer(0, rare) == 0 ? integer(0, most) : 0;
      const bool down = kind == 1 || (kind == 2 && integer(0, 1) == 0);
      cells[n].integer = int32_t(cells[n - 1].integer + (down ? -step : step));
    }
    const ExtremesPyramid pyramid(cells.data(), {}, count, Type::integer);
    for (int look = 0; look < 40; ++look) {
      const Range range = someOf(count);
      const Extremes found = pyramid.over(range);
      std::vector<int32_t> values;
      for (int64_t n = range.begin; n < range.end; ++n) values.push_back(cells[size_t(n)].integer);
      const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
      CHECK(found.any && !found.nan && !found.poison);
      CHECK_EQ(found.least.integer, *least);
      CHECK_EQ(found.most.integer, *greatest);
      for (int64_t value = *least; value <= *greatest; ++value) {
        const bool occurs = std::find(values.begin(), values.end(), value) != values.end();
        CHECK(occurs || !pyramid.gapless());
        if (pyramid.hasSets()) CHECK_EQ(bool(found.set >> (value - pyramid.base()) & 1), occurs);
      }
      if (pyramid.hasSets()) {
        CHECK_EQ(found.set >> (*greatest - pyramid.base()) >> 1, uint64_t{0});
        CHECK_EQ(found.set << (63 - (*least - pyramid.base())) << 1, uint64_t{0});
      }
    }
  }
}

}  // namespace
}  // namespace fused_attention
