// Programs after the toolchains that users' code goes through: the same graph, or an error, never another graph.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import test from 'ava';
import { AttentionError } from '../lib/errors.js';
import { compileProgram } from '../lib/program/compile.js';
import { encodeGraph } from '../lib/program/graph.js';
import type { Graph } from '../lib/program/graph.js';
import { interpret, Refused, valuesFor } from './reference/interpreter.js';
import { plainMask, plainScore } from './reference/programs.js';
import { randomPair, randomProgram } from './reference/random-program.js';
import { Random } from './reference/random.js';
import { compileNamed, kinds, parameters, printed, size } from './toolchain/kinds.js';
import { programs } from './toolchain/programs.js';
import { randomStyle } from './toolchain/random-style.js';
import { minified, tools } from './toolchain/tools.js';

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

/** The graph, or undefined for a program that is refused. */
function graphOf(compile: () => { graph: Graph }): Graph | undefined {
  try {
    return compile().graph;
  } catch (error) {
    if (error instanceof AttentionError && error.code === 'ERR_PROGRAM') return undefined;
    throw error;
  }
}

const limits = { size, heads: 4, batch: 2 };

test.serial('the same graphs of random programs after minifiers', async (t) => {
  const all = Array.from({ length: 240 }, (_, seed) => randomProgram(seed % 2 === 0 ? 'mask' : 'score', seed, limits));
  const found = await minified(all.map(({ source }) => source));
  for (const [tool, texts] of Object.entries(found)) {
    let equal = 0;
    for (const [index, { kind, source, kinds: given, grid }] of all.entries()) {
      const graph = graphOf(() => compileProgram(kind, texts[index]!, given, grid));
      if (graph === undefined) continue;
      equal += 1;
      t.is(printed(graph), printed(compileProgram(kind, source, given, grid).graph), `${tool}: ${texts[index]}`);
    }
    t.true(equal >= 0.98 * all.length, `${tool}: ${equal} graphs`);
  }
});

// Assignments, and conditions that repeat those they stand in, leave minifiers room to drop what they know and a graph
// does not show. Such a program may come back as another graph, of the same meaning; hardly any does.
test.serial('random programs of every style mean the same after minifiers', async (t) => {
  const all = Array.from({ length: 400 }, (_, seed) => randomStyle(seed % 2 === 0 ? 'mask' : 'score', seed));
  const found = await minified(all.map(({ source }) => source));
  const random = new Random(8);
  for (const [tool, texts] of Object.entries(found)) {
    let [equal, others] = [0, 0];
    for (const [index, { kind, source }] of all.entries()) {
      const expected = graphOf(() => compileProgram(kind, source, kinds));
      const graph = graphOf(() => compileProgram(kind, texts[index]!, kinds));
      if (graph === undefined || expected === undefined) continue;
      equal += 1;
      if (printed(graph) === printed(expected)) continue;
      others += 1;
      for (let count = 0; count < 200; count += 1) {
        const pair = randomPair(random, limits);
        const [a, b] = [expected, graph].map((each) => {
          try {
            return interpret(each, pair, valuesFor(each, parameters));
          } catch (error) {
            if (error instanceof Refused) return 'refused';
            throw error;
          }
        });
        t.true(Object.is(a, b), `${tool}: ${String(a)}, ${String(b)}: ${source}\n${texts[index]}`);
      }
    }
    t.log(`${tool}: ${equal} graphs, ${others} of them others`);
    t.true(equal >= 0.7 * all.length, `${tool}: ${equal} graphs`);
    t.true(others <= 0.01 * all.length, `${tool}: ${others} other graphs`);
  }
});
