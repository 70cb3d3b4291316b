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
#include "tile_counts.h"

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
      {p.paging.rows != 0 && !p.paging.numbered(), "options.pages", "the pages of a cache"},
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
  const bool more = p.softcap != 0 || p.hasBias || p.entropy || p.rowMax || p.paging.numbered();
  return {p.query.dtype, dim, !special || bits || more};
}

std::string typeOf(Dtype dtype) { return dtype == Dtype::float32 ? "f32" : dtype == Dtype::float16 ? "f16" : "bf16"; }

}  // namespace

std::string Instance::name() const {
  return "forward_" + typeOf(dtype) + "_" + std::to_string(dim) + (general ? "_general" : "");
}

std::string Instance::decodeName() const { return "decode_" + typeOf(dtype) + "_" + std::to_string(dim); }

std::string Instance::mergeName() const { return "merge_" + typeOf(dtype); }

std::variant<std::shared_ptr<const Plan>, Refusal> CudaPlan::make(const Device& device, const Problem& problem,
                                                                  const double* lengthsQ, const double* lengthsKv,
                                                                  const PageLists& pages) {
  if (std::string reason = device.unfit(); !reason.empty()) return Refusal{std::move(reason), "options.device"};
  if (std::optional<Refusal> refusal = refusalOf(problem)) return *refusal;
  const std::vector<Sequence> sequences = sequencesOf(problem, lengthsQ, lengthsKv);
  if (problem.paging.numbered()) {
    for (const Sequence& s : sequences) requirePages(problem, s, pages);
  }
  const std::shared_ptr<CudaPlan> plan(new CudaPlan(device, problem));
  if (pages.sharedOf) plan->shares_ = !sharersOf(problem, sequences, pages).empty();
  if (!plan->cut(sequences)) return Refusal{"a mask that takes a bit for each of so many pairs", "options.mask"};
  if (std::max({plan->blocks(), plan->decodeBlocks(), plan->mergeBlocks()}) > std::numeric_limits<int32_t>::max()) {
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
  for (size_t n = 0; n < sequences.size(); ++n) {
    if (!isFew(sequences[n])) continue;
    const Group& group = groups_[groupOf[n]];
    decode_.add(int32_t(n), rowsOf(sequences[n], group), group.keys, problem_);
  }
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
    if (isFew(groups_[groupOf[n]].sequence)) continue;
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
  rows.table = int32_t(s.table);
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
  if (!sequences_.empty()) return int64_t(queryBlocks_.size()) * problem_.headsQ;
  return decode_.sequences.empty() ? queryBlocks() * problem_.batch * problem_.headsQ : 0;
}

int64_t CudaPlan::decodeBlocks() const { return int64_t(decode_.items.size()) * problem_.headsKv; }

int64_t CudaPlan::mergeBlocks() const {
  return problem_.queries == 0 ? 0 : int64_t(decode_.sequences.size()) * problem_.headsQ * decode_.queries;
}

void DecodeWork::add(int32_t number, const SequenceRows& sequence, const SequenceKeys& keys, const Problem& problem) {
  const KeyRange seen = keys.of(0, sequence.queries, sequence.keys);
  const int32_t packed = sequence.queries * int32_t(problem.groupSize());
  DecodeSequence all{lines, number, 0};
  constexpr int32_t step = DecodeShape::chunkKeys;
  for (int32_t begin = seen.begin; begin < seen.end; begin = (begin / step + 1) * step) {
    const KeyRange chunk{begin, std::min(seen.end, (begin / step + 1) * step)};
    for (int32_t row = 0; row < packed; row += DecodeShape::rows) items.push_back({lines, number, row, chunk});
    lines += problem.headsKv * packed;
    ++all.chunks;
  }
  sequences.push_back(all);
  queries = std::max(queries, sequence.queries);
}

Explanation CudaPlan::explain() const {
  const Problem& p = problem_;
  const ForwardShape forward = instance_.shape();
  const DecodeShape decode = instance_.decodeShape();
  const bool many = blocks() > 0 || decode_.sequences.empty();
  Explanation result;
  result.device = device_.name();
  result.kernel = many ? instance_.name() : instance_.decodeName();
  if (many && !decode_.sequences.empty()) result.kernel += ", " + instance_.decodeName();
  result.tileQueries = many ? forward.warpQueries : decode.rows;
  result.tileKeys = many ? forward.tileKeys : decode.tileKeys;
  result.tasks = blocks() + decodeBlocks();
  result.threads = many ? forward.threads() : decode.threads();
  result.workspaceBytes = many ? forward.sharedBytes() : decode.sharedBytes();
  double pairs = 0, queries = 0, keys = 0;
  for (const Group& group : groups_) {
    const Sequence& s = group.sequence;
    const bool few = isFew(s);
    const TileRows rows =
        few ? TileRows{decode.rows, decode.tileKeys, p.groupSize()} : TileRows{forward.warpQueries, forward.tileKeys};
    // Mask tensors are not read: what there is beside them is partial.
    const bool readsTensors = p.mask && p.mask->graph().grids > 0;
    TileCounts counts;
    int64_t times = group.members;
    if (hasBits_ && !readsTensors) {
      counts = countTiles(s, SequenceBits(p, s, nullptr, forward.blockQueries, CancelFlag()), p.headsQ, rows);
    } else {
      counts = countTiles(s, group.keys, rows);
      times *= p.headsQ / rows.together;
    }
    if (!p.masks.empty()) counts.partial += std::exchange(counts.full, 0);
    result.chunk = std::max<int64_t>(result.chunk, few ? decode.chunkKeys : s.keys);
    result.tilesFull += times * counts.full;
    result.tilesPartial += times * counts.partial;
    result.tilesSkipped += times * counts.skipped;
    pairs += double(times) * counts.pairs;
    queries += double(group.members * p.headsQ) * double(s.queries);
    keys += double(group.members * p.headsKv) * double(s.keys);
  }
  if (shares_) result.notTaken.emplace_back("shared pages", "each sequence reads them by itself on a GPU");
  result.flops = 2 * pairs * double(p.dimQk + p.dimV);
  result.bytes = (queries + keys) * double(p.dimQk + p.dimV) * double(sizeOf(p.query.dtype));
  return result;
}

}  // namespace fused_attention::cuda
