// Memory that JavaScript takes away, or tries to, from under calls in flight. In child processes: this is where a mistake
// reads freed memory.

import test from 'ava';
import { child, stages } from './helpers/in-flight.js';

/** Ways in which a buffer loses its memory; each an attempt on arguments and on results. */
const attempts = [
  'structured-clone',
  'post-message',
  'transfer',
  'transfer-fixed',
  'wasm-grow',
  'resize',
  'shared-grow',
];

for (const attempt of attempts) {
  for (const stage of stages) {
    test.serial(`${attempt} with calls ${stage} and waiting`, async (t) => {
      const { code, signal, stdout, stderr } = await child('take-away', [attempt, stage]);
      t.is(signal, null, stderr);
      t.is(code, 0, `${stdout}${stderr}`);
      t.regex(stdout, /^(ok|this runtime has no .+)\n$/);
    });
  }
}

test.serial('marks are kept off memory that must not have them', async (t) => {
  const { code, stdout, stderr } = await child('unmarked');
  t.is(code, 0, stderr);
  t.is(stdout, 'ok\n');
});
