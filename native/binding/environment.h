// What one JavaScript environment (main thread or worker) owns: its calls in flight and the way their completions take.
#pragma once

#include <napi.h>

#include <memory>
#include <unordered_map>

#include "external_memory.h"
#include "job.h"

namespace fused_attention::binding {

class Environment {
 public:
  explicit Environment(Napi::Env env);

  /// Queues a job that keeps these views and the callback; the environment stays alive until it settles. Returns the
  /// job's id.
  double start(Job::Task task, const std::vector<napi_value>& views, const Napi::Value& settled);
  /// Unknown ids are ignored.
  void cancel(double id);

  const std::shared_ptr<ExternalMemory>& externalMemory() const { return externalMemory_; }

 private:
  struct Mailbox;

  static void deliver(napi_env env, napi_value, void* context, void*);
  static void cleanUp(void* environment);
  double queue(const std::shared_ptr<Job>& job);
  void settleNext(napi_env env);

  napi_env env_;
  napi_threadsafe_function doorbell_ = nullptr;
  std::shared_ptr<Mailbox> mailbox_;
  std::unordered_map<double, std::shared_ptr<Job>> jobs_;  // those not settled yet
  double lastId_ = 0;
  std::shared_ptr<ExternalMemory> externalMemory_ = std::make_shared<ExternalMemory>();
};

}  // namespace fused_attention::binding
