// The steps of the build that are more than a command line:
//   node scripts/build.mjs addon           build/Release/fused_attention.node
//   node scripts/build.mjs clean-addon     the same from an empty build/
//   node scripts/build.mjs mpi             build/mpi/fused_attention_mpi.node; needs an MPI
//   node scripts/build.mjs native-tests    build/Release/fused_attention_native_tests
//   node scripts/build.mjs gyp <folder>    the addon built outside build/, which is node-gyp's, and copied to <folder>
//   node scripts/build.mjs modules         dist/ as bundles, index.js and those it loads later, and the ES module face
// FUSED_ATTENTION_PTX_FILE in the environment names CUDA kernels that were compiled before (cuda/kernels.cmake).
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const kernels = process.env.FUSED_ATTENTION_PTX_FILE;

/**
 * Configures when needed and builds one CMake target, with the same generator whatever else is installed; or runs another
 * command of cmake-js.
 */
function cmake(target, out = 'build', command = 'build') {
  const program = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const options = ['--out', out, '--config', 'Release', '--target', target, '--log-level', 'warn'];
  if (process.platform !== 'win32') options.push('--prefer-make');
  options.push('--parallel', String(availableParallelism()));
  options.push(`--CDFUSED_ATTENTION_PTX_FILE=${kernels ? resolve(kernels) : 'OFF'}`);
  const { status, error } = spawnSync(process.execPath, [program, command, ...options], {
    cwd: root,
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

/** Whether a build folder was given compiled kernels when it was configured. */
function hadKernels(folder) {
  const cache = join(root, folder, 'CMakeCache.txt');
  return existsSync(cache) && /^FUSED_ATTENTION_PTX_FILE:\w+=(?!OFF$)./mu.test(readFileSync(cache, 'utf8'));
}

const steps = {
  addon: () => {
    // A folder configured before would not hear of kernels that are given now, or go on with those given then.
    if (kernels || hadKernels('build')) cmake('fused_attention', 'build', 'configure');
    cmake('fused_attention');
  },
  'clean-addon': () => {
    rmSync(join(root, 'build'), { recursive: true, force: true });
    cmake('fused_attention');
  },
  mpi: () => {
    cmake('fused_attention_mpi', 'build', 'configure'); // an MPI may have come since the last time
    cmake('fused_attention_mpi');
  },
  'native-tests': () => cmake('fused_attention_native_tests'),
  gyp: (folder) => {
    const product = resolve(folder);
    cmake('fused_attention', 'build-gyp');
    const name = 'fused_attention.node';
    copyFileSync(join(root, 'build-gyp', 'Release', name), join(product, name));
  },
  modules: () => {
    const dist = (...names) => join(root, 'dist', ...names);
    const main = dist('index.js');
    const later = [
      dist('program', 'index.js'),
      dist('sequence-parallel', 'mpi.js'),
      dist('sequence-parallel', 'seats.js'),
    ];
    // Files of their own: what several bundles use and there must be one of, and what finds others from where it lies.
    const apart = ['errors.js', 'program/graph.js', 'protection.js', 'native-mpi.cjs'].map((name) => dist(name));
    // Few files load in half the time of thirty. Required here: a build of the addon alone must do without.
    const { buildSync } = createRequire(import.meta.url)('esbuild');
    for (const entry of [...later, main]) {
      buildSync({
        entryPoints: [entry],
        outfile: entry,
        allowOverwrite: true,
        bundle: true,
        platform: 'node',
        // Without keepNames: it names each inner function of a call anew, a tenth of what the call costs.
        // Names and structure stay as they are; without comments and indentation it loads a third faster.
        minifyWhitespace: true,
        external: ['acorn', 'node-gyp-build', '../package.json', ...apart, ...(entry === main ? later : [])],
      });
    }
    for (const file of ['index.mjs', 'index.d.mts']) copyFileSync(join(root, 'lib', file), join(root, 'dist', file));
  },
};

const [step = '', ...rest] = process.argv.slice(2);
if (!Object.hasOwn(steps, step)) {
  console.error(`usage: node scripts/build.mjs ${Object.keys(steps).join(' | ')}`);
  process.exit(2);
}
steps[step](...rest);
