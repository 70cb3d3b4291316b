// The steps of the build that are not a single command line:
//   node scripts/build.mjs addon          build/Release/fused_attention.node
//   node scripts/build.mjs native-tests   build/Release/fused_attention_native_tests
//   node scripts/build.mjs modules        the ES module face beside the compiled dist/
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Configures when needed and builds one CMake target in build/, always with the same generator. */
function cmake(target, extra = []) {
  const program = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const generator = process.platform === 'win32' ? [] : ['--prefer-make'];
  const parallel = ['--parallel', String(availableParallelism())];
  const options = ['--config', 'Release', '--target', target, '--log-level', 'warn', ...generator, ...parallel];
  const { status, error } = spawnSync(process.execPath, [program, 'build', ...options, ...extra], {
    cwd: root,
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) process.exit(status ?? 1);
}

function modules() {
  for (const file of ['index.mjs', 'index.d.mts']) {
    if (existsSync(join(root, 'lib', file))) copyFileSync(join(root, 'lib', file), join(root, 'dist', file));
  }
}

const steps = {
  addon: () => cmake('fused_attention'),
  'native-tests': () => cmake('fused_attention_native_tests'),
  modules,
};

const [step] = process.argv.slice(2);
if (!Object.hasOwn(steps, step ?? '')) {
  console.error(`usage: node scripts/build.mjs ${Object.keys(steps).join(' | ')}`);
  process.exit(2);
}
steps[step]();
