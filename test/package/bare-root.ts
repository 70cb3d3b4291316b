// A root file system with Node, the shared libraries it and the addon name, and nothing else: no shell, no compiler.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** What ldd finds for a program or library, as absolute paths. */
function sharedLibraries(file: string): string[] {
  const { stdout } = spawnSync('ldd', [file], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((match) => match[1]!);
}

/** Lays Node and its libraries under `folder`, at the paths where the loader looks for them. */
export function layBareRoot(folder: string): void {
  for (const file of [process.execPath, ...sharedLibraries(process.execPath)]) {
    const target = join(folder, file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(file, target);
  }
  mkdirSync(join(folder, 'tmp'), { recursive: true });
}

/** The command that changes the root: as root, or in a user namespace of its own. Null where neither is allowed. */
export function changeRoot(folder: string): string[] | null {
  const ways = process.getuid?.() === 0 ? [['chroot'], ['unshare', '-r', 'chroot']] : [['unshare', '-r', 'chroot']];
  const probe = [folder, process.execPath, '--version'];
  for (const [program, ...options] of ways) {
    if (spawnSync(program!, [...options, ...probe]).status === 0) return [program!, ...options, folder];
  }
  return null;
}

/** Runs Node inside the bare root with an empty environment but for `env`. */
export function runNode(change: string[], args: string[], env: Record<string, string>) {
  const [program, ...options] = change;
  return spawnSync(program!, [...options, process.execPath, ...args], {
    encoding: 'utf8',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env },
  });
}
