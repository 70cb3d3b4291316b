// Deliberate faults, each of which must be found, and beside some of them the same done right.
#include <cstdint>

__device__ uint32_t sharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

extern "C" __global__ void pastTheEnd(uint32_t* out, int n) { out[threadIdx.x + n - 31] = threadIdx.x; }
extern "C" __global__ void readsPastTheEnd(const uint32_t* in, uint32_t* out, int n) { out[threadIdx.x] = in[threadIdx.x + n - 31]; }
extern "C" __global__ void misaligned(const uint8_t* in, uint32_t* out) {
  out[threadIdx.x] = *reinterpret_cast<const uint32_t*>(in + 4 * threadIdx.x + (threadIdx.x == 9 ? 2 : 0));
}
extern "C" __global__ void sharedPastTheEnd(uint32_t* out, int n) {
  __shared__ uint32_t box[32];
  box[(threadIdx.x + n) % 64] = threadIdx.x;
  __syncwarp();
  out[threadIdx.x] = box[threadIdx.x];
}
extern "C" __global__ void localPastTheEnd(uint32_t* out, int n) {
  uint32_t box[8];
  for (int i = 0; i < n; ++i) box[i] = i;
  out[threadIdx.x] = box[threadIdx.x % 8];
}
extern "C" __global__ void uninitialized(uint32_t* out, int n) {
  __shared__ uint32_t box[64];
  if (threadIdx.x < n) box[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = box[63 - threadIdx.x];
}

// 0: right; 1: without the barrier; 2: without the second one, so that the next round's writes overtake reads.
template <int fault>
__device__ void rotate(uint32_t* out) {
  __shared__ uint32_t box[64];
  uint32_t value = threadIdx.x;
  for (int round = 0; round < 3; ++round) {
    box[threadIdx.x] = value;
    if (fault != 1) __syncthreads();
    value = box[(threadIdx.x + 33) % 64];
    if (fault != 2) __syncthreads();
  }
  out[threadIdx.x] = value;
}
extern "C" __global__ void rotated(uint32_t* out) { rotate<0>(out); }
extern "C" __global__ void withoutBarrier(uint32_t* out) { rotate<1>(out); }
extern "C" __global__ void withoutSecondBarrier(uint32_t* out) { rotate<2>(out); }

// 0: right; 1: no wait; 2: waits for one group too few; 3: writes where a copy is under way.
template <int fault>
__device__ void copy(const uint32_t* in, uint32_t* out) {
  __shared__ uint32_t box[2][32];
  const int i = threadIdx.x;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(sharedAddress(&box[0][i])), "l"(in + i));
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(sharedAddress(&box[1][i])), "l"(in + 32 + i));
  asm volatile("cp.async.commit_group;" ::: "memory");
  if (fault == 3) *static_cast<volatile uint32_t*>(&box[0][i]) = 0;
  if (fault == 2) asm volatile("cp.async.wait_group 1;" ::: "memory");
  if (fault == 0 || fault == 3) asm volatile("cp.async.wait_group 0;" ::: "memory");
  __syncwarp();
  out[i] = box[0][31 - i] + box[1][31 - i];
}
extern "C" __global__ void copied(const uint32_t* in, uint32_t* out) { copy<0>(in, out); }
extern "C" __global__ void copiedWithoutWait(const uint32_t* in, uint32_t* out) { copy<1>(in, out); }
extern "C" __global__ void copiedWithEarlyWait(const uint32_t* in, uint32_t* out) { copy<2>(in, out); }
extern "C" __global__ void copiedOver(const uint32_t* in, uint32_t* out) { copy<3>(in, out); }
extern "C" __global__ void copiedFromNowhere(const uint32_t* in) {
  __shared__ uint32_t box[32];
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(sharedAddress(&box[threadIdx.x])), "l"(in + threadIdx.x));
  asm volatile("cp.async.wait_all;" ::: "memory");
}

extern "C" __global__ void divergentBarrier(uint32_t* out) {
  if (threadIdx.x % 2 == 0) {
    asm volatile("bar.sync 0;" ::: "memory");
    out[threadIdx.x] = 1;
  } else {
    out[threadIdx.x] = 2;
    asm volatile("bar.sync 0;" ::: "memory");
    out[threadIdx.x + 64] = 3;
  }
}
extern "C" __global__ void barrierNobodyComesTo(uint32_t* out) {
  if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
  else asm volatile("bar.sync 2, 64;" ::: "memory");
  out[threadIdx.x] = 1;
}
extern "C" __global__ void shuffleWithDeadLane(uint32_t* out) {
  if (threadIdx.x == 7) return;
  out[threadIdx.x] = __shfl_xor_sync(0xffffffff, threadIdx.x, 1);
}
extern "C" __global__ void shuffleFromOutside(uint32_t* out) {
  uint32_t value = threadIdx.x;
  if (threadIdx.x < 16) value = __shfl_sync(0x0000ffff, value, threadIdx.x + 8);
  out[threadIdx.x] = value;
}
extern "C" __global__ void shuffleOfTwoPlaces(uint32_t* out) {
  uint32_t value = threadIdx.x;
  if (threadIdx.x < 16) {
    asm volatile("shfl.sync.bfly.b32 %0, %0, 1, 31, 0xffffffff;" : "+r"(value));
    out[threadIdx.x] = value;
  } else {
    asm volatile("shfl.sync.bfly.b32 %0, %0, 2, 31, 0xffffffff;" : "+r"(value));
    out[2 * threadIdx.x] = value;
  }
}
extern "C" __global__ void lanesDisagree(uint32_t* out) { out[threadIdx.x / 2] = threadIdx.x; }
extern "C" __global__ void lanesAgree(uint32_t* out) { out[threadIdx.x / 2] = threadIdx.x / 2; }
extern "C" __global__ void trapped(uint32_t* out) {
  if (out[0] != 0) asm volatile("trap;");
}
extern "C" __global__ void endless(uint32_t* out) {
  while (*static_cast<volatile uint32_t*>(out) != 1) {}
}
extern "C" __global__ void unsupported(uint32_t* out, int run) {
  out[0] = 1;
  if (run) asm volatile("{.reg .b32 x; vabsdiff4.u32.u32.u32 x, %0, %0, %0; st.global.u32 [%1], x;}" ::"r"(run), "l"(out));
}
