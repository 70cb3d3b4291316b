// The PTX of cuda/kernels, which the build makes of them where it finds nvcc (cuda/kernels.cmake).
#pragma once

namespace fused_attention::cuda {

/// Null where there was no nvcc.
extern const char* const kForwardPtx;

}  // namespace fused_attention::cuda
