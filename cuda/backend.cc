#include <algorithm>
#include <cfloat>
#include <cmath>

#include "../native/error.h"
#include "device_bias.h"
#include "device_list.h"
#include "device_tensor.h"
#include "plan.h"

namespace fused_attention {

namespace cuda {

namespace {

/// Of tensors: ragged sequences follow one another.
int64_t batchOf(const Problem& p) { return p.lengths == Lengths::cumulative ? 1 : p.batch; }

/// One number a row, [B, Hq, Nq] or ragged [Hq, total], where it is asked for.
class DeviceStatistic {
 public:
  DeviceStatistic(Stream& stream, const Problem& p, bool wanted, float* data, bool onDevice)
      : data_(wanted ? data : nullptr),
        bytes_(wanted && !onDevice ? size_t(batchOf(p) * p.headsQ * p.queries) * sizeof(float) : 0),
        memory_(stream, bytes_) {}

  float* address() const { return bytes_ == 0 ? data_ : reinterpret_cast<float*>(memory_.address()); }
  void copyOut(Stream& stream) const { stream.copyOut(data_, memory_.address(), bytes_); }

 private:
  float* const data_;
  const size_t bytes_;
  const DeviceMemory memory_;
};

/// What the kernels for few queries have besides.
class DecodeMemory {
 public:
  DecodeMemory(Stream& stream, const CudaPlan& plan)
      : items_(stream, plan.decode().items),
        sequences_(stream, plan.decode().sequences),
        sums_(stream, size_t(plan.decode().lines * foursOf(plan.problem())) * 4 * sizeof(float)),
        totals_(stream, size_t(plan.decode().lines) * sizeof(ChunkTotal)) {}

  DecodeParameters parameters(const CudaPlan& plan, const ForwardParameters& call) const {
    DecodeParameters parameters{};
    parameters.call = call;
    parameters.items = items_.address();
    parameters.sequences = sequences_.address();
    parameters.sums = reinterpret_cast<float*>(sums_.address());
    parameters.totals = reinterpret_cast<ChunkTotal*>(totals_.address());
    parameters.headsKv = int32_t(plan.problem().headsKv);
    parameters.queries = plan.decode().queries;
    return parameters;
  }

 private:
  static int64_t foursOf(const Problem& p) { return (p.dimV + 3) / 4; }

  const DeviceList<DecodeItem> items_;
  const DeviceList<DecodeSequence> sequences_;
  const DeviceMemory sums_, totals_;
};

/// What is flushed to 0 or leaves float32 would make a NaN of an infinite or a masked score.
float insideFloat(double x) { return float(std::clamp<double>(std::fabs(x), FLT_MIN, FLT_MAX)); }

class CudaBackend : public Backend {
 public:
  std::variant<std::shared_ptr<const Plan>, Refusal> plan(const Problem& problem, const double* lengthsQ,
                                                          const double* lengthsKv, const PageLists& pages,
                                                          const CancelFlag&) const override {
    const auto& list = devices().list;
    if (size_t(problem.ordinal) < list.size()) {
      return CudaPlan::make(*list[size_t(problem.ordinal)], problem, lengthsQ, lengthsKv, pages);
    }
    return Refusal{list.empty() ? devices().reason : "there are " + std::to_string(list.size()) + " CUDA devices",
                   "options.device", "ERR_NO_DEVICE"};
  }

  void run(const Plan& base, const Pointers& pointers, const CancelFlag& cancel) const override {
    const CudaPlan& plan = static_cast<const CudaPlan&>(base);
    if (plan.blocks() == 0 && plan.mergeBlocks() == 0) return;
    const Problem& p = plan.problem();
    const CurrentContext current(plan.device());
    Stream stream(plan.device());
    const auto ofKeys = [&](const Layout& layout, int64_t dim) {
      if (p.paging.numbered()) {
        return CallTensor{layout, p.paging.pool, p.headsKv, p.paging.rows, dim, pointers.onDevice};
      }
      return CallTensor{layout, batchOf(p), p.headsKv, p.keys, dim, pointers.onDevice};
    };
    const auto ofQueries = [&](const Layout& layout, int64_t dim) {
      return CallTensor{layout, batchOf(p), p.headsQ, p.queries, dim, pointers.onDevice};
    };
    const DeviceInput query(stream, ofQueries(p.query, p.dimQk), pointers.query);
    const DeviceInput key(stream, ofKeys(p.key, p.dimQk), pointers.key);
    const DeviceInput value(stream, ofKeys(p.value, p.dimV), pointers.value);
    const DeviceList<SequenceRows> sequences(stream, plan.sequences());
    const DeviceList<QueryBlock> blocks(stream, plan.queryBlockList());
    const DeviceList<KeyRange> rowKeys(stream, plan.rowKeys());
    const DeviceList<int32_t> pages(stream, pointers.pages.table,
                                    p.paging.numbered() ? size_t(p.batch * p.paging.table) : 0);
    CudaPlan::Bits bits;
    if (plan.hasBits()) bits = plan.bits(pointers.masks, cancel);
    const DeviceList<uint32_t> rowBits(stream, bits.rows), blockBits(stream, bits.blocks);
    const DeviceBias bias(stream, p, pointers.bias);
    const DeviceList<float> sinks(stream, pointers.sinks, p.hasSinks ? size_t(p.headsQ) : 0);
    DeviceOutput output(stream, ofQueries(p.output, p.dimV), pointers.output);
    const DeviceStatistic lse(stream, p, p.lse, pointers.lse, pointers.onDevice);
    const DeviceStatistic entropy(stream, p, p.entropy, pointers.entropy, pointers.onDevice);
    const DeviceStatistic rowMax(stream, p, p.rowMax, pointers.rowMax, pointers.onDevice);

    const DecodeMemory chunks(stream, plan);

    ForwardParameters parameters{};
    parameters.query = query.origin();
    parameters.key = key.origin();
    parameters.value = value.origin();
    parameters.output = output.origin();
    parameters.lse = lse.address();
    parameters.entropy = entropy.address();
    parameters.rowMax = rowMax.address();
    parameters.sinks = sinks.address();
    parameters.sequences = sequences.address();
    parameters.blocks = blocks.address();
    parameters.rowKeys = rowKeys.address();
    parameters.pages = {pages.address(), int32_t(p.paging.table),
                        PageRows::of(int32_t(std::clamp<int64_t>(p.paging.rows, 1, 1 << 30)))};
    parameters.bits = {rowBits.address(), blockBits.address()};
    parameters.bias = bias.grid();
    parameters.every = plan.every();
    parameters.queryRows = query.strides();
    parameters.keyRows = key.strides();
    parameters.valueRows = value.strides();
    parameters.outputRows = output.strides();
    parameters.batch = int32_t(p.batch);
    parameters.headsQ = int32_t(p.headsQ);
    parameters.groupSize = int32_t(p.groupSize());
    parameters.queryBlocks = int32_t(plan.queryBlocks());
    parameters.statisticRows = int32_t(p.queries);
    parameters.dimQk = int32_t(p.dimQk);
    parameters.dimV = int32_t(p.dimV);
    const double log2e = 1.4426950408889634;
    const double scale = (p.softcap != 0 ? p.softcap : p.scale) * log2e;
    parameters.scale = insideFloat(scale);
    parameters.naturalScale = 1 / log2e * (p.hasBias ? 1 : std::clamp(std::fabs(scale) / parameters.scale, 0.5, 2.0));
    parameters.softcapScale = p.softcap != 0 ? insideFloat(p.scale / p.softcap) : 0;
    parameters.queryFlip = p.scale >= 0 ? 0 : p.query.dtype == Dtype::float32 ? 0x80000000u : 0x80008000u;
    if (cancel.raised()) throw Cancelled();
    if (plan.blocks() > 0) launchForward(plan, stream, parameters);
    if (plan.mergeBlocks() > 0) launchDecode(plan, stream, parameters, chunks);

    output.copyOut();
    lse.copyOut(stream);
    entropy.copyOut(stream);
    rowMax.copyOut(stream);
    stream.wait();
    output.finish();
  }

 private:
  static void launchForward(const CudaPlan& plan, Stream& stream, const ForwardParameters& parameters) {
    const Instance& instance = plan.instance();
    const ForwardShape shape = instance.shape();
    launch(stream, instance.name(), plan.blocks(), shape.threads(), shape.sharedBytes(), parameters);
  }

  static void launchDecode(const CudaPlan& plan, Stream& stream, const ForwardParameters& call,
                           const DecodeMemory& memory) {
    const Instance& instance = plan.instance();
    const DecodeShape shape = instance.decodeShape();
    const DecodeParameters parameters = memory.parameters(plan, call);
    if (plan.decodeBlocks() > 0) {
      launch(stream, instance.decodeName(), plan.decodeBlocks(), shape.threads(), shape.sharedBytes(), parameters);
    }
    launch(stream, instance.mergeName(), plan.mergeBlocks(), kMergeThreads, 0, parameters);
  }

  /// Lists that parameters point to must last until the stream is waited for.
  template <class Parameters>
  static void launch(Stream& stream, const std::string& name, int64_t blocks, int threads, unsigned sharedBytes,
                     Parameters parameters) {
    const CUfunction kernel = stream.device().kernel(name, sharedBytes);
    void* arguments[] = {&parameters};
    const Driver& driver = stream.driver();
    driver.check(driver.cuLaunchKernel(kernel, unsigned(blocks), 1, 1, unsigned(threads), 1, 1, sharedBytes,
                                       stream.handle(), arguments, nullptr),
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
