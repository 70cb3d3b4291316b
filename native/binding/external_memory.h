// Memory outside the heap that JavaScript objects of one environment keep, for its garbage collector to reckon with.
#pragma once

#include <napi.h>

#include <memory>

#include "../cache/pages.h"

namespace fused_attention::binding {

struct ExternalMemory {
  std::shared_ptr<MemoryAccount> pages = std::make_shared<MemoryAccount>(0);  // of caches
  int64_t onDevices = 0;
  int64_t reported = 0;

  /// On the environment's thread.
  void report(napi_env env) {
    const int64_t now = pages->load(std::memory_order_relaxed) + onDevices;
    int64_t total;
    if (now != reported && napi_adjust_external_memory(env, now - reported, &total) == napi_ok) reported = now;
  }
};

}  // namespace fused_attention::binding
