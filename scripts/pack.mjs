// Packs the package as it would be published, with a prebuilt binary for this platform, and prints the tarball's path:
//   node scripts/pack.mjs <folder>
// Everything is built from scratch in a copy of the work tree, so neither build/ nor dist/ of this one is touched.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Copies what git tracks or would track, as it stands in the work tree, to a new folder. */
function copyWorkTree() {
  const copy = mkdtempSync(join(tmpdir(), 'fused-attention-pack-'));
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: root });
  for (const file of listed.toString().split('\0')) {
    if (file !== '' && existsSync(join(root, file))) cpSync(join(root, file), join(copy, file));
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

function pack(folder) {
  mkdirSync(folder, { recursive: true });
  const copy = copyWorkTree();
  try {
    const run = (...line) => execFileSync('npm', line, { cwd: copy, stdio: ['ignore', 2, 'inherit'] });
    run('run', 'build:ts');
    run('run', 'binaries');
    const answer = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], { cwd: copy });
    return join(folder, JSON.parse(answer.toString())[0].filename);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

const [folder] = process.argv.slice(2);
if (folder === undefined) {
  console.error('usage: node scripts/pack.mjs <folder>');
  process.exit(2);
}
console.log(pack(resolve(folder)));
