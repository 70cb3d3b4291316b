#!/usr/bin/env bash
# Builds the CUDA kernels and their host code, checks them and times them on the first GPU, beside PyTorch where there
# is one. Needs cmake, a C++20 compiler, nvcc and a driver; no Node. Options are the driver's (main.cc).
set -euo pipefail
cd "$(dirname "$0")/../.."
command -v nvcc > /dev/null || [ -x /usr/local/cuda/bin/nvcc ] || { echo 'nvcc (CUDA toolkit) has to be on the PATH' >&2; exit 2; }
cmake -S . -B build-gpu -DFUSED_ATTENTION_GPU_BENCH=ON > /dev/null
cmake --build build-gpu --parallel "$(nproc)" --target fused_attention_gpu_bench
exec build-gpu/fused_attention_gpu_bench --json build-gpu/gpu-bench.json "$@"
