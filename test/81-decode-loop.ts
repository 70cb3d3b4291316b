// The example of a decode loop: a model that recites what it has read shows whether its caches are right.

import test from 'ava';
import { CopyModel } from '../examples/decode-loop/copy-model.js';
import { generate, novel, prefill } from '../examples/decode-loop/index.js';

const text = novel(3000);
const [given, told, context] = [20, 40, 8];

/** Whether what follows a place is known there and all the way: no context of the model stands twice in the text. */
function isCertain(place: number): boolean {
  for (let n = place + given; n < place + given + told; n += 1) {
    const known = text.slice(n - context, n);
    if (text.indexOf(known) !== text.lastIndexOf(known)) return false;
  }
  return true;
}

const places = Array.from({ length: text.length - given - told }, (_, n) => n).filter(isCertain);

test('it goes on as the text did, however the text was cut', async (t) => {
  const model = new CopyModel(text);
  const tokens = model.encode(`${text} `);
  t.true(places.length > 10);
  const place = places[3]!;
  for (const chunk of [tokens.length, 100, 1]) {
    const sequence = model.start();
    for (let from = 0; from < tokens.length; from += chunk) await sequence.next(tokens.slice(from, from + chunk));
    const first = await prefill(sequence, model.encode(text.slice(place, place + given)));
    const said = model.decode(await generate(sequence, first, told));
    t.is(said, text.slice(place + given, place + given + told));
    sequence.free();
  }
});

test('forks go on in their own ways', async (t) => {
  const model = new CopyModel(text);
  const sequence = model.start();
  await prefill(sequence, model.encode(`${text} `));
  const starts = [places[0]!, places[places.length >> 1]!, places.at(-1)!];
  const branches = starts.map(() => sequence.fork());
  sequence.free();
  const said = await Promise.all(
    branches.map(async (branch, n) => {
      const first = await prefill(branch, model.encode(text.slice(starts[n]!, starts[n]! + given)));
      return generate(branch, first, told);
    }),
  );
  said.forEach((tokens, n) => {
    const from = starts[n]! + given;
    t.is(model.decode(tokens), text.slice(from, from + told));
  });
});
