// Is what a call computed right? Rows against the formula in double.
#pragma once

#include "call.h"

namespace fused_attention::bench {

/// The largest error of the rows looked at, over what is allowed: right up to 1. Every n-th row is looked at, so that
/// there are about `rows` of them.
double worstError(const Call& call, int64_t rows);

}  // namespace fused_attention::bench
