// Caches as JavaScript holds them: externals that own a KvCache. The functions are those of `Native` in lib/native.cts.
#pragma once

#include <napi.h>

namespace fused_attention::binding {

Napi::Value makeCache(const Napi::CallbackInfo& info);
Napi::Value runCacheSync(const Napi::CallbackInfo& info);
Napi::Value runCache(const Napi::CallbackInfo& info);
Napi::Value forkCache(const Napi::CallbackInfo& info);
Napi::Value truncateCache(const Napi::CallbackInfo& info);
Napi::Value freeCache(const Napi::CallbackInfo& info);
Napi::Value cacheLength(const Napi::CallbackInfo& info);
Napi::Value cacheBytes(const Napi::CallbackInfo& info);

}  // namespace fused_attention::binding
