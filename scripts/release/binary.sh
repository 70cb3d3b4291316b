#!/bin/sh
# Builds prebuilds/<platform>/*.node in a build container: manylinux_2_28 (which brings GCC and CMake, no Node) or Alpine.
# There is no nvcc in either: the CUDA kernels come as PTX from kernels.sh, and there is no binary without them.
#   sh scripts/release/binary.sh <PTX file>
set -eu
cd "$(dirname "$0")/../.."
FUSED_ATTENTION_PTX_FILE=${1:?usage: binary.sh <PTX file>}
[ -s "$FUSED_ATTENTION_PTX_FILE" ] || { echo "no CUDA kernels in $FUSED_ATTENTION_PTX_FILE" >&2; exit 1; }
export FUSED_ATTENTION_PTX_FILE

if [ -f /etc/alpine-release ]; then
  apk add --no-cache cmake g++ make linux-headers
elif ! command -v node > /dev/null; then
  version=20.19.0
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) echo "no Node for $(uname -m)" >&2; exit 1 ;; esac
  curl -fsSL "https://nodejs.org/dist/v$version/node-v$version-linux-$arch.tar.xz" | tar -xJ -C /opt
  PATH="/opt/node-v$version-linux-$arch/bin:$PATH"
  export PATH
fi

npm ci --ignore-scripts
npm run binaries
