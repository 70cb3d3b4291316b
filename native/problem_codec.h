// The flat form in which lib/call.ts hands a call over, decoded and checked. Nothing that passes here can make a
// backend read or write outside the buffers that came with it, whatever the numbers were.
//
// A call is one Float64Array and a list of buffers. The numbers, in order:
//   version (1), isa, threads, batch, headsQ, headsKv, queries, keys, dimQk, dimV, scale, softcap, align, lengths,
//   flags (1 lse, 2 entropy, 4 rowMax, 8 partial, 16 sinks, 32 bias, 64 pages, 128 normalizer,
//   256 statistics, 512 on a CUDA device),
//   query, key, value, output: each dtype, offset, batch, head, row                      (strides in elements)
//   bias, only with its flag: dtype, offset, batch, head, row, column
//   number of masks; each: dtype (3), offset, batch, head, row, column - those of the mask program first
//   pages, only with their flag: rows of a page, pages of the pool, pages of a sequence in the table, number of shared
//   prefixes, tokens of each. Key and value are the pool then, and their batch stride is that from page to page
//   normalizer, only with its flag, else softmax: kind (1 sigmoid, 2 relu, 3 squared relu), whether its number goes by
//   the keys of a sequence (0 or 1), its number (0 where it does)
//   statistics, only with their flag: top, rows and keys of a block (0: no blocks), what of blocks (1 sums, 2 maxima),
//   column sums (0 or 1), number of segments of mass, number of columns, begin and end of each segment, each column
//   ordinal of the CUDA device, only with its flag
// The buffers, in order (null where the call has none):
//   query, key, value, output, lse, entropy, rowMax, partialMax, partialSum, sinks, bias, lengthsQ, lengthsKv,
//   masks..., with pages: table, Int32Array [batch, pages of a sequence], and prefixOf, Int32Array [batch], which
//   prefix a sequence has or -1, needed where there are prefixes; both owned by the call; then the statistics asked
//   for, in the order of StatisticPointers
// Those past the end are null. lengthsQ and lengthsKv are Float64Arrays owned by the call; padded calls may leave out
// either (all rows count), the others need batch + 1 each, batch being the number of sequences. Offsets count from the
// start of a view. The first nine may lie in memory of the call's device, all of them or none.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "problem.h"

namespace fused_attention {

struct Buffer {
  static constexpr int kHost = -1;

  void* data = nullptr;
  size_t bytes = 0;
  int device = kHost;  // else a CUDA device's ordinal, and nothing of it may be touched here
};

/// Bytes of one of a call's buffers that the call may touch.
struct MemoryRange {
  const char* begin = nullptr;
  const char* end = nullptr;
  bool written = false;
  int slot = 0;  // index among the call's buffers

  size_t bytes() const { return static_cast<size_t>(end - begin); }
};

struct Call {
  Problem problem;
  Pointers pointers;
  std::vector<MemoryRange> ranges;  // none is empty; what is written overlaps no other
};

/// The programs of a call, or null.
struct Programs {
  std::shared_ptr<const Program> mask, score;
};

inline constexpr int kCodecVersion = 1;

/// What a buffer is called in errors, "buffers[3]": lib/execution.ts puts the user's name for it in its place.
std::string bufferName(int slot);

/// "host memory" or "memory of CUDA device 1": where a buffer lies.
std::string placeName(int device);

/// Problem alone. Throws CodedError. Padded and dense problems without a row to write come out with batch 0.
Problem decodeProblem(const double* numbers, size_t count, const Programs& programs = {});

/// For `explain`: the problem, and no pointers but those of the lengths and page lists. Other buffers may be missing or
/// of any size.
Call decodeForExplain(const double* numbers, size_t count, const std::vector<Buffer>& buffers,
                      const Programs& programs = {});

/// Problem with addresses, every extent checked against its buffer. Throws CodedError, ERR_ALIASING where memory to be
/// written overlaps other memory of the call.
Call decodeCall(const double* numbers, size_t count, const std::vector<Buffer>& buffers, const Programs& programs = {});

/// Keys and values that are not among a call's buffers.
struct HeldKeys {
  int64_t batch = 0, heads = 0, dimQk = 0, dimV = 0;
  int64_t keys = 0;      // positions, those of the gap included
  int64_t appended = 0;  // rows in the buffers `key` and `value`, which are to join them: the last ones
  bool sharedValues = false;
  Layout key, value;
  Paging paging;
  Gap gap;
  const void* const* keyPages = nullptr;
  const void* const* valuePages = nullptr;
  const double* lengths = nullptr;    // positions of each sequence; null: all have `keys`
  const int32_t* sharedOf = nullptr;  // as in PageLists
};

/// The same where `held` are the keys and values. The call's key and value describe what is appended; value nothing
/// where values are shared with keys.
struct CallOverHeld : Call {
  Layout appendedKey, appendedValue;
};
CallOverHeld decodeCallOver(const HeldKeys& held, const double* numbers, size_t count,
                            const std::vector<Buffer>& buffers, const Programs& programs = {});

/// mergePartials. The numbers: version (1), batch, headsQ, queries, dimV, sinks (0 or 1), the output's dtype or 3 for a
/// softmax partial (then without sinks), number of parts; each part: kind (0 softmax partial, 1 finished { output, lse
/// }, 2 sum of weights, which goes with its like alone). The buffers: output, lse or null (of sums), sinks or null - or
/// o, m, l - and then three a part: o, m, l - or output, lse, null, or o, null, null. Everything is contiguous, and
/// float32 but for the output: o and output [B, Hq, Nq, dimV], the rest [B, Hq, Nq].
struct MergePart {
  enum class Kind : uint8_t { softmax = 0, finished = 1, sum = 2 } kind = Kind::softmax;
  const float* o = nullptr;
  const float* m = nullptr;  // lse when finished, null of a sum
  const float* l = nullptr;  // of a softmax partial
};

struct MergeCall {
  int64_t batch = 0, headsQ = 0, queries = 0, dimV = 0;
  void* output = nullptr;
  Dtype dtype = Dtype::float32;  // of the output
  float* lse = nullptr;          // null of sums; m of a partial result
  float* sum = nullptr;          // l of a partial result; null: the result is finished
  const float* sinks = nullptr;
  std::vector<MergePart> parts;
  std::vector<MemoryRange> ranges;
};

MergeCall decodeMerge(const double* numbers, size_t count, const std::vector<Buffer>& buffers);

}  // namespace fused_attention
