// Graphs made of graphs: what they mean, that their parameters follow each other, and that they are canonical.

import test from 'ava';
import { combineMasks, composeScores, gridMask, negateMask } from '../lib/program/combine.js';
import { compileProgram } from '../lib/program/compile.js';
import type { Graph } from '../lib/program/graph.js';
import { interpret, valuesFor } from './reference/interpreter.js';
import type { Pair, ParameterValues } from './reference/interpreter.js';
import { randomPair, randomProgram } from './reference/random-program.js';
import { Random } from './reference/random.js';

const limits = { size: 16, heads: 2, batch: 2 };

interface Bound {
  readonly graph: Graph;
  readonly values: ParameterValues;
}

function bound(kind: 'mask' | 'score', seed: number): Bound {
  const { source, parameters, kinds, grid } = randomProgram(kind, seed, limits);
  const { graph } = compileProgram(kind, source, kinds, grid);
  return { graph, values: valuesFor(graph, parameters) };
}

function joined(parts: readonly Bound[]): ParameterValues {
  return {
    numbers: parts.flatMap(({ values }) => values.numbers),
    tables: parts.flatMap(({ values }) => values.tables),
    grids: parts.flatMap(({ values }) => values.grids ?? []),
  };
}

const isOdd = ({ i, j }: Pair): boolean => (i + j) % 2 === 1;
const oddGrid: Bound = { graph: gridMask(), values: { numbers: [], tables: [], grids: [isOdd] } };

test('and, or and not of masks', (t) => {
  const random = new Random(1);
  let shown = 0;
  for (let seed = 1; seed <= 200; seed += 1) {
    const parts = [bound('mask', seed), oddGrid, bound('mask', seed + 1000), bound('mask', seed + 2000)];
    const graphs = parts.map(({ graph }) => graph);
    const values = joined(parts);
    const [and, or] = [combineMasks('and', graphs), combineMasks('or', graphs)];
    const not = negateMask(or);
    for (const graph of [and, or, not]) {
      t.deepEqual(
        graph.numbers,
        graphs.flatMap(({ numbers }) => numbers),
      );
      t.deepEqual(
        graph.tables,
        graphs.flatMap(({ tables }) => tables),
      );
      t.is(graph.grids, 1);
    }
    for (let count = 0; count < 20; count += 1) {
      const pair = randomPair(random, limits);
      const single = parts.map((part) => interpret(part.graph, pair, part.values));
      t.is(interpret(and, pair, values), single.every(Boolean), `seed ${seed}`);
      t.is(interpret(or, pair, values), single.some(Boolean), `seed ${seed}`);
      t.is(interpret(not, pair, values), !single.some(Boolean), `seed ${seed}`);
      if (single.every(Boolean)) shown += 1;
    }
  }
  t.true(shown > 20);
});

test('scores go through one program after the other', (t) => {
  const random = new Random(2);
  for (let seed = 1; seed <= 200; seed += 1) {
    const parts = [bound('score', seed), bound('score', seed + 1000), bound('score', seed + 2000)];
    const graph = composeScores(parts.map((part) => part.graph));
    for (let count = 0; count < 20; count += 1) {
      const pair = randomPair(random, limits);
      let { s } = pair;
      for (const part of parts) s = interpret(part.graph, { ...pair, s }, part.values) as number;
      const got = interpret(graph, pair, joined(parts)) as number;
      t.true(Object.is(got + 0, s + 0), `seed ${seed}: ${got} instead of ${s}`);
    }
  }
});

test('nothing combined is everything, nothing, or the score itself', (t) => {
  t.is(interpret(combineMasks('and', []), randomPair(new Random(3), limits), joined([])), true);
  t.is(interpret(combineMasks('or', []), randomPair(new Random(3), limits), joined([])), false);
  const pair = randomPair(new Random(3), limits);
  t.is(interpret(composeScores([]), pair, joined([])), pair.s);
  t.is(composeScores([]).kind, 'score');
});

test('combined graphs are in canonical form', (t) => {
  const causal = compileProgram('mask', '(i, j) => j <= i', {}).graph;
  const near = compileProgram('mask', '(i, j) => i - j < 8', {}).graph;
  const both = compileProgram('mask', '(i, j) => i - j < 8 && i >= j', {}).graph;
  t.deepEqual(combineMasks('and', [causal, near]), both);
  t.deepEqual(combineMasks('and', [near, causal, near]), both);
  t.deepEqual(negateMask(negateMask(both)), both);
  t.deepEqual(negateMask(combineMasks('or', [negateMask(near), negateMask(causal)])), both);
  t.deepEqual(combineMasks('and', [combineMasks('and', [causal]), combineMasks('and', [near, both])]), both);
  const cap = compileProgram('score', '(s) => 20 * Math.tanh(s / 20)', {}).graph;
  const shift = compileProgram('score', '(s, i, j) => s + (i - j)', {}).graph;
  const whole = compileProgram('score', '(s, i, j) => 20 * Math.tanh((s + (i - j)) / 20)', {}).graph;
  t.deepEqual(composeScores([shift, cap]), whole);
  t.deepEqual(composeScores([composeScores([]), shift, cap]), whole);
  t.deepEqual(gridMask(), {
    kind: 'mask',
    nodes: [{ op: 'grid', type: 'boolean', args: [], value: 0 }],
    result: 0,
    numbers: [],
    tables: [],
    grids: 1,
  });
});

test('parameters keep their places, even where nothing reads them any more', (t) => {
  const kinds = { ids: { type: 'integer', rank: 1 }, w: { type: 'integer', rank: 0 } } as const;
  const first = compileProgram('mask', '(i, j, { ids, w }) => ids(i) < w', kinds).graph;
  const second = compileProgram('mask', '(i, j, { ids, w }) => ids(j) < w', kinds).graph;
  const never = combineMasks('and', [first, negateMask(first), second]);
  t.is(never.numbers.length, 3);
  t.is(never.tables.length, 3);
  const both = combineMasks('and', [first, second]);
  const tables = [7, 9].map((cell) => ({ data: Int32Array.from({ length: 16 }, () => cell), shape: [16] }));
  const pair = randomPair(new Random(4), limits);
  t.is(interpret(both, pair, { numbers: [8, 10], tables }), true);
  t.is(interpret(both, pair, { numbers: [8, 9], tables }), false);
  t.is(interpret(both, pair, { numbers: [7, 10], tables }), false);
});

test('a large chain of masks stays cheap, and too large a graph is an error', (t) => {
  const graphs = Array.from({ length: 60 }, (_, at) => compileProgram('mask', `(i, j) => i - j !== ${at}`, {}).graph);
  let all = combineMasks('and', []);
  for (const graph of graphs) all = combineMasks('and', [all, graph]);
  t.deepEqual(all, combineMasks('and', graphs));
  const kinds = Object.fromEntries(
    Array.from({ length: 9 }, (_, at) => [`t${at}`, { type: 'integer', rank: 1 } as const]),
  );
  const names = Object.keys(kinds);
  const source = `(i, j, { ${names.join(', ')} }) => ${names.map((name) => `${name}(i) > 0`).join(' && ')}`;
  const { graph } = compileProgram('mask', source, kinds);
  const error = t.throws(() =>
    combineMasks(
      'and',
      Array.from({ length: 29 }, () => graph),
    ),
  );
  t.is((error as Error & { code?: string }).code, 'ERR_PROGRAM');
});
