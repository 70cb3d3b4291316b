// Scripts in processes of their own, with environment variables that are read once.

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * What a script returns in a process with these variables, or the code and argument of the error that it met, and what was
 * expected and received. The script has the library, as `fused`, and a tensor of ones, [1, 1, 64, 16].
 */
export function inProcess(variables: Record<string, string>, script: string): unknown {
  const program = `
    const fused = require('./lib/index.ts');
    const { attentionSync, devices, Tensor } = fused;
    const tensor = Tensor.from(new Float32Array(64 * 16).fill(1), [1, 1, 64, 16]);
    (async () => {
      let result;
      try { result = await (async () => { ${script} })(); }
      catch (error) { result = [error.code, error.argument, error.expected, error.received ?? error.stack]; }
      process.stdout.write(JSON.stringify(result));
    })();
  `;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--require=tsx/cjs', '-e', program], {
    cwd: join(__dirname, '..', '..'),
    env: { ...process.env, ...variables },
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
