#include "plan.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "../native/program/program.h"
#include "../native/tiles/visibility.h"

namespace fused_attention::cuda {

namespace {

constexpr int kMostDim = 128;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Why the kernels cannot compute a problem, whatever its mask hides.
std::optional<Refusal> refusalOf(const Problem& p) {
  const struct {
    bool applies;
    const char *argument, *reason;
  } limits[] = {
      {p.query.dtype == Dtype::float32, "query", "float32: the kernels take float16 and bfloat16"},
      {p.key.dtype != p.query.dtype, "key", "another type than the query's"},
      {p.value.dtype != p.query.dtype, "value", "another type than the query's"},
      {p.partial, "options.partial", "a partial"},
      {p.output.dtype != p.query.dtype, "options.outputDtype", "another type than the query's"},
      {p.dimQk > kMostDim, "query", "more than 128 components"},
      {p.dimV > kMostDim, "value", "more than 128 components"},
      {p.paging.rows != 0, "options.pages", "keys in pages"},
      {p.lengths == Lengths::padded, "options.lengthsQ", "sequences of different lengths"},
      {p.lengths == Lengths::cumulative, "options.cuSeqlensQ", "sequences of different lengths"},
      {p.score != nullptr, "options.score", "a score program"},
      {p.hasBias, "options.bias", "a bias"},
      {p.softcap != 0, "options.softcap", "a softcap"},
      {p.hasSinks, "options.sinks", "sinks"},
      {!p.normalizer.softmax(), "options.normalizer", "another one than softmax"},
      {p.entropy, "options.entropy", "an entropy"},
      {p.rowMax, "options.rowMax", "a row maximum"},
      {p.statistics.any(), "options.statistics", "statistics"},
      {!p.masks.empty(), "options.mask", "a mask tensor"},
      {p.mask && !p.mask->lists().empty(), "options.mask", "a mask with lists of blocks"},
      {p.mask && (p.mask->depends(p.mask->result()) & onHead), "options.mask", "a mask that differs between heads"},
  };
  for (const auto& limit : limits) {
    if (limit.applies) return Refusal{limit.reason, limit.argument};
  }
  const int64_t most = std::numeric_limits<int32_t>::max();
  const int64_t pairs = p.batch == 0 ? 0 : p.headsQ * p.batch;  // both are counts of a tensor's, far from overflow
  if (p.queries + p.keys > most - kBlockQueries - kTileKeys ||
      (pairs > 0 && ceilDiv(p.queries, kBlockQueries) > most / pairs)) {
    return Refusal{"more blocks of queries than a launch has", "query"};
  }
  return std::nullopt;
}

/// Whether a mask may differ between sequences.
bool dependsOnBatch(const Program& mask) {
  return std::any_of(mask.nodes().begin(), mask.nodes().end(), [](const Node& node) { return node.op == Op::b; });
}

/// The one range of keys that a row sees, if that is what it sees.
std::optional<KeyRange> rangeOf(const std::vector<Run>& runs) {
  KeyRange range{0, 0};
  for (const Run& run : runs) {
    const bool follows = range.end == 0 || run.begin == range.end;
    if (!run.full || run.step != 1 || !follows) return std::nullopt;
    if (range.end == 0) range.begin = int32_t(run.begin);
    range.end = int32_t(run.end);
  }
  return range;
}

/// Whether every key from the first to the last that some row sees is seen by one: all of them are read, and what
/// nobody sees may be anything.
bool leaveNoGap(std::vector<KeyRange> rows) {
  std::sort(rows.begin(), rows.end(), [](const KeyRange& a, const KeyRange& b) { return a.begin < b.begin; });
  int32_t end = -1;
  for (const KeyRange& keys : rows) {
    if (keys.begin == keys.end) continue;
    if (end >= 0 && keys.begin > end) return false;
    end = std::max(end, keys.end);
  }
  return true;
}

/// Or why the kernel cannot take what the rows of a sequence see.
std::variant<SequenceKeys, const char*> keysOf(const Problem& problem, int64_t batch) {
  Sequence sequence;
  sequence.batch = sequence.table = batch;
  sequence.queries = problem.queries;
  sequence.keys = problem.keys;
  Visibility visibility(problem, sequence);
  visibility.prepareBoxes(1);
  SequenceKeys keys;
  std::vector<Run> runs;
  for (int64_t row = 0; row < problem.queries; ++row) {
    runs.clear();
    visibility.runs({row, row + 1}, {0, problem.keys}, runs);
    const std::optional<KeyRange> range = rangeOf(runs);
    if (!range) return "a mask of which it is not known that each query sees one range of keys";
    keys.rows.push_back(*range);
  }
  for (int64_t first = 0; first < problem.queries; first += kBlockQueries) {
    const auto begin = keys.rows.begin() + first;
    const auto end = keys.rows.begin() + std::min(first + kBlockQueries, problem.queries);
    if (!leaveNoGap({begin, end})) return "a mask that leaves keys unseen between those of near queries";
    KeyRange all{0, 0};
    for (auto range = begin; range != end; ++range) {
      if (range->begin == range->end) continue;
      if (all.begin == all.end) all = *range;
      all = {std::min(all.begin, range->begin), std::max(all.end, range->end)};
    }
    keys.blocks.push_back(all);
  }
  return keys;
}

/// How far an end of the ranges lies from its row, if that is the same for all, those apart that it puts outside the
/// keys: these have it at the first or the last one.
std::optional<int32_t> distanceOf(const std::vector<KeyRange>& rows, int32_t KeyRange::*end, int64_t keys) {
  const int64_t far = int64_t(rows.size()) + keys;
  int64_t least = -far, most = far;
  for (int64_t row = 0; row < int64_t(rows.size()); ++row) {
    const int64_t key = rows[size_t(row)].*end;
    if (key > 0) least = std::max(least, key - row);
    if (key < keys) most = std::min(most, key - row);
  }
  if (least > most) return std::nullopt;
  return int32_t(least > -far ? least : most);
}

std::optional<MovingKeys> movingOf(const std::vector<KeyRange>& rows, int64_t keys) {
  const auto first = distanceOf(rows, &KeyRange::begin, keys), end = distanceOf(rows, &KeyRange::end, keys);
  if (!first || !end) return std::nullopt;
  return MovingKeys{*first, *end};
}

struct Counts {
  int64_t full = 0, partial = 0, skipped = 0;
  double pairs = 0;
};

/// Tiles of the rows of a warp by a tile of keys, as the kernel takes them.
Counts countTiles(const Problem& p, const MovingKeys& moving, const SequenceKeys* keys, int warpQueries) {
  const auto keysOf = [&](int64_t row) {
    if (keys) return keys->rows[size_t(row)];
    const auto inside = [&](int64_t key) { return int32_t(std::clamp<int64_t>(key, 0, p.keys)); };
    return KeyRange{inside(row + moving.first), inside(row + moving.end)};
  };
  Counts counts;
  for (int64_t first = 0; first < p.queries; first += warpQueries) {
    KeyRange any{int32_t(p.keys), 0}, all{0, int32_t(p.keys)};
    for (int64_t row = first; row < std::min(first + warpQueries, p.queries); ++row) {
      const KeyRange seen = keysOf(row);
      any = {std::min(any.begin, seen.begin), std::max(any.end, seen.end)};
      all = {std::max(all.begin, seen.begin), std::min(all.end, seen.end)};
      counts.pairs += std::max(0, seen.end - seen.begin);
    }
    for (int64_t key = 0; key < p.keys; key += kTileKeys) {
      const int64_t end = std::min<int64_t>(key + kTileKeys, p.keys);
      if (key >= any.end || end <= any.begin) {
        ++counts.skipped;
      } else {
        ++(key >= all.begin && end <= all.end ? counts.full : counts.partial);
      }
    }
  }
  return counts;
}

}  // namespace

std::variant<std::shared_ptr<const Plan>, Refusal> CudaPlan::make(const Device& device, const Problem& problem) {
  if (std::string reason = device.unfit(); !reason.empty()) return Refusal{std::move(reason), "options.device"};
  if (std::optional<Refusal> refusal = refusalOf(problem)) return *refusal;
  // Without a mask no row sees beyond the first or the last key.
  MovingKeys moving{int32_t(-problem.queries), int32_t(problem.keys)};
  std::vector<SequenceKeys> keys;
  if (problem.mask && !problem.mask->showsAll()) {
    const int64_t sequences = dependsOnBatch(*problem.mask) ? problem.batch : std::min<int64_t>(problem.batch, 1);
    for (int64_t b = 0; b < sequences; ++b) {
      auto of = keysOf(problem, b);
      if (const char** reason = std::get_if<const char*>(&of)) return Refusal{*reason, "options.mask"};
      keys.push_back(std::get<SequenceKeys>(std::move(of)));
    }
    const auto all = keys.size() == 1 ? movingOf(keys[0].rows, problem.keys) : std::nullopt;
    if (all) {
      moving = *all;
      keys.clear();
    }
  }
  return std::make_shared<const CudaPlan>(device, problem, moving, std::move(keys));
}

CudaPlan::CudaPlan(const Device& device, const Problem& problem, const MovingKeys& moving,
                   std::vector<SequenceKeys> keys)
    : device_(device), problem_(problem), moving_(moving), keys_(std::move(keys)) {}

int CudaPlan::kernelDim() const { return std::max(problem_.dimQk, problem_.dimV) <= 64 ? 64 : kMostDim; }

std::string CudaPlan::kernelName() const {
  return std::string("forward_") + (problem_.query.dtype == Dtype::float16 ? "f16_" : "bf16_") +
         std::to_string(kernelDim());
}

int64_t CudaPlan::queryBlocks() const { return ceilDiv(problem_.queries, kBlockQueries); }

int64_t CudaPlan::blocks() const { return queryBlocks() * problem_.headsQ * problem_.batch; }

Explanation CudaPlan::explain() const {
  const Problem& p = problem_;
  Explanation result;
  result.device = device_.name();
  result.kernel = kernelName();
  result.tileQueries = forwardWarpQueries(kernelDim());
  result.tileKeys = kTileKeys;
  result.chunk = p.keys;
  result.tasks = blocks();
  result.threads = forwardThreads(kernelDim());
  result.workspaceBytes = forwardSharedBytes(kernelDim());
  double pairs = 0;
  const int64_t counted = std::max<int64_t>(1, int64_t(keys_.size()));
  for (int64_t n = 0; n < counted; ++n) {
    const int64_t times = p.headsQ * (p.batch / counted);
    const Counts counts =
        countTiles(p, moving_, keys_.empty() ? nullptr : &keys_[size_t(n)], forwardWarpQueries(kernelDim()));
    result.tilesFull += times * counts.full;
    result.tilesPartial += times * counts.partial;
    result.tilesSkipped += times * counts.skipped;
    pairs += double(times) * counts.pairs;
  }
  result.flops = 2 * pairs * double(p.dimQk + p.dimV);
  const double queries = double(p.batch) * double(p.queries) * double(p.headsQ);
  const double keys = double(p.batch) * double(p.keys) * double(p.headsKv);
  result.bytes = (queries + keys) * double(p.dimQk + p.dimV) * double(sizeOf(p.query.dtype));
  return result;
}

}  // namespace fused_attention::cuda
