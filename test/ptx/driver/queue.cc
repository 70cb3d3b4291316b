#include "queue.h"

#include <thread>
#include <utility>

namespace fused_attention::ptx {

Queue& Queue::get() {
  static Queue* const queue = new Queue;  // work may be under way while the process ends
  return *queue;
}

void Queue::add(std::function<void()> work) {
  if (!deferred_) return work();
  const std::lock_guard lock(mutex_);
  if (given_++ == 0) std::thread([this] { run(); }).detach();
  work_.push_back(std::move(work));
  changed_.notify_all();
}

uint64_t Queue::given() {
  const std::lock_guard lock(mutex_);
  return given_;
}

void Queue::wait(uint64_t count) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return done_ >= count; });
}

bool Queue::reached(uint64_t count) {
  const std::lock_guard lock(mutex_);
  return done_ >= count;
}

void Queue::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return !work_.empty(); });
    std::function<void()> work = std::move(work_.front());
    work_.pop_front();
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    ++done_;
    changed_.notify_all();
  }
}

}  // namespace fused_attention::ptx
