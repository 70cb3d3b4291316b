#!/usr/bin/env node
// Stands in for node-gyp where prebuildify calls it: node-gyp-shim.mjs rebuild --target=20.19.0 --arch=x64 --release ...
// --target and --devdir choose Node headers, which a Node-API addon built by CMake does not need.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const [command, ...options] = process.argv.slice(2);
const option = (name) => options.find((text) => text.startsWith(`--${name}=`))?.slice(name.length + 3);
if (command !== 'rebuild' || options.includes('--debug')) {
  console.error(`node-gyp-shim: only release rebuilds are supported, not: ${process.argv.slice(2).join(' ')}`);
  process.exit(2);
}
const arch = option('arch');
if (arch !== undefined && arch !== process.arch) {
  console.error(`node-gyp-shim: cannot cross-build for ${arch} on ${process.arch}`);
  process.exit(2);
}
const build = join(dirname(fileURLToPath(import.meta.url)), 'build.mjs');
const { status } = spawnSync(process.execPath, [build, 'clean-addon'], { stdio: 'inherit' });
process.exit(status ?? 1);
