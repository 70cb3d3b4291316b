// What has to be built before anything can be measured.
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Fails with the remedy when something that is measured is not there. */
export function requireBuilt(): void {
  const root = join(__dirname, '..');
  const needed = [
    [join(root, 'dist', 'index.js'), 'npm run build'],
    [join(root, 'node_modules', 'tsx'), 'npm ci'],
  ] as const;
  for (const [file, remedy] of needed) {
    if (!existsSync(file)) throw new Error(`${file} is missing: run \`${remedy}\` in the repository root first`);
  }
}
