// The order of queries whose keys come from lists: groups of rows that see the same, so that nothing is computed for
// one that is for another alone. Where rows in a row share much, they are left together all the same.
#include <algorithm>

#include "listed_keys.h"
#include "plan.h"
#include "query_order.h"

namespace fused_attention {

namespace {

/// Time for a key and a group of so few queries that it is done with components across lanes, in that for a group of
/// the most vectors.
double timeForFew(int64_t queries) { return 0.08 + 0.1 * double(queries); }

/// Heads and rows that are looked at to tell what the others are like.
constexpr int64_t kMostHeads = 4, kMostLooks = 32;

class Sample {
 public:
  Sample(const ListedKeys& keys, const Kernels& kernels, int64_t queries, int64_t heads, bool canBeFew)
      : keys_(keys), kernels_(kernels), queries_(queries), canBeFew_(canBeFew) {
    const int64_t looked = keys.perHead() ? std::min(heads, kMostHeads) : 1;
    const int64_t most = kernels.maxLanes(), places = std::min(kMostLooks, ceilDiv(queries, most));
    for (int64_t h = 0; h < looked; ++h) {
      for (int64_t n = 0; n < places; ++n) look(h * heads / looked, n * (queries - 1) / places);
    }
  }

  double together = 0, apart = 0, few = 0;

 private:
  /// From a row on, those of a group that takes them as they come.
  void look(int64_t head, int64_t row) {
    const int64_t most = kernels_.maxLanes(), end = std::min(row + most, queries_);
    together += keysOf(head, {row, end}) * timeFor(end - row, kernels_);
    for (int64_t at = row; at < end;) {
      const int64_t whole = keys_.sameUntil(at), count = std::min(whole, end) - at;
      const double seen = keysOf(head, {at, at + 1});
      // A longer stretch is shared out among groups that are nearly as full.
      apart += seen *
               (whole - at >= most ? timeFor(most, kernels_) * double(count) / double(most) : timeFor(count, kernels_));
      if (canBeFew_) few += seen * timeForFew(count);
      at += count;
    }
  }

  double keysOf(int64_t head, Range rows) {
    int count = 0;
    for (int64_t row = rows.begin; row < rows.end; ++row, ++count) row_[count] = row, head_[count] = head;
    return keys_.keysOf({count, row_, head_});
  }

  const ListedKeys& keys_;
  const Kernels& kernels_;
  int64_t queries_;
  bool canBeFew_;
  int64_t row_[64], head_[64];
};

}  // namespace

ListedOrder orderOfListed(const ListedKeys& keys, int64_t queries, int64_t heads, const Kernels& kernels,
                          bool canBeFew) {
  const Sample sample(keys, kernels, queries, heads, canBeFew);
  if (sample.together <= sample.apart && (!canBeFew || sample.together <= sample.few)) return {};
  ListedOrder result;
  result.few = canBeFew && sample.few < sample.apart;
  auto order = std::make_shared<QueryOrder>();
  order->rows.resize(size_t(queries));
  for (int64_t row = 0; row < queries; ++row) order->rows[size_t(row)] = row;
  for (int64_t row = 0; row < queries;) {
    const int64_t end = keys.sameUntil(row);
    if (result.few) {
      for (int64_t at = row; at < end; at += kernels.width) order->groups.push_back(at);
    } else {
      for (const int64_t begin : groupsOf(end - row, kernels)) order->groups.push_back(row + begin);
    }
    row = end;
  }
  order->groups.push_back(queries);
  result.order = std::move(order);
  return result;
}

}  // namespace fused_attention
