#include "sequences.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "error.h"

namespace fused_attention {

namespace {

int64_t lengthOf(const char* argument, double value, int64_t most) {
  if (!(value >= 0 && value <= double(most)) || value != std::floor(value)) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "an integer from 0 to " + std::to_string(most),
                     std::to_string(value));
  }
  return int64_t(value);
}

/// Differences of cumulative lengths: from 0 to the number of rows, never falling.
int64_t rowsBetween(const char* argument, const double* cumulative, int64_t index, int64_t total) {
  const int64_t begin = lengthOf(argument, cumulative[index], total);
  const int64_t end = lengthOf(argument, cumulative[index + 1], total);
  if (end < begin) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "lengths that never fall",
                     std::to_string(begin) + " before " + std::to_string(end));
  }
  return end - begin;
}

void requireEnds(const char* argument, const double* cumulative, int64_t batch, int64_t total) {
  if (cumulative[0] != 0 || cumulative[batch] != double(total)) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "cumulative lengths from 0 to " + std::to_string(total),
                     std::to_string(cumulative[0]) + " to " + std::to_string(cumulative[batch]));
  }
}

void requireSamePages(const Problem& p, const PageLists& pages, int64_t owner, int64_t other, int64_t count) {
  const int32_t* const a = pages.table + owner * p.paging.table;
  const int32_t* const b = pages.table + other * p.paging.table;
  const int64_t at = std::mismatch(a, a + count, b).first - a;
  if (at == count) return;
  throw CodedError("ERR_INVALID_ARG_VALUE", "options.pages.table",
                   "page " + std::to_string(a[at]) + " at [" + std::to_string(other) + ", " + std::to_string(at) +
                       "], in the tokens shared with sequence " + std::to_string(owner),
                   std::to_string(b[at]));
}

}  // namespace

std::vector<Sequence> sequencesOf(const Problem& p, const double* lengthsQ, const double* lengthsKv) {
  const bool cumulative = p.lengths == Lengths::cumulative;
  const char* nameQ = cumulative ? "options.cuSeqlensQ" : "options.lengthsQ";
  const char* nameKv = cumulative ? "options.cuSeqlensKv" : "options.lengthsKv";
  if (cumulative) {
    requireEnds(nameQ, lengthsQ, p.batch, p.queries);
    requireEnds(nameKv, lengthsKv, p.batch, p.keys);
  }
  std::vector<Sequence> sequences;
  sequences.reserve(size_t(p.batch));
  for (int64_t b = 0; b < p.batch; ++b) {
    Sequence s;
    s.table = b;
    if (cumulative) {
      s.rowQ = int64_t(lengthsQ[b]);
      s.queries = rowsBetween(nameQ, lengthsQ, b, p.queries);
      s.rowKv = int64_t(lengthsKv[b]);
      s.keys = rowsBetween(nameKv, lengthsKv, b, p.keys);
    } else {
      s.batch = b;
      s.queries = lengthsQ ? lengthOf(nameQ, lengthsQ[b], p.queries) : p.queries;
      s.keys = lengthsKv ? lengthOf(nameKv, lengthsKv[b], p.keys) : p.keys;
    }
    sequences.push_back(s);
  }
  return sequences;
}

void requirePages(const Problem& p, const Sequence& s, const PageLists& pages) {
  const int64_t used = (s.keys + p.paging.rows - 1) / p.paging.rows;
  if (used > p.paging.table) {
    throw CodedError("ERR_OUT_OF_RANGE", "options.pages.lengths",
                     "at most " + std::to_string(p.paging.table * p.paging.rows) + " tokens, as the table has pages",
                     std::to_string(s.keys));
  }
  const int32_t* const table = pages.table + s.table * p.paging.table;
  for (int64_t n = 0; n < used; ++n) {
    if (table[n] >= 0 && table[n] < p.paging.pool) continue;
    throw CodedError("ERR_OUT_OF_RANGE",
                     "options.pages.table[" + std::to_string(s.table) + ", " + std::to_string(n) + "]",
                     "one of the pool's " + std::to_string(p.paging.pool) + " pages", std::to_string(table[n]));
  }
}

std::vector<Sharers> sharersOf(const Problem& p, const std::vector<Sequence>& sequences, const PageLists& pages) {
  std::vector<Sharers> all(p.paging.shared.size());
  for (size_t b = 0; b < sequences.size(); ++b) {
    if (pages.sharedOf[b] >= 0) all[size_t(pages.sharedOf[b])].members.push_back(b);
  }
  for (size_t g = 0; g < all.size(); ++g) {
    const std::vector<size_t>& members = all[g].members;
    const int64_t tokens = p.paging.shared[g], end = tokens / p.paging.rows * p.paging.rows;
    all[g].end = end;
    if (end == 0) continue;
    for (const size_t b : members) {
      if (sequences[b].keys < tokens) {
        throw CodedError("ERR_OUT_OF_RANGE", "options.pages.lengths[" + std::to_string(b) + "]",
                         "the " + std::to_string(tokens) + " tokens that it shares, at least",
                         std::to_string(sequences[b].keys));
      }
      if (p.paging.numbered()) requireSamePages(p, pages, int64_t(members[0]), int64_t(b), end / p.paging.rows);
    }
  }
  std::erase_if(all, [](const Sharers& sharers) { return sharers.end == 0 || sharers.members.empty(); });
  return all;
}

}  // namespace fused_attention
