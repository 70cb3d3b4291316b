// Node-API face of the yardsticks: isas(), fma(isa, threads, ms), read(isa, threads, array, ms). Rates, not times.
#include <node_api.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "peak.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds(Clock::time_point since) { return std::chrono::duration<double>(Clock::now() - since).count(); }

/// Threads kept from call to call: fresh ones often share a core with the caller for their first milliseconds.
class Team {
 public:
  /// Runs body(member) for members 0 (the caller) to size - 1 at once and returns when all are done.
  void run(int size, const std::function<void(int)>& body) {
    while (static_cast<int>(members_.size()) < size - 1) {
      const int member = static_cast<int>(members_.size()) + 1;
      members_.emplace_back([this, member] { serve(member); });
    }
    {
      std::lock_guard<std::mutex> lock(mutex_);
      body_ = &body;
      size_ = size;
      left_ = size - 1;
      ready_.store(0);
      ++round_;
    }
    wake_.notify_all();
    begin(body, 0, size);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return left_ == 0; });
  }

  ~Team() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& member : members_) member.join();
  }

 private:
  // All members start their work at the same moment, awake.
  void begin(const std::function<void(int)>& body, int member, int size) {
    ready_.fetch_add(1);
    while (ready_.load() < size) std::this_thread::yield();
    body(member);
  }

  void serve(int member) {
    uint64_t seen = 0;
    for (;;) {
      const std::function<void(int)>* body;
      int size;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
        body = body_;
        size = size_;
      }
      if (member >= size) continue;
      begin(*body, member, size);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        --left_;
      }
      done_.notify_one();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  std::vector<std::thread> members_;
  const std::function<void(int)>* body_ = nullptr;
  std::atomic<int> ready_{0};
  int size_ = 0, left_ = 0;
  uint64_t round_ = 0;
  bool stop_ = false;
};

Team& team() {
  static Team shared;
  return shared;
}

/// Operations a second of `threads` threads together. Every thread does a share fixed beforehand, so the time is the
/// slowest's.
double fmaRate(const Loop& loop, int threads, double wanted) {
  int64_t rounds = 1 << 16;
  for (;;) {  // how many rounds take `wanted` seconds on one thread
    const auto start = Clock::now();
    loop.multiplyAdd(rounds);
    const double took = seconds(start);
    if (took > wanted / 8) {
      rounds = std::max<int64_t>(1, static_cast<int64_t>(rounds * wanted / took));
      break;
    }
    rounds *= 2;
  }
  std::vector<double> operations(threads);
  const auto start = Clock::now();
  if (threads == 1) {
    operations[0] = loop.multiplyAdd(rounds);
  } else {
    team().run(threads, [&](int member) { operations[member] = loop.multiplyAdd(rounds); });
  }
  const double took = seconds(start);
  double sum = 0;
  for (double done : operations) sum += done;
  return sum / took;
}

std::atomic<double> sink{0};  // what the reads added up to, so that they have to be done

double readRate(const Loop& loop, int threads, const float* data, size_t count, double wanted) {
  const size_t share = count / threads;
  const auto start = Clock::now();
  double bytes = 0, took = 0;
  do {
    const auto once = [&](int member) { sink.store(loop.read(data + member * share, share)); };
    if (threads == 1) {
      once(0);
    } else {
      team().run(threads, once);
    }
    bytes += static_cast<double>(share) * threads * sizeof(float);
    took = seconds(start);
  } while (took < wanted);
  return bytes / took;
}

napi_value fail(napi_env env, const char* message) {
  napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", message);
  return nullptr;
}

const Loop* findLoop(napi_env env, napi_value value) {
  char name[16] = "";
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, name, sizeof name, &length) != napi_ok) return nullptr;
  for (const Loop& loop : loops()) {
    if (std::strcmp(loop.isa, name) == 0) return &loop;
  }
  return nullptr;
}

napi_value isas(napi_env env, napi_callback_info) {
  napi_value list;
  napi_create_array(env, &list);
  for (uint32_t i = 0; i < loops().size(); ++i) {
    napi_value name;
    napi_create_string_utf8(env, loops()[i].isa, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, list, i, name);
  }
  return list;
}

bool threadsAndTime(napi_env env, napi_value threadsValue, napi_value msValue, int32_t* threads, double* ms) {
  return napi_get_value_int32(env, threadsValue, threads) == napi_ok && *threads >= 1 && *threads <= 1024 &&
         napi_get_value_double(env, msValue, ms) == napi_ok && *ms > 0 && *ms <= 60000;
}

napi_value fma(napi_env env, napi_callback_info info) {
  size_t count = 3;
  napi_value arguments[3];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  int32_t threads = 0;
  double ms = 0;
  const Loop* loop = count == 3 ? findLoop(env, arguments[0]) : nullptr;
  if (loop == nullptr || !threadsAndTime(env, arguments[1], arguments[2], &threads, &ms)) {
    return fail(env, "fma: expected (isa of isas(), threads 1..1024, milliseconds up to 60000)");
  }
  napi_value rate;
  napi_create_double(env, fmaRate(*loop, threads, ms / 1000), &rate);
  return rate;
}

napi_value read(napi_env env, napi_callback_info info) {
  size_t count = 4;
  napi_value arguments[4];
  napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr);
  int32_t threads = 0;
  double ms = 0;
  napi_typedarray_type type = napi_uint8_array;
  size_t length = 0;
  void* data = nullptr;
  const Loop* loop = count == 4 ? findLoop(env, arguments[0]) : nullptr;
  if (loop == nullptr || !threadsAndTime(env, arguments[1], arguments[3], &threads, &ms) ||
      napi_get_typedarray_info(env, arguments[2], &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float32_array || length < static_cast<size_t>(threads) * 64) {
    return fail(env,
                "read: expected (isa of isas(), threads 1..1024, Float32Array of 64 or more a thread, milliseconds up "
                "to 60000)");
  }
  napi_value rate;
  napi_create_double(env, readRate(*loop, threads, static_cast<const float*>(data), length, ms / 1000), &rate);
  return rate;
}

napi_value initialise(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"isas", nullptr, isas, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"fma", nullptr, fma, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"read", nullptr, read, nullptr, nullptr, nullptr, napi_default, nullptr},
  };
  napi_define_properties(env, exports, 3, functions);
  return exports;
}

}  // namespace
}  // namespace bench

NAPI_MODULE(bench_peak, bench::initialise)
