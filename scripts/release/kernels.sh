#!/bin/sh
# Compiles the CUDA kernels that all binaries carry, in a container with nvcc (nvidia/cuda:*-devel-ubuntu*):
#   sh scripts/release/kernels.sh <folder>      writes <folder>/forward.ptx
set -eu
cd "$(dirname "$0")/../.."
folder=${1:?usage: kernels.sh <folder>}
nvcc --version
command -v cmake > /dev/null || {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends cmake g++ make > /dev/null
}
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cmake -S . -B "$build" -G 'Unix Makefiles' > /dev/null
cmake --build "$build" --target fused_attention_kernels
ptxas -arch=sm_80 -o /dev/null "$build/cuda/forward.ptx"
mkdir -p "$folder"
cp "$build/cuda/forward.ptx" "$folder/forward.ptx"
