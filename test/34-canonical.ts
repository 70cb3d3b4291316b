// One graph for the spellings of one program, and the meaning of graphs against the functions called plainly.

import test from 'ava';
import { compileProgram } from '../lib/program/compile.js';
import { encodeGraph } from '../lib/program/graph.js';
import type { Graph, Op } from '../lib/program/graph.js';
import { loadNative } from '../lib/native.cjs';
import type { TableValue } from './reference/interpreter.js';
import { interpret, valuesFor } from './reference/interpreter.js';
import { functionOf, plainMask, plainScore } from './reference/programs.js';
import { randomPair, randomProgram } from './reference/random-program.js';
import { Random } from './reference/random.js';
import { kinds } from './toolchain/kinds.js';

function maskOf(source: string): Graph {
  return compileProgram('mask', source, kinds).graph;
}

function scoreOf(source: string): Graph {
  return compileProgram('score', source, kinds).graph;
}

/** Expressions of i, j and the parameters that are the same program; the first of a row is the plain one. */
const masks: readonly (readonly string[])[] = [
  [
    'j <= i',
    'i >= j',
    '!(j > i)',
    '!(i < j)',
    'j <= i ? true : false',
    'j > i ? !1 : !0',
    '!!(j <= i)',
    'Boolean(j<=i)',
  ],
  ['i - j < 4', '4 > i - j', '!(i - j >= 4)', 'i + -j < 4', '-j + i < 4', '!(4 <= i - j)'],
  ['i - 3 < j', 'i + -3 < j', '-3 + i < j', 'i - 1 - 2 < j', 'i + 1 - 4 < j', 'i < j + 3 ? i - 3 < j : i - 3 < j'],
  ['ids(i) === ids(j)', 'ids(j) == ids(i)', '!(ids(i) != ids(j))', 'ids(i) !== ids(j) ? false : true'],
  ['i < 3 && j < 5', 'j < 5 && i < 3', '!(i >= 3 || j >= 5)', 'i < 3 ? j < 5 : false', 'j >= 5 ? !1 : i < 3'],
  ['i < 3 && j < 5 && h < 1', 'i < 3 && (h < 1 && j < 5)', '!(h >= 1 || j >= 5 || i >= 3)', 'i<3&&j<5&&i<3&&h<1'],
  [
    'i < 3 || j < 5',
    '!(!(i < 3) && j >= 5)',
    'i < 3 ? true : j < 5',
    'i >= 3 ? j < 5 : !0',
    'i < 3 || !(i < 3) && j < 5',
  ],
  ['h < 1 ? i < 3 : j < 5', 'h >= 1 ? j < 5 : i < 3', '!(h < 1) ? j < 5 : i < 3', '!(h < 1 ? i >= 3 : j >= 5)'],
  ['h < 1 || h > 2 ? i < 3 : j < 5', 'h < 1 ? i < 3 : h > 2 ? i < 3 : j < 5', 'h>=1 && h<=2 ? j < 5 : i < 3'],
  [
    '(i < 3) === (j < 5)',
    '(i < 3) == (j < 5)',
    '!((i < 3) !== (j < 5))',
    '(i >= 3) === (j >= 5)',
    'i < 3 ? j < 5 : j >= 5',
  ],
  ['ids(i)', 'ids(i) !== 0', '!!ids(i)', '0 != ids(i)', 'ids(i) ? true : false', 'Boolean(ids(i))', '!ids(i) ? 0 : 1'],
  ['ids(i) && ids(j)', 'ids(j) !== 0 && ids(i) !== 0', '!(!ids(i) || !ids(j))', 'ids(i) ? ids(j) : 0'],
  [
    'ids(h < 1 ? i : j) < 2',
    '(h < 1 ? ids(i) : ids(j)) < 2',
    '(h >= 1 ? ids(j) : ids(i)) < 2',
    'ids(h < 1 ? i : j) <= 1 + 0 - 0 ? 2 > ids(h < 1 ? i : j) : 2 > ids(h < 1 ? i : j)',
  ],
  [
    'Math.floor(i / 8) === j',
    'Math.floor(i / (4 + 4)) == j',
    'j === Math.floor(-i / -8)',
    'Math.floor(-(-i / 8)) == j',
  ],
  ['Math.trunc(i / 8) === j', '(i / 8 | 0) === j', '~~(i / 8) === j', '(i / 8 >> 0) === j', '(0 | i / 8) === j'],
  ['i - j < 3', 'i - j < 2.5', '2.5 > i - j', '!(i - j >= 2.5)', 'i - j < 2.0001'],
  ['(i & 3 & j) === 0', '(j & (3 & i)) === 0', '(i & j & 7 & 3) == 0', '~(~i | ~j | -4) === 0'],
  ['(i ^ ~j) < 0', '~(i ^ j) < 0', '(~i ^ j) < 0', '(i ^ j ^ -1) < 0'],
  ['i % 4 === 0', 'i % -4 === 0', '-(-i % 4) == 0', '0 === i % 4'],
  ['(h < 1 ? window : 2 * window) > i - j', 'i - j < (h >= 1 ? window * 2 : window)'],
  [
    '+(i < 3) === 1',
    'i < 3',
    'Number(i < 3) > 0',
    '(i < 3 ? 1 : 0) !== 0',
    '1 == (i < 3)',
    '(i < 3) & !0',
    '(i < 3) | 0',
  ],
  ['time(i) <= limit', 'limit >= time(i)', '!!(time(i) <= limit)', 'time(i) <= limit || time(i) <= limit'],
  ['!(time(i) <= limit)', '!(limit >= time(i))', 'time(i) <= limit ? 0 : 1'],
];

/** Statements in the place of the expressions above. */
const bodies: readonly (readonly string[])[] = [
  [
    'return i < 3 ? h < 1 : j < 5;',
    'if (i < 3) return h < 1; return j < 5;',
    'if (i >= 3) { return j < 5 } else { return h < 1 }',
  ],
  [
    'return i - j < (h < 1 ? 2 : 9);',
    'let w = 9; if (h < 1) w = 2; return i - j < w;',
    'var w; if (h < 1) w = 2; else w = 9; return i - j < w;',
    'var w = 2; return h >= 1 && (w = 9), i - j < w;',
  ],
  [
    'return h < 1 && i < 3 ? j < 5 : j < i;',
    'if (h < 1) { if (i < 3) return j < 5; } return j < i;',
    'if (h < 1 && i < 3) return j < 5; return j < i;',
  ],
  [
    'const d = i - j; return d < 3 && d > -3;',
    'return i - j < 3 && i - j > -3;',
    'let d = i; d -= j; return d < 3 && d > -3;',
  ],
  ['let n = 0; n++; n += 2; return i < n;', 'return i < 3;', '{ const n = 3; { const m = n; return i < m; } }'],
];

const scores: readonly (readonly string[])[] = [
  [
    's - slope(h) * (i - j)',
    's + -slope(h) * (i - j)',
    's + -(slope(h) * (i - j))',
    '-(slope(h) * (i - j)) + s',
    's + (i - j) * -slope(h)',
  ],
  ['s * 0.5', 's / 2', '0.5 * s', 's / (1 + 1)', '-s * -0.5', '-(s * -0.5)', '-s / -2'],
  ['s * 0.30000000000000004', 's * (0.1 + 0.2)', '(0.1 + 0.2) * s', 'h < 1 ? s * (0.1 + 0.2) : (0.2 + 0.1) * s'],
  ['j <= i ? s : -Infinity', 'j > i ? -Infinity : s', 'j > i ? -1 / 0 : s', '!(j <= i) ? -(1 / 0) : s'],
  ['h < 1 ? Math.exp(s) : Math.exp(i)', 'Math.exp(h < 1 ? s : i)', 'Math.exp(h >= 1 ? i : s)'],
  ['h < 1 ? Math.exp(1) : Math.exp(2.5)', 'Math.exp(h < 1 ? 1 : 2.5)', 'h >= 1 ? Math.exp(2.5) : Math.exp(1)'],
  ['h < 1 ? Math.floor(i / 2) : Math.floor(j / 2)', 'Math.floor(h < 1 ? i / 2 : j / 2)'],
  ['h < 1 ? Math.floor(i / 2) : Math.floor(s)', 'Math.floor(h < 1 ? i / 2 : s)'],
  ['h < 1 ? Math.max(s, 1) : Math.max(s, i)', 'Math.max(s, h < 1 ? 1 : i)', 'Math.max(h >= 1 ? i : 1, s)'],
  ['Math.pow(s, 2)', 's ** 2', 'Math.pow(s, 1 + 1)'],
  ['s + (i + 1)', 's + (1 + i)', '1 + i + s', 'i - -1 + s'],
];

const expression = (kind: 'mask' | 'score', text: string): string =>
  `(${kind === 'mask' ? '' : 's, '}i, j, { h, window, ids, time, limit, slope }) => ${text}`;

for (const [name, rows, compile] of [
  ['masks', masks.map((row) => row.map((text) => expression('mask', text))), maskOf],
  ['bodies', bodies.map((row) => row.map((text) => expression('mask', `{ ${text} }`))), maskOf],
  ['scores', scores.map((row) => row.map((text) => expression('score', text))), scoreOf],
] as const) {
  test(`spellings of ${name} make one graph, and programs that differ do not`, (t) => {
    const found = new Set<string>();
    for (const [first, ...others] of rows) {
      const graph = compile(first!);
      for (const other of others) t.deepEqual(compile(other), graph, other);
      found.add(JSON.stringify(graph));
    }
    t.is(found.size, rows.length);
  });
}

test('reals are not turned around: NaN is neither below nor above', (t) => {
  const not = maskOf(expression('mask', '!(time(i) < limit)'));
  t.notDeepEqual(not, maskOf(expression('mask', 'time(i) >= limit')));
  const values = valuesFor(not, { time: { data: Float32Array.of(Number.NaN), shape: [1] }, limit: 0.5 });
  const pair = { i: 0, j: 0, row: 0, col: 0, b: 0, h: 0, hkv: 0, nq: 1, nkv: 1, s: 0 };
  t.is(interpret(not, pair, values), true);
  const truth = maskOf(expression('mask', 'time(i)'));
  t.is(interpret(truth, pair, valuesFor(truth, { time: { data: Float32Array.of(Number.NaN), shape: [1] } })), false);
  t.notDeepEqual(scoreOf(expression('score', '(s + 1) + 2')), scoreOf(expression('score', 's + 3')));
  t.notDeepEqual(scoreOf(expression('score', 's + 0')), scoreOf(expression('score', 's')));
});

test('arithmetic that is written down is done in double precision, and rounded once', (t) => {
  const { nodes, result } = scoreOf('() => 0.1 + 0.2 * 3');
  t.deepEqual(nodes[result], { op: 'constant', type: 'real', args: [], value: Math.fround(0.1 + 0.2 * 3) });
});

const limits = { size: 32, heads: 4, batch: 2 };

test('2,400 random programs mean what the functions do', (t) => {
  const random = new Random(5);
  const used = new Map<Op, number>();
  let shown = 0;
  let pairs = 0;
  for (let seed = 1; seed <= 1200; seed += 1) {
    for (const kind of ['mask', 'score'] as const) {
      const { source, parameters, kinds: given, grid } = randomProgram(kind, seed, limits);
      const { graph } = compileProgram(kind, source, given, grid);
      const values = valuesFor(graph, parameters);
      takenByAddon(graph, parameters);
      const plain = (kind === 'mask' ? plainMask : plainScore)(functionOf(source), parameters, grid);
      for (const { op } of graph.nodes) used.set(op, (used.get(op) ?? 0) + 1);
      for (let count = 0; count < 24; count += 1) {
        const pair = randomPair(random, limits);
        const [expected, outcome] = [plain(pair), interpret(graph, pair, values)];
        pairs += 1;
        if (outcome === true) shown += 1;
        if (!agree(expected, outcome)) {
          t.fail(`seed ${seed}: ${String(outcome)} instead of ${expected}: ${source} ${JSON.stringify(pair)}`);
          return;
        }
      }
    }
  }
  t.true(shown > pairs / 20 && shown < pairs / 2);
  const expected: Op[] = [
    'mod',
    'floorDiv',
    'ceilDiv',
    'truncDiv',
    'neg',
    'abs',
    'min',
    'max',
    'sign',
    'bitAnd',
    'bitOr',
  ];
  expected.push('bitXor', 'bitNot', 'shl', 'shr', 'ushr', 'lt', 'le', 'eq', 'ne', 'lnot', 'land', 'lor', 'select');
  expected.push(
    'i',
    'j',
    'row',
    'col',
    'b',
    'h',
    'hkv',
    'nq',
    'nkv',
    's',
    'add',
    'sub',
    'mul',
    'div',
    'table',
    'parameter',
  );
  expected.push('toReal', 'floor', 'ceil', 'trunc', 'exp', 'log', 'log2', 'sqrt', 'tanh', 'sin', 'cos', 'pow');
  for (const op of expected) t.true((used.get(op) ?? 0) >= 5, `${op} is hardly used`);
});

/** Throws if the addon finds a fault with a graph: an operand's type, an order, a parameter. */
function takenByAddon(graph: Graph, given: Readonly<Record<string, number | TableValue>>): void {
  const encoded = encodeGraph(graph);
  for (const { name } of graph.numbers) encoded.push(given[name] as number);
  const tables = graph.tables.map(({ name }) => given[name] as TableValue);
  for (const { shape } of tables) encoded.push(...shape);
  loadNative().program(
    new Float64Array(encoded),
    tables.map(({ data }) => data as Int32Array | Float32Array),
  );
}

/** Masks agree exactly; the function called computes scores in double precision, the graph in float32. */
function agree(expected: boolean | number, outcome: unknown): boolean {
  if (expected === outcome || (Number.isNaN(expected) && Number.isNaN(outcome))) return true;
  if (typeof expected !== 'number' || typeof outcome !== 'number') return false;
  return Math.abs(expected - outcome) <= 1e-3 * (1 + Math.abs(expected));
}

test('the order of nodes follows from what they are, not from parameters that are not used', (t) => {
  const source = '(i, j, { window, ids }) => ids(i) + window < ids(j) && i - window < j && (ids(j) & 3) > 1';
  const few = { ids: kinds['ids']!, window: kinds['window']! };
  const renamed =
    '(a, b, c) => { const { ids: x, window: y } = c; return a - y < b && (x(b) & 3) > 1 && y + x(a) < x(b) }';
  t.deepEqual(compileProgram('mask', source, few).graph, compileProgram('mask', source, kinds).graph);
  t.deepEqual(compileProgram('mask', source, few).graph, compileProgram('mask', renamed, kinds).graph);
});
