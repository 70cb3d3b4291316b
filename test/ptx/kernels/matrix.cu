// ldmatrix, stmatrix's opposite, and every shape of mma, a warp each.
#include <cstdint>

__device__ uint32_t sharedAddress(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// in: four matrices of 8×8 halves. out[variant][register][lane].
extern "C" __global__ void loadMatrices(const uint4* in, uint32_t* out) {
  __shared__ uint4 rows[32];
  const int lane = threadIdx.x;
  rows[lane] = in[lane];
  __syncwarp();
  const uint32_t from = sharedAddress(rows + lane);
  uint32_t r[4] = {};
  auto write = [&](int variant) {
    for (int k = 0; k < 4; ++k) out[(variant * 4 + k) * 32 + lane] = r[k];
  };
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(from));
  write(0);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(from));
  write(1);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
  write(2);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(from));
  write(3);
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(r[0]) : "r"(r[0]));
  write(4);
}

// Fragments as registers of the lanes: a[register][lane], and so on.
#define MMA(name, A, B, instruction, aList, bList)                                                              \
  extern "C" __global__ void name(const uint32_t* a, const uint32_t* b, const float* c, float* d) {             \
    const int lane = threadIdx.x;                                                                               \
    uint32_t x[4] = {}, y[2] = {};                                                                              \
    float z[4];                                                                                                 \
    for (int k = 0; k < A; ++k) x[k] = a[k * 32 + lane];                                                        \
    for (int k = 0; k < B; ++k) y[k] = b[k * 32 + lane];                                                        \
    for (int k = 0; k < 4; ++k) z[k] = c[k * 32 + lane];                                                        \
    asm volatile(instruction " {%0,%1,%2,%3}, {" aList "}, {" bList "}, {%0,%1,%2,%3};"                         \
                 : "+f"(z[0]), "+f"(z[1]), "+f"(z[2]), "+f"(z[3])                                               \
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));                           \
    for (int k = 0; k < 4; ++k) d[k * 32 + lane] = z[k];                                                        \
  }
MMA(mmaF16, 4, 2, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "%4,%5,%6,%7", "%8,%9")
MMA(mmaBF16, 4, 2, "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32", "%4,%5,%6,%7", "%8,%9")
MMA(mmaF16K8, 2, 1, "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32", "%4,%5", "%8")
MMA(mmaTF32, 4, 2, "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32", "%4,%5,%6,%7", "%8,%9")
MMA(mmaTF32K4, 2, 1, "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32", "%4,%5", "%8")
