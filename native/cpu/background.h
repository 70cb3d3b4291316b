// How the system's scheduler should treat threads that only compute.
#pragma once

namespace fused_attention {

/// Makes the calling thread give way to threads that wake up, such as one that runs an event loop, at equal share of
/// the processors. Does nothing where the system knows no such thing or forbids it.
void becomeBackgroundThread();

}  // namespace fused_attention
