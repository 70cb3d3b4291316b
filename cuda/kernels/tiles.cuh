// Rows of halves in shared memory: `dim` of them a row, in pieces of 16 bytes that are permuted within each row, so
// that neither copies nor matrix loads meet a bank twice. Copies are asynchronous; what is not there is 0.
#pragma once

#include <cstdint>

#include "instructions.cuh"

namespace fused_attention::cuda {

template <int dim>
struct Tile {
  static constexpr int rowBytes = 2 * dim, pieces = dim / 8;
  static constexpr int bytesOf(int rows) { return rows * rowBytes; }

  /// Where a piece lies. Rows that are 8 apart are permuted alike.
  static __device__ __forceinline__ uint32_t offset(int row, int piece) {
    return row * rowBytes + ((piece ^ (row & 7)) << 4);
  }
  /// From the address of one of a row's first `pieces` pieces to the one `pieces` on, a power of two or a multiple of
  /// it. Tiles lie at multiples of their rows.
  static __device__ __forceinline__ uint32_t along(uint32_t address, int pieces) { return address ^ (pieces << 4); }
};

/// One thread's part in copying tiles of `rows` rows, one after the other: the same piece of every `step`-th row.
template <int dim, int rows, int threads>
class TileCopy {
 public:
  /// The first tile begins with row `first`.
  __device__ __forceinline__ TileCopy(const uint16_t* base, int64_t rowStride, int components, int first)
      : row_(threadIdx.x / pieces), bytes_(min(max(2 * components - 16 * piece(), 0), 16)), apart_(step * rowStride) {
    from_ = base + (first + row_) * rowStride + 8 * piece();
    to_ = Tile<dim>::offset(row_, piece());
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

 private:
  static constexpr int pieces = Tile<dim>::pieces;
  static constexpr int step = threads / pieces, passes = rows / step;
  static_assert(step % 8 == 0);

  static __device__ __forceinline__ int piece() { return threadIdx.x % pieces; }

  template <int n>
  __device__ __forceinline__ void copyNext(uint32_t to, int bytes) {
    copyAsync<n * step * Tile<dim>::rowBytes>(to, from_, bytes);
    from_ += apart_;
  }

  const uint16_t* from_;
  uint32_t to_;
  int row_, bytes_;
  int64_t apart_;  // elements between the rows of a thread
};

}  // namespace fused_attention::cuda
