// Programs after the toolchains that users' code goes through: the same graph, or an error, never another graph.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { AttentionError } from '../lib/errors.js';
import { encodeGraph } from '../lib/program/graph.js';
import { interpret, valuesFor } from './reference/interpreter.js';
import { plainMask, plainScore } from './reference/programs.js';
import { compileNamed, parameters, printed, size } from './toolchain/kinds.js';
import { programs } from './toolchain/programs.js';
import { tools } from './toolchain/tools.js';

const names = Object.keys(programs);
const reference = new Map(names.map((name) => [name, printed(compileNamed(name, programs[name]!.program))]));

/** Programs that a tool turns into what the language does not know. */
const refusals: Readonly<Record<string, readonly string[]>> = {
  // `**` becomes a call of a helper outside of the function.
  'esbuild to ES2015, names kept': ['powers'],
};

test('there are at least 40 programs, all different', (t) => {
  t.true(names.length >= 40);
  t.true(new Set(reference.values()).size >= 40);
});

for (const [tool, texts] of Object.entries(tools)) {
  test.serial(`the same graphs after ${tool}`, async (t) => {
    const found = await texts();
    t.deepEqual(Object.keys(found), names);
    const refused: string[] = [];
    for (const name of names) {
      let graph = '';
      try {
        graph = printed(compileNamed(name, found[name]!));
      } catch (error) {
        t.true(error instanceof AttentionError && error.code === 'ERR_PROGRAM', `${name}: ${error}`);
        refused.push(name);
        continue;
      }
      t.is(graph, reference.get(name)!, `${name}: ${found[name]}`);
    }
    t.deepEqual(refused, refusals[tool] ?? []);
  });
}

test('the same graphs where code from strings is forbidden', (t) => {
  const script = join(__dirname, 'toolchain', 'compile-all.ts');
  const flags = ['--disallow-code-generation-from-strings', '--require=tsx/cjs'];
  const { refused, graphs } = JSON.parse(execFileSync(process.execPath, [...flags, script], { encoding: 'utf8' }));
  t.is(refused, 'EvalError');
  t.deepEqual(graphs, Object.fromEntries(reference));
});

test('the programs mean what they say', (t) => {
  for (const name of names) {
    const { kind, program, grid } = programs[name]!;
    const graph = compileNamed(name, program);
    t.true(encodeGraph(graph).length > 7);
    const values = valuesFor(graph, parameters);
    const plain = (kind === 'mask' ? plainMask : plainScore)(program as never, parameters, grid);
    const seen = new Set<unknown>();
    for (let i = 0; i < size; i += 1) {
      for (let j = 0; j < size; j += 1) {
        const place = { i, j, row: i, col: j, b: i % 2, h: (i + j) % 4, hkv: j % 2, nq: size, nkv: size };
        const pair = { ...place, s: Math.fround(Math.sin(7 * i + j) * 30) };
        const expected = plain(pair);
        const outcome = interpret(graph, pair, values);
        seen.add(outcome);
        const close =
          expected === outcome || Math.abs(Number(expected) - Number(outcome)) <= 1e-5 * (1 + Math.abs(pair.s));
        if (kind === 'mask' ? expected !== outcome : !close) {
          t.fail(`${name} at ${i}, ${j}: ${String(outcome)} instead of ${expected}`);
          return;
        }
      }
    }
    t.true(seen.size > 1, `${name} is always ${String([...seen][0])}`);
  }
});
