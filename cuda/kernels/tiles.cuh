// Rows in shared memory, in pieces of 16 bytes that are permuted within each row, so that neither copies nor matrix
// loads meet a bank twice. Copies are asynchronous; what is not there is 0.
#pragma once

#include <cstdint>

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

/// One thread's part in copying tiles of `rows` rows, one after the other: the same piece of every `step`-th row.
template <int rowBytes, int rows, int threads>
class TileCopy {
 public:
  /// Of each row `bytes` are there. The first tile begins with row `first`.
  __device__ __forceinline__ TileCopy(const unsigned char* base, int64_t strideBytes, int bytes, int first)
      : row_(threadIdx.x / pieces), bytes_(min(max(bytes - 16 * piece(), 0), 16)), apart_(step * strideBytes) {
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
  /// Leaves out rows, whole tiles of them.
  __device__ __forceinline__ void skip(int count) { from_ += count / step * apart_; }

 private:
  static constexpr int pieces = Tile<rowBytes>::pieces;
  static constexpr int step = threads / pieces, passes = rows / step;
  static_assert(step % 8 == 0 || 8 % step == 0);

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

}  // namespace fused_attention::cuda
