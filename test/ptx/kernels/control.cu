// Control flow: divergent branches and loops, calls, local memory, barriers, lanes that wait for each other.
#include <cstdint>

extern "C" __global__ void collatz(const uint32_t* in, uint32_t* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  uint32_t x = in[i], steps = 0;
  while (x > 1) {
    x = x % 2 == 0 ? x / 2 : 3 * x + 1;
    if (++steps > 500) break;
  }
  __syncwarp();
  out[i] = steps + 1000 * __popc(__activemask());
}

__device__ __noinline__ uint32_t gcd(uint32_t a, uint32_t b) {
  while (b != 0) {
    const uint32_t r = a % b;
    a = b;
    b = r;
  }
  return a;
}
__device__ __noinline__ uint64_t weigh(uint32_t a, uint64_t b) { return a > 4 ? gcd(a, 36) + b : b * 2; }

extern "C" __global__ void calls(const uint32_t* in, uint64_t* out) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  uint64_t result = 7;
  if (in[i] % 3 != 0) result = weigh(in[i], i);
  out[i] = result + gcd(in[i], 60);
}

extern "C" __global__ void localArray(const uint32_t* in, uint32_t* out, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  uint32_t digits[10] = {};
  for (int k = 0; k < n; ++k) ++digits[(in[i] + k * k) % 10];
  out[i] = digits[in[i] % 10] * 10 + digits[3];
}

// One lane of a warp produces what the others spin for.
extern "C" __global__ void spin(uint32_t* flag, uint32_t* out) {
  const int lane = threadIdx.x;
  if (lane != 5) {
    while (*static_cast<volatile uint32_t*>(flag) == 0) {}
  } else {
    for (int k = 0; k < 100; ++k) *static_cast<volatile uint32_t*>(out) = k;
    *static_cast<volatile uint32_t*>(flag) = 1;
  }
  atomicAdd(out + 1, 1);
}

// Every block waits for the last one.
extern "C" __global__ void blocksWait(uint32_t* count) {
  if (threadIdx.x == 0) {
    atomicAdd(count, 1);
    while (*static_cast<volatile uint32_t*>(count) < gridDim.x) {}
  }
}

extern "C" __global__ void reduce(const uint32_t* in, uint32_t* out) {
  __shared__ uint32_t sums[256];
  sums[threadIdx.x] = in[blockIdx.x * 256 + threadIdx.x];
  __syncthreads();
  for (int half = 128; half > 0; half /= 2) {
    if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = sums[0];
}

// Two warps hand over to two others by named barriers.
extern "C" __global__ void namedBarriers(uint32_t* out) {
  __shared__ uint32_t box[64];
  if (threadIdx.x < 64) {
    box[threadIdx.x] = 3 * threadIdx.x;
    asm volatile("bar.arrive 1, 128;" ::: "memory");
    asm volatile("bar.sync 2, 128;" ::: "memory");
    out[threadIdx.x] = box[threadIdx.x];
  } else {
    asm volatile("bar.sync 1, 128;" ::: "memory");
    const uint32_t value = box[127 - threadIdx.x];
    out[threadIdx.x] = value;
    asm volatile("bar.sync 3, 64;" ::: "memory");
    box[threadIdx.x - 64] = value + 1;
    asm volatile("bar.arrive 2, 128;" ::: "memory");
  }
}

extern "C" __global__ void barrierReductions(uint32_t* out) {
  const int i = threadIdx.x;
  out[i] = __syncthreads_count(i % 3 == 0) + 1000 * (__syncthreads_or(i == 77) != 0) + 2000 * (__syncthreads_and(i < 90) != 0);
}

extern "C" __global__ void specials(uint32_t* out) {
  uint32_t lane, warp;
  asm volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  asm volatile("mov.u32 %0, %%warpid;" : "=r"(warp));
  const int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  out[block * blockDim.x * blockDim.y * blockDim.z + thread] = lane + 100 * warp + 10000 * block;
}
