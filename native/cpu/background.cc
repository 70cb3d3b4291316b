#include "background.h"

#if defined(__linux__)
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#endif

namespace fused_attention {

void becomeBackgroundThread() {
#if defined(__linux__) && defined(SYS_sched_setattr)
  // The kernel's `struct sched_attr`, first version. C libraries declare it only of late.
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes = {};
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;  // somebody has chosen for the whole process
  // Batch: waking up does not interrupt whoever runs. A longer slice than others' (Linux 6.12 and later): whoever wakes
  // up interrupts this thread at once.
  attributes.size = sizeof(attributes);
  attributes.policy = SCHED_BATCH;
  attributes.flags = 0;
  attributes.runtime = 5'000'000;
  syscall(SYS_sched_setattr, 0, &attributes, 0);
#endif
}

}  // namespace fused_attention
