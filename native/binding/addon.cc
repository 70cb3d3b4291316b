// What the addon exports: the `Native` of lib/native.cts, function by function.
#include <napi.h>

#include <cstring>
#include <string>
#include <utility>

#include "../backend.h"
#include "../cpu/pool.h"
#include "../dispatch.h"
#include "../error.h"
#include "../tiles/block_map.h"
#include "call_arguments.h"
#include "device_memory_handle.h"
#include "environment.h"
#include "exports.h"
#include "job.h"
#include "kv_cache_handle.h"
#include "parking.h"
#include "program_handle.h"
#include "residence.h"

namespace fused_attention::binding {

namespace {

enum class CallKind { attention, merge, transfer };

void compute(const TransferCall& call, const CancelFlag& cancel) { transfer(call, cancel); }
void compute(const MergeCall& call, const CancelFlag& cancel) { mergeOnCpu(call, Pool::shared().size(), cancel); }

template <CallKind kind>
auto decode(const CallArguments& arguments) {
  if constexpr (kind == CallKind::merge) {
    return decodeMerge(arguments.numbers.data, arguments.numbers.count, arguments.buffers);
  } else if constexpr (kind == CallKind::transfer) {
    return decodeTransfer(arguments.numbers.data, arguments.numbers.count, arguments.buffers);
  } else {
    return decodeCall(arguments.numbers.data, arguments.numbers.count, arguments.buffers, arguments.programs);
  }
}

const Problem& written(const Call& call) { return call.problem; }
const MergeCall& written(const MergeCall& call) { return call; }
const TransferCall& written(const TransferCall& call) { return call; }

bool waitsForDevice(const Call& call) { return call.problem.device != DeviceKind::cpu; }
bool waitsForDevice(const MergeCall&) { return false; }
bool waitsForDevice(const TransferCall&) { return true; }

int64_t integerOf(const Napi::Value& value, const char* argument) {
  if (!value.IsNumber()) throw CodedError("ERR_INVALID_ARG_TYPE", argument, "a number", "another value");
  return value.As<Napi::Number>().Int64Value();
}

template <CallKind kind>
Napi::Value runSync(const Napi::CallbackInfo& info) {
  const CallArguments arguments = readCall(info, 0);
  auto call = decode<kind>(arguments);
  const Lease lease(std::move(call.ranges));
  compute(call, CancelFlag());
  return info.Env().Undefined();
}

/// Everything that the job needs, out of reach of JavaScript.
template <CallKind kind>
Job::Task makeTask(CallArguments& arguments) {
  auto call = decode<kind>(arguments);
  Job::Task task;
  task.lease = Lease(call.ranges);  // of the user's memory, copied or not
  task.memory = std::move(arguments.memory);
  task.onDevice = waitsForDevice(call);
  if (!arguments.anyCopied) {
    task.compute = [call = std::move(call)](const CancelFlag& cancel) { compute(call, cancel); };
    return task;
  }
  const auto snapshot = std::make_shared<Snapshot>();
  snapshot->take(call.ranges, arguments.copied, arguments.buffers);
  call = decode<kind>(arguments);
  task.writtenCopies = snapshot->written();
  task.writeBack = [snapshot, shape = written(call)](int slot, const Buffer& buffer) {
    snapshot->writeBack(slot, buffer, shape);
  };
  task.compute = [snapshot, call = std::move(call)](const CancelFlag& cancel) { compute(call, cancel); };
  return task;
}

template <CallKind kind>
Napi::Value run(const Napi::CallbackInfo& info) {
  CallArguments arguments = readCall(info, 1);
  Environment& environment = *info.Env().GetInstanceData<Environment>();
  return Napi::Number::New(info.Env(), environment.start(makeTask<kind>(arguments), arguments.views, info[0]));
}

Napi::Value cancel(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) info.Env().GetInstanceData<Environment>()->cancel(info[0].As<Napi::Number>());
  return info.Env().Undefined();
}

Napi::Value explain(const Napi::CallbackInfo& info) {
  const CallArguments arguments = readCall(info, 0);
  const Call call =
      decodeForExplain(arguments.numbers.data, arguments.numbers.count, arguments.buffers, arguments.programs);
  const Explanation e = explainCall(call);
  Napi::Object result = Napi::Object::New(info.Env());
  result["device"] = e.device;
  result["kernel"] = e.kernel;
  const std::pair<const char*, double> numbers[] = {{"tileQueries", double(e.tileQueries)},
                                                    {"tileKeys", double(e.tileKeys)},
                                                    {"tilesFull", double(e.tilesFull)},
                                                    {"tilesPartial", double(e.tilesPartial)},
                                                    {"tilesSkipped", double(e.tilesSkipped)},
                                                    {"tilesPromoted", double(e.tilesPromoted)},
                                                    {"chunk", double(e.chunk)},
                                                    {"tasks", double(e.tasks)},
                                                    {"threads", double(e.threads)},
                                                    {"flops", e.flops},
                                                    {"bytes", e.bytes},
                                                    {"workspaceBytes", e.workspaceBytes}};
  for (const auto& [name, value] : numbers) result[name] = value;
  Napi::Array notTaken = Napi::Array::New(info.Env(), e.notTaken.size());
  for (size_t i = 0; i < e.notTaken.size(); ++i) {
    Napi::Object entry = Napi::Object::New(info.Env());
    entry["path"] = e.notTaken[i].first;
    entry["reason"] = e.notTaken[i].second;
    notTaken[uint32_t(i)] = entry;
  }
  result["notTaken"] = notTaken;
  return result;
}

Napi::Value tileStates(const Napi::CallbackInfo& info) {
  const CallArguments arguments = readCall(info, 4);
  const Problem problem = decodeProblem(arguments.numbers.data, arguments.numbers.count, arguments.programs);
  const std::vector<TileState> states =
      blockMap(problem, integerOf(info[0], "options.b"), integerOf(info[1], "options.h"),
               integerOf(info[2], "options.block"), integerOf(info[3], "options.block"));
  Napi::Uint8Array result = Napi::Uint8Array::New(info.Env(), states.size());
  std::memcpy(result.Data(), states.data(), states.size());
  return result;
}

Napi::Value information(const Napi::CallbackInfo& info) {
  const CpuInfo& cpu = cpuInfo();
  Napi::Object result = Napi::Object::New(info.Env());
  Napi::Array isas = Napi::Array::New(info.Env(), cpu.usable.size());
  for (size_t i = 0; i < cpu.usable.size(); ++i) isas[uint32_t(i)] = isaName(cpu.usable[i]);
  result["cpu"] = cpu.name;
  result["isas"] = isas;
  result["isa"] = isaName(cpu.automatic);
  result["threads"] = Pool::shared().size();
  result["version"] = FUSED_ATTENTION_VERSION;
  return result;
}

Napi::Value chooseLibrary(const Napi::CallbackInfo& info) {
  if (!info[0].IsString()) throw CodedError("ERR_INVALID_ARG_TYPE", "path", "a string", "another value");
  chooseCudaLibrary(info[0].As<Napi::String>().Utf8Value());
  return info.Env().Undefined();
}

Napi::Value cudaInformation(const Napi::CallbackInfo& info) {
  const CudaInfo cuda = cudaInfo();
  Napi::Object result = Napi::Object::New(info.Env());
  Napi::Array devices = Napi::Array::New(info.Env(), cuda.devices.size());
  for (size_t i = 0; i < cuda.devices.size(); ++i) {
    const CudaInfo::Device& device = cuda.devices[i];
    Napi::Object entry = Napi::Object::New(info.Env());
    entry["name"] = device.name;
    entry["architecture"] = "sm_" + std::to_string(device.major) + std::to_string(device.minor);
    entry["threads"] = double(device.threads);
    entry["memory"] = device.bytes;
    devices[uint32_t(i)] = entry;
  }
  result["devices"] = devices;
  result["reason"] = cuda.reason;
  return result;
}

Napi::Value park(const Napi::CallbackInfo& info) {
  if (info[0].IsNull()) {
    parkAt(Stage::none);
    return info.Env().Undefined();
  }
  const std::string stage = info[0].IsString() ? info[0].As<Napi::String>().Utf8Value() : "";
  if (stage == "queued")
    parkAt(Stage::queued);
  else if (stage == "running")
    parkAt(Stage::running);
  else if (stage == "finishing")
    parkAt(Stage::finishing);
  else
    throw CodedError("ERR_INVALID_ARG_VALUE", "stage", "'queued', 'running', 'finishing' or null", "another value");
  return info.Env().Undefined();
}

Napi::Value parked(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), parkedJobs()); }

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  stayLoaded();
  env.SetInstanceData(new Environment(env));
  addExport<information>(exports, "info");
  addExport<chooseLibrary>(exports, "chooseCudaLibrary");
  addExport<cudaInformation>(exports, "cuda");
  addExport<runSync<CallKind::attention>>(exports, "runSync");
  addExport<run<CallKind::attention>>(exports, "run");
  addExport<openCudaDevice>(exports, "open");
  addExport<allocateMemory>(exports, "allocate");
  addExport<freeMemory>(exports, "freeMemory");
  addExport<run<CallKind::transfer>>(exports, "transfer");
  addExport<makeCache>(exports, "cache");
  addExport<runCacheSync>(exports, "runCacheSync");
  addExport<runCache>(exports, "runCache");
  addExport<forkCache>(exports, "forkCache");
  addExport<truncateCache>(exports, "truncateCache");
  addExport<freeCache>(exports, "freeCache");
  addExport<cacheLength>(exports, "cacheLength");
  addExport<cacheBytes>(exports, "cacheBytes");
  addExport<cancel>(exports, "cancel");
  addExport<explain>(exports, "explain");
  addExport<runSync<CallKind::merge>>(exports, "mergeSync");
  addExport<run<CallKind::merge>>(exports, "merge");
  addExport<tileStates>(exports, "blockMap");
  addExport<makeProgram>(exports, "program");
  addExport<park>(exports, "park");
  addExport<parked>(exports, "parked");
  return exports;
}

}  // namespace

NODE_API_MODULE(fused_attention, initialize)

}  // namespace fused_attention::binding
