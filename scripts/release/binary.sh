#!/bin/sh
# Builds prebuilds/<platform>/*.node in a build container: manylinux_2_28 (which brings GCC and CMake, no Node) or Alpine.
set -eu
cd "$(dirname "$0")/../.."

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
