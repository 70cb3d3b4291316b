#!/bin/sh
# Refuses a tag that is not `v` and the version of package.json; says nothing to what is built from no tag.
set -eu
cd "$(dirname "$0")/../.."
[ "${GITHUB_REF_TYPE:-}" = tag ] || exit 0
version=$(sed -n 's/^  "version": "\(.*\)",$/\1/p' package.json)
[ "${GITHUB_REF_NAME:-}" = "v$version" ] || { echo "the tag is ${GITHUB_REF_NAME:-}, the version $version" >&2; exit 1; }
