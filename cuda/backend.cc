#include <algorithm>
#include <cfloat>
#include <cmath>

#include "../native/error.h"
#include "device_tensor.h"
#include "plan.h"

namespace fused_attention {

namespace cuda {

namespace {

/// A plan's ranges on a device, where it has any.
class DeviceKeys {
 public:
  DeviceKeys(Stream& stream, const CudaPlan& plan)
      : rows_(stream, bytesOf(plan, &SequenceKeys::rows)), blocks_(stream, bytesOf(plan, &SequenceKeys::blocks)) {
    copyIn(stream, plan, &SequenceKeys::rows, rows_.address());
    copyIn(stream, plan, &SequenceKeys::blocks, blocks_.address());
  }

  void describe(const CudaPlan& plan, ForwardParameters& p) const {
    if (plan.keys().empty()) return;
    p.rowKeys = reinterpret_cast<const KeyRange*>(rows_.address());
    p.blockKeys = reinterpret_cast<const KeyRange*>(blocks_.address());
    if (plan.keys().size() == 1) return;
    p.rowKeysBatch = int64_t(plan.keys()[0].rows.size());
    p.blockKeysBatch = int64_t(plan.keys()[0].blocks.size());
  }

 private:
  using Part = std::vector<KeyRange> SequenceKeys::*;

  static size_t bytesOf(const CudaPlan& plan, Part part) {
    return plan.keys().empty() ? 0 : plan.keys().size() * (plan.keys()[0].*part).size() * sizeof(KeyRange);
  }
  static void copyIn(Stream& stream, const CudaPlan& plan, Part part, CUdeviceptr to) {
    for (const SequenceKeys& keys : plan.keys()) {
      const size_t bytes = (keys.*part).size() * sizeof(KeyRange);
      stream.copyIn(to, (keys.*part).data(), bytes);
      to += bytes;
    }
  }

  DeviceMemory rows_, blocks_;
};

/// The scale in base 2. What is flushed to 0 or leaves float32 would make a NaN of an infinite or a masked score.
float scaleOf(const Problem& problem) {
  const double log2e = 1.4426950408889634;
  return float(std::clamp<double>(std::fabs(problem.scale) * log2e, FLT_MIN, FLT_MAX));
}

class CudaBackend : public Backend {
 public:
  std::variant<std::shared_ptr<const Plan>, Refusal> plan(const Problem& problem, const double*, const double*,
                                                          const PageLists&) const override {
    const auto& list = devices().list;
    if (size_t(problem.ordinal) < list.size()) return CudaPlan::make(*list[size_t(problem.ordinal)], problem);
    return Refusal{list.empty() ? devices().reason : "there are " + std::to_string(list.size()) + " CUDA devices",
                   "options.device", "ERR_NO_DEVICE"};
  }

  void run(const Plan& base, const Pointers& pointers, const CancelFlag& cancel) const override {
    const CudaPlan& plan = static_cast<const CudaPlan&>(base);
    if (plan.blocks() == 0) return;
    const Problem& p = plan.problem();
    const CurrentContext current(plan.device());
    Stream stream(plan.device());
    const auto ofKeys = [&](const Layout& layout, int64_t dim) {
      return CallTensor{layout, p.batch, p.headsKv, p.keys, dim, pointers.onDevice};
    };
    const auto ofQueries = [&](const Layout& layout, int64_t dim) {
      return CallTensor{layout, p.batch, p.headsQ, p.queries, dim, pointers.onDevice};
    };
    const DeviceInput query(stream, ofQueries(p.query, p.dimQk), pointers.query);
    const DeviceInput key(stream, ofKeys(p.key, p.dimQk), pointers.key);
    const DeviceInput value(stream, ofKeys(p.value, p.dimV), pointers.value);
    const DeviceKeys keys(stream, plan);
    DeviceOutput output(stream, ofQueries(p.output, p.dimV), pointers.output);
    const size_t lseBytes = p.lse ? size_t(p.batch * p.headsQ * p.queries) * sizeof(float) : 0;
    const DeviceMemory lse(stream, pointers.onDevice ? 0 : lseBytes);

    ForwardParameters parameters{};
    parameters.query = query.origin();
    parameters.key = key.origin();
    parameters.value = value.origin();
    parameters.output = output.origin();
    parameters.lse = pointers.onDevice ? pointers.lse : reinterpret_cast<float*>(lse.address());
    parameters.queryRows = query.strides();
    parameters.keyRows = key.strides();
    parameters.valueRows = value.strides();
    parameters.outputRows = output.strides();
    keys.describe(plan, parameters);
    parameters.firstKey = plan.moving().first;
    parameters.endKey = plan.moving().end;
    parameters.batch = int32_t(p.batch);
    parameters.headsQ = int32_t(p.headsQ);
    parameters.groupSize = int32_t(p.groupSize());
    parameters.queries = int32_t(p.queries);
    parameters.keys = int32_t(p.keys);
    parameters.queryBlocks = int32_t(plan.queryBlocks());
    parameters.dimQk = int32_t(p.dimQk);
    parameters.dimV = int32_t(p.dimV);
    parameters.scale = scaleOf(p);
    parameters.queryFlip = p.scale < 0 ? 0x80008000u : 0;
    if (cancel.raised()) throw Cancelled();
    launch(plan, stream, parameters);

    output.copyOut();
    if (!pointers.onDevice) stream.copyOut(pointers.lse, lse.address(), lseBytes);
    stream.wait();
    output.finish();
  }

 private:
  static void launch(const CudaPlan& plan, Stream& stream, ForwardParameters& parameters) {
    const unsigned sharedBytes = forwardSharedBytes(plan.kernelDim());
    const CUfunction kernel = plan.device().kernel(plan.kernelName().c_str(), sharedBytes);
    void* arguments[] = {&parameters};
    const Driver& driver = stream.driver();
    driver.check(
        driver.cuLaunchKernel(kernel, unsigned(plan.blocks()), 1, 1, unsigned(forwardThreads(plan.kernelDim())), 1, 1,
                              sharedBytes, stream.handle(), arguments, nullptr),
        "launching a kernel");
  }
};

}  // namespace

}  // namespace cuda

const Backend& cudaBackend() {
  static const cuda::CudaBackend* const leaked = new cuda::CudaBackend;  // pool threads may be here during exit()
  return *leaked;
}

CudaInfo cudaInfo() {
  CudaInfo info;
  info.reason = cuda::devices().reason;
  for (const auto& device : cuda::devices().list) {
    const cuda::DeviceProperties& p = device->properties();
    info.devices.push_back(
        {p.name, p.major, p.minor, int64_t(p.multiprocessors) * p.threadsPerMultiprocessor, double(p.bytes)});
  }
  return info;
}

}  // namespace fused_attention
