#!/bin/sh
# The suite from the packed tarball, with the binary that it carries and no other: sh scripts/release/test.sh <folder>
set -eu
cd "$(dirname "$0")/../.."
tarball=$(ls "$PWD/$1"/*.tgz)
[ "$(echo "$tarball" | wc -l)" -eq 1 ] || { echo "one tarball expected: $tarball" >&2; exit 1; }

npm ci --ignore-scripts
consumer=$(mktemp -d)
trap 'rm -rf "$consumer"' EXIT
(cd "$consumer" && npm init --yes > /dev/null && npm install --ignore-scripts --no-audit --no-fund "$tarball")
installed=$consumer/node_modules/fused-attention
FUSED_ATTENTION_NATIVE_PATH=$(PREBUILDS_ONLY=1 node -p "require('node-gyp-build').resolve('$installed')")
export FUSED_ATTENTION_NATIVE_PATH PREBUILDS_ONLY=1
case $FUSED_ATTENTION_NATIVE_PATH in "$installed"/prebuilds/*) ;; *) echo "not a prebuilt binary" >&2; exit 1 ;; esac

# Children of the tests and the toolchain tests take dist/ as it was packed.
rm -rf build dist
cp -R "$installed/dist" dist
npx ava ${TEST_FILES:-}
