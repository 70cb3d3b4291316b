#include "kv_cache_handle.h"

#include <memory>
#include <utility>
#include <vector>

#include "../cache/cache_codec.h"
#include "../error.h"
#include "call_arguments.h"
#include "environment.h"
#include "job.h"

namespace fused_attention::binding {

namespace {

struct Held {
  std::shared_ptr<KvCache> cache;
  std::shared_ptr<ExternalMemory> memory;
};

/// Tells our externals from those of other addons, and caches from programs.
constexpr napi_type_tag kTag = {0x71c2d95be04f4a6d, 0xa3386bd1f0e95c17};

Napi::Value hold(Napi::Env env, std::shared_ptr<KvCache> cache, std::shared_ptr<ExternalMemory> memory) {
  auto held = std::make_unique<Held>(Held{std::move(cache), std::move(memory)});
  const auto release = [](Napi::Env env, Held* held) {
    const std::shared_ptr<ExternalMemory> memory = held->memory;
    delete held;
    memory->report(env);
  };
  const auto handle = Napi::External<Held>::New(env, held.get(), release);
  held.release();
  handle.TypeTag(&kTag);
  return handle;
}

Held& heldBy(const Napi::Value& handle) {
  if (!handle.IsExternal() || !handle.As<Napi::External<Held>>().CheckTypeTag(&kTag)) {
    throw CodedError("ERR_INVALID_ARG_TYPE", "cache", "a cache", "another value");
  }
  return *handle.As<Napi::External<Held>>().Data();
}

int64_t countOf(const Napi::Value& value, const char* argument) {
  constexpr double most = 2147483647;
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (!(number >= 0 && number <= most)) throw CodedError("ERR_OUT_OF_RANGE", argument, "a count", "another value");
  return int64_t(number);
}

/// One cache, or an array of them.
std::vector<Held> heldOfStep(const Napi::Value& value) {
  if (!value.IsArray()) return {heldBy(value)};
  const Napi::Array caches = value.As<Napi::Array>();
  std::vector<Held> all;
  for (uint32_t n = 0; n < caches.Length(); ++n) all.push_back(heldBy(caches.Get(n)));
  if (all.empty()) throw CodedError("ERR_OUT_OF_RANGE", "caches", "a cache at least", "none");
  return all;
}

/// A step's arguments from the one numbered `first` on: caches, what they share or null, positions or null, queries,
/// rows appended, call.
struct StepArguments {
  std::vector<Held> held;  // before the call is read: elements of an array can be getters
  CallArguments call;
  SharedRows shared;
  Buffer positions;
  std::vector<KvCache::Step> steps;

  StepArguments(const Napi::CallbackInfo& info, size_t first)
      : held(heldOfStep(info[first])), call(readCall(info, first + 5)) {
    if (!info[first + 1].IsNull()) {
      shared = decodeShared(bufferOf(info.Env(), info[first + 1], "options.prefixes"), held.size());
    }
    if (!info[first + 2].IsNull()) positions = bufferOf(info.Env(), info[first + 2], "options.positions");
    const int64_t queries = countOf(info[first + 3], "query"), rows = countOf(info[first + 4], "key");
    if (held.size() == 1) {
      steps.push_back(KvCache::begin(held.front().cache, rows, queries));
      return;
    }
    std::vector<std::shared_ptr<KvCache>> caches;
    for (const Held& one : held) caches.push_back(one.cache);
    steps = beginTogether(caches, rows, queries);
  }

  const CacheForm& form() const { return held.front().cache->form(); }
  const std::shared_ptr<ExternalMemory>& memory() const { return held.front().memory; }
  CacheCall decode() const {
    return decodeCacheCall(form(), steps, shared, call.numbers.data, call.numbers.count, call.buffers, call.programs,
                           positions);
  }
};

/// Ends steps; what they appended counts where the call has succeeded.
void endSteps(std::vector<KvCache::Step>& steps, bool succeeded) {
  for (KvCache::Step& step : steps) {
    if (succeeded) step.commit();
  }
  steps.clear();
}

/// Everything that the job needs, out of reach of JavaScript.
Job::Task makeTask(Napi::Env env, StepArguments& arguments) {
  CacheCall decoded = arguments.decode();
  Job::Task task;
  task.lease = Lease(decoded.call.ranges);  // of the user's memory, copied or not
  std::shared_ptr<Snapshot> snapshot;
  if (arguments.call.anyCopied) {
    snapshot = std::make_shared<Snapshot>();
    snapshot->take(decoded.call.ranges, arguments.call.copied, arguments.call.buffers);
    decoded = arguments.decode();
    task.writtenCopies = snapshot->written();
    task.writeBack = [snapshot, shape = decoded.call.problem](int slot, const Buffer& buffer) {
      snapshot->writeBack(slot, buffer, shape);
    };
  }
  const auto steps = std::make_shared<std::vector<KvCache::Step>>(std::move(arguments.steps));
  task.compute = [steps, snapshot, form = &arguments.form(), decoded = std::move(decoded)](const CancelFlag& cancel) {
    computeStep(*form, *steps, decoded, cancel);
  };
  task.conclude = [steps, memory = arguments.memory(), env](bool succeeded) {
    endSteps(*steps, succeeded);
    memory->report(env);
  };
  return task;
}

}  // namespace

Napi::Value makeCache(const Napi::CallbackInfo& info) {
  const Numbers numbers = numbersOf(info.Env(), info[0], "cache.numbers");
  const std::shared_ptr<ExternalMemory>& memory = info.Env().GetInstanceData<Environment>()->externalMemory();
  CacheForm form = decodeCacheForm(numbers.data, numbers.count);
  return hold(info.Env(), std::make_shared<KvCache>(std::move(form), memory->pages), memory);
}

Napi::Value runCacheSync(const Napi::CallbackInfo& info) {
  StepArguments arguments(info, 0);
  const CacheCall decoded = arguments.decode();
  const Lease lease(decoded.call.ranges);
  computeStep(arguments.form(), arguments.steps, decoded, CancelFlag());
  endSteps(arguments.steps, true);
  arguments.memory()->report(info.Env());
  return info.Env().Undefined();
}

Napi::Value runCache(const Napi::CallbackInfo& info) {
  StepArguments arguments(info, 1);
  Environment& environment = *info.Env().GetInstanceData<Environment>();
  Job::Task task = makeTask(info.Env(), arguments);
  return Napi::Number::New(info.Env(), environment.start(std::move(task), arguments.call.views, info[0]));
}

Napi::Value forkCache(const Napi::CallbackInfo& info) {
  const Held& held = heldBy(info[0]);
  return hold(info.Env(), held.cache->fork(), held.memory);
}

Napi::Value truncateCache(const Napi::CallbackInfo& info) {
  const Held& held = heldBy(info[0]);
  held.cache->truncate(countOf(info[1], "length"));
  held.memory->report(info.Env());
  return info.Env().Undefined();
}

Napi::Value freeCache(const Napi::CallbackInfo& info) {
  const Held& held = heldBy(info[0]);
  held.cache->free();
  held.memory->report(info.Env());
  return info.Env().Undefined();
}

Napi::Value cacheLength(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(heldBy(info[0]).cache->length()));
}

Napi::Value cacheBytes(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), double(heldBy(info[0]).cache->bytes()));
}

}  // namespace fused_attention::binding
