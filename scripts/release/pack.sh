#!/bin/sh
# Packs the package with the binaries that lie in prebuilds/, which have to be those of every platform:
#   sh scripts/release/pack.sh <folder> [<platform/libc>...]
set -eu
cd "$(dirname "$0")/../.."
folder=$1
shift
[ $# -gt 0 ] || set -- linux-x64/glibc linux-x64/musl linux-arm64/glibc linux-arm64/musl
for wanted in "$@"; do
  file=prebuilds/${wanted%/*}/fused_attention.${wanted#*/}.node
  [ -f "$file" ] || { echo "$file is missing" >&2; exit 1; }
done
npm run build:ts
mkdir -p "$folder"
npm pack --ignore-scripts --pack-destination "$folder"
