// From a call to the backend of its device.
#pragma once

#include "backend.h"

namespace fused_attention {

/// Plans the call and runs it. Blocks; throws CodedError, ERR_UNSUPPORTED or ERR_NO_DEVICE where its device cannot
/// compute it, Cancelled or std::bad_alloc.
void compute(const Call& call, const CancelFlag& cancel);

/// What `compute` would do, and why it would not do it on another device. Throws as it does.
Explanation explainCall(const Call& call);

}  // namespace fused_attention
