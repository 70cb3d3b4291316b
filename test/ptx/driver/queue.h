// Work of streams. It is done when it is given, or with PTX_ASYNC=1 late, as on hardware: by a thread of its own, in
// the order in which it was given, whatever the stream.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>

namespace fused_attention::ptx {

class Queue {
 public:
  static Queue& get();

  /// Before the first work.
  void defer() { deferred_ = true; }
  bool deferred() const { return deferred_; }
  // Work takes the driver's lock, so nobody who has it may wait here.
  void add(std::function<void()> work);
  /// Until all is done that was given by now.
  void drain() { wait(given()); }
  /// How much was given by now, and until so much is done.
  uint64_t given();
  void wait(uint64_t count);
  bool reached(uint64_t count);

 private:
  void run();

  bool deferred_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> work_;
  uint64_t given_ = 0, done_ = 0;
};

}  // namespace fused_attention::ptx
