#include "watchdog.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <thread>

namespace fused_attention {

namespace {

constexpr int kLookMilliseconds = 100;
/// Calls take a few milliseconds. mpirun follows SIGTERM with SIGKILL after a second, or as soon as another process
/// ends: one that is stuck by then speaks at once, and one that gets stuck afterwards a little later.
constexpr int kStuckMilliseconds = 20;
constexpr int kStuckLaterMilliseconds = 300;

struct State {
  /// Of the call that is under way; 0: none.
  std::atomic<int64_t> since = 0;
  std::atomic<int> limit = 30000;
  std::atomic<bool> terminated = false;
};

/// Never freed: the thread goes on until the process ends.
State& state() {
  static State& only = *new State;
  return only;
}

int64_t now() {
  using std::chrono::steady_clock;
  return std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now().time_since_epoch()).count();
}

/// For how many milliseconds a call has been under way.
int64_t underWay() {
  const int64_t since = state().since.load(std::memory_order_relaxed);
  return since == 0 ? 0 : now() - since;
}

/// Where nobody else is left to speak. Of what a signal handler may call.
[[noreturn]] void endTerminated() {
  constexpr char said[] =
      "ERR_GROUP_FAILED: group: expected every rank to take part but received SIGTERM, by which mpirun ends all "
      "processes\n";
  _exit(write(STDERR_FILENO, said, sizeof(said) - 1) < 0 ? 2 : 1);
}

struct sigaction before;

void onTermination(int signal, siginfo_t* what, void* where) {
  state().terminated.store(true, std::memory_order_relaxed);
  if (underWay() >= kStuckMilliseconds) endTerminated();
  if (before.sa_flags & SA_SIGINFO) {
    before.sa_sigaction(signal, what, where);
  } else {
    before.sa_handler(signal);
  }
}

/// Goes before the handler that tells the event loop, which may wait for a call that does not come back.
void hearTermination() {
  struct sigaction current;
  if (sigaction(SIGTERM, nullptr, &current) != 0) return;
  if (current.sa_flags & SA_SIGINFO) {
    if (current.sa_sigaction == onTermination) return;
  } else if (current.sa_handler == SIG_DFL || current.sa_handler == SIG_IGN) {
    return;  // nobody listens
  }
  before = current;
  current.sa_flags |= SA_SIGINFO;
  current.sa_sigaction = onTermination;
  sigaction(SIGTERM, &current, nullptr);
}

[[noreturn]] void watch() {
  for (;;) {
    std::this_thread::sleep_for(std::chrono::milliseconds(kLookMilliseconds));
    if (Watched::terminated() && underWay() >= kStuckLaterMilliseconds) endTerminated();
    const int limit = state().limit.load(std::memory_order_relaxed);
    if (underWay() < limit) continue;
    std::fprintf(stderr, "ERR_GROUP_FAILED: group: expected MPI to answer within %d ms but received no sign of it\n",
                 limit);
    _exit(1);
  }
}

}  // namespace

Watched::Watched() {
  static const bool watching = (std::thread(watch).detach(), true);
  (void)watching;
  state().since.store(now(), std::memory_order_relaxed);
}

bool Watched::terminated() { return state().terminated.load(std::memory_order_relaxed); }

Watched::~Watched() { state().since.store(0, std::memory_order_relaxed); }

void Watched::limit(int milliseconds) {
  state().limit.store(milliseconds, std::memory_order_relaxed);
  hearTermination();
}

}  // namespace fused_attention
