// The examples in README.md and docs/ run as they stand, against the built package, and print what their comments say.

import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

const root = join(__dirname, '..');
const run = promisify(execFile);

interface Example {
  readonly title: string;
  readonly code: string;
}

/** The JavaScript blocks of a page; those of scripts that something else starts are marked `javascript`. */
async function examplesOf(page: string): Promise<Example[]> {
  const text = await readFile(join(root, page), 'utf8');
  return [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code], index) => ({
    title: `${page}, example ${index + 1}`,
    code: code!,
  }));
}

test('every example of the documentation prints what it says', async (t) => {
  const pages = [
    'README.md',
    ...(await readdir(join(root, 'docs'))).filter((n) => n.endsWith('.md')).map((n) => `docs/${n}`),
  ];
  const examples = (await Promise.all(pages.map(examplesOf))).flat();
  t.true(examples.length >= 3);
  // Inside the package, so that its own name resolves to it.
  const folder = await mkdtemp(join(root, 'build', 'documents-'));
  try {
    for (const [index, { title, code }] of examples.entries()) {
      const file = join(folder, `${index}.mjs`);
      await writeFile(file, code);
      const { stdout } = await run(process.execPath, [file]);
      const promised = [...code.matchAll(/^console\.log\(.*\); \/\/ (.*)$/gm)].map(([, comment]) => comment);
      t.deepEqual(stdout.trim().split('\n'), promised, title);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});
