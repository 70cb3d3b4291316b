// Pages of a cache: who shares them, when they are copied, dropped and given back; steps that fail leave no trace.
#include "cache/kv_cache.h"

#include <cstring>
#include <limits>
#include <optional>

#include "cache/append.h"
#include "cache/group.h"
#include "cpu/key_rows.h"
#include "error.h"
#include "kernel_fixtures.h"

namespace fused_attention {
namespace {

/// A cache of single numbers: row r of head h holds what was appended.
struct Fixture {
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>(0);
  std::shared_ptr<KvCache> cache;

  explicit Fixture(int64_t window = -1, int64_t pinned = 0, int64_t heads = 2) {
    CacheForm form;
    form.page = {1, heads, 1, 1, Dtype::float32, false};
    form.window = window;
    form.pinned = pinned;
    cache = std::make_shared<KvCache>(form, account);
  }
  int64_t pages() const { return account->load() / cache->form().page.bytes(); }
};

void write(KvCache& cache, const CacheView& view, float first) {
  const int64_t heads = cache.form().page.heads;
  std::vector<float> keys, values;
  for (int64_t h = 0; h < heads; ++h) {
    for (int64_t r = 0; r < view.appended; ++r) {
      keys.push_back(first + float(r) + 1000000.0f * float(h));
      values.push_back(-keys.back());
    }
  }
  const Layout layout{Dtype::float32, 0, 0, view.appended, 1};
  Problem problem;
  writeRows(cache.form(), view, {keys.data(), values.data(), layout, layout}, Angles{}, problem, CancelFlag());
}

void append(const std::shared_ptr<KvCache>& cache, int64_t rows, float first) {
  KvCache::Step step = KvCache::begin(cache, rows, 0);
  write(*cache, step.view(), first);
  step.commit();
}

/// What a step reads at a row.
float at(const CacheView& view, const CacheForm& form, int64_t head, int64_t row, bool value = false) {
  const Page& page = *view.list->pages()[view.list->pageOf(row)];
  const Layout layout = value ? form.page.valueLayout() : form.page.keyLayout();
  const float* data = reinterpret_cast<const float*>(value ? page.values() : page.keys());
  return data[head * layout.head + row % kPageRows * layout.row];
}

float at(const std::shared_ptr<KvCache>& cache, int64_t head, int64_t row, bool value = false) {
  const KvCache::Step step = KvCache::begin(cache, 0, 0);
  return at(step.view(), cache->form(), head, row, value);
}

template <class Body>
std::string codeOf(const Body& body) {
  try {
    body();
  } catch (const CodedError& error) {
    return error.code;
  } catch (const std::bad_alloc&) {
    return "bad_alloc";
  }
  return "";
}

TEST(cache_rows_lie_where_they_were_appended) {
  Fixture f;
  const int64_t steps[] = {1, kPageRows - 2, 1, 1, kPageRows - 1, 3 * kPageRows, 5};
  int64_t length = 0;
  for (const int64_t rows : steps) {
    append(f.cache, rows, float(length));
    length += rows;
    CHECK_EQ(f.cache->length(), length);
    CHECK_EQ(f.pages(), (length + kPageRows - 1) / kPageRows);
  }
  for (int64_t row = 0; row < length; ++row) {
    for (int64_t h = 0; h < 2; ++h) {
      CHECK_EQ(at(f.cache, h, row), float(row) + 1000000.0f * float(h));
      CHECK_EQ(at(f.cache, h, row, true), -float(row) - 1000000.0f * float(h));
    }
  }
  CHECK_EQ(f.cache->bytes(), f.account->load());
  f.cache->free();
  CHECK_EQ(f.account->load(), 0);
  CHECK_EQ(codeOf([&] { append(f.cache, 1, 0); }), "ERR_DISPOSED");
  CHECK_EQ(codeOf([&] { f.cache->fork(); }), "ERR_DISPOSED");
}

TEST(cache_fork_copies_only_the_page_written_to) {
  Fixture f;
  append(f.cache, 2 * kPageRows + 10, 0);
  auto other = f.cache->fork();
  CHECK_EQ(f.pages(), 3);
  append(other, 1, 500);
  CHECK_EQ(f.pages(), 4);
  append(f.cache, 1, 900);  // its own page again: no copy
  CHECK_EQ(f.pages(), 4);
  CHECK_EQ(at(other, 1, 2 * kPageRows + 10), 1000500.0f);
  CHECK_EQ(at(f.cache, 1, 2 * kPageRows + 10), 1000900.0f);
  for (int64_t row = 0; row < 2 * kPageRows + 10; ++row) CHECK_EQ(at(other, 0, row), float(row));
  f.cache->free();
  CHECK_EQ(f.pages(), 3);
  other->free();
  CHECK_EQ(f.pages(), 0);
}

TEST(cache_fork_at_a_page_boundary_copies_nothing) {
  Fixture f;
  append(f.cache, kPageRows, 0);
  auto other = f.cache->fork();
  append(other, 1, 500);
  append(f.cache, 1, 900);
  CHECK_EQ(f.pages(), 3);
}

TEST(cache_step_that_is_not_committed_leaves_no_trace) {
  Fixture f;
  append(f.cache, 100, 0);
  for (const int64_t rows : {1, 28, 29, 400}) {
    {
      KvCache::Step step = KvCache::begin(f.cache, rows, 1);
      write(*f.cache, step.view(), kNaN);
    }
    CHECK_EQ(f.cache->length(), 100);
    CHECK_EQ(f.pages(), 1);
  }
  append(f.cache, 1, 100);
  for (int64_t row = 0; row <= 100; ++row) CHECK_EQ(at(f.cache, 0, row), float(row));
}

TEST(cache_writer_wants_to_be_alone) {
  Fixture f;
  append(f.cache, 10, 0);
  {
    KvCache::Step reader = KvCache::begin(f.cache, 0, 1);
    KvCache::Step another = KvCache::begin(f.cache, 0, 1);
    CHECK_EQ(codeOf([&] { append(f.cache, 1, 0); }), "ERR_BUFFER_IN_USE");
    CHECK_EQ(codeOf([&] { f.cache->truncate(3); }), "ERR_BUFFER_IN_USE");
    append(f.cache->fork(), 1, 0);
  }
  {
    KvCache::Step writer = KvCache::begin(f.cache, 1, 1);
    CHECK_EQ(codeOf([&] { KvCache::begin(f.cache, 0, 1); }), "ERR_BUFFER_IN_USE");
    CHECK_EQ(codeOf([&] { f.cache->fork(); }), "ERR_BUFFER_IN_USE");
  }
  append(f.cache, 1, 10);
  CHECK_EQ(f.cache->length(), 11);
}

TEST(caches_of_a_group_have_a_table_each_and_copy_what_they_shared) {
  Fixture f;
  append(f.cache, 2 * kPageRows + 7, 0);
  auto a = f.cache->fork(), b = f.cache->fork();
  append(b, kPageRows, 5000);
  {
    std::vector<KvCache::Step> steps = beginTogether({a, f.cache, b}, 1, 1);
    const auto pages = pagesOf(steps, {{2 * kPageRows + 7}, {0, -1, 0}});
    CHECK_EQ(pages->table, 4);
    CHECK(pages->lengths == (std::vector<double>{2 * kPageRows + 8, 2 * kPageRows + 8, 3 * kPageRows + 8}));
    for (int64_t n = 0; n < 2; ++n) {
      CHECK(pages->keys[size_t(n)] == pages->keys[size_t(8 + n)]);
      CHECK(pages->values[size_t(n)] == pages->values[size_t(8 + n)]);
    }
    // Each has its own page to append to.
    CHECK(pages->keys[2] != pages->keys[6] && pages->keys[2] != pages->keys[10]);
    CHECK(pages->keys[3] == nullptr && pages->keys[11] != nullptr);
    for (size_t n = 0; n < 3; ++n) write(*f.cache, steps[n].view(), float(700 + n));
    for (KvCache::Step& step : steps) step.commit();
  }
  CHECK_EQ(at(a, 0, 2 * kPageRows + 7), 700.0f);
  CHECK_EQ(at(f.cache, 0, 2 * kPageRows + 7), 701.0f);
  CHECK_EQ(at(b, 0, 2 * kPageRows + 7), 5000.0f);
  CHECK_EQ(at(b, 0, 3 * kPageRows + 7), 702.0f);
  CHECK_EQ(at(a, 0, 2 * kPageRows + 6), float(2 * kPageRows + 6));
}

TEST(caches_that_do_not_go_together_are_left_as_they_were) {
  Fixture f, windowed(3), wide(-1, 0, 3);
  append(f.cache, kPageRows, 0);
  auto a = f.cache->fork(), b = f.cache->fork();
  CHECK_EQ(codeOf([&] { beginTogether({a, windowed.cache}, 1, 1); }), "ERR_UNSUPPORTED");
  CHECK_EQ(codeOf([&] { beginTogether({a, wide.cache}, 1, 1); }), "ERR_INVALID_ARG_VALUE");
  CHECK_EQ(codeOf([&] { beginTogether({a, a}, 1, 1); }), "ERR_BUFFER_IN_USE");
  {
    KvCache::Step reader = KvCache::begin(b, 0, 1);
    CHECK_EQ(codeOf([&] { beginTogether({a, b}, 1, 1); }), "ERR_BUFFER_IN_USE");
  }
  b->truncate(kPageRows - 1);
  append(b, 1, float(kPageRows - 1));  // the same token, in a page of its own
  const std::vector<KvCache::Step> steps = beginTogether({a, f.cache, b}, 0, 1);
  pagesOf(steps, {{kPageRows}, {0, 0, -1}});
  pagesOf(steps, {{kPageRows - 1}, {0, 0, 0}});
  CHECK_EQ(codeOf([&] { pagesOf(steps, {{kPageRows}, {0, -1, 0}}); }), "ERR_INVALID_ARG_VALUE");
  CHECK_EQ(codeOf([&] { pagesOf(steps, {{kPageRows + 1}, {0, 0, -1}}); }), "ERR_OUT_OF_RANGE");
}

TEST(cache_free_leaves_pages_to_steps_under_way) {
  Fixture f;
  append(f.cache, 10, 0);
  {
    KvCache::Step reader = KvCache::begin(f.cache, 0, 1);
    f.cache->free();
    CHECK_EQ(f.pages(), 1);
    CHECK_EQ(at(reader.view(), f.cache->form(), 0, 9), 9.0f);
  }
  CHECK_EQ(f.pages(), 0);

  Fixture g;
  KvCache::Step writer = KvCache::begin(g.cache, 5, 1);
  g.cache->free();
  write(*g.cache, writer.view(), 0);
  writer.commit();
  writer = {};
  CHECK_EQ(g.pages(), 0);
}

TEST(cache_truncate_gives_pages_back_and_forks_keep_theirs) {
  Fixture f;
  append(f.cache, 3 * kPageRows, 0);
  auto other = f.cache->fork();
  f.cache->truncate(kPageRows + 1);
  CHECK_EQ(f.pages(), 3);
  append(f.cache, 1, 700);  // into a page that the fork shares
  CHECK_EQ(f.pages(), 4);
  CHECK_EQ(at(f.cache, 0, kPageRows + 1), 700.0f);
  CHECK_EQ(at(other, 0, kPageRows + 1), float(kPageRows + 1));
  other->truncate(0);
  CHECK_EQ(f.pages(), 2);
  CHECK_EQ(codeOf([&] { other->truncate(1); }), "ERR_OUT_OF_RANGE");
  CHECK_EQ(codeOf([&] { other->truncate(-1); }), "ERR_OUT_OF_RANGE");
}

TEST(cache_window_drops_pages_that_no_later_query_sees) {
  const int64_t window = 200, pinned = 3;
  Fixture f(window, pinned);
  int64_t most = 0;
  for (int64_t length = 0; length < 40 * kPageRows; ++length) {
    append(f.cache, 1, float(length));
    most = std::max(most, f.pages());
    const KvCache::Step step = KvCache::begin(f.cache, 0, 1);
    const int64_t firstKey = std::max(pinned, length - window);
    CHECK_EQ(step.view().firstKey, firstKey);
    if (length % 97 != 0) continue;
    for (int64_t row = 0; row < pinned && row <= length; ++row)
      CHECK_EQ(at(step.view(), f.cache->form(), 0, row), float(row));
    for (int64_t row = firstKey; row <= length; ++row)
      CHECK_EQ(at(step.view(), f.cache->form(), 1, row), float(row) + 1000000.0f);
  }
  CHECK(most <= 1 + (window + kPageRows - 1) / kPageRows + 1);
  // What the last token's query sees is there; more queries than that is an error, and so is going back further.
  const int64_t length = f.cache->length();
  CHECK_EQ(codeOf([&] { KvCache::begin(f.cache, 0, length); }), "ERR_OUT_OF_RANGE");
  CHECK_EQ(codeOf([&] { f.cache->truncate(length - 3 * kPageRows); }), "ERR_OUT_OF_RANGE");
  f.cache->truncate(length - 1);
  append(f.cache, 1, 5);
  CHECK_EQ(at(f.cache, 0, length - 1), 5.0f);
  f.cache->truncate(1);  // all pinned
  append(f.cache, 600, 1);
  for (int64_t row = 0; row < 601; ++row) CHECK_EQ(at(f.cache, 0, row), float(row));
}

TEST(cache_window_of_zero_and_pinned_pages) {
  for (const int64_t pinned : {0, 1, int(kPageRows), int(kPageRows) + 1}) {
    Fixture f(0, pinned);
    for (int64_t length = 0; length < 6 * kPageRows; length += 64) append(f.cache, 64, float(length));
    const KvCache::Step step = KvCache::begin(f.cache, 0, 64);
    for (int64_t row = step.view().firstKey; row < f.cache->length(); ++row) {
      CHECK_EQ(at(step.view(), f.cache->form(), 0, row), float(row));
    }
    CHECK(f.pages() <= 2 + (pinned + kPageRows - 1) / kPageRows);
  }
}

TEST(cache_out_of_memory_leaves_the_cache_as_it_was) {
  auto account = std::make_shared<MemoryAccount>(0);
  CacheForm form;
  form.page = {int64_t{1} << 22, int64_t{1} << 20, 1, 1, Dtype::float32, false};  // 2^51 bytes of keys a page
  auto cache = std::make_shared<KvCache>(form, account);
  for (int i = 0; i < 2; ++i) CHECK_EQ(codeOf([&] { KvCache::begin(cache, 1, 0); }), "bad_alloc");
  CHECK_EQ(cache->length(), 0);
  CHECK_EQ(account->load(), 0);
  CHECK_EQ(codeOf([&] { KvCache::begin(cache, int64_t{1} << 31, 0); }), "ERR_OUT_OF_RANGE");
}

/// Random operations on a family of caches against vectors of numbers.
TEST(cache_random_operations_equal_a_plain_model) {
  struct Pair {
    std::shared_ptr<KvCache> cache;
    std::vector<float> rows;
  };
  for (int round = 0; round < 20; ++round) {
    Fixture f(-1, 0, 1);
    std::vector<Pair> family{{f.cache, {}}};
    float next = 1;
    for (int i = 0; i < 300; ++i) {
      const size_t which = size_t(integer(0, int64_t(family.size()) - 1));
      Pair& pair = family[which];
      switch (integer(0, 9)) {
        case 0:
          if (family.size() < 6) family.push_back({pair.cache->fork(), pair.rows});
          break;
        case 1:
          if (family.size() > 1) {
            pair.cache->free();
            family.erase(family.begin() + int64_t(which));
          }
          break;
        case 2: {
          const int64_t length = integer(0, int64_t(pair.rows.size()));
          pair.cache->truncate(length);
          pair.rows.resize(size_t(length));
          break;
        }
        case 3: {
          const KvCache::Step step = KvCache::begin(pair.cache, integer(1, 300), 0);  // given up
          write(*pair.cache, step.view(), kNaN);
          break;
        }
        default: {
          const int64_t rows = integer(0, 3) ? integer(1, 20) : integer(100, 300);
          append(pair.cache, rows, next);
          for (int64_t r = 0; r < rows; ++r) pair.rows.push_back(next + float(r));
          next += float(rows);
        }
      }
    }
    int64_t most = 0;
    for (const Pair& pair : family) {
      CHECK_EQ(pair.cache->length(), int64_t(pair.rows.size()));
      for (size_t row = 0; row < pair.rows.size(); ++row) CHECK_EQ(at(pair.cache, 0, int64_t(row)), pair.rows[row]);
      most += (int64_t(pair.rows.size()) + kPageRows - 1) / kPageRows;
    }
    CHECK(f.pages() <= most);
    for (const Pair& pair : family) pair.cache->free();
    CHECK_EQ(f.pages(), 0);
  }
}

TEST(segment_rows_in_pages_skip_the_gap) {
  for (int round = 0; round < 200; ++round) {
    const int64_t pageRows = integer(1, 9), begin = integer(0, 20), skipped = integer(0, 20), count = integer(1, 40);
    const int64_t rows = count + skipped;
    std::vector<std::vector<float>> pages;
    for (int64_t r = 0; r < rows; ++r) {
      if (r % pageRows == 0) pages.emplace_back(size_t(2 * pageRows), kNaN);  // two heads of one component
      pages.back()[size_t(pageRows + r % pageRows)] = float(r);
    }
    std::vector<const void*> table;
    for (const auto& page : pages) table.push_back(page.data());
    Problem problem;
    problem.paging.rows = pageRows;
    problem.gap = {begin, 1000, skipped};
    const Layout layout{Dtype::float32, 0, 0, pageRows, 1};
    const Segment segment = Segment::of(problem, layout, nullptr, table.data(), nullptr, Sequence{}, 1, 1);
    const int64_t from = integer(0, count - 1), to = integer(from + 1, count);
    std::vector<const void*> found(size_t(to - from), nullptr);
    tileRows(kernelsFor(Isa::automatic), segment, {from, to}, false, nullptr, found.data());
    for (int64_t r = from; r < to; ++r) {
      CHECK_EQ(*static_cast<const float*>(found[size_t(r - from)]), float(r < begin ? r : r + skipped));
      CHECK(segment.row(r) == found[size_t(r - from)]);
    }
  }
}

}  // namespace
}  // namespace fused_attention
