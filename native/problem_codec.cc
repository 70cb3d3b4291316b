#include "problem_codec.h"

#include <limits>

#include "error.h"
#include "extents.h"
#include "number_reader.h"
#include "program/program.h"

namespace fused_attention {

namespace {

constexpr int64_t kMostRows = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kMostDevices = 1 << 10;
constexpr int64_t kMostMasks = 1024;
constexpr int64_t kMostPrefixes = 1 << 22;
constexpr int kMostStatistics = 7;

/// The order of a call's buffers.
enum Slot {
  query,
  key,
  value,
  output,
  lse,
  entropy,
  rowMax,
  partialMax,
  partialSum,
  sinks,
  bias,
  lengthsQ,
  lengthsKv,
  masks
};

enum Flag {
  withLse = 1,
  withEntropy = 2,
  withRowMax = 4,
  asPartial = 8,
  withSinks = 16,
  withBias = 32,
  inPages = 64,
  withNormalizer = 128,
  withStatistics = 256,
  onCuda = 512
};

Dtype readDtype(NumberReader& numbers, int slot) {
  return static_cast<Dtype>(numbers.integer(ArgumentName::buffer(slot, ".dtype"), 0, 2));
}

Layout readLayout(NumberReader& numbers, int slot) {
  const ArgumentName argument = ArgumentName::buffer(slot);
  Layout layout;
  layout.dtype = readDtype(numbers, slot);
  layout.offset = numbers.integer(argument, 0, kMostInteger);
  layout.batch = numbers.stride(argument);
  layout.head = numbers.stride(argument);
  layout.row = numbers.stride(argument);
  return layout;
}

GridLayout readGrid(NumberReader& numbers, int slot, bool boolean) {
  const ArgumentName argument = ArgumentName::buffer(slot);
  GridLayout grid;
  grid.dtype = boolean ? static_cast<Dtype>(numbers.integer(ArgumentName::buffer(slot, ".dtype"), 3, 3))
                       : readDtype(numbers, slot);
  grid.offset = numbers.integer(argument, 0, kMostInteger);
  grid.batch = numbers.stride(argument);
  grid.head = numbers.stride(argument);
  grid.row = numbers.stride(argument);
  grid.column = numbers.stride(argument);
  return grid;
}

Paging readPaging(NumberReader& numbers) {
  Paging paging;
  paging.rows = numbers.integer("options.pages.pageSize", 1, kMostRows);
  paging.pool = numbers.integer("key", 0, kMostRows);
  paging.table = numbers.integer("options.pages.table", 0, kMostRows);
  const int64_t prefixes = numbers.integer("options.pages.prefixes", 0, kMostPrefixes);
  for (int64_t n = 0; n < prefixes; ++n) {
    paging.shared.push_back(numbers.integer("options.pages.prefixes", 0, kMostRows));
  }
  return paging;
}

Normalizer readNormalizer(NumberReader& numbers) {
  const char* const argument = "options.normalizer";
  Normalizer normalizer;
  normalizer.kind = static_cast<Normalizer::Kind>(numbers.integer(argument, 1, 3));
  normalizer.byKeys = numbers.integer(argument, 0, 1) == 1;
  normalizer.number = numbers.finite(argument);
  const bool divides = normalizer.kind != Normalizer::Kind::sigmoid && !normalizer.byKeys;
  if (divides && !(normalizer.number > 0)) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "a divisor > 0", textOf(normalizer.number));
  }
  return normalizer;
}

/// Ranges of keys, ascending and apart.
Statistics readStatistics(NumberReader& numbers, const Problem& problem) {
  const char* const argument = "options.statistics";
  Statistics s;
  s.top = numbers.integer(argument, 0, Statistics::kMostTop);
  s.blockRows = numbers.integer(argument, 0, kMostRows);
  s.blockKeys = numbers.integer(argument, 0, kMostRows);
  const int64_t ofBlocks = numbers.integer(argument, 0, 3);
  s.blockSums = ofBlocks & 1;
  s.blockMaxima = ofBlocks & 2;
  s.columnSums = numbers.integer(argument, 0, 1) == 1;
  const int64_t segments = numbers.integer(argument, 0, kMostRows), columns = numbers.integer(argument, 0, kMostRows);
  int64_t end = 0;
  for (int64_t n = 0; n < segments; ++n) {
    const int64_t begin = numbers.integer(argument, end, problem.keys);
    end = numbers.integer(argument, begin, problem.keys);
    s.mass.push_back({begin, end});
  }
  for (int64_t n = 0, least = 0; n < columns; ++n) {
    const int64_t column = numbers.integer(argument, least, problem.keys - 1);
    s.columns.push_back({column, column + 1});
    least = column + 1;
  }
  if (s.blocks() && (s.blockRows == 0 || s.blockKeys == 0)) {
    throw CodedError("ERR_OUT_OF_RANGE", argument, "blocks of at least one row and key", "none");
  }
  return s;
}

void requireVersion(NumberReader& numbers) { numbers.integer("call.version", kCodecVersion, kCodecVersion); }

void requirePrograms(const Problem& problem) {
  if (problem.mask && problem.mask->kind() != ProgramKind::mask) {
    throw CodedError("ERR_INVALID_ARG_TYPE", "options.mask", "a mask program", "a score program");
  }
  if (problem.score && problem.score->kind() != ProgramKind::score) {
    throw CodedError("ERR_INVALID_ARG_TYPE", "options.score", "a score program", "a mask program");
  }
  if (problem.mask && size_t(problem.mask->graph().grids) > problem.masks.size()) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "options.mask",
                     std::to_string(problem.mask->graph().grids) + " mask tensors for its program",
                     std::to_string(problem.masks.size()));
  }
}

/// What goes by softmax's denominator.
void requireSoftmax(const Problem& problem) {
  if (problem.normalizer.softmax()) return;
  const auto refuse = [](bool present, const char* argument) {
    if (present) throw CodedError("ERR_UNSUPPORTED", argument, "none without softmax", "some");
  };
  refuse(problem.hasSinks, "options.sinks");
  refuse(problem.lse, "options.lse");
  refuse(problem.entropy, "options.entropy");
  refuse(problem.rowMax, "options.rowMax");
  refuse(problem.partial, "options.partial");
  refuse(problem.statistics.any(), "options.statistics");
}

void requireStatistics(const Problem& problem) {
  const Statistics& s = problem.statistics;
  if (!s.any()) return;
  const auto refuse = [](bool present, const char* expected, const char* received) {
    if (present) throw CodedError("ERR_UNSUPPORTED", "options.statistics", expected, received);
  };
  refuse(problem.partial, "none with options.partial", "some");
  refuse(s.blocks() && problem.lengths == Lengths::cumulative, "none of blocks in a ragged batch", "some");
  refuse(s.columnSums && problem.paging.numbered(), "no columnSums over pages", "some");
}

/// What does not fit together although every number is fine by itself.
void requireConsistent(const Problem& problem) {
  requirePrograms(problem);
  requireSoftmax(problem);
  requireStatistics(problem);
  if (problem.headsQ % problem.headsKv != 0) {
    throw CodedError("ERR_SHAPE_MISMATCH", "query", "a multiple of " + std::to_string(problem.headsKv) + " heads",
                     std::to_string(problem.headsQ));
  }
  if (problem.lengths == Lengths::cumulative) {
    if (problem.hasBias) throw CodedError("ERR_UNSUPPORTED", "options.bias", "none in a ragged batch", "a tensor");
    if (!problem.masks.empty())
      throw CodedError("ERR_UNSUPPORTED", "options.mask", "no tensor in a ragged batch", "one");
    for (const Layout* layout : {&problem.query, &problem.key, &problem.value, &problem.output}) {
      const bool pool = problem.paging.numbered() && (layout == &problem.key || layout == &problem.value);
      if (layout->batch != 0 && !pool) {
        throw CodedError("ERR_INVALID_ARG_VALUE", "call", "no batch stride in a ragged batch",
                         std::to_string(layout->batch));
      }
    }
  }
  if (problem.paging.numbered()) {
    if (problem.lengths == Lengths::none) {
      throw CodedError("ERR_INVALID_ARG_VALUE", "options.pages.lengths", "tokens of each sequence", "none");
    }
    const int64_t most = problem.paging.table * problem.paging.rows;
    if (problem.lengths == Lengths::padded && problem.keys != most) {
      throw CodedError("ERR_SHAPE_MISMATCH", "options.pages.table",
                       "pages for " + std::to_string(problem.keys) + " keys", std::to_string(most));
    }
  }
  if (problem.partial && problem.output.dtype != Dtype::float32) {
    throw CodedError("ERR_INVALID_ARG_VALUE", "options.outputDtype", "float32 for a partial", "another");
  }
  if (problem.partial && problem.hasSinks) {
    throw CodedError("ERR_UNSUPPORTED", "options.sinks", "none for a partial", "some");
  }
}

/// Decodes everything; the batch is still the one given.
Problem readProblem(const double* data, size_t count, const Programs& programs) {
  NumberReader numbers(data, count);
  Problem p;
  requireVersion(numbers);
  p.isa = static_cast<Isa>(numbers.integer("FUSED_ATTENTION_ISA", 0, 5));
  p.threads = static_cast<int32_t>(numbers.integer("options.threads", 1, kMostThreads));
  p.batch = numbers.integer("query", 0, kMostRows);
  p.headsQ = numbers.integer("query", 1, kMostRows);
  p.headsKv = numbers.integer("key", 1, kMostRows);
  p.queries = numbers.integer("query", 0, kMostRows);
  p.keys = numbers.integer("key", 0, kMostRows);
  p.dimQk = numbers.integer("query", 1, 1024);
  p.dimV = numbers.integer("value", 1, 1024);
  p.scale = numbers.finite("options.scale");
  p.softcap = numbers.finite("options.softcap");
  if (p.softcap < 0) throw CodedError("ERR_OUT_OF_RANGE", "options.softcap", "0 or more", textOf(p.softcap));
  p.align = static_cast<Align>(numbers.integer("options.align", 0, 1));
  p.lengths = static_cast<Lengths>(numbers.integer("options.lengths", 0, 2));
  const int64_t flags = numbers.integer("call.flags", 0, 1023);
  p.device = flags & onCuda ? DeviceKind::cuda : DeviceKind::cpu;
  p.lse = flags & withLse;
  p.entropy = flags & withEntropy;
  p.rowMax = flags & withRowMax;
  p.partial = flags & asPartial;
  p.hasSinks = flags & withSinks;
  p.hasBias = flags & withBias;
  p.query = readLayout(numbers, query);
  p.key = readLayout(numbers, key);
  p.value = readLayout(numbers, value);
  p.output = readLayout(numbers, output);
  if (p.hasBias) p.bias = readGrid(numbers, bias, false);
  const int64_t maskCount = numbers.integer("options.mask", 0, kMostMasks);
  for (int64_t i = 0; i < maskCount; ++i) {
    p.masks.push_back(readGrid(numbers, masks + int(i), true));
  }
  if (flags & inPages) p.paging = readPaging(numbers);
  if (flags & withNormalizer) p.normalizer = readNormalizer(numbers);
  if (flags & withStatistics) p.statistics = readStatistics(numbers, p);
  if (flags & onCuda) p.ordinal = static_cast<int16_t>(numbers.integer("options.device", 0, kMostDevices - 1));
  numbers.finish();
  p.mask = programs.mask;
  p.score = programs.score;
  requireConsistent(p);
  return p;
}

/// Nothing to write: no sequence needs to be looked at, however many the shapes claim.
void forgetEmptyBatch(Problem& problem) {
  const bool none = problem.queries == 0 && !problem.statistics.columnSums;
  if (problem.lengths != Lengths::cumulative && none) problem.batch = 0;
}

/// Checks the buffers of one call, slot by slot, and collects the ranges they stand for.
class CallChecker {
 public:
  CallChecker(const Problem& problem, const std::vector<Buffer>& buffers, Call& call)
      : p_(problem), buffers_(buffers), call_(call), ragged_(problem.lengths == Lengths::cumulative) {
    const size_t expected = masks + problem.masks.size() + (problem.paging.numbered() ? 2 : 0) + kMostStatistics;
    if (buffers.size() > expected) {
      throw CodedError("ERR_INVALID_ARG_VALUE", "call.buffers", "at most " + std::to_string(expected) + " buffers",
                       std::to_string(buffers.size()));
    }
    call.ranges.reserve(buffers.size());
    for (size_t slot = partialSum + 1; slot < buffers.size(); ++slot) requireOn(Buffer::kHost, int(slot));
  }

  void lengths() {
    if (p_.lengths == Lengths::none) return;
    call_.pointers.lengthsQ = lengthsAt(lengthsQ);
    call_.pointers.lengthsKv = lengthsAt(lengthsKv);
  }

  void pageLists() {
    if (!p_.paging.numbered()) return;
    const int table = masks + int(p_.masks.size()), prefixOf = table + 1;
    const int64_t entries = product({p_.batch, p_.paging.table}, "options.pages.table");
    call_.pointers.pages.table = listAt(table, entries);
    if (p_.paging.shared.empty()) return;
    const int32_t* const owners = listAt(prefixOf, p_.batch);
    for (int64_t b = 0; b < p_.batch; ++b) {
      if (owners[b] >= -1 && owners[b] < int64_t(p_.paging.shared.size())) continue;
      throw CodedError("ERR_OUT_OF_RANGE", "options.pages.prefixes", "-1 or the number of a prefix",
                       std::to_string(owners[b]));
    }
    call_.pointers.pages.sharedOf = owners;
  }

  void everything() {
    const int64_t rows = p_.paging.numbered() ? p_.paging.rows : p_.keys;
    everything(rows, rows);
  }

  void everything(int64_t keys, int64_t values) {
    Pointers& to = call_.pointers;
    to.onDevice = p_.device == DeviceKind::cuda && bufferAt(query).device == p_.ordinal;
    for (int slot = query; slot <= partialSum; ++slot) requireOn(to.onDevice ? p_.ordinal : Buffer::kHost, slot);
    to.query = tensor(query, p_.query, p_.headsQ, p_.queries, p_.dimQk, false);
    to.key = tensor(key, p_.key, p_.headsKv, keys, p_.dimQk, false);
    to.value = tensor(value, p_.value, p_.headsKv, values, p_.dimV, false);
    to.output = tensor(output, p_.output, p_.headsQ, p_.queries, p_.dimV, true);
    to.lse = rows(lse, p_.lse);
    to.entropy = rows(entropy, p_.entropy);
    to.rowMax = rows(rowMax, p_.rowMax);
    to.partialMax = rows(partialMax, p_.partial);
    to.partialSum = rows(partialSum, p_.partial);
    if (p_.hasSinks) to.sinks = static_cast<const float*>(inside(sinks, {0, {}, p_.headsQ}, Dtype::float32, false));
    if (p_.hasBias) to.bias = grid(bias, p_.bias);
    for (size_t i = 0; i < p_.masks.size(); ++i) {
      to.masks.push_back(static_cast<const uint8_t*>(grid(masks + int(i), p_.masks[i])));
    }
    lengths();
    pageLists();
    statistics();
    requireApart(call_.ranges);
  }

 private:
  Buffer bufferAt(int slot) const { return size_t(slot) < buffers_.size() ? buffers_[size_t(slot)] : Buffer{}; }

  void requireOn(int device, int slot) const {
    const Buffer buffer = bufferAt(slot);
    if (buffer.device == device || (buffer.data == nullptr && buffer.device == Buffer::kHost)) return;
    throw CodedError("ERR_INVALID_ARG_VALUE", bufferName(slot), placeName(device), placeName(buffer.device));
  }

  /// The buffer's start. Null where the block is empty and no buffer came.
  void* inside(int slot, const Block& block, Dtype dtype, bool written) {
    const Buffer buffer = bufferAt(slot);
    requireInside(block, buffer, sizeOf(dtype), written, slot, call_.ranges);
    return buffer.data;
  }

  void* tensor(int slot, const Layout& layout, int64_t heads, int64_t rows, int64_t dim, bool written) {
    const bool pool = p_.paging.numbered() && (slot == key || slot == value);
    const Axis sequences{pool ? p_.paging.pool : ragged_ ? 1 : p_.batch, layout.batch};
    const Block block{layout.offset, {{{heads, layout.head}, {rows, layout.row}, sequences}}, dim};
    if (written) requireDistinct(block, ArgumentName::buffer(slot));
    return inside(slot, block, layout.dtype, written);
  }

  /// A float32 for each query row: [B, Hq, Nq], ragged [Hq, total], contiguous.
  float* rows(int slot, bool wanted) {
    if (!wanted) return nullptr;
    const int64_t count = product({ragged_ ? 1 : p_.batch, p_.headsQ, p_.queries}, ArgumentName::buffer(slot));
    return static_cast<float*>(inside(slot, {0, {}, count}, Dtype::float32, true));
  }

  void statistics() {
    const Statistics& s = p_.statistics;
    if (!s.any()) return;
    int slot = masks + int(p_.masks.size()) + (p_.paging.numbered() ? 2 : 0);
    const char* const argument = "options.statistics";
    const int64_t heads = product({ragged_ ? 1 : p_.batch, p_.headsQ}, argument);
    const int64_t rows = product({heads, p_.queries}, argument);
    const auto next = [&](bool wanted, std::initializer_list<int64_t> shape) {
      if (!wanted) return static_cast<void*>(nullptr);
      static_assert(sizeof(int32_t) == sizeof(float));
      return inside(slot++, {0, {}, product(shape, argument)}, Dtype::float32, true);
    };
    const auto floats = [&](bool wanted, std::initializer_list<int64_t> shape) {
      return static_cast<float*>(next(wanted, shape));
    };
    StatisticPointers& to = call_.pointers.statistics;
    to.mass = floats(!s.mass.empty(), {rows, int64_t(s.mass.size())});
    to.columns = floats(!s.columns.empty(), {rows, int64_t(s.columns.size())});
    to.topColumns = static_cast<int32_t*>(next(s.top > 0, {rows, s.top}));
    to.topWeights = floats(s.top > 0, {rows, s.top});
    const auto blocks = [](int64_t count, int64_t size) { return size > 0 ? (count + size - 1) / size : 0; };
    const int64_t rowBlocks = blocks(p_.queries, s.blockRows), keyBlocks = blocks(p_.keys, s.blockKeys);
    to.blockSums = floats(s.blockSums, {heads, rowBlocks, keyBlocks});
    to.blockMaxima = floats(s.blockMaxima, {heads, rowBlocks, keyBlocks});
    to.columnSums = floats(s.columnSums, {heads, p_.keys});
  }

  const void* grid(int slot, const GridLayout& g) {
    const Block block{
        g.offset, {{{p_.batch, g.batch}, {p_.headsQ, g.head}, {p_.queries, g.row}, {p_.keys, g.column}}}, 1};
    return inside(slot, block, g.dtype, false);
  }

  const int32_t* listAt(int slot, int64_t count) {
    const Buffer buffer = bufferAt(slot);
    requireInside({0, {}, count}, buffer, sizeof(int32_t), false, slot, call_.ranges);
    return static_cast<const int32_t*>(buffer.data);
  }

  const double* lengthsAt(int slot) {
    const Buffer buffer = bufferAt(slot);
    if (!ragged_ && buffer.data == nullptr) return nullptr;
    const int64_t count = ragged_ ? p_.batch + 1 : p_.batch;
    requireInside({0, {}, count}, buffer, sizeof(double), false, slot, call_.ranges);
    return static_cast<const double*>(buffer.data);
  }

  const Problem& p_;
  const std::vector<Buffer>& buffers_;
  Call& call_;
  const bool ragged_;
};

void requireSame(const char* argument, int64_t value, int64_t expected) {
  if (value == expected) return;
  throw CodedError("ERR_SHAPE_MISMATCH", argument, std::to_string(expected) + ", as the keys held",
                   std::to_string(value));
}

/// What a problem says of its keys has to be what they are.
void requireHeld(const Problem& problem, const HeldKeys& held) {
  requireSame("query", problem.batch, held.batch);
  requireSame("key", problem.headsKv, held.heads);
  requireSame("key", problem.keys, held.keys);
  requireSame("query", problem.dimQk, held.dimQk);
  requireSame("value", problem.dimV, held.dimV);
  if (problem.lengths != Lengths::none || problem.paging.numbered() || problem.align != Align::bottomRight) {
    throw CodedError("ERR_UNSUPPORTED", "call", "whole sequences, the last query at the last key", "another alignment");
  }
  if (problem.statistics.any()) {
    throw CodedError("ERR_UNSUPPORTED", "options.statistics", "none over a cache", "some");
  }
  if (held.gap.positions != 0 && (problem.hasBias || !problem.masks.empty())) {
    throw CodedError("ERR_UNSUPPORTED", problem.hasBias ? "options.bias" : "options.mask",
                     "no tensor where keys have gone", "one");
  }
}

}  // namespace

std::string bufferName(int slot) { return ArgumentName::buffer(slot); }

std::string placeName(int device) {
  return device == Buffer::kHost ? "host memory" : "memory of CUDA device " + std::to_string(device);
}

Problem decodeProblem(const double* numbers, size_t count, const Programs& programs) {
  Problem problem = readProblem(numbers, count, programs);
  forgetEmptyBatch(problem);
  return problem;
}

Call decodeForExplain(const double* numbers, size_t count, const std::vector<Buffer>& buffers,
                      const Programs& programs) {
  Call call;
  call.problem = readProblem(numbers, count, programs);
  CallChecker checker(call.problem, buffers, call);
  checker.lengths();
  checker.pageLists();
  forgetEmptyBatch(call.problem);
  return call;
}

CallOverHeld decodeCallOver(const HeldKeys& held, const double* numbers, size_t count,
                            const std::vector<Buffer>& buffers, const Programs& programs) {
  CallOverHeld call;
  Problem& problem = call.problem;
  problem = readProblem(numbers, count, programs);
  requireHeld(problem, held);
  CallChecker(problem, buffers, call).everything(held.appended, held.sharedValues ? 0 : held.appended);
  call.appendedKey = problem.key;
  call.appendedValue = problem.value;
  problem.key = held.key;
  problem.value = held.value;
  problem.keys = held.keys - held.gap.positions;
  problem.paging = held.paging;
  problem.gap = held.gap;
  call.pointers.keyPages = held.keyPages;
  call.pointers.valuePages = held.valuePages;
  if (held.lengths) problem.lengths = Lengths::padded;
  call.pointers.lengthsKv = held.lengths;
  call.pointers.pages.sharedOf = held.sharedOf;
  forgetEmptyBatch(problem);
  return call;
}

Call decodeCall(const double* numbers, size_t count, const std::vector<Buffer>& buffers, const Programs& programs) {
  Call call;
  call.problem = readProblem(numbers, count, programs);
  CallChecker(call.problem, buffers, call).everything();
  forgetEmptyBatch(call.problem);
  return call;
}

}  // namespace fused_attention
