#include "plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <tuple>
#include <utility>

#include "../native/program/program.h"
#include "../native/sequences.h"
#include "mask_bits.h"

namespace fused_attention::cuda {

namespace {

/// Components that there are instances for.
int64_t mostDim(Dtype dtype) { return dtype == Dtype::float32 ? 128 : 256; }

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Why the kernels cannot compute a problem, whatever its mask hides.
std::optional<Refusal> refusalOf(const Problem& p) {
  const struct {
    bool applies;
    const char *argument, *reason;
  } limits[] = {
      {p.key.dtype != p.query.dtype, "key", "another type than the query's"},
      {p.value.dtype != p.query.dtype, "value", "another type than the query's"},
      {p.partial, "options.partial", "a partial"},
      {p.output.dtype != p.query.dtype, "options.outputDtype", "another type than the query's"},
      {p.dimQk > mostDim(p.query.dtype), "query", "more components than 256, or 128 of float32"},
      {p.dimV > mostDim(p.query.dtype), "value", "more components than 256, or 128 of float32"},
      {p.paging.rows != 0, "options.pages", "keys in pages"},
      {p.score != nullptr, "options.score", "a score program"},
      {!p.normalizer.softmax(), "options.normalizer", "another one than softmax"},
      {p.statistics.any(), "options.statistics", "statistics"},
  };
  for (const auto& limit : limits) {
    if (limit.applies) return Refusal{limit.reason, limit.argument};
  }
  // Positions of rows and keys, and those of a block beyond the last one, are 32-bit numbers.
  if (p.queries + p.keys > std::numeric_limits<int32_t>::max() / 2) {
    return Refusal{"more rows than the kernels count", "query"};
  }
  return std::nullopt;
}

/// The special instances are for what is most common: halves of up to 128 components.
Instance instanceOf(const Problem& p, bool bits) {
  const int64_t most = std::max(p.dimQk, p.dimV);
  const int dim = most <= 64 ? 64 : most <= 128 ? 128 : 256;
  const bool special = p.query.dtype != Dtype::float32 && dim <= 128;
  return {p.query.dtype, dim, !special || bits || p.softcap != 0 || p.hasBias || p.entropy || p.rowMax};
}

struct Counts {
  int64_t full = 0, partial = 0, skipped = 0;
  double pairs = 0;
};

/// Tiles of the rows of a warp by a tile of keys, as the kernel takes them.
Counts countTiles(const Sequence& sequence, const SequenceKeys& keys, const ForwardShape& shape) {
  Counts counts;
  for (int64_t first = 0; first < sequence.queries; first += shape.warpQueries) {
    KeyRange any{int32_t(sequence.keys), 0}, all{0, int32_t(sequence.keys)};
    for (int64_t row = first; row < std::min(first + shape.warpQueries, sequence.queries); ++row) {
      const KeyRange seen = keys.of(row, sequence.keys);
      any = {std::min(any.begin, seen.begin), std::max(any.end, seen.end)};
      all = {std::max(all.begin, seen.begin), std::min(all.end, seen.end)};
      counts.pairs += std::max(0, seen.end - seen.begin);
    }
    for (int64_t key = 0; key < sequence.keys; key += shape.tileKeys) {
      const int64_t end = std::min<int64_t>(key + shape.tileKeys, sequence.keys);
      if (key >= any.end || end <= any.begin) {
        ++counts.skipped;
      } else {
        ++(key >= all.begin && end <= all.end ? counts.full : counts.partial);
      }
    }
  }
  return counts;
}

/// The same where pairs have bits, over all heads.
Counts countTiles(const Sequence& sequence, const SequenceBits& bits, int64_t headsQ, const ForwardShape& shape) {
  Counts counts;
  const int64_t words = SequenceBits::wordsOf(sequence.keys), times = headsQ / bits.heads;
  for (int64_t first = 0; first < bits.heads * sequence.queries;) {
    const int64_t row = first % sequence.queries, rows = std::min<int64_t>(shape.warpQueries, sequence.queries - row);
    for (int64_t key = 0; key < sequence.keys; key += shape.tileKeys) {
      const int64_t count = std::min<int64_t>(shape.tileKeys, sequence.keys - key);
      int64_t seen = 0;
      for (int64_t n = 0; n < rows; ++n) {
        const uint32_t* const line = bits.rows.data() + (first + n) * words;
        for (int64_t k = key; k < key + count; ++k) seen += line[k / 32] >> (k % 32) & 1;
      }
      (seen == 0 ? counts.skipped : seen == rows * count ? counts.full : counts.partial) += times;
      counts.pairs += double(times * seen);
    }
    first += rows;
  }
  return counts;
}

}  // namespace

std::string Instance::name() const {
  const char* const type = dtype == Dtype::float32 ? "f32" : dtype == Dtype::float16 ? "f16" : "bf16";
  return std::string("forward_") + type + "_" + std::to_string(dim) + (general ? "_general" : "");
}

std::variant<std::shared_ptr<const Plan>, Refusal> CudaPlan::make(const Device& device, const Problem& problem,
                                                                  const double* lengthsQ, const double* lengthsKv) {
  if (std::string reason = device.unfit(); !reason.empty()) return Refusal{std::move(reason), "options.device"};
  if (std::optional<Refusal> refusal = refusalOf(problem)) return *refusal;
  const std::shared_ptr<CudaPlan> plan(new CudaPlan(device, problem));
  if (!plan->cut(sequencesOf(problem, lengthsQ, lengthsKv))) {
    return Refusal{"a mask that takes a bit for each of so many pairs", "options.mask"};
  }
  if (plan->blocks() > std::numeric_limits<int32_t>::max()) {
    return Refusal{"more blocks of queries than a launch has", "query"};
  }
  return plan;
}

CudaPlan::CudaPlan(const Device& device, const Problem& problem)
    : device_(device), problem_(problem), instance_(instanceOf(problem, false)) {}

bool CudaPlan::cut(const std::vector<Sequence>& sequences) {
  const bool perSequence = maskDependsOnBatch(problem_);
  const bool lists = problem_.mask && !problem_.mask->lists().empty();
  hasBits_ = !problem_.masks.empty() || lists || maskDependsOnHead(problem_);
  std::map<std::tuple<int64_t, int64_t, int64_t>, size_t> known;
  std::vector<size_t> groupOf;
  bool listed = false;
  for (const Sequence& s : sequences) {
    const auto [place, isNew] = known.try_emplace({s.queries, s.keys, perSequence ? s.table : 0}, groups_.size());
    if (isNew) {
      std::optional<SequenceKeys> keys;
      if (!hasBits_) keys = keysOf(problem_, s, instance_.shape().blockQueries);
      hasBits_ |= !keys;
      groups_.push_back({s, keys ? std::move(*keys) : allKeys(s)});
    }
    Group& group = groups_[place->second];
    ++group.members;
    groupOf.push_back(place->second);
    listed |= s.queries != problem_.queries || s.keys != problem_.keys || place->second > 0 || !group.keys.moving;
  }
  if (groups_.empty()) return true;
  if (hasBits_) {
    listed = true;
    instance_ = instanceOf(problem_, true);
    for (Group& group : groups_) group.keys = allKeys(group.sequence);
    if (!placeBits()) return false;
  }
  every_ = rowsOf(sequences[0], groups_[0]);
  if (!listed) return true;
  for (Group& group : groups_) {
    if (group.keys.moving) continue;
    group.firstRange = int32_t(rowKeys_.size());
    rowKeys_.insert(rowKeys_.end(), group.keys.rows.begin(), group.keys.rows.end());
  }
  for (size_t n = 0; n < sequences.size(); ++n) sequences_.push_back(rowsOf(sequences[n], groups_[groupOf[n]]));
  list(groupOf);
  return true;
}

bool CudaPlan::placeBits() {
  constexpr int64_t kMostWords = 1 << 28;
  const int64_t heads = maskDependsOnHead(problem_) ? problem_.headsQ : 1, step = instance_.shape().blockQueries;
  int64_t rows = 0, blocks = 0;
  for (Group& group : groups_) {
    const Sequence& s = group.sequence;
    const int64_t words = SequenceBits::wordsOf(s.keys);
    if (double(rows) + double(heads) * double(s.queries) * double(words) > double(kMostWords)) return false;
    group.firstBits = rows;
    group.firstBlockBits = blocks;
    rows += heads * s.queries * words;
    blocks += heads * ceilDiv(s.queries, step) * words;
  }
  return true;
}

CudaPlan::Bits CudaPlan::bits(const std::vector<const uint8_t*>& masks, const CancelFlag& cancel) const {
  Bits all;
  for (const Group& group : groups_) {
    SequenceBits bits(problem_, group.sequence, &masks, instance_.shape().blockQueries, cancel);
    if (groups_.size() == 1) return {std::move(bits.rows), std::move(bits.blocks)};
    all.rows.insert(all.rows.end(), bits.rows.begin(), bits.rows.end());
    all.blocks.insert(all.blocks.end(), bits.blocks.begin(), bits.blocks.end());
  }
  return all;
}

void CudaPlan::list(const std::vector<size_t>& groupOf) {
  const int64_t step = instance_.shape().blockQueries;
  for (size_t n = 0; n < sequences_.size(); ++n) {
    const SequenceRows& rows = sequences_[n];
    for (int64_t first = 0; first < rows.written; first += step) {
      const int64_t end = std::min<int64_t>(first + step, rows.queries);
      queryBlocks_.push_back({int32_t(n), int32_t(first), groups_[groupOf[n]].keys.of(first, end, rows.keys)});
    }
  }
  // The longest ones first: the last ones to begin shall not be those that take long.
  std::stable_sort(queryBlocks_.begin(), queryBlocks_.end(), [](const QueryBlock& a, const QueryBlock& b) {
    return a.keys.end - a.keys.begin > b.keys.end - b.keys.begin;
  });
}

SequenceRows CudaPlan::rowsOf(const Sequence& s, const Group& group) const {
  const bool padded = problem_.lengths == Lengths::padded;
  SequenceRows rows{};
  rows.batch = int32_t(s.batch);
  rows.firstQuery = int32_t(s.rowQ);
  rows.queries = int32_t(s.queries);
  rows.firstKey = int32_t(s.rowKv);
  rows.keys = int32_t(s.keys);
  rows.written = int32_t(padded ? problem_.queries : s.queries);
  rows.firstRange = group.firstRange;
  if (group.keys.moving) {
    rows.begin = group.keys.moving->begin;
    rows.end = group.keys.moving->end;
  }
  rows.words = int32_t(SequenceBits::wordsOf(s.keys));
  rows.firstBits = group.firstBits;
  rows.firstBlockBits = group.firstBlockBits;
  if (maskDependsOnHead(problem_)) {
    rows.headBits = s.queries * rows.words;
    rows.headBlockBits = ceilDiv(s.queries, instance_.shape().blockQueries) * rows.words;
  }
  return rows;
}

int64_t CudaPlan::queryBlocks() const { return ceilDiv(problem_.queries, instance_.shape().blockQueries); }

int64_t CudaPlan::blocks() const {
  const int64_t blocks = sequences_.empty() ? queryBlocks() * problem_.batch : int64_t(queryBlocks_.size());
  return blocks * problem_.headsQ;
}

Explanation CudaPlan::explain() const {
  const Problem& p = problem_;
  const ForwardShape shape = instance_.shape();
  Explanation result;
  result.device = device_.name();
  result.kernel = instance_.name();
  result.tileQueries = shape.warpQueries;
  result.tileKeys = shape.tileKeys;
  result.tasks = blocks();
  result.threads = shape.threads();
  result.workspaceBytes = shape.sharedBytes();
  double pairs = 0, queries = 0, keys = 0;
  for (const Group& group : groups_) {
    const Sequence& s = group.sequence;
    // Mask tensors are not read: what there is beside them is partial.
    const bool readsTensors = p.mask && p.mask->graph().grids > 0;
    Counts counts;
    int64_t times = group.members;
    if (hasBits_ && !readsTensors) {
      counts = countTiles(s, SequenceBits(p, s, nullptr, shape.blockQueries, CancelFlag()), p.headsQ, shape);
    } else {
      counts = countTiles(s, group.keys, shape);
      times *= p.headsQ;
    }
    if (!p.masks.empty()) counts.partial += std::exchange(counts.full, 0);
    result.chunk = std::max(result.chunk, s.keys);
    result.tilesFull += times * counts.full;
    result.tilesPartial += times * counts.partial;
    result.tilesSkipped += times * counts.skipped;
    pairs += double(times) * counts.pairs;
    queries += double(group.members * p.headsQ) * double(s.queries);
    keys += double(group.members * p.headsKv) * double(s.keys);
  }
  result.flops = 2 * pairs * double(p.dimQk + p.dimV);
  result.bytes = (queries + keys) * double(p.dimQk + p.dimV) * double(sizeOf(p.query.dtype));
  return result;
}

}  // namespace fused_attention::cuda
