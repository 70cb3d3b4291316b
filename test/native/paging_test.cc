// Keys in pages, and columns with a gap: programs see positions, and calls give what they give over plain rows.
#include <map>

#include "error.h"
#include "program_interpreter.h"
#include "random_graph.h"
#include "tiles/visibility.h"

namespace fused_attention {
namespace {

TEST(gap_runs_hold_what_programs_say_of_positions) {
  int64_t shown = 0, hidden = 0;
  for (int round = 0; round < 600; ++round) {
    Problem p;
    p.headsKv = 1;
    p.headsQ = integer(1, 3);
    p.batch = 1;
    p.queries = integer(1, 30);
    p.keys = integer(1, 60);
    p.gap = {integer(0, p.keys), integer(0, 500), 0};
    p.mask = RandomGraph(ProgramKind::mask, false, 0).make(int(integer(1, 4)));
    const Sequence sequence{0, 0, p.queries, 0, p.keys};
    const Place place{0, p.queries, p.keys, queryStart(p, sequence), p.headsQ, p.groupSize(), p.gap};
    CHECK_EQ(place.queryStart, p.keys + p.gap.positions - p.queries);
    std::shared_ptr<const UnaryValues> unary;
    try {
      unary = std::make_shared<const UnaryValues>(p.mask, place);
    } catch (const CodedError&) {
      continue;  // integers that leave int32 here
    }
    Interpreter interpreter(*p.mask, place);
    Visibility visibility(p, sequence, unary);
    visibility.prepareBoxes(4);
    const int64_t first = integer(0, p.queries - 1);
    const Range rows{first, std::min(first + integer(1, 8), p.queries)}, keys{0, p.keys};
    std::vector<Run> runs;
    visibility.runs(rows, keys, runs);
    for (int64_t column = 0; column < p.keys; ++column) {
      bool listed = false, full = false;
      for (const Run& run : runs) {
        if (column >= run.begin && column < run.end) listed = true, full = run.full;
      }
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        for (int64_t head = 0; head < p.headsQ; ++head) {
          const bool visible = interpreter.result(head, row, column).cell.integer != 0;
          if (visible) CHECK(listed);
          if (!visible) CHECK(!full);
          ++(visible ? shown : hidden);
        }
      }
    }
  }
  CHECK(shown > 10000 && hidden > 10000);
}

/// Rows of [head][row][dim] cut into pages, those in the gap lost.
struct Pages {
  std::map<int64_t, std::vector<float>> memory;
  std::vector<const void*> table;

  Pages(const std::vector<float>& rows, int64_t heads, int64_t count, int64_t dim, int64_t pageRows, Range lost) {
    for (int64_t row = 0; row < count; ++row) {
      if (row >= lost.begin && row < lost.end) continue;
      std::vector<float>& page = memory[row / pageRows];
      page.resize(size_t(heads * pageRows * dim), kNaN);
      for (int64_t h = 0; h < heads; ++h) {
        std::copy_n(rows.begin() + (h * count + row) * dim, dim, page.begin() + (h * pageRows + row % pageRows) * dim);
      }
    }
    for (const auto& [number, page] : memory) table.push_back(page.data());
  }
};

TEST(calls_over_pages_equal_calls_over_rows) {
  for (int round = 0; round < 150; ++round) {
    Problem p;
    p.headsKv = integer(1, 2);
    p.headsQ = p.headsKv * integer(1, 4);
    p.batch = 1;
    p.dimQk = integer(1, 40);
    p.dimV = integer(1, 40);
    p.queries = integer(1, 30);
    p.keys = integer(0, 2) ? integer(1, 200) : integer(500, 900);
    p.scale = 0.3;
    p.threads = int32_t(integer(1, 3));
    const int64_t pageRows = integer(1, 3) * integer(1, 70);
    const auto layout = [](int64_t rows, int64_t dim) { return Layout{Dtype::float32, 0, 0, rows * dim, dim}; };
    p.query = layout(p.queries, p.dimQk);
    p.key = layout(p.keys, p.dimQk);
    p.value = layout(p.keys, p.dimV);
    p.output = layout(p.queries, p.dimV);
    const std::vector<float> query = normals(p.headsQ * p.queries * p.dimQk);
    const std::vector<float> key = normals(p.headsKv * p.keys * p.dimQk);
    const std::vector<float> value = normals(p.headsKv * p.keys * p.dimV);
    // Whole pages are gone, and nothing of the rows around them is seen that lies in `unseen`.
    const int64_t begin = integer(0, p.keys - 1), end = integer(begin, p.keys - 1);
    const Range unseen = integer(0, 1) ? Range{begin, end} : Range{0, 0};
    const int64_t firstPage = (unseen.begin + pageRows - 1) / pageRows, lastPage = unseen.end / pageRows;
    const Range lost = firstPage < lastPage ? Range{firstPage * pageRows, lastPage * pageRows} : Range{0, 0};
    std::vector<uint8_t> mask(size_t(p.keys), 1);
    std::fill(mask.begin() + unseen.begin, mask.begin() + unseen.end, uint8_t{0});

    Problem plain = p;
    plain.masks.push_back({Dtype::boolean, 0, 0, 0, 0, 1});
    std::vector<float> expected(size_t(p.headsQ * p.queries * p.dimV)), actual(expected.size(), kNaN);
    Pointers pointers;
    pointers.query = query.data();
    pointers.key = key.data();
    pointers.value = value.data();
    pointers.output = expected.data();
    pointers.masks = {mask.data()};
    const auto run = [&](const Problem& problem, const Pointers& to) {
      auto planned = cpuBackend().plan(problem, nullptr, nullptr);
      cpuBackend().run(*std::get<std::shared_ptr<const Plan>>(planned), to, CancelFlag());
    };
    run(plain, pointers);

    const Pages keys(key, p.headsKv, p.keys, p.dimQk, pageRows, lost);
    const Pages values(value, p.headsKv, p.keys, p.dimV, pageRows, lost);
    Problem paged = p;
    paged.key = layout(pageRows, p.dimQk);
    paged.value = layout(pageRows, p.dimV);
    paged.paging.rows = pageRows;
    const int64_t gone = unseen.end - unseen.begin;
    paged.gap = {unseen.begin, gone, gone - (lost.end - lost.begin)};
    paged.keys = p.keys - gone;
    Pointers inPages;
    inPages.query = query.data();
    inPages.output = actual.data();
    inPages.keyPages = keys.table.data();
    inPages.valuePages = values.table.data();
    run(paged, inPages);
    for (size_t n = 0; n < expected.size(); ++n) CHECK_NEAR(double(actual[n]), double(expected[n]), 2e-5);
  }
}

}  // namespace
}  // namespace fused_attention
