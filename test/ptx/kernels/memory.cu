// Loads, stores, atomics and asynchronous copies.
#include <cstdint>

__constant__ uint16_t table[4] = {11, 22, 33, 44};
__device__ uint32_t counter = 5;
__device__ const uint32_t* pointer = &counter;

extern "C" __global__ void vectors(const uint4* in, uint4* out, const ushort2* pairs, double2* doubles, const signed char* bytes) {
  const int i = threadIdx.x;
  uint4 v = __ldg(in + i);
  asm volatile("ld.global.L1::no_allocate.L2::128B.v4.u32 {%0,%1,%2,%3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(in + i));
  const ushort2 p = pairs[i];
  out[i] = make_uint4(v.w, v.z + p.x, v.y + p.y, v.x + bytes[i]);
  doubles[i] = make_double2(p.x, -1.0 * bytes[i]);
}

extern "C" __global__ void spaces(uint32_t* out, int which) {
  __shared__ uint32_t shared[32];
  uint32_t local[4] = {1, 2, 3, 4};
  shared[threadIdx.x] = 100 + threadIdx.x;
  __syncwarp();
  // Generic addresses, by lane of another space.
  uint32_t* from = threadIdx.x % 3 == 0 ? &shared[31 - threadIdx.x] : threadIdx.x % 3 == 1 ? &local[(threadIdx.x + which) % 4] : out + threadIdx.x;
  const uint32_t value = *static_cast<volatile uint32_t*>(from);
  out[threadIdx.x] = value + table[threadIdx.x % 4] + *pointer;
}

struct Parameters {
  uint8_t first;
  uint64_t second[3];
  uint16_t third;
};
extern "C" __global__ void parameters(uint8_t a, Parameters p, uint64_t* out, uint16_t b, int which) {
  out[0] = a;
  out[1] = p.first;
  out[2] = p.second[which];
  out[3] = p.third + b;
}

extern "C" __global__ void atomics(uint32_t* words, int32_t* ints, unsigned long long* longs) {
  __shared__ uint32_t shared[2];
  if (threadIdx.x < 2) shared[threadIdx.x] = 0;
  __syncthreads();
  const uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(words, 1);
  atomicMax(words + 1, i);
  atomicXor(words + 2, i);
  atomicInc(words + 3, 6);
  atomicMin(ints, 50 - static_cast<int>(i));
  atomicAdd(longs, 0x100000000ull + i);
  atomicAdd(&shared[0], i);
  atomicOr(&shared[1], 1u << (i % 32));
  uint32_t seen = words[4], old;
  do {
    old = seen;
    seen = atomicCAS(words + 4, old, old + 3);
  } while (seen != old);
  __syncthreads();
  if (threadIdx.x < 2) atomicAdd(words + 5 + threadIdx.x, shared[threadIdx.x]);
}

__device__ uint32_t sharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

extern "C" __global__ void copies(const uint32_t* in, uint32_t* out, int present) {
  __shared__ __align__(16) uint32_t box[32 * 8];
  const int i = threadIdx.x;
  const uint32_t to = sharedAddress(box + 8 * i);
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(to), "l"(in + 8 * i));
  asm volatile("cp.async.ca.shared.global [%0+4], [%1+4], 4, %2;" ::"r"(to), "l"(in + 8 * i), "r"(i % 2 ? 4 : 0));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.ca.shared.global [%0+8], [%1+8], 8;" ::"r"(to), "l"(in + 8 * i));
  asm volatile("cp.async.commit_group;");
  // Bytes past those that are present need not exist.
  const int bytes = i < present ? 16 : i == present ? 8 : 0;
  asm volatile("cp.async.cg.shared.global [%0+16], [%1+16], 16, %2;" ::"r"(to), "l"(in + 8 * i), "r"(bytes));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 2;");
  const uint32_t first = box[8 * i] + box[8 * i + 1];
  asm volatile("cp.async.wait_group 1;");
  const uint32_t second = box[8 * i + 2] + box[8 * i + 3];
  asm volatile("cp.async.wait_all;");
  __syncwarp();
  out[i] = first + 3 * second + 5 * box[8 * (31 - i) + 4] + 7 * box[8 * (31 - i) + 7];
}

extern "C" __global__ void dynamicShared(uint32_t* out, int n) {
  extern __shared__ __align__(16) uint8_t bytes[];
  __shared__ uint32_t before[3];
  uint16_t* halves = reinterpret_cast<uint16_t*>(bytes);
  for (int i = threadIdx.x; i < n; i += blockDim.x) halves[i] = static_cast<uint16_t>(i * i);
  if (threadIdx.x < 3) before[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = halves[n - 1 - threadIdx.x] + before[threadIdx.x % 3];
}
