#include "listed_keys.h"

#include <algorithm>
#include <bit>
#include <string>

#include "../error.h"

namespace fused_attention {

namespace {

void requireMany(const char* what, int64_t needed, int64_t has) {
  if (needed <= has) return;
  throw CodedError("ERR_SHAPE_MISMATCH", "options.mask", "a block layout for " + std::to_string(needed) + " " + what,
                   "one for " + std::to_string(has));
}

void requireOneEach(const char* what, int64_t count, int64_t has) {
  if (has == 1 || has == count) return;
  throw CodedError("ERR_SHAPE_MISMATCH", "options.mask",
                   "a block layout for 1 or " + std::to_string(count) + " " + what, "one for " + std::to_string(has));
}

/// The rows of a block of queries. `start`: position of row 0.
Range rowsOf(const BlockLists& list, int64_t block, int64_t start) {
  const int64_t begin = block * list.sizeQ - (list.byRow ? 0 : start);
  return {begin, begin + list.sizeQ};
}

}  // namespace

ListedKeys::ListedKeys(const Problem& problem, const Sequence& sequence, int64_t batch)
    : mask_(problem.mask),
      gap_(problem.gap),
      batch_(batch),
      queries_(sequence.queries),
      keys_(sequence.keys),
      headsQ_(problem.headsQ),
      start_(queryStart(problem, sequence)) {
  for (const BlockLists& list : mask_->lists()) {
    requireOneEach("query heads", headsQ_, list.heads);
    requireOneEach("sequences", problem.batch, list.batches);
    if (queries_ == 0 || keys_ == 0) continue;
    if (!list.byRow && start_ < 0) {
      throw CodedError("ERR_OUT_OF_RANGE", "options.mask", "queries at positions of the block layout, from 0 on",
                       "one at " + std::to_string(start_));
    }
    requireMany("queries", queries_ + (list.byRow ? 0 : start_), list.rows * list.sizeQ);
    requireMany("keys", gap_.positionOf(keys_ - 1) + 1, list.columns * list.sizeK);
  }
}

bool ListedKeys::perHead() const {
  return std::any_of(mask_->lists().begin(), mask_->lists().end(), [](const auto& list) { return list.heads > 1; });
}

bool ListedKeys::perBatch(const Problem& problem) {
  const std::vector<BlockLists>& lists = problem.mask->lists();
  return std::any_of(lists.begin(), lists.end(), [](const auto& list) { return list.batches > 1; });
}

int64_t ListedKeys::rowOf(const BlockLists& list, int64_t row) const {
  return (row + (list.byRow ? 0 : start_)) / list.sizeQ;
}

int64_t ListedKeys::lineOf(const BlockLists& list, const Lanes& lanes, int lane) const {
  return list.lineOf(batch_, lanes.head[lane], rowOf(list, lanes.row[lane]));
}

int64_t ListedKeys::sameUntil(int64_t row) const {
  int64_t end = queries_;
  for (const BlockLists& list : mask_->lists()) end = std::min(end, rowsOf(list, rowOf(list, row), start_).end);
  return end;
}

double ListedKeys::density() const {
  double density = 1;
  for (const BlockLists& list : mask_->lists()) {
    const double all = double(list.lines()) * double(list.columns);
    if (all > 0) density *= double(list.blocks.size()) / all;
  }
  return density;
}

void ListedKeys::add(const BlockLists& list, Range blocks, uint64_t lanes, std::vector<Stretch>& out) const {
  const auto append = [&](int64_t begin, int64_t end) {
    end = std::min(end, keys_);
    if (begin >= end) return;
    if (!out.empty() && out.back().end == begin && out.back().lanes == lanes) {
      out.back().end = end;
    } else {
      out.push_back({{begin, end}, lanes});
    }
  };
  const int64_t begin = blocks.begin * list.sizeK, end = blocks.end * list.sizeK;
  if (gap_.positions == 0) return append(begin, end);
  append(begin, std::min(end, gap_.begin));
  append(std::max(begin - gap_.positions, gap_.begin), end - gap_.positions);
}

void ListedKeys::stretches(const BlockLists& list, const Lanes& lanes, std::vector<Stretch>& out) const {
  out.clear();
  int64_t line[64];
  uint64_t own[64];
  int count = 0;
  int64_t is = 0;
  Range alike;  // rows whose lanes of one head have the line of the last lane
  for (int t = 0; t < lanes.count; ++t) {
    const int64_t row = lanes.row[t];
    if (row < alike.begin || row >= alike.end || lanes.head[t] != lanes.head[t - 1]) {
      is = lineOf(list, lanes, t);
      alike = rowsOf(list, rowOf(list, row), start_);
    }
    int at = count - 1;
    while (at >= 0 && line[at] != is) --at;
    if (at < 0) {
      at = count++;
      line[at] = is;
      own[at] = 0;
    }
    own[at] |= uint64_t{1} << t;
  }
  if (count == 1) {
    for (BlockStretches a(list.line(line[0])); !a.done(); a.next()) add(list, a.stretch(), own[0], out);
    return;
  }
  if (count == 2) {
    BlockStretches a(list.line(line[0])), b(list.line(line[1]));
    while (!a.done() || !b.done()) {
      const Range ofA = a.stretch(), ofB = b.stretch();
      const int64_t begin = a.done() ? ofB.begin : b.done() ? ofA.begin : std::min(ofA.begin, ofB.begin);
      const bool inA = !a.done() && ofA.begin == begin, inB = !b.done() && ofB.begin == begin;
      int64_t end = inA ? ofA.end : ofB.end;
      if (!b.done()) end = std::min(end, inB ? ofB.end : ofB.begin);
      if (!a.done()) end = std::min(end, inA ? ofA.end : ofA.begin);
      add(list, {begin, end}, (inA ? own[0] : 0) | (inB ? own[1] : 0), out);
      if (inA) a.skipTo(end);
      if (inB) b.skipTo(end);
    }
    return;
  }
  thread_local std::vector<std::pair<int32_t, uint64_t>> seen;
  seen.clear();
  for (int n = 0; n < count; ++n) {
    for (const int32_t block : list.line(line[n])) seen.emplace_back(block, own[n]);
  }
  std::sort(seen.begin(), seen.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t at = 0; at < seen.size();) {
    const int32_t block = seen[at].first;
    uint64_t all = 0;
    for (; at < seen.size() && seen[at].first == block; ++at) all |= seen[at].second;
    add(list, {block, block + 1}, all, out);
  }
}

std::vector<ListedKeys::Stretch>& ListedKeys::stretches(const Lanes& lanes) const {
  thread_local std::vector<Stretch> all, others, both;
  all.clear();
  if (keys_ == 0) return all;  // then the layout need not reach to where queries stand
  const std::vector<BlockLists>& lists = mask_->lists();
  stretches(lists[0], lanes, all);
  for (size_t n = 1; n < lists.size(); ++n) {
    stretches(lists[n], lanes, others);
    both.clear();
    for (size_t a = 0, b = 0; a < all.size() && b < others.size();) {
      const Range part{std::max(all[a].begin, others[b].begin), std::min(all[a].end, others[b].end)};
      const uint64_t seeing = all[a].lanes & others[b].lanes;
      if (!part.empty() && seeing != 0) both.push_back({part, seeing});
      all[a].end <= others[b].end ? ++a : ++b;
    }
    std::swap(all, both);
  }
  return all;
}

double ListedKeys::keysOf(const Lanes& lanes) const {
  double keys = 0;
  for (const Stretch& stretch : stretches(lanes)) keys += double(stretch.end - stretch.begin);
  return keys;
}

std::optional<std::span<const int32_t>> ListedKeys::lineAlone(const Lanes& lanes, std::span<const KeyRun> base) const {
  const BlockLists& list = mask_->lists().front();
  if (mask_->lists().size() > 1 || gap_.positions > 0 || keys_ == 0 || !hidesNothing(base)) return std::nullopt;
  const Range alike = rowsOf(list, rowOf(list, lanes.row[0]), start_);
  for (int t = 1; t < lanes.count; ++t) {
    if (lanes.row[t] < alike.begin || lanes.row[t] >= alike.end) return std::nullopt;
    if (list.heads > 1 && lanes.head[t] != lanes.head[0]) return std::nullopt;
  }
  return list.line(lineOf(list, lanes, 0));
}

void ListedKeys::appendLine(std::span<const int32_t> blocks, int64_t size, std::vector<KeyRun>& out) const {
  for (BlockStretches listed(blocks); !listed.done(); listed.next()) {
    const Range keys{listed.stretch().begin * size, std::min(listed.stretch().end * size, keys_)};
    if (keys.empty()) break;
    out.push_back({keys, true, KeyRun::kNotKept});
  }
}

void ListedKeys::runs(const Lanes& lanes, std::span<const KeyRun> base, const uint64_t* baseWords,
                      ListedRuns& out) const {
  out.runs.clear();
  out.words.clear();
  const uint64_t every = everyLane(lanes);
  if (const auto line = lineAlone(lanes, base)) return appendLine(*line, blockKeys(), out.runs);
  const std::vector<Stretch>& listed = stretches(lanes);
  const auto append = [&](Range part, bool full, int64_t words) {
    if (full && !out.runs.empty() && out.runs.back().full && out.runs.back().end == part.begin) {
      out.runs.back().end = part.end;
    } else {
      out.runs.push_back({part, full, words});
    }
  };
  const auto appendPart = [&](Range part, uint64_t seeing, const KeyRun& run) {
    if (run.full && seeing == every) return append(part, true, KeyRun::kNotKept);
    if (!run.full && run.words == KeyRun::kNotKept) return append(part, false, KeyRun::kNotKept);
    const int64_t words = int64_t(out.words.size());
    const uint64_t* const from = run.full ? nullptr : baseWords + run.words + (part.begin - run.begin);
    for (int64_t k = 0; k < part.end - part.begin; ++k) out.words.push_back(from ? from[k] & seeing : seeing);
    append(part, false, words);
  };
  auto run = base.begin();
  for (const Stretch& stretch : listed) {
    while (run != base.end() && run->end <= stretch.begin) ++run;
    for (auto at = run; at != base.end() && at->begin < stretch.end; ++at) {
      appendPart({std::max(at->begin, stretch.begin), std::min(at->end, stretch.end)}, stretch.lanes, *at);
    }
  }
}

double ListedKeys::runsAlone(const Lanes& lanes, std::vector<KeyRun>& out) const {
  out.clear();
  double pairs = 0;
  const uint64_t every = everyLane(lanes);
  for (const Stretch& stretch : stretches(lanes)) {
    pairs += double((stretch.end - stretch.begin) * std::popcount(stretch.lanes));
    out.push_back({static_cast<const Range&>(stretch), stretch.lanes == every});
  }
  return pairs;
}

void ListedKeys::restrict(const Lanes& lanes, Range keys, uint64_t* words) const {
  const std::vector<Stretch>& listed = stretches(lanes);
  auto at = std::partition_point(listed.begin(), listed.end(), [&](const auto& s) { return s.end <= keys.begin; });
  for (int64_t key = keys.begin; key < keys.end; ++key) {
    while (at != listed.end() && at->end <= key) ++at;
    words[key - keys.begin] &= at != listed.end() && at->begin <= key ? at->lanes : 0;
  }
}

}  // namespace fused_attention
