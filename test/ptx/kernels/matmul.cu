// C = A · B in float32 of half matrices: mma.sync fed by ldmatrix from two stages of cp.async, over a swizzle that
// leaves no bank conflict. A is m×k, B is k×n, both row-major; sizes are multiples of the tile.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

constexpr int tile = 64, depth = 32, threads = 128;  // four warps, each 32×32 of C

__device__ uint32_t sharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// Chunks of 8 halves; rows of `chunks` of them.
template <int chunks>
__device__ int swizzled(int row, int chunk) {
  return row * chunks + (chunk ^ (chunks == 8 ? row & 7 : (row >> 1) & 3));
}

__device__ void copyAsync(uint32_t to, const void* from) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from));
}

template <bool brain>
__device__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  if constexpr (brain) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  } else {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
}

// `fault`: 0 none, 1 no wait for the copies, 2 no barrier after the wait, 3 no barrier before a stage is overwritten.
template <bool brain, int fault>
__device__ void multiply(const uint16_t* a, const uint16_t* b, float* c, int n, int k) {
  __shared__ __align__(128) uint16_t as[2][tile * depth], bs[2][depth * tile];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row0 = blockIdx.y * tile, column0 = blockIdx.x * tile;
  const int warpRow = warp / 2 * 32, warpColumn = warp % 2 * 32;
  float sums[2][4][4] = {};

  auto fetch = [&](int stage, int k0) {
    for (int i = threadIdx.x; i < tile * depth / 8; i += threads) {
      const int ra = i / (depth / 8), ca = i % (depth / 8), rb = i / (tile / 8), cb = i % (tile / 8);
      copyAsync(sharedAddress(&as[stage][8 * swizzled<depth / 8>(ra, ca)]), a + (row0 + ra) * k + k0 + 8 * ca);
      copyAsync(sharedAddress(&bs[stage][8 * swizzled<tile / 8>(rb, cb)]), b + (k0 + rb) * n + column0 + 8 * cb);
    }
    asm volatile("cp.async.commit_group;");
  };

  fetch(0, 0);
  for (int k0 = 0, stage = 0; k0 < k; k0 += depth, stage ^= 1) {
    if (k0 + depth < k) {
      fetch(stage ^ 1, k0 + depth);
      if (fault != 1) asm volatile("cp.async.wait_group 1;");
    } else {
      if (fault != 1) asm volatile("cp.async.wait_group 0;");
    }
    if (fault != 2) __syncthreads();
    for (int kk = 0; kk < depth; kk += 16) {
      uint32_t fa[2][4], fb[2][4];
      for (int m = 0; m < 2; ++m) {
        const int row = warpRow + 16 * m + lane % 16, chunk = kk / 8 + lane / 16;
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(fa[m][0]), "=r"(fa[m][1]), "=r"(fa[m][2]), "=r"(fa[m][3])
                     : "r"(sharedAddress(&as[stage][8 * swizzled<depth / 8>(row, chunk)])));
      }
      for (int j = 0; j < 2; ++j) {
        const int row = kk + lane % 16, chunk = warpColumn / 8 + 2 * j + lane / 16;
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                     : "=r"(fb[j][0]), "=r"(fb[j][1]), "=r"(fb[j][2]), "=r"(fb[j][3])
                     : "r"(sharedAddress(&bs[stage][8 * swizzled<tile / 8>(row, chunk)])));
      }
      for (int m = 0; m < 2; ++m) {
        for (int j = 0; j < 4; ++j) mma<brain>(sums[m][j], fa[m], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
      }
    }
    if (fault != 3) __syncthreads();
  }
  for (int m = 0; m < 2; ++m) {
    for (int j = 0; j < 4; ++j) {
      const int row = row0 + warpRow + 16 * m + lane / 4, column = column0 + warpColumn + 8 * j + lane % 4 * 2;
      *reinterpret_cast<float2*>(c + row * n + column) = make_float2(sums[m][j][0], sums[m][j][1]);
      *reinterpret_cast<float2*>(c + (row + 8) * n + column) = make_float2(sums[m][j][2], sums[m][j][3]);
    }
  }
}

#define KERNEL(name, brain, fault)                                                                              \
  extern "C" __global__ void __launch_bounds__(threads)                                                         \
      name(const uint16_t* a, const uint16_t* b, float* c, int n, int k) {                                      \
    multiply<brain, fault>(a, b, c, n, k);                                                                      \
  }
KERNEL(matmulF16, false, 0)
KERNEL(matmulBF16, true, 0)
KERNEL(matmulWithoutWait, false, 1)
KERNEL(matmulWithoutBarrier, false, 2)
KERNEL(matmulWithoutLastBarrier, false, 3)
