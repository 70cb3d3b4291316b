// Rows in shared memory, in pieces of 16 bytes that are permuted within each row, so that neither copies nor matrix
// loads meet a bank twice. Copies are asynchronous; what is not there is 0.
#pragma once

#include <cstdint>

#include "forward_parameters.h"
#include "instructions.cuh"

namespace fused_attention::cuda {

/// Rows of so many bytes, a power of two from 128 on.
template <int bytes>
struct Tile {
  static constexpr int pieces = bytes / 16;
  static constexpr int bytesOf(int rows) { return rows * bytes; }

  /// Where a piece lies. Rows that are 8 apart are permuted alike.
  static __device__ __forceinline__ uint32_t offset(int row, int piece) {
    return row * bytes + ((piece ^ (row & 7)) << 4);
  }
  /// From the address of one of a row's first `pieces` pieces to the one `pieces` on, a power of two or a multiple of
  /// it. Tiles lie at multiples of their rows.
  static __device__ __forceinline__ uint32_t along(uint32_t address, int pieces) { return address ^ (pieces << 4); }
};

/// One thread's part in copying tiles of `rows` rows, one after the other: the same piece of every `step`-th row. What
/// copies a tile is a block of so many threads, or so many of a block, a power of two, each for itself.
template <int rowBytes, int rows, int threads>
class TileCopy {
 public:
  /// Of each row `bytes` are there. The first tile begins with row `first`.
  __device__ __forceinline__ TileCopy(const unsigned char* base, int64_t strideBytes, int bytes, int first)
      : row_(thread() / pieces), bytes_(min(max(bytes - 16 * piece(), 0), 16)), apart_(step * strideBytes) {
    from_ = base + (first + row_) * strideBytes + 16 * piece();
    to_ = Tile<rowBytes>::offset(row_, piece());
  }

  /// Copies the next tile to shared memory at `to`.
  __device__ __forceinline__ void copy(uint32_t to) {
    unrolled<passes>([&](auto n) { copyNext<n>(to + to_, bytes_); });
  }
  /// The same where it begins with row `first`, and rows outside [begin, end) become 0.
  __device__ __forceinline__ void copyInside(uint32_t to, int first, int begin, int end) {
    unrolled<passes>([&](auto n) {
      const int row = first + row_ + n * step;
      copyNext<n>(to + to_, begin <= row && row < end ? bytes_ : 0);
    });
  }
  /// The same where only those rows are there whose bits are 1; the others become 0.
  __device__ __forceinline__ void copySome(uint32_t to, uint64_t there) {
    unrolled<passes>([&](auto n) { copyNext<n>(to + to_, there >> (row_ + n * step) & 1 ? bytes_ : 0); });
  }
  /// The same where row `n` of the tile lies at rowAt(n), and tiles before it say nothing. So many rows are looked up
  /// at a time, as each takes registers.
  template <int atATime, class RowAt>
  __device__ __forceinline__ void copyFrom(uint32_t to, uint64_t there, const RowAt& rowAt) const {
#pragma unroll atATime
    for (int n = 0; n < passes; ++n) {
      const int row = row_ + n * step;
      const bool some = there >> row & 1;
      copyAsync<0>(((to + to_) ^ (n * step & 7) << 4) + n * step * rowBytes,
                   some ? rowAt(row) + 16 * piece() : rowAt.base, some ? bytes_ : 0);
    }
  }
  /// Leaves out rows, whole tiles of them.
  __device__ __forceinline__ void skip(int count) { from_ += count / step * apart_; }

 private:
  static constexpr int pieces = Tile<rowBytes>::pieces;
  static constexpr int step = threads / pieces, passes = rows / step;
  static_assert(step % 8 == 0 || 8 % step == 0);

  static __device__ __forceinline__ int thread() { return threadIdx.x % threads; }
  static __device__ __forceinline__ int piece() { return threadIdx.x % pieces; }

  template <int n>
  __device__ __forceinline__ void copyNext(uint32_t to, int bytes) {
    constexpr uint32_t permuted = (n * step & 7) << 4;  // beside the first row's pieces
    copyAsync<n * step * rowBytes>(to ^ permuted, from_, bytes);
    from_ += apart_;
  }

  const unsigned char* from_;
  uint32_t to_;
  int row_, bytes_;
  int64_t apart_;  // bytes between the rows of a thread
};

/// Where the keys or values of a head of a sequence lie: row after row, or in the pages that the sequence's part of a
/// table names.
struct KeyPlaces {
  const unsigned char* base;  // row 0 of the head: of the sequence, or of page 0
  int64_t rowBytes, pageBytes;
  const int32_t* pages;  // null: there are none
  PageRows cut;

  __device__ __forceinline__ KeyPlaces(const ForwardParameters& p, const SequenceRows& s, const void* data,
                                       const RowStrides& rows, int head, int elementBytes)
      : rowBytes(rows.row * elementBytes),
        pageBytes(rows.batch * elementBytes),
        pages(p.pages.table == nullptr ? nullptr : p.pages.table + static_cast<int64_t>(s.table) * p.pages.slots),
        cut(p.pages.rows) {
    const int64_t first = pages == nullptr ? s.batch * rows.batch + s.firstKey * rows.row : 0;
    base = static_cast<const unsigned char*>(data) + (first + head * rows.head) * elementBytes;
  }

  __device__ __forceinline__ const unsigned char* row(int n) const {
    if (pages == nullptr) return base + n * rowBytes;
    const int page = cut.pageOf(n);
    return base + pages[page] * pageBytes + (n - page * cut.rows) * rowBytes;
  }
};

/// The rows of a tile that begins with key number `first`, as TileCopy asks for them.
struct TilePlaces {
  KeyPlaces keys;
  int first;
  const unsigned char* base;

  __device__ __forceinline__ TilePlaces(const KeyPlaces& from, int firstKey)
      : keys(from), first(firstKey), base(from.base) {}
  __device__ __forceinline__ const unsigned char* operator()(int n) const { return keys.row(first + n); }
};

}  // namespace fused_attention::cuda
