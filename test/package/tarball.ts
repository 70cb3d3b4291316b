// The packed tarball, made once a run, and an installation of it.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

export const root = resolve(__dirname, '..', '..');

/** A folder that goes when the test process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fused-attention-test-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Path of the tarball: FUSED_ATTENTION_TARBALL if a caller packed it before, else packed now. */
export function tarball(): string {
  const given = process.env['FUSED_ATTENTION_TARBALL'];
  if (given) return resolve(given);
  const line = [join(root, 'scripts', 'pack.mjs'), temporaryFolder()];
  return execFileSync(process.execPath, line, { encoding: 'utf8' }).trim();
}

/** Installs packages into folder/node_modules as a user with install scripts switched off would. */
export function install(folder: string, packages: string[]): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "name": "consumer", "private": true }\n');
  const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save'];
  execFileSync('npm', ['install', ...options, ...packages], { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
}
