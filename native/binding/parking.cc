#include "parking.h"

#include <atomic>
#include <condition_variable>
#include <mutex>

namespace fused_attention::binding {

namespace {

struct Parking {
  std::atomic<Stage> stage{Stage::none};  // written under the mutex
  std::mutex mutex;
  std::condition_variable changed;
  int standing = 0;
};

Parking& parking() {
  static Parking* const leaked = new Parking;  // jobs may stand here during exit()
  return *leaked;
}

}  // namespace

void parkAt(Stage stage) {
  Parking& all = parking();
  const std::lock_guard lock(all.mutex);
  all.stage.store(stage, std::memory_order_relaxed);
  all.changed.notify_all();
}

bool parksAt(Stage stage) { return parking().stage.load(std::memory_order_relaxed) == stage; }

void stopAt(Stage stage, const CancelFlag& cancel) {
  if (!parksAt(stage)) return;
  Parking& all = parking();
  std::unique_lock lock(all.mutex);
  ++all.standing;
  all.changed.wait(lock, [&] { return !parksAt(stage) || cancel.raised(); });
  --all.standing;
}

void wakeParked() {
  Parking& all = parking();
  const std::lock_guard lock(all.mutex);
  all.changed.notify_all();
}

int parkedJobs() {
  Parking& all = parking();
  const std::lock_guard lock(all.mutex);
  return all.standing;
}

}  // namespace fused_attention::binding
