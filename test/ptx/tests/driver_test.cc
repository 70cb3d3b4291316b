// The drop-in libcuda.so.1, opened at run time as an addon opens it.
#include <cuda.h>
#include <dlfcn.h>

#include <cstdlib>
#include <fstream>

#include "driver/report.h"
#include "half.h"
#include "runner.h"

using namespace fused_attention::ptx;

namespace {

void* library() {
  static void* const handle = [] {
    setenv("PTX_DEVICES", "2", 1);
    setenv("PTX_DEVICE_MEMORY", "64M", 1);
    setenv("PTX_DEVICE_MULTIPROCESSORS", "12", 1);
    setenv("PTX_DEVICE_CAPABILITY", "8.6", 1);
    setenv("PTX_SECONDS", "5", 1);
    setenv("PTX_MUTATIONS", PTX_DIRECTORY "/mutations", 1);
    std::ofstream(PTX_DIRECTORY "/mutations") << "1 three 4\n  mov.u32 %r1, 3;\n  mov.u32 %r1, 4;\n"
                                                 "0 four 1\n  mov.u32 %r1, 3;\n  mov.u32 %r1, 4;\n";
    void* opened = dlopen(PTX_DIRECTORY "/libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
    if (opened == nullptr) throw std::runtime_error(dlerror());
    return opened;
  }();
  return handle;
}

template <class F>
F* entry(const char* name) {
  void* found = dlsym(library(), name);
  if (found == nullptr) throw std::runtime_error(std::string("no ") + name);
  return reinterpret_cast<F*>(found);
}
#define TEXT(name) #name
#define NAMED(name) TEXT(name)
#define CU(function) entry<decltype(function)>(NAMED(function))
#define CHECK_CU(call) CHECK_EQ(static_cast<int>(call), static_cast<int>(CUDA_SUCCESS))

// A context of its own for each test, destroyed with it: errors of contexts stay in them.
struct Session {
  explicit Session(CUdevice device = 0) {
    CHECK_CU(CU(cuInit)(0));
    CHECK_CU(entry<CUresult(CUcontext*, unsigned, CUdevice)>("cuCtxCreate_v2")(&context, 0, device));
    entry<decltype(ptxReset)>("ptxReset")(device);
  }
  ~Session() { CU(cuCtxDestroy)(context); }
  CUcontext context;
};

std::string report(int device = 0) {
  auto* read = entry<decltype(ptxReport)>("ptxReport");
  std::string text(read(device, nullptr, 0) + 1, '\0');
  read(device, text.data(), text.size());
  text.pop_back();
  return text;
}

}  // namespace

TEST(driver_devices) {
  Session session;
  int count = 0, value = 0;
  CHECK_CU(CU(cuDeviceGetCount)(&count));
  CHECK_EQ(count, 2);
  CHECK_CU(CU(cuDeviceGetAttribute)(&value, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1));
  CHECK_EQ(value, 12);
  CHECK_CU(CU(cuDeviceGetAttribute)(&value, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0));
  CHECK_EQ(value, 6);
  CUdevice device;
  CHECK_EQ(static_cast<int>(CU(cuDeviceGet)(&device, 2)), static_cast<int>(CUDA_ERROR_INVALID_DEVICE));
  size_t bytes = 0;
  CHECK_CU(CU(cuDeviceTotalMem)(&bytes, 0));
  CHECK_EQ(bytes, size_t{64} << 20);
  const char* text = nullptr;
  CHECK_CU(CU(cuGetErrorName)(CUDA_ERROR_OUT_OF_MEMORY, &text));
  CHECK_EQ(std::string(text), "CUDA_ERROR_OUT_OF_MEMORY");
  void* function = nullptr;
  CUdriverProcAddressQueryResult status;
  CHECK_CU(CU(cuGetProcAddress)("cuMemAlloc", &function, 12000, 0, &status));
  CHECK(function == dlsym(library(), "cuMemAlloc_v2"));
  CHECK(CU(cuGetProcAddress)("cuNothing", &function, 12000, 0, &status) == CUDA_ERROR_NOT_FOUND);
}

TEST(driver_memory) {
  Session session;
  CUdeviceptr memory = 0, more = 0;
  CHECK_CU(CU(cuMemAlloc)(&memory, 48 << 20));
  CHECK(CU(cuMemAlloc)(&more, 32 << 20) == CUDA_ERROR_OUT_OF_MEMORY);
  size_t free = 0, total = 0;
  CHECK_CU(CU(cuMemGetInfo)(&free, &total));
  CHECK_EQ(free, size_t{16} << 20);
  CHECK_CU(CU(cuMemsetD32)(memory, 0x01020304, 4));
  uint8_t bytes[16];
  CHECK_CU(CU(cuMemcpyDtoH)(bytes, memory + 4, 12));
  CHECK_EQ(bytes[0], 4);
  CHECK(CU(cuMemcpyDtoH)(bytes, memory + (48 << 20) - 4, 8) == CUDA_ERROR_INVALID_VALUE);
  CHECK_CU(CU(cuMemFree)(memory));
  CHECK(CU(cuMemFree)(memory) == CUDA_ERROR_INVALID_VALUE);
  CHECK(CU(cuMemcpyDtoH)(bytes, memory, 4) == CUDA_ERROR_INVALID_VALUE);
  CHECK_CU(CU(cuMemAllocAsync)(&memory, 64, nullptr));
  CHECK_CU(CU(cuMemFreeAsync)(memory, nullptr));
}

TEST(driver_runs_kernels) {
  Session session(1);
  const std::string ptx = readKernels("matmul");
  CUmodule module;
  CUfunction function;
  CHECK_CU(CU(cuModuleLoadData)(&module, ptx.c_str()));
  CHECK_CU(CU(cuModuleGetFunction)(&function, module, "matmulF16"));
  CHECK(CU(cuModuleGetFunction)(&function, module, "nothing") == CUDA_ERROR_NOT_FOUND);
  int shared = 0;
  CHECK_CU(CU(cuFuncGetAttribute)(&shared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function));
  CHECK_EQ(shared, 16384);
  CHECK_CU(CU(cuFuncSetAttribute)(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 80 * 1024));
  CHECK(CU(cuFuncSetAttribute)(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 99 * 1024) ==
        CUDA_ERROR_INVALID_VALUE);
  int n = 64, k = 32;
  const std::vector<uint16_t> ones(64 * 32, 0x3c00);
  CUdeviceptr a, b, c;
  CUstream stream;
  CUevent before, after;
  CHECK_CU(CU(cuStreamCreate)(&stream, CU_STREAM_NON_BLOCKING));
  CHECK_CU(CU(cuEventCreate)(&before, CU_EVENT_DEFAULT));
  CHECK_CU(CU(cuEventCreate)(&after, CU_EVENT_DEFAULT));
  for (CUdeviceptr* matrix : {&a, &b}) {
    CHECK_CU(CU(cuMemAlloc)(matrix, ones.size() * 2));
    CHECK_CU(CU(cuMemcpyHtoDAsync)(*matrix, ones.data(), ones.size() * 2, stream));
  }
  float* result = nullptr;  // pinned memory, which the kernel writes to itself
  CHECK_CU(CU(cuMemHostAlloc)(reinterpret_cast<void**>(&result), 64 * 64 * 4, CU_MEMHOSTALLOC_DEVICEMAP));
  CHECK_CU(CU(cuMemHostGetDevicePointer)(&c, result, 0));
  void* parameters[] = {&a, &b, &c, &n, &k};
  CHECK_CU(CU(cuEventRecord)(before, stream));
  CHECK_CU(CU(cuLaunchKernel)(function, 1, 1, 1, 128, 1, 1, 0, stream, parameters, nullptr));
  CHECK_CU(CU(cuEventRecord)(after, stream));
  int called = 0;
  CHECK_CU(CU(cuLaunchHostFunc)(
      stream, [](void* data) { ++*static_cast<int*>(data); }, &called));
  CHECK_CU(CU(cuStreamSynchronize)(stream));
  CHECK_EQ(called, 1);
  for (int i = 0; i < 64 * 64; ++i) CHECK_EQ(result[i], 32.0f);
  float milliseconds = -1;
  CHECK_CU(CU(cuEventElapsedTime)(&milliseconds, before, after));
  CHECK(milliseconds > 0);
  CHECK(CU(cuLaunchKernel)(function, 1, 1, 1, 256, 1, 1, 0, stream, parameters, nullptr) == CUDA_ERROR_INVALID_VALUE);
  CHECK(report(1).starts_with("{\"findings\":[],\"kernels\":{\"matmulF16\":{\"launches\":1,"));
  CHECK_CU(CU(cuMemFreeHost)(result));
  CHECK_CU(CU(cuMemFree)(a));
  CHECK_CU(CU(cuMemFree)(b));
  CHECK_CU(CU(cuModuleUnload)(module));
  CHECK(CU(cuModuleUnload)(module) == CUDA_ERROR_INVALID_HANDLE);
  CHECK_CU(CU(cuStreamDestroy)(stream));
}

TEST(driver_tells_of_what_does_not_compile) {
  Session session;
  CUmodule module;
  char log[200] = "";
  CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
  void* values[] = {log, reinterpret_cast<void*>(sizeof log)};
  const char* broken =
      ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() {\n  add.u32 %r1 ;\n  mov (;\n}\n";
  CHECK(CU(cuModuleLoadDataEx)(&module, broken, 2, options, values) == CUDA_ERROR_INVALID_PTX);
  CHECK(std::string(log).find("line 6") != std::string::npos);
  CHECK_EQ(reinterpret_cast<size_t>(values[1]), std::strlen(log));
  const char* newer = ".version 8.0\n.target sm_90\n.address_size 64\n.visible .entry k() { ret; }\n";
  CHECK(CU(cuModuleLoadData)(&module, newer) == CUDA_ERROR_INVALID_PTX);
}

TEST(driver_faults_stay_in_their_context) {
  Session other(1);
  {
    Session session;
    const std::string ptx = readKernels("faults");
    CUmodule module;
    CUfunction function;
    CHECK_CU(CU(cuModuleLoadData)(&module, ptx.c_str()));
    CHECK_CU(CU(cuModuleGetFunction)(&function, module, "pastTheEnd"));
    CUdeviceptr out;
    int n = 8;
    CHECK_CU(CU(cuMemAlloc)(&out, 32));
    void* parameters[] = {&out, &n};
    CHECK_CU(CU(cuLaunchKernel)(function, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr));
    CHECK(CU(cuCtxSynchronize)() == CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK(CU(cuLaunchKernel)(function, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr) ==
          CUDA_ERROR_ILLEGAL_ADDRESS);
    CHECK_CU(CU(cuMemFree)(out));
    CHECK(report().find("\"kind\":\"out of bounds\"") != std::string::npos);
  }
  CHECK_CU(CU(cuCtxSynchronize)());
}

TEST(driver_mutates_kernels) {
  const char* three =
      ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry three(.param .u64 p) {\n"
      "  .reg .b32 %r<2>;\n  .reg .b64 %rd<2>;\n  ld.param.u64 %rd1, [p];\n  mov.u32 %r1, 3;\n"
      "  st.global.u32 [%rd1], %r1;\n  ret;\n}\n";
  for (const int device : {0, 1}) {
    Session session(device);
    CUmodule module;
    CUfunction function;
    CHECK_CU(CU(cuModuleLoadData)(&module, three));
    CHECK_CU(CU(cuModuleGetFunction)(&function, module, "three"));
    CUdeviceptr out;
    CHECK_CU(CU(cuMemAlloc)(&out, 4));
    void* parameters[] = {&out};
    CHECK_CU(CU(cuLaunchKernel)(function, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    uint32_t result = 0;
    CHECK_CU(CU(cuMemcpyDtoH)(&result, out, 4));
    CHECK_EQ(result, 3u + static_cast<uint32_t>(device));
    CHECK_CU(CU(cuMemFree)(out));
  }
  Session session;
  CUmodule module;
  const char* four = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry four() {\n  ret;\n}\n";
  CHECK(CU(cuModuleLoadData)(&module, four) == CUDA_ERROR_INVALID_PTX);
}
