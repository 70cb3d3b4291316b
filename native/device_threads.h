// Threads for calls that wait for a device. They sleep most of the time, so those of the pool stay free to compute.
#pragma once

#include <functional>

namespace fused_attention {

/// More calls than this are not given to devices at a time: each keeps one busy by itself.
inline constexpr int kMostDeviceThreads = 16;

/// Jobs start in order. `job` must not throw. Throws std::system_error when not one thread can be started.
void submitToDevice(std::function<void()> job);

}  // namespace fused_attention
