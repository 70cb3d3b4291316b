// Masks with lists of blocks: what groups see by the lists equals the lists, pair by pair, and rows are taken once,
// whatever the order; results equal those of a table of all pairs. Numbers and buffers that mean nothing are refused.
#include <algorithm>

#include "cpu/query_block.h"
#include "error.h"
#include "graph_builder.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

struct Listed {
  int64_t sizeQ = 1, sizeK = 1, rows = 0, columns = 0, heads = 1;
  bool byRow = false;
  std::vector<int32_t> starts{0}, blocks;

  bool sees(int64_t head, int64_t i, int64_t j) const {
    const int64_t line = (heads == 1 ? 0 : head) * rows + i / sizeQ;
    const auto first = blocks.begin() + starts[size_t(line)], last = blocks.begin() + starts[size_t(line) + 1];
    return std::binary_search(first, last, int32_t(j / sizeK));
  }
};

Listed randomLists(int64_t queries, int64_t keys, int64_t heads) {
  Listed made;
  const auto size = [] {
    return std::max<int64_t>(1, integer(0, 3) == 0 ? 1 : int64_t{1} << integer(0, 6)) + integer(0, 1);
  };
  made.sizeQ = size();
  made.sizeK = size();
  made.rows = (queries + made.sizeQ - 1) / made.sizeQ + integer(0, 1);
  made.columns = (keys + made.sizeK - 1) / made.sizeK + integer(0, 1);
  made.heads = integer(0, 1) == 0 ? 1 : heads;
  made.byRow = integer(0, 1) == 0;
  const int64_t one = integer(1, 12), alike = integer(0, 1) == 0 ? 0 : integer(1, 40);
  for (int64_t line = 0; line < made.heads * made.rows; ++line) {
    bool listed = false;
    for (int64_t block = 0; block < made.columns; ++block) {
      if (integer(0, alike) == 0) listed = integer(0, one) == 0;
      if (listed) made.blocks.push_back(int32_t(block));
    }
    made.starts.push_back(int32_t(made.blocks.size()));
  }
  return made;
}

std::shared_ptr<const Program> programOf(const std::vector<Listed>& lists, bool causal) {
  GraphBuilder g;
  std::vector<double> form{double(lists.size())};
  std::vector<std::vector<int32_t>> buffers;
  for (const Listed& list : lists) {
    for (const int64_t number :
         {list.sizeQ, list.sizeK, list.rows, list.columns, int64_t{1}, list.heads, int64_t(list.byRow)}) {
      form.push_back(double(number));
    }
    buffers.push_back(list.starts);
    buffers.push_back(list.blocks);
  }
  const int seen = causal ? g.le(g.j(), g.i()) : g.node(Op::constant, Type::boolean, {}, 1);
  return g.listed(seen, form, buffers);
}

/// Pairs that all lists see, and the program: [heads][queries][keys].
std::vector<uint8_t> pairsOf(const Problem& p, const std::vector<Listed>& lists, bool causal) {
  std::vector<uint8_t> pairs;
  for (int64_t head = 0; head < p.headsQ; ++head) {
    for (int64_t row = 0; row < p.queries; ++row) {
      const int64_t i = row + p.keys - p.queries;
      for (int64_t j = 0; j < p.keys; ++j) {
        pairs.push_back(std::all_of(lists.begin(), lists.end(),
                                    [&](const Listed& list) { return list.sees(head, list.byRow ? row : i, j); }) &&
                        (!causal || j <= i));
      }
    }
  }
  return pairs;
}

Problem problemOf(int64_t queries, int64_t keys) {
  Problem p;
  p.batch = 1;
  p.headsQ = 2;
  p.headsKv = 1;
  p.queries = queries;
  p.keys = keys;
  p.dimQk = p.dimV = 20;
  p.query = p.output = Layout{Dtype::float32, 0, 2 * queries * 20, queries * 20, 20};
  p.key = p.value = Layout{Dtype::float32, 0, keys * 20, keys * 20, 20};
  p.scale = 0.2;
  return p;
}

TEST(listed_runs_equal_the_lists) {
  int orders = 0, fews = 0;
  for (int round = 0; round < 120; ++round) {
    const int64_t queries = integer(1, 200), keys = round % 20 == 7 ? 0 : queries + integer(0, 300);
    Problem p = problemOf(queries, keys);
    std::vector<Listed> lists{randomLists(keys, keys, 2)};
    if (round % 3 == 0) lists.push_back(randomLists(keys, keys, 2));
    const bool causal = round % 2 == 0;
    p.mask = programOf(lists, causal);
    const std::vector<uint8_t> pairs = pairsOf(p, lists, causal);
    const CpuPlan plan(p, nullptr, nullptr);
    const SequencePlan& cut = plan.sequences()[0];
    orders += cut.order != nullptr;
    fews += cut.order && cut.few;
    int64_t wrong = 0;
    std::vector<int> taken(size_t(p.headsQ * queries), 0);
    ListedRuns listed;
    std::vector<KeyRun> moved;
    for (int64_t unit = 0; unit < cut.units; ++unit) {
      for (int64_t group = 0; group < cut.groups; ++group) {
        const GroupLanes lanes(p, cut, plan.kernels(), unit, group);
        for (int t = 0; t < lanes.lanes.count; ++t) ++taken[size_t(lanes.head[t] * queries + lanes.row[t])];
        const MaskMap& map = *cut.programs->map;
        cut.programs->listed->runs(lanes.lanes, map.runs(unit, group, moved), map.words(), listed);
        std::vector<uint64_t> seen(size_t(keys), 0), again(size_t(keys), everyLane(lanes.lanes));
        int64_t end = 0;
        for (const KeyRun& run : listed.runs) {
          CHECK(run.begin >= end && run.end > run.begin);
          end = run.end;
          for (int64_t n = 0; n < run.count(); ++n) {
            seen[size_t(run.begin + n)] = run.full ? everyLane(lanes.lanes) : listed.words[size_t(run.words + n)];
          }
        }
        cut.programs->listed->restrict(lanes.lanes, {0, keys}, again.data());
        for (int64_t key = 0; key < keys; ++key) {
          for (int t = 0; t < lanes.lanes.count; ++t) {
            const bool expected = pairs[size_t((lanes.head[t] * queries + lanes.row[t]) * keys + key)];
            const bool after = causal && key > lanes.row[t] + keys - queries;
            wrong += bool(seen[size_t(key)] >> t & 1) != expected;
            wrong += !after && bool(again[size_t(key)] >> t & 1) != expected;
          }
        }
      }
    }
    CHECK_EQ(wrong, 0);
    CHECK(std::all_of(taken.begin(), taken.end(), [](int times) { return times == 1; }));
    const double known = double(std::count(pairs.begin(), pairs.end(), 1));
    CHECK_EQ(plan.explain().flops, 2 * known * double(p.dimQk + p.dimV));
  }
  CHECK(orders > 20);
  CHECK(fews > 5);
}

TEST(listed_results_equal_those_of_a_table) {
  forEachTarget([](const Kernels& kernels) {
    for (int round = 0; round < 16; ++round) {
      const int64_t queries = integer(1, 150), keys = queries + integer(0, 1200);
      Problem p = problemOf(queries, keys);
      p.isa = kernels.isa;
      p.threads = int32_t(integer(1, 3));
      const std::vector<Listed> lists{randomLists(keys, keys, 2)};
      const bool causal = round % 2 == 0;
      const std::vector<float> query = normals(p.headsQ * queries * p.dimQk), keysOf = normals(keys * p.dimQk),
                               values = normals(keys * p.dimV);
      const std::vector<uint8_t> pairs = pairsOf(p, lists, causal);
      std::vector<float> outputs[2];
      for (const bool listed : {true, false}) {
        p.mask = listed ? programOf(lists, causal) : nullptr;
        p.masks.clear();
        if (!listed) p.masks.push_back({Dtype::boolean, 0, 0, queries * keys, keys, 1});
        const CpuPlan plan(p, nullptr, nullptr);
        std::vector<float>& output = outputs[listed];
        output.assign(size_t(p.headsQ * queries * p.dimV), kNaN);
        Pointers pointers;
        pointers.query = query.data();
        pointers.key = keysOf.data();
        pointers.value = values.data();
        pointers.output = output.data();
        if (!listed) pointers.masks = {pairs.data()};
        cpuBackend().run(plan, pointers, CancelFlag());
      }
      double worst = 0;
      for (size_t at = 0; at < outputs[0].size(); ++at) {
        const double away = std::abs(double(outputs[0][at]) - double(outputs[1][at]));
        if (!(away <= worst)) worst = away;
      }
      CHECK(worst < 1e-5);
    }
  });
}

TEST(lists_that_mean_nothing_are_refused) {
  using Buffers = std::vector<std::vector<int32_t>>;
  const auto refused = [](std::vector<double> form, Buffers buffers) {
    GraphBuilder g;
    try {
      g.listed(g.le(g.j(), g.i()), std::move(form), std::move(buffers));
    } catch (const CodedError&) {
      return true;
    }
    return false;
  };
  const Buffers good{{0, 1, 3}, {2, 0, 1}};
  const std::vector<double> form{1, 4, 4, 2, 3, 1, 1, 0};
  CHECK(!refused(form, good));
  const double wrong[] = {-1, 0.5, 1e18, std::nan("")};
  for (size_t at = 0; at < form.size(); ++at) {
    for (const double value : wrong) {
      std::vector<double> numbers = form;
      numbers[at] = value;
      CHECK(refused(numbers, good));
    }
  }
  CHECK(refused({0}, {}));
  CHECK(refused({1, 4, 4, 2, 3, 1, 1}, good));
  CHECK(refused({1, 4, 4, 2, 3, 1, 1, 0, 0}, good));
  CHECK(refused({1, 4, 4, 2, 3, 1, 1, 2}, good));
  CHECK(refused({1, 4, 4, 2, 2, 1, 1, 0}, good));  // block 2 of 2
  CHECK(refused({1, 4, 4, 3, 3, 1, 1, 0}, good));  // lines
  CHECK(refused({1, 4, 4, 2, 3, 2e9, 2e9, 0}, good));
  CHECK(refused(form, {{0, 1, 3}}));
  CHECK(refused(form, {{0, 1, 3}, {2, 0, 1}, {}}));
  CHECK(refused(form, {{0, 1, 2}, {2, 0, 1}}));
  CHECK(refused(form, {{1, 1, 3}, {2, 0, 1}}));
  CHECK(refused(form, {{0, 4, 3}, {2, 0, 1}}));
  CHECK(refused(form, {{0, -1, 3}, {2, 0, 1}}));
  CHECK(refused(form, {{0, 1, 3}, {2, 1, 1}}));
  CHECK(refused(form, {{0, 1, 3}, {2, 1, 0}}));
  CHECK(refused(form, {{0, 1, 3}, {-1, 0, 1}}));
  CHECK(refused(form, {{}, {}}));
}

}  // namespace
}  // namespace fused_attention
