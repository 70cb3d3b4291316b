#!/bin/sh
# Packs the package with the binaries that lie in prebuilds/, which have to be those of every platform:
#   sh scripts/release/pack.sh <folder> [<platform/libc>...]
# In a workflow the package says which repository it comes from: npm compares that with its provenance.
set -eu
cd "$(dirname "$0")/../.."
folder=$1
shift
[ $# -gt 0 ] || set -- linux-x64/glibc linux-x64/musl linux-arm64/glibc linux-arm64/musl
for wanted in "$@"; do
  file=prebuilds/${wanted%/*}/fused_attention.${wanted#*/}.node
  [ -f "$file" ] || { echo "$file is missing" >&2; exit 1; }
done
if [ -n "${GITHUB_REPOSITORY:-}" ]; then
  sh scripts/release/tag.sh
  npm pkg set repository.type=git "repository.url=git+${GITHUB_SERVER_URL:?}/$GITHUB_REPOSITORY.git"
fi
npm run build:ts
mkdir -p "$folder"
npm pack --ignore-scripts --pack-destination "$folder"
