// Mask maps against the mask itself, pair by pair: runs, bits, promotion, budget. Plans that are found again. Reads
// outside of tables, in plans and at run time.
#include <algorithm>

#include "cpu/plan_cache.h"
#include "cpu/query_block.h"
#include "error.h"
#include "program_interpreter.h"
#include "random_graph.h"

namespace fused_attention {
namespace {

Problem problemOf(int64_t headsQ, int64_t headsKv, int64_t queries, int64_t keys) {
  Problem p;
  p.batch = 1;
  p.headsQ = headsQ;
  p.headsKv = headsKv;
  p.queries = queries;
  p.keys = keys;
  p.dimQk = p.dimV = 4;
  const auto layout = [](int64_t heads, int64_t rows) {
    return Layout{Dtype::float32, 0, heads * rows * 4, rows * 4, 4};
  };
  p.query = p.output = layout(headsQ, queries);
  p.key = p.value = layout(headsKv, keys);
  return p;
}

struct Memory {
  std::vector<float> query, key, value, output;
  explicit Memory(const Problem& p)
      : query(normals(p.headsQ * p.queries * p.dimQk)),
        key(normals(p.headsKv * p.keys * p.dimQk)),
        value(normals(p.headsKv * p.keys * p.dimV)),
        output(size_t(p.headsQ * p.queries * p.dimV)) {}
  Pointers pointers() {
    Pointers pointers;
    pointers.query = query.data();
    pointers.key = key.data();
    pointers.value = value.data();
    pointers.output = output.data();
    return pointers;
  }
};

Place placeOf(const Problem& p) { return {0, p.queries, p.keys, p.keys - p.queries, p.headsQ, p.groupSize()}; }

/// What of a tile is seen: nothing, a stretch of keys that all lanes see, or anything else.
void countTile(const uint64_t* seen, int64_t keys, uint64_t every, TileCounts& counts) {
  int64_t begin = 0, end = keys;
  while (begin < end && seen[begin] == 0) ++begin;
  while (end > begin && seen[end - 1] == 0) --end;
  const bool full = std::all_of(seen + begin, seen + end, [&](uint64_t word) { return word == every; });
  ++(begin == end ? counts.skipped : full ? counts.full : counts.partial);
}

/// Every pair of the map equals the mask's; kept words are kept only where some pair is hidden and some is not.
void checkMap(const CpuPlan& plan) {
  const Problem& p = plan.problem();
  const SequencePlan& cut = plan.sequences()[0];
  const MaskMap& map = *cut.programs->map;
  std::vector<KeyRun> moved;
  Interpreter oracle(*p.mask, placeOf(p));
  double pairs = 0;
  bool exact = true;
  TileCounts tiles;
  for (int64_t unit = 0; unit < cut.units; ++unit) {
    for (int64_t group = 0; group < cut.groups; ++group) {
      const GroupLanes lanes(p, cut, plan.kernels(), unit, group);
      std::vector<uint64_t> seen(size_t(p.keys), 0);
      int64_t last = 0;
      for (const KeyRun& run : map.runs(unit, group, moved)) {
        CHECK(run.begin >= last && run.end > run.begin && run.end <= p.keys);
        last = run.end;
        exact &= run.full || run.words != KeyRun::kNotKept;
        for (int64_t key = run.begin; key < run.end; ++key) {
          seen[size_t(key)] = run.full                        ? everyLane(lanes.lanes)
                              : run.words != KeyRun::kNotKept ? map.words(run)[key - run.begin]
                                                              : 0;
        }
        if (!run.full && run.words != KeyRun::kNotKept) {
          CHECK(seenBy(lanes.lanes, map.words(run), run.end - run.begin) == Seen::some);
          CHECK(seen[size_t(run.begin)] != 0 && seen[size_t(run.end - 1)] != 0);
        }
        if (!run.full && run.words == KeyRun::kNotKept) continue;
      }
      for (int64_t key = 0; key < p.keys; key += kTileKeys) {
        countTile(&seen[size_t(key)], std::min(kTileKeys, p.keys - key), everyLane(lanes.lanes), tiles);
      }
      for (int64_t key = 0; key < p.keys; ++key) {
        for (int t = 0; t < lanes.lanes.count; ++t) {
          const bool expected = oracle.result(lanes.head[t], lanes.row[t], key).cell.integer;
          pairs += expected;
          const auto runs = map.runs(unit, group, moved);
          const bool open = std::any_of(runs.begin(), runs.end(), [&](const KeyRun& r) {
            return !r.full && r.words == KeyRun::kNotKept && r.begin <= key && key < r.end;
          });
          if (!open) CHECK_EQ(bool(seen[size_t(key)] >> t & 1), expected);
        }
      }
    }
  }
  if (exact) CHECK_EQ(map.pairs(), pairs);
  const TileCounts& counts = map.counts();
  const int64_t groups = cut.groups * cut.units;
  CHECK_EQ(counts.full + counts.partial + counts.skipped, groups * ceilDiv(p.keys, kTileKeys));
  if (!exact) return;
  CHECK_EQ(counts.full, tiles.full);
  CHECK_EQ(counts.skipped, tiles.skipped);
}

TEST(mask_map_equals_the_mask) {
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 60; ++round) {
      const int64_t headsKv = integer(1, 2);
      Problem p = problemOf(headsKv * integer(1, 3), headsKv, integer(1, 70), integer(1, 400));
      p.isa = kernels.isa;
      p.threads = int32_t(integer(1, 3));
      p.mask = RandomGraph(ProgramKind::mask, false, 0).make(int(integer(1, 4)));
      try {
        const CpuPlan plan(p, nullptr, nullptr);
        const int before = test::failuresHere;
        checkMap(plan);
        if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
      } catch (const CodedError&) {
        // An overflow that the analysis could not exclude.
      }
    }
  });
}

TEST(mask_map_of_distances_equals_the_mask) {
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 16; ++round) {
      Problem p = problemOf(2, 2, integer(80, 240), integer(1, 420));
      p.isa = kernels.isa;
      GraphBuilder g;
      const int distance = g.apply(Op::sub, {g.i(), g.j()});
      const int near = g.land(g.le(distance, g.integer(int32_t(integer(0, 90)))),
                              g.le(g.integer(-int32_t(integer(0, 90))), distance));
      const int every = g.eq(g.apply(Op::mod, {distance, g.integer(int32_t(integer(1, 70)))}), g.integer(0));
      const int kinds[] = {near, every, g.land(near, every), g.test(Op::lor, {near, every})};
      const int kind = kinds[round % 4];
      p.mask = g.mask(integer(0, 1) ? g.land(g.le(g.j(), g.i()), kind) : kind);
      const CpuPlan plan(p, nullptr, nullptr);
      const int before = test::failuresHere;
      checkMap(plan);
      if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
    }
  });
}

TEST(mask_map_of_distances_is_kept_once) {
  GraphBuilder g;
  Problem p = problemOf(1, 1, 4000, 4000);
  const int distance = g.apply(Op::sub, {g.i(), g.j()});
  p.mask = g.mask(g.land(g.le(g.apply(Op::abs, {distance}), g.integer(500)),
                         g.eq(g.apply(Op::mod, {distance, g.integer(2)}), g.integer(0))));
  const CpuPlan plan(p, nullptr, nullptr);
  const SequencePlan& cut = plan.sequences()[0];
  CHECK(cut.programs->map->bytes() < size_t(cut.groups * 64 + 65536));
  std::atomic<int64_t> nothing{0};
  const MaskMap open(p, cut, plan.kernels(), cut.programs->mask, nothing, CancelFlag::never());
  std::vector<KeyRun> moved;
  for (const KeyRun& run : open.runs(0, cut.groups / 2, moved)) CHECK_EQ(run.words, KeyRun::kNotKept);
}

TEST(mask_map_follows_what_moves_and_what_stays) {
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 16; ++round) {
      const int64_t length = integer(60, 330), keys = round == 0 ? 0 : length;
      Problem p = problemOf(2, 2, length, keys);
      p.isa = kernels.isa;
      p.threads = int32_t(integer(1, 3));
      GraphBuilder g;
      std::vector<int32_t> ids(size_t(length), 0);
      const int32_t step = int32_t(integer(0, 1) ? integer(-1, 1) : integer(-60, 60));
      for (size_t n = 1; n < ids.size(); ++n) ids[n] = ids[n - 1] + (integer(0, 40) == 0 ? step : 0);
      const int table = g.table(ids, {length});
      const int same = g.eq(g.read(table, {g.i()}), g.read(table, {g.j()}));
      const int causal = g.le(g.j(), g.i());
      const int prefix = g.le(g.j(), g.integer(int32_t(integer(0, length))));
      const int back = g.le(g.apply(Op::add, {g.i(), g.j()}), g.integer(int32_t(integer(0, 2 * length))));
      const int steep = g.le(g.j(), g.apply(Op::mul, {g.apply(Op::floorDiv, {g.i(), g.integer(16)}), g.integer(32)}));
      const int ofHeads = g.le(g.apply(Op::add, {g.j(), g.apply(Op::mul, {g.leaf(Op::h), g.integer(50)})}), g.i());
      const int parts[] = {same, causal, prefix, back, steep, ofHeads};
      const auto part = [&] { return parts[integer(0, 5)]; };
      const int both = g.land(part(), part());
      p.mask = g.mask(integer(0, 1) ? both : g.test(Op::lor, {both, part()}));
      const CpuPlan plan(p, nullptr, nullptr);
      const int before = test::failuresHere;
      checkMap(plan);
      if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
    }
  });
}

TEST(mask_map_of_alike_pieces_equals_the_mask) {
  // Long enough for bits that distances decide, and those of keys that are all alike, to be met many times.
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 6; ++round) {
      const int64_t length = 1000;
      Problem p = problemOf(2, 2, length, length);
      p.isa = kernels.isa;
      GraphBuilder g;
      const int wide = g.integer(int32_t(integer(100, 400)));
      const int half = g.test(Op::lt, {g.leaf(Op::h), g.integer(1)});
      const int shift = g.node(Op::select, Type::integer, {half, g.integer(0), g.integer(int32_t(integer(1, 90)))});
      const auto groupOf = [&](int position) {
        return g.apply(Op::floorDiv, {round % 2 ? position : g.apply(Op::add, {position, shift}), wide});
      };
      const int same = g.eq(groupOf(g.i()), groupOf(g.j()));
      const int prefix = g.test(Op::lor, {g.test(Op::lt, {g.j(), g.integer(int32_t(integer(0, 500)))}), same});
      const int near = g.test(Op::lt, {g.apply(Op::sub, {g.i(), g.j()}), g.integer(int32_t(integer(50, 300)))});
      const int kinds[] = {same, g.land(g.le(g.j(), g.i()), prefix), g.land(near, prefix)};
      p.mask = g.mask(kinds[round % 3]);
      const CpuPlan plan(p, nullptr, nullptr);
      const int before = test::failuresHere;
      checkMap(plan);
      if (test::failuresHere > before) FAIL("in round " + std::to_string(round));
    }
  });
}

TEST(mask_map_promotes_tiles_that_the_analysis_leaves_open) {
  // i * i + j * j + i * j >= 0 always, and i * i + j * j == -1 - i * j never: beyond any analysis of boxes.
  for (const bool visible : {true, false}) {
    Problem p = problemOf(2, 2, 100, 300);
    GraphBuilder g;
    const int i = g.leaf(Op::row), j = g.j();
    const int parity = g.apply(
        Op::mod,
        {g.apply(Op::mul, {g.apply(Op::add, {i, j}), g.apply(Op::add, {g.apply(Op::add, {i, j}), g.integer(1)})}),
         g.integer(2)});
    p.mask = g.mask(g.eq(parity, g.integer(visible ? 0 : 1)));  // n (n + 1) is even
    const CpuPlan plan(p, nullptr, nullptr);
    checkMap(plan);
    const Explanation told = plan.explain();
    CHECK_EQ(told.tilesPartial, 0);
    CHECK(told.tilesPromoted > 0);
    CHECK_EQ(visible ? told.tilesFull : told.tilesSkipped, told.tilesPromoted);
    CHECK_EQ(told.flops, visible ? 2.0 * 2 * 100 * 300 * 8 : 0.0);
  }
}

TEST(mask_map_is_shared_by_heads_that_do_not_differ) {
  GraphBuilder g, perHead;
  Problem p = problemOf(8, 8, 100, 300);
  p.mask = g.mask(g.le(g.j(), g.i()));
  const CpuPlan one(p, nullptr, nullptr);
  const MaskMap& map = *one.sequences()[0].programs->map;
  std::vector<KeyRun> moved;
  CHECK(map.runs(0, 1, moved).data() == map.runs(7, 1, moved).data());
  p.mask = perHead.mask(perHead.le(perHead.j(), perHead.apply(Op::add, {perHead.i(), perHead.leaf(Op::h)})));
  const CpuPlan each(p, nullptr, nullptr);
  const MaskMap& own = *each.sequences()[0].programs->map;
  CHECK(own.runs(0, 1, moved).data() != own.runs(7, 1, moved).data());
  CHECK(own.bytes() > 4 * map.bytes());
  GraphBuilder perHalf;  // what the program takes of the head is h >> 2
  p.mask = perHalf.mask(perHalf.le(
      perHalf.j(),
      perHalf.apply(Op::add, {perHalf.i(), perHalf.apply(Op::shr, {perHalf.leaf(Op::h), perHalf.integer(2)})})));
  const CpuPlan halves(p, nullptr, nullptr);
  const MaskMap& two = *halves.sequences()[0].programs->map;
  CHECK(two.runs(0, 1, moved).data() == two.runs(3, 1, moved).data());
  CHECK(two.runs(4, 1, moved).data() == two.runs(7, 1, moved).data());
  CHECK(two.runs(0, 1, moved).data() != two.runs(4, 1, moved).data());
  checkMap(one);
  checkMap(each);
  checkMap(halves);
}

TEST(mask_map_beyond_its_budget_keeps_no_bits) {
  Problem p = problemOf(1, 1, 60, 300);
  GraphBuilder g;
  p.mask = g.mask(g.eq(g.apply(Op::mod, {g.apply(Op::add, {g.leaf(Op::row), g.j()}), g.integer(3)}), g.integer(0)));
  const CpuPlan whole(p, nullptr, nullptr);
  std::atomic<int64_t> budget{2000};
  const SequencePlan& cut = whole.sequences()[0];
  const MaskMap map(p, cut, whole.kernels(), cut.programs->mask, budget, CancelFlag::never());
  CHECK(budget.load() >= 0 && budget.load() < 2000);
  int64_t kept = 0, open = 0;
  std::vector<KeyRun> moved;
  for (int64_t group = 0; group < cut.groups; ++group) {
    for (const KeyRun& run : map.runs(0, group, moved)) ++(run.words == KeyRun::kNotKept ? open : kept);
  }
  CHECK(kept > 0);
  CHECK(open > 0);
}

// --- plans that come again -----------------------------------------------------------------------------------------

TEST(plan_cache_finds_what_is_alike_and_nothing_else) {
  PlanCache cache;
  Problem p = problemOf(2, 1, 10, 20);
  GraphBuilder a, b;
  p.mask = a.mask(a.le(a.j(), a.i()));
  const auto first = cache.plan(p);
  CHECK(cache.plan(p) == first);
  const auto differs = [&](const auto& change) {
    Problem other = p;
    change(other);
    CHECK(cache.plan(other) != first);
    CHECK(cache.plan(p) == first);
  };
  const auto same = b.mask(b.le(b.j(), b.i()));  // by id, never by content
  differs([&](Problem& x) { x.mask = same; });
  differs([](Problem& x) { x.mask = nullptr; });
  differs([](Problem& x) { x.scale = 0.5; });
  differs([](Problem& x) { x.softcap = 3; });
  differs([](Problem& x) { x.normalizer = {Normalizer::Kind::relu, false, 1}; });
  differs([](Problem& x) { x.normalizer = {Normalizer::Kind::relu, true, 1}; });
  differs([](Problem& x) { x.normalizer = {Normalizer::Kind::relu, false, 2}; });
  differs([](Problem& x) { x.threads = 2; });
  differs([](Problem& x) { x.align = Align::topLeft; });
  differs([](Problem& x) { x.isa = Isa::portable; });
  differs([](Problem& x) { x.query.row = 8, x.query.batch *= 2; });
  differs([](Problem& x) { x.value.dtype = Dtype::float16; });
  differs([](Problem& x) { x.keys = 19; });
  differs([](Problem& x) { x.hasSinks = true; });
  differs([](Problem& x) { x.hasBias = true; });
  differs([](Problem& x) { x.lse = true; });
  differs([](Problem& x) { x.entropy = true; });
  differs([](Problem& x) { x.rowMax = true; });
  differs([](Problem& x) { x.partial = true; });
  differs([](Problem& x) { x.masks.push_back({Dtype::boolean, 0, 0, 0, 20, 1}); });
}

TEST(plan_cache_is_bounded) {
  PlanCache cache(3, 1 << 20);
  std::vector<std::shared_ptr<const CpuPlan>> plans;
  for (int64_t n = 1; n <= 3; ++n) plans.push_back(cache.plan(problemOf(1, 1, n, 10)));
  CHECK(cache.plan(problemOf(1, 1, 1, 10)) == plans[0]);  // used last now
  cache.plan(problemOf(1, 1, 4, 10));
  CHECK_EQ(cache.plans(), size_t{3});
  CHECK(cache.plan(problemOf(1, 1, 1, 10)) == plans[0]);
  CHECK(cache.plan(problemOf(1, 1, 2, 10)) != plans[1]);  // not used longest
  // Large plans push out others, and the largest are not kept.
  GraphBuilder g;
  Problem large = problemOf(1, 1, 1, 10);
  large.mask = g.mask(g.eq(g.read(g.table(std::vector<int32_t>(100000, 1), {100000}), {g.j()}), g.integer(1)));
  PlanCache small(10, 600000);
  const auto kept = small.plan(problemOf(1, 1, 1, 10));
  small.plan(large);
  CHECK_EQ(small.plans(), size_t{1});
  CHECK(small.bytes() <= 600000);
}

// --- reads outside of tables ---------------------------------------------------------------------------------------

/// The code of the error that a call ends with, or nothing.
std::string outcome(const Problem& p) {
  Memory memory(p);
  const CancelFlag cancel;
  try {
    const auto plan = cpuBackend().plan(p, nullptr, nullptr);
    cpuBackend().run(*std::get<0>(plan), memory.pointers(), cancel);
  } catch (const CodedError& error) {
    return error.code + " " + error.argument;
  }
  return "";
}

TEST(poison_only_where_a_pair_hangs_on_it) {
  for (Isa isa : cpuInfo().usable) {
    for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{40, 40}, {1, 300}, {300, 300}}) {
      Problem p = problemOf(2, 1, queries, keys);
      p.isa = isa;
      // A table of the distances that a query sees: reads of the others do not count.
      const auto tableOf = [&](GraphBuilder& g, int64_t size) {
        return g.read(g.table(normals(size), {size}), {g.apply(Op::sub, {g.i(), g.j()})});
      };
      GraphBuilder fits, hides, shortOne, guarded, mask, masked, wrong;
      p.mask = mask.mask(mask.le(mask.j(), mask.i()));
      p.score = hides.score(hides.apply(Op::add, {hides.s(), tableOf(hides, keys)}));
      CHECK_EQ(outcome(p), "");
      p.score = shortOne.score(shortOne.apply(Op::add, {shortOne.s(), tableOf(shortOne, keys - 1)}));
      CHECK_EQ(outcome(p), "ERR_OUT_OF_RANGE options.score");
      // A guard with the same bounds, so that the branch is not taken where the table ends.
      const int near = guarded.test(
          Op::lt, {guarded.apply(Op::sub, {guarded.i(), guarded.j()}), guarded.integer(int32_t(keys - 1))});
      p.score = guarded.score(guarded.apply(Op::select, {near, tableOf(guarded, keys - 1), guarded.s()}));
      CHECK_EQ(outcome(p), "");
      // Without the mask, keys after the query are read before the table.
      p.mask = nullptr;
      if (queries > 1) {
        p.score = fits.score(fits.apply(Op::add, {fits.s(), tableOf(fits, keys)}));
        CHECK_EQ(outcome(p), "ERR_OUT_OF_RANGE options.score");
      }
      p.score = nullptr;
      // In a mask a conjunction that is false anyway does not hang on the read.
      const auto positive = [&](GraphBuilder& g, int64_t size) {
        return g.test(Op::lt, {g.integer(0), g.read(g.table(std::vector<int32_t>(size_t(size), 1), {size}),
                                                    {g.apply(Op::sub, {g.i(), g.j()})})});
      };
      p.mask = masked.mask(masked.land(positive(masked, keys), masked.le(masked.j(), masked.i())));
      CHECK_EQ(outcome(p), "");
      p.mask = wrong.mask(wrong.land(positive(wrong, keys - 1), wrong.le(wrong.j(), wrong.i())));
      CHECK_EQ(outcome(p), "ERR_OUT_OF_RANGE options.mask");
    }
  }
}

}  // namespace
}  // namespace fused_attention
