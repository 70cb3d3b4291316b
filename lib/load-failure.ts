// Why the addon could not be loaded, in words: what was tried, what came of it, and what the user can do about each cause.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AttentionError } from './errors.js';

/** What was tried, and the machine and runtime as far as they decide which binary fits. */
export interface LoadAttempt {
  /** The binary, or the package's folder when none was found. */
  path: string;
  error: Error & { code?: string };
  platform: string;
  arch: string;
  /** 'glibc' with its version, 'musl', or null where the platform has no such choice. */
  libc: 'glibc' | 'musl' | null;
  glibcVersion: string | null;
  nodeVersion: string;
  napiVersion: number;
  packageRoot: string;
  /** FUSED_ATTENTION_NATIVE_PATH, if set. */
  nativePath: string | null;
}

const requiredNode = [20, 19] as const;
const requiredNapi = 9;

/** The error to throw when loading `path` failed with `error`. Only called after a failure: the report is slow to make. */
export function loadFailure(
  path: string,
  error: Error,
  packageRoot: string,
  nativePath: string | null,
): AttentionError {
  const attempt: LoadAttempt = {
    path,
    error,
    platform: process.platform,
    arch: process.arch,
    ...processLibc(),
    nodeVersion: process.versions.node,
    napiVersion: Number(process.versions.napi),
    packageRoot,
    nativePath,
  };
  const bullets = (lines: string[]) => lines.map((line) => `\n  - ${line}`).join('');
  const places = nativePath === null ? searchedPlaces(packageRoot) : [];
  const tried = path === packageRoot ? places : [...places, `${path}: chosen, could not be loaded`];
  const reason = error.message.trim();
  const argument = nativePath === null ? 'native addon' : 'FUSED_ATTENTION_NATIVE_PATH';
  const received = `${reason}\nTried:${bullets(tried)}\nWhat to do:${bullets(remedies(attempt))}`;
  const expected = `a loadable binary for ${platformName(attempt)}`;
  return new AttentionError('ERR_LOAD_FAILED', argument, expected, received, { cause: error });
}

function platformName({ platform, arch, libc, glibcVersion }: LoadAttempt): string {
  const suffix = libc === null ? '' : ` with ${[libc, glibcVersion].filter(Boolean).join(' ')}`;
  return `${platform}-${arch}${suffix}`;
}

function processLibc(): Pick<LoadAttempt, 'libc' | 'glibcVersion'> {
  if (process.platform !== 'linux') return { libc: null, glibcVersion: null };
  try {
    const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
    const glibcVersion = header.glibcVersionRuntime ?? null;
    return { libc: glibcVersion === null ? 'musl' : 'glibc', glibcVersion };
  } catch {
    return { libc: 'glibc', glibcVersion: null };
  }
}

/** Where a binary may lie in this package and whether something is there. */
function searchedPlaces(packageRoot: string): string[] {
  const root = process.env['FUSED_ATTENTION_PREBUILD'] || packageRoot; // node-gyp-build's own override
  const places = [join('build', 'Release'), join('build', 'Debug'), 'prebuilds'];
  if (process.env['PREBUILDS_ONLY']) places.splice(0, 2);
  return places.map((place) => `${join(root, place)}: ${contents(join(root, place))}`);
}

function contents(folder: string): string {
  try {
    const names = readdirSync(folder, { recursive: true }).map(String);
    const found = names.filter((name) => name.endsWith('.node'));
    return found.length > 0 ? `has ${found.sort().join(', ')}` : 'has no .node file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' ? 'no such folder' : `cannot be read (${code})`;
  }
}

const sourceBuild =
  'build it from source: npm install --save-dev cmake-js node-addon-api, then ' +
  'npm explore fused-attention -- npm run build:native (needs CMake 3.19 and a C++20 compiler)';

/** What to do, one line a cause. Never empty. */
export function remedies(attempt: LoadAttempt): string[] {
  const { nodeVersion } = attempt;
  const upgrade = `Node ${nodeVersion} is too old: use ${requiredNode.join('.')} or newer`;
  return [...(isNodeTooOld(attempt) ? [upgrade] : []), remedy(attempt)];
}

function isNodeTooOld({ nodeVersion, napiVersion }: LoadAttempt): boolean {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  const old = major < requiredNode[0] || (major === requiredNode[0] && minor < requiredNode[1]);
  return old || napiVersion < requiredNapi;
}

function remedy(attempt: LoadAttempt): string {
  const { path, error, nativePath } = attempt;
  const { message, code } = error;
  if (code === 'ERR_DLOPEN_DISABLED') {
    return 'native addons are switched off in this process: start Node without --no-addons, or with --allow-addons under the permission model';
  }
  if (code === 'ERR_ACCESS_DENIED') {
    return `the permission model forbids reading the addon: add --allow-addons and --allow-fs-read=${attempt.packageRoot}`;
  }
  if (code === 'VERSION_MISMATCH') {
    return nativePath === null
      ? `${path} is left over from another version: rebuild it (npm run build:native), or delete it to use the prebuilt binary`
      : 'FUSED_ATTENTION_NATIVE_PATH names a binary of another version: name one built from this version, or unset it';
  }
  if (
    nativePath !== null &&
    (code === 'MODULE_NOT_FOUND' || /no such file|cannot open shared object file/i.test(message))
  ) {
    if (message.includes(path)) {
      return `FUSED_ATTENTION_NATIVE_PATH names no file: correct it (it is ${JSON.stringify(nativePath)}), or unset it`;
    }
  }
  const glibc = /version [`'](GLIBC_[\d.]+)' not found/.exec(message)?.[1];
  if (glibc !== undefined) {
    return `the prebuilt binary needs ${glibc} and this system has glibc ${attempt.glibcVersion ?? '(unknown)'}: use a newer system, or ${sourceBuild}`;
  }
  const runtime = /version [`']((?:GLIBCXX|CXXABI)_[\d.]+)' not found/.exec(message)?.[1];
  if (runtime !== undefined) {
    return `the binary needs ${runtime}: install a newer libstdc++, or ${sourceBuild}`;
  }
  const library = /(lib[\w.+-]+\.so[\w.]*|ld-linux[\w.-]*): cannot open shared object file/.exec(message)?.[1];
  if (library !== undefined) {
    return `the system library ${library} is missing: install the package that has it (Debian: libstdc++6, libgcc-s1)`;
  }
  if (/Error loading shared library|Error relocating/.test(message)) {
    return `the binary was built against glibc and this system uses musl: ${sourceBuild}`;
  }
  if (/invalid ELF header|wrong ELF class|not a valid Win32|incompatible architecture|file too short/i.test(message)) {
    return `${path} is no binary for ${attempt.platform}-${attempt.arch}: reinstall fused-attention on this machine, or ${sourceBuild}`;
  }
  if (code === 'NO_BINARY') {
    const libc = attempt.libc === null ? '' : ` (${attempt.libc})`;
    return `there is no prebuilt binary for ${attempt.platform}-${attempt.arch}${libc}: ${sourceBuild}`;
  }
  return `reinstall fused-attention, or ${sourceBuild}`;
}
