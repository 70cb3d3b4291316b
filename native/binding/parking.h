// For lifecycle tests: stops jobs at a named stage, so that tests can end a thread or process with work in just that
// state instead of sleeping and hoping.
#pragma once

#include "../backend.h"

namespace fused_attention::binding {

enum class Stage : uint8_t { none, queued, running, finishing };

/// From now on jobs stop at `stage`; those that stand at another go on.
void parkAt(Stage stage);

/// Whether jobs are to stop at `stage` now.
bool parksAt(Stage stage);

/// Stands still while jobs are to stop at `stage`, until the flag is raised (and `wakeParked` called).
void stopAt(Stage stage, const CancelFlag& cancel);

/// Has those that stand look at their flags.
void wakeParked();

int parkedJobs();

}  // namespace fused_attention::binding
