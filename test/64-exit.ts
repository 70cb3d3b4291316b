// The end of a process with calls in flight and others waiting, in every way and at every stage: never a crash, never a hang.

import test from 'ava';
import { child, stages } from './helpers/in-flight.js';

const endings = { exit: 7, throw: 1, reject: 1, 'exit-handler': 7, drain: 0 } as const;

for (const stage of stages) {
  for (const [ending, expected] of Object.entries(endings)) {
    test.serial(`a process ends by ${ending} with calls ${stage} and waiting`, async (t) => {
      const { code, signal, stdout, stderr } = await child('endings', ['main', ending, stage]);
      t.is(signal, null, stderr);
      t.is(code, expected, stderr);
      if (ending === 'throw' || ending === 'reject') t.regex(stderr, /on purpose/);
      if (ending === 'drain') t.regex(stdout, /all settled/);
    });
  }
}

test.serial('a process ends while its threads compute', async (t) => {
  for (let i = 0; i < 6; i += 1) {
    const { code, signal, stderr } = await child('exit-while-computing', [String(i)]);
    t.is(signal, null, stderr);
    t.is(code, 5, stderr);
  }
});
