// One attention call, described without data pointers. Made by problem_codec.cc from what lib/call.ts encodes;
// read by every backend. Defaults and user-facing validation are in lib/; here everything is explicit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "statistics.h"

namespace fused_attention {

enum class Dtype : uint8_t { float32 = 0, float16 = 1, bfloat16 = 2, boolean = 3 };

inline int64_t sizeOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32: return 4;
    case Dtype::float16:
    case Dtype::bfloat16: return 2;
    case Dtype::boolean: return 1;
  }
  return 0;
}

enum class Isa : uint8_t { automatic = 0, portable = 1, sse4 = 2, avx2 = 3, avx512 = 4, neon = 5 };

/// Element (b, h, row, column) of a logical [B, H, S, D] tensor lies at offset + b*batch + h*head + row*row + column,
/// in elements from the start of its buffer. The last axis is contiguous. Ragged tensors have batch = 0: their rows
/// are counted over the whole batch.
struct Layout {
  Dtype dtype = Dtype::float32;
  int64_t offset = 0, batch = 0, head = 0, row = 0;
};

/// A mask or bias grid over [B, Hq, Nq, Nkv]; an axis that is broadcast has stride 0.
struct GridLayout {
  Dtype dtype = Dtype::boolean;
  int64_t offset = 0, batch = 0, head = 0, row = 0, column = 0;
};

/// Rows of one sequence inside the batch's buffers. rowQ/rowKv are added to row indices (ragged), batch selects the
/// batch stride (padded and dense).
struct Sequence {
  int64_t batch = 0;
  int64_t rowQ = 0, queries = 0;
  int64_t rowKv = 0, keys = 0;
  int64_t table = 0;     // which table of pages is its own
  int64_t firstKey = 0;  // keys before it are seen elsewhere: by the pass over a shared prefix
};

/// Keys in pages of `rows` rows, a table of pages for each sequence or one for all. The layouts of key and value are
/// those inside a page. A table holds addresses of pages, or numbers of those of a pool: there page n begins at
/// n * batch of its layout.
struct Paging {
  static constexpr int64_t kAddresses = -1;

  int64_t rows = 0;   // 0: not in pages
  int64_t table = 0;  // pages from a sequence's first to the next one's
  int64_t pool = kAddresses;
  std::vector<int64_t> shared;  // tokens that the sequences of a group share, whole pages of them

  bool numbered() const { return pool != kAddresses; }
};

/// What tables over a pool say, and who shares; owned by the call. Who has addresses of pages has seen to it that those
/// shared are the same.
struct PageLists {
  const int32_t* table = nullptr;     // [batch][paging.table]; null: addresses
  const int32_t* sharedOf = nullptr;  // [batch], which of paging.shared a sequence has, or -1; null: none has one
};

/// Keys that a sequence has no columns for. Columns from `begin` on stand `positions` positions further on than their
/// number, and lie `rows` rows further on in their pages.
struct Gap {
  int64_t begin = 0, positions = 0, rows = 0;

  int64_t positionOf(int64_t column) const { return column + (column >= begin ? positions : 0); }
};

class Program;

enum class DeviceKind : uint8_t { cpu, cuda };
enum class Align : uint8_t { bottomRight = 0, topLeft = 1 };
enum class Lengths : uint8_t { none = 0, padded = 1, cumulative = 2 };

/// How the scores of a row become weights. Softmax has a denominator; of the others each weight is its own score's:
/// sigmoid(s + shift), max(s, 0) / divisor, max(s, 0)^2 / divisor.
struct Normalizer {
  enum class Kind : uint8_t { softmax = 0, sigmoid = 1, relu = 2, squaredRelu = 3 } kind = Kind::softmax;
  bool byKeys = false;  // the number goes by a sequence's keys: shift -ln(keys), divisor keys
  double number = 0;    // else: sigmoid's shift, the others' divisor

  bool softmax() const { return kind == Kind::softmax; }
};

struct Problem {
  DeviceKind device = DeviceKind::cpu;
  Isa isa = Isa::automatic;
  int16_t ordinal = 0;  // of a CUDA device
  int32_t threads = 1;  // upper bound; the pool may have fewer

  int64_t batch = 0;
  int64_t headsQ = 0, headsKv = 0;  // headsQ is a multiple of headsKv
  int64_t queries = 0, keys = 0;    // rows of the tensors: per sequence, or in all when lengths are cumulative
  int64_t dimQk = 0, dimV = 0;

  double scale = 1;
  double softcap = 0;  // 0: none
  Align align = Align::bottomRight;
  Lengths lengths = Lengths::none;

  Layout query, key, value, output;
  Paging paging;                         // of keys and values
  Gap gap;                               // without mask or bias tensors
  std::shared_ptr<const Program> mask;   // null: every key
  std::shared_ptr<const Program> score;  // null: the score stays as it is
  // Nonzero is true. The first mask->graph().grids are what the mask program reads; of the others all must allow.
  std::vector<GridLayout> masks;
  bool hasBias = false;
  GridLayout bias;
  Normalizer normalizer;  // other than softmax: without sinks, statistics and partials
  bool hasSinks = false;  // one float32 logit a query head

  // What to write besides the output. lse, entropy, rowMax: [B, Hq, Nq], ragged [Hq, total].
  bool lse = false, entropy = false, rowMax = false;
  Statistics statistics;
  bool partial = false;  // output is the unnormalised float32 numerator, with its reference and sum

  int64_t groupSize() const { return headsQ / headsKv; }
};

/// Positions of a sequence's keys, those of the gap included.
inline int64_t keyPositions(const Problem& problem, const Sequence& sequence) {
  return sequence.keys + problem.gap.positions;
}

/// Where a sequence's query row 0 lies on the position axis; key column c lies at gap.positionOf(c).
inline int64_t queryStart(const Problem& problem, const Sequence& sequence) {
  return problem.align == Align::topLeft ? 0 : sequence.keys + problem.gap.positions - sequence.queries;
}

/// Run-time addresses, each already checked against the Problem's layouts by problem_codec.cc.
struct Pointers {
  const void* query = nullptr;
  const void* key = nullptr;
  const void* value = nullptr;
  const void* const* keyPages = nullptr;  // where keys are in pages
  const void* const* valuePages = nullptr;
  PageLists pages;  // where they are in the pages of a pool
  void* output = nullptr;
  float* lse = nullptr;
  float* entropy = nullptr;
  float* rowMax = nullptr;
  float* partialMax = nullptr;  // base-2 reference exponent, [B, Hq, Nq]
  float* partialSum = nullptr;  // sum of 2^(score*log2(e) - reference)
  StatisticPointers statistics;
  const float* sinks = nullptr;
  const void* bias = nullptr;
  const double* lengthsQ = nullptr;  // padded: [B]; cumulative: [B + 1]
  const double* lengthsKv = nullptr;
  std::vector<const uint8_t*> masks;
  bool onDevice = false;  // query to partialSum lie in memory of the problem's device
};

}  // namespace fused_attention
