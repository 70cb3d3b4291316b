// One asynchronous call from queueing to settling. Methods say on which thread they run.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "../device_memory.h"
#include "../leases.h"
#include "../snapshot.h"
#include "failure.h"

namespace fused_attention::binding {

class Job {
 public:
  /// What a job computes, and how a result that was computed in a copy gets back: plain C++, no JavaScript values.
  struct Task {
    std::function<void(const CancelFlag&)> compute;
    std::function<void(int slot, const Buffer&)> writeBack;
    std::vector<int> writtenCopies;
    /// On the environment's thread, before the callback: whether the call has succeeded for good. Not where the job is
    /// abandoned.
    std::function<void(bool succeeded)> conclude;
    bool onDevice = false;  // it waits for one
    Lease lease;
    /// Of devices. Behind the lease: what is free again must not be held any more.
    std::vector<std::shared_ptr<const TensorMemory>> memory;
  };

  explicit Job(Task task) : task_(std::move(task)), onDevice_(task_.onDevice) {}

  // --- thread of the environment ---

  /// Keeps the views alive, and the callback.
  void hold(napi_env env, const std::vector<napi_value>& views, napi_value settled);
  /// Asks the job to stop. True when it had not begun and never will: then nobody else is going to post it.
  bool cancel();
  /// Writes results back, gives everything up and calls the callback.
  void settle(napi_env env);
  /// Gives everything up without a word, when the environment goes away.
  void abandon(napi_env env);

  // --- thread of the pool, or one that waits for a device ---

  bool waitsForDevice() const { return onDevice_; }
  /// False when the job was withdrawn.
  bool begin();
  void compute();

 private:
  enum class State : uint8_t { waiting, begun, withdrawn };

  void writeResultsBack(napi_env env);
  void dropReferences(napi_env env);

  Task task_;
  const bool onDevice_;
  CancelFlag cancel_;
  std::atomic<State> state_{State::waiting};
  std::optional<Failure> failure_;
  std::vector<napi_ref> views_;  // by slot, null where there is no buffer
  napi_ref settled_ = nullptr;
};

}  // namespace fused_attention::binding
