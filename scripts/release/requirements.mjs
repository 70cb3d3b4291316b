// What binaries need of the system they run on: libraries and, with glibc, its newest symbol version. Fails where that is
// more than is promised, or where a binary does not carry the CUDA kernels, text for text.
//   node scripts/release/requirements.mjs <folder of binaries> <PTX file> [glibc = 2.28]
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

const [folder, ptx, promised = '2.28'] = process.argv.slice(2);
if (folder === undefined || ptx === undefined) {
  console.error('usage: requirements.mjs <folder> <PTX file> [glibc]');
  process.exit(2);
}
const kernels = readFileSync(ptx);
if (!kernels.includes('.visible .entry forward_')) {
  console.error(`${ptx} has no kernels`);
  process.exit(1);
}
/** Symbol versions that come with the oldest system, Red Hat 8: libstdc++ of GCC 8. */
const most = { GLIBC: promised, GLIBCXX: '3.4.25', CXXABI: '1.3.11', GCC: '8.0.0' };
const libraries = /^(libc|libm|libdl|libpthread|librt|libstdc\+\+|libgcc_s|ld-linux-.*|libc\.musl-.*|ld-musl-.*)\.so/;

const compare = (a, b) => {
  const [x, y] = [a, b].map((text) => text.split('.').map(Number));
  for (let i = 0; i < Math.max(x.length, y.length); i += 1) {
    if ((x[i] ?? 0) !== (y[i] ?? 0)) return (x[i] ?? 0) - (y[i] ?? 0);
  }
  return 0;
};

const files = readdirSync(folder, { recursive: true })
  .map((name) => join(folder, name))
  .filter((name) => name.endsWith('.node') && statSync(name).isFile());
let wrong = files.length === 0 ? 1 : 0;
for (const file of files) {
  const musl = file.includes('musl');
  const text = (...line) => execFileSync('readelf', [...line, file], { encoding: 'utf8', maxBuffer: 2 ** 26 });
  const needed = [...text('--wide', '--dynamic').matchAll(/NEEDED.*\[(.*)\]/g)].map((match) => match[1]);
  const foreign = needed.filter((name) => !libraries.test(name));
  const symbols = [...text('--wide', '--dyn-syms').matchAll(/ UND (\S+)@(GLIBC|GLIBCXX|CXXABI|GCC)_([\d.]+)/g)];
  const newest = {};
  const tooNew = [];
  for (const [, symbol, family, version] of symbols) {
    if (newest[family] === undefined || compare(version, newest[family]) > 0) newest[family] = version;
    if (!musl && compare(version, most[family]) > 0) tooNew.push(`${symbol}@${family}_${version}`);
  }
  console.log(`${file}: needs ${needed.join(', ')}; ${JSON.stringify(newest)}`);
  for (const each of foreign) console.log(`  not promised: ${each}`);
  for (const each of tooNew) console.log(`  too new: ${each}`);
  const carriesKernels = readFileSync(file).includes(kernels);
  if (!carriesKernels) console.log(`  without the CUDA kernels of ${ptx}`);
  if (foreign.length > 0 || tooNew.length > 0 || !carriesKernels) wrong += 1;
}
process.exit(wrong === 0 ? 0 : 1);
