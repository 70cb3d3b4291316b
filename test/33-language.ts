// The language of programs: what it takes, the types of what comes out, and every refusal with its caret.

import { createContext, runInContext } from 'node:vm';
import test from 'ava';
import { AttentionError } from '../lib/errors.js';
import { compileProgram } from '../lib/program/compile.js';
import type { Graph, ProgramKind } from '../lib/program/graph.js';
import { isRefusal } from './helpers/errors.js';
import { interpret, valuesFor } from './reference/interpreter.js';
import type { Outcome, Pair } from './reference/interpreter.js';
import { kinds, parameters } from './toolchain/kinds.js';

const given = { ...kinds, wide: { type: 'integer', rank: 3 } } as const;

function graphOf(kind: ProgramKind, program: unknown, grid?: readonly number[]): Graph {
  return compileProgram(kind, program, given, grid).graph;
}

const place: Pair = { i: 7, j: 5, row: 2, col: 5, b: 1, h: 3, hkv: 1, nq: 6, nkv: 11, s: 0.75 };

/** A program's value at one pair. */
function valueOf(kind: ProgramKind, program: unknown, grid?: readonly number[]): Outcome {
  const graph = graphOf(kind, program, grid);
  return interpret(graph, place, valuesFor(graph, parameters));
}

/** What a score makes of the place above, where i is 7, j is 5 and s 0.75. */
const values: readonly (readonly [string, number])[] = [
  ['s', 0.75],
  ['i', 7],
  ['1e3', 1000],
  ['0x10', 16],
  ['-i + +j', -2],
  ['i + j * 2 - 1', 16],
  ['i / j', Math.fround(7 / 5)],
  ['Math.floor(i / j) + Math.ceil(i / j) + Math.trunc(-i / j)', 2],
  ['-i % j', -2],
  ['(i & 6) + (i | 8) + (i ^ 1) + ~i', 6 + 15 + 6 - 8],
  ['(i << 2) + (-i >> 1) + (i >>> 1)', 28 - 4 + 3],
  ['2 ** 10', 1024],
  ['s ** 2', 0.5625],
  ['i < j ? 1 : 2.5', 2.5],
  ['i && j', 5],
  ['i - 7 || j', 5],
  ['i - 7 && j', 0],
  ['Math.min(i, j, 6) + Math.max(i, j)', 12],
  ['Math.min(s, i)', 0.75],
  ['Math.abs(j - i) + Math.sign(j - i)', 1],
  ['Math.abs(-s) + Math.sign(-s)', -0.25],
  ['Math.floor(s) + Math.ceil(s) * 2 + Math.trunc(-s)', 2],
  ['Math.floor(s) + Math.floor(i)', 7],
  ['Math.exp(s)', Math.fround(Math.exp(0.75))],
  ['Math.log(i) + 0 * s', Math.fround(Math.log(7))],
  ['Math.log2(8 * s) - Math.log2(s)', 3],
  ['Math.sqrt(j + 4)', 3],
  ['Math.tanh(s)', Math.fround(Math.tanh(0.75))],
  ['Math.sin(s)', Math.fround(Math.sin(0.75))],
  ['Math.cos(s)', Math.fround(Math.cos(0.75))],
  ['Math.pow(i, j)', 16807],
  ['Math.fround(0.1)', Math.fround(0.1)],
  ['Math.PI', Math.fround(Math.PI)],
  ['Math["LN2"]', Math.fround(Math.LN2)],
  ['Infinity', Number.POSITIVE_INFINITY],
  ['-Infinity', Number.NEGATIVE_INFINITY],
  ['NaN', Number.NaN],
  ['1 / 0', Number.POSITIVE_INFINITY],
  ['Number(i > j) + +(i < j)', 1],
  ['(i > j) | 4', 5],
  ['(1, 2, i)', 7],
  ['b * 1000 + h * 100 + hkv * 10 + row', 1312],
  ['col * 100 + nq * 10 + nkv', 571],
  ['window + limit', 6.5],
  ['ids(i) * 10 + other(j)', 11],
  ['slope(h)', 0.125],
  ['bias(h, i)', Math.fround(Math.sin(52))],
  ['(0, ids)(i)', 1],
];

test('expressions have the values of JavaScript, in float32', (t) => {
  const names = 'b, h, hkv, row, col, nq, nkv, window, limit, ids, other, slope, bias';
  for (const [text, value] of values) t.is(valueOf('score', `(s, i, j, { ${names} }) => ${text}`), value, text);
});

/** Bodies of a mask at the place above, and what they give. */
const bodies: readonly (readonly [string, boolean])[] = [
  ['return i > j;', true],
  ['return !0;', true],
  ['return !1', false],
  ['return i - 7;', false],
  ['return i == 7 && j != 7 && i === 7 && j !== 7;', true],
  ['if (i < j) return true; return false;', false],
  ['if (i < j) return true; else if (i === 7) return j === 5; else return false;', true],
  ['if (i < j) { return true } else { if (j < 3) return true; } return false', false],
  ['const d = i - j, e = d * 2; return e === 4;', true],
  ['let d = i; d -= j; d++; --d; return d === 2;', true],
  ['let x; if (i > j) x = 1; else x = 2; return x === 1;', true],
  ['let x = 1; if (i > j) { let x = 2; x += 1; } return x === 1;', true],
  ['var x = 1; if (i > j) { var x = 2; } return x === 2;', true],
  ['let x = 0; i > j && (x = 3); i > j || (x = 4); return x === 3;', true],
  ['let x = 0, y = (x++, x); return y === x++ && x === 2;', true],
  ['i = j; return i === 5;', true],
  ['const { ids: a, ["other"]: b } = c; return a(i) + b(j) === 2;', true],
  ['const { floor } = Math; return floor(i / 2) === 3;', true],
  ['"use strict"; ; {} return c.h === 3 && c["b"] === 1;', true],
  ['return c.time(i) > c.limit ? i < j : c.time(j) <= 0.5;', true],
  ['return true; return nothing(here);', true],
  ['const q = i / 2; return Math.floor(q) === 3 && (q | 0) === 3;', true],
  ['return i - j < 2.5 && 2.5 > i - j && i > -1e10 && i < Infinity && !(i === 2.5);', true],
  ['return c.time(i) < 3 && c.time(i) > -3 && c.time(i) !== 0.5 && -0.5 < c.time(i);', true],
  ['return c.time(i) < c.window;', true],
  ['return c.time(i) < Math.fround(0.126);', true],
  ['return (i > j ? c.time(i) : c.limit) < 0.25;', true],
];

test('statements run as they do in JavaScript', (t) => {
  for (const [body, value] of bodies) t.is(valueOf('mask', `(i, j, c) => { ${body} }`), value, body);
});

const forms: readonly string[] = [
  '(i, j) => j <= i',
  '(i,j)=>{return j<=i}',
  'function (i, j) { return j <= i; }',
  'function causal(i, j) { return j <= i }',
  'causal(i, j) { return j <= i }',
  "'a name'(i, j) { return j <= i }",
  '["name"](i, j) { return j <= i }',
  'get(i, j) { return j <= i }',
  'async(i, j) { return j <= i }',
  'static(i, j) { return j <= i }',
  ' /* before */ (i /* query */, j) => /* result */ j <= i // after',
  '((i, j) => (j <= i))',
  '__name((i, j) => j <= i, "causal")',
  '(i, j, {}) => j <= i',
  '(i, j, { h, ids: documents }) => j <= i',
  '(i, j, context) => j <= i',
  'function (i, j, _a) { var ids = _a.ids, h = _a["h"]; return j <= i }',
  '(\\u0069, j) => j <= i',
  '(i, j) => (cov_1x().f[0]++, cov_1x().s[0]++, cov_1x().b[0][1]++, j <= i)',
  '(i, j) => { cov_1x.s[12]++; return j <= i; }',
];

test('functions in every form are the same program', (t) => {
  const causal = graphOf('mask', (i: number, j: number) => j <= i);
  for (const form of forms) t.deepEqual(graphOf('mask', form), causal, form);
  t.deepEqual(
    causal.nodes.map(({ op }) => op),
    ['j', 'i', 'le'],
  );
  t.deepEqual(graphOf('mask', '() => true').nodes, [{ op: 'constant', type: 'boolean', args: [], value: 1 }]);
  t.deepEqual(graphOf('score', '() => 2').nodes, [{ op: 'constant', type: 'real', args: [], value: 2 }]);
});

test('a function of another realm is a function', (t) => {
  const program: unknown = runInContext('(i, j) => j <= i', createContext({}));
  t.deepEqual(graphOf('mask', program), graphOf('mask', '(i, j) => j <= i'));
});

test('numbers and tables in use are listed by name, whatever the order of their use', (t) => {
  const graph = graphOf(
    'mask',
    '(i, j, { window, time, limit, other, ids }) => time(i) < limit && ids(i) + window > other(j)',
  );
  t.deepEqual(graph.numbers, [
    { name: 'limit', type: 'real' },
    { name: 'window', type: 'integer' },
  ]);
  t.deepEqual(
    graph.tables.map(({ name, type, rank }) => `${name} ${type} ${rank}`),
    ['ids integer 1', 'other integer 1', 'time real 1'],
  );
  const both = graphOf('mask', '(i, j, { window, time }) => time(i) < window && i - j < window');
  t.deepEqual(both.numbers, [
    { name: 'window', type: 'integer' },
    { name: 'window', type: 'real' },
  ]);
  t.is(graphOf('mask', '(i, j, { wide }) => wide(i, j, 0)').tables[0]!.rank, 3);
});

test('conditions come before the reads that they guard', (t) => {
  const { nodes } = graphOf('mask', '(i, j, { ids }) => ids(j) > 1 && ids(ids(j)) === 2 && j < 8 && i !== j');
  const order = nodes.map(({ op }) => op);
  t.true(order.indexOf('lt') < order.indexOf('table'));
  t.true(order.indexOf('ne') < order.indexOf('table'));
  const [first, second] = nodes.flatMap(({ op }, index) => (op === 'table' ? [index] : []));
  t.deepEqual(nodes[second!]!.args, [first]);
});

test('positions on a grid have axes', (t) => {
  const at = (text: string, grid: readonly number[]): Outcome => valueOf('score', `(s, i, j) => ${text}`, grid);
  t.is(at('i.x', [9]), 7);
  t.is(at('i.y * 10 + i.x', [3, 4]), 13);
  t.is(at('j.y * 10 + j.x', [3, 4]), 11);
  t.is(at('i.z * 100 + i.y * 10 + i.x', [2, 2, 3]), 101);
  t.is(at('i + j', [3, 4]), 12);
  t.is(valueOf('mask', '({ y, x: column }, { x }) => y === 1 && column === 3 && x === 1', [3, 4]), true);
  // Before the first position the axes go on.
  const graph = graphOf('score', '(s, i) => i.y * 10 + i.x', [3, 4]);
  t.is(interpret(graph, { ...place, i: -1 }, valuesFor(graph, parameters)), -10 + 3);
});

test('the grid has to be one', (t) => {
  for (const grid of [[], [1, 2, 3, 4], [0], [2.5], [-1], [2 ** 16, 2 ** 16], [Number.NaN]]) {
    const error = t.throws(() => compileProgram('mask', '(i) => i.x', {}, grid));
    isRefusal(t, error, { code: 'ERR_OUT_OF_RANGE', argument: 'grid' });
  }
  const error = t.throws(() => compileProgram('mask', '(i) => i.x', {}, 8 as never));
  isRefusal(t, error, { code: 'ERR_INVALID_ARG_TYPE', argument: 'grid' });
});

/** Programs that are refused: the place marked by ▸, what was found, and what is expected. */
const refusals: readonly (readonly [ProgramKind, string, RegExp, RegExp])[] = [
  ['mask', '(i, j) => j <= ▸limit', /the free name limit/u, /last parameter: \(i, j, \{ limit \}\) =>/u],
  ['score', '(s, i, j) => ▸tanh(s)', /the free name tanh/u, /\(s, i, j, \{ tanh \}\).*Math\.tanh/u],
  ['mask', '(i, j) => ▸ids(i)', /the free name ids/u, /last parameter/u],
  ['mask', '(i, j, { ▸idz }) => idz(i)', /the unknown name idz/u, /last parameter/u],
  ['mask', '(i, j, c) => ▸c.idz(i)', /the unknown name idz/u, /last parameter/u],
  ['mask', '(i, j) => ▸arguments', /the free name arguments/u, /last parameter/u],
  ['mask', 'function (i, j) { return ▸arguments }', /arguments/u, /a number or a boolean|a boolean/u],
  ['mask', 'function f(i, j) { return ▸f(i) }', /a call of the program itself/u, /tables/u],
  ['mask', '(i, j) => ▸this', /this/u, /conditions/u],
  ['mask', '(i, j) => { ▸for (;;) {} }', /“for”/u, /const, let, if and return/u],
  ['mask', '(i, j) => { ▸while (i) {} return i }', /“while”/u, /const, let, if and return/u],
  ['mask', '(i, j) => { ▸switch (i) {} return i }', /“switch”/u, /if/u],
  ['mask', '(i, j) => { ▸throw i }', /“throw”/u, /if/u],
  ['mask', '(i, j) => { return ▸() => i }', /“arrow function”/u, /one function/u],
  ['mask', '(i, j) => { ▸function f() {} return i }', /“function declaration”/u, /one function/u],
  ['mask', '(i, j) => { if (i) return j; ▸}', /a path that returns nothing/u, /a return on every path/u],
  ['mask', '(i, j) => { ▸return; }', /a return of nothing/u, /a value/u],
  ['mask', '(i, j) => ▸[i]', /“array”/u, /arithmetic/u],
  ['mask', '(i, j) => ▸new Map()', /“new”/u, /arithmetic/u],
  ['mask', '(i, j) => i < ▸"a"', /"a"/u, /numbers and booleans only/u],
  ['mask', '(i, j) => i < ▸10n', /10n/u, /numbers and booleans only/u],
  ['mask', '(i, j) => i < ▸null', /null/u, /numbers and booleans only/u],
  ['mask', '(i, j) => i < ▸/x/', /\/x\//u, /numbers and booleans only/u],
  ['mask', '(i, j) => i < ▸`a`', /a template string/u, /numbers and booleans only/u],
  ['mask', '(i, j) => ▸i ?? j', /\?\?/u, /condition \? a : b/u],
  ['mask', '(i, j) => ▸typeof i', /typeof/u, /! - \+ ~/u],
  ['mask', '(i, j) => ▸i in j', /the operator in/u, /arithmetic/u],
  ['mask', '(i, j) => ▸i?.x', /an optional property/u, /a plain property or call/u],
  ['mask', '(i, j, { ids }) => ▸ids?.(i)', /or call/u, /a plain property or call/u],
  ['mask', '(i, j, { ids }) => ids[▸i]', /a computed property/u, /by call, as in ids\(i\)/u],
  ['mask', '(i, j, { ids }) => ▸ids.length', /the property length of the table ids/u, /a call/u],
  ['mask', '(i, j, { ids }) => ids(▸...i)', /“spread element”/u, /arithmetic/u],
  ['mask', '(i, j, { ids }) => ▸ids(i, j)', /2 indices of ids/u, /one index/u],
  ['mask', '(i, j, { wide }) => ▸wide(i)', /1 indices of wide/u, /3 indices/u],
  ['mask', '(i, j, { ids }) => ▸ids + 1', /the table ids/u, /a number/u],
  ['mask', '(i, j, { ids }) => ▸ids', /the table ids as the result/u, /a boolean or a number/u],
  ['mask', '(i, j, { window }) => ▸window(i)', /a call of a value/u, /tables/u],
  ['score', '(s, i, j, { ids }) => ▸ids(s)', /a real index of ids/u, /Math\.floor\(a \/ b\)/u],
  ['score', '(s, i, j, { ids }) => ▸ids(i / 2)', /a real index of ids/u, /Math\.floor\(a \/ b\)/u],
  ['mask', '(i, j, { ids }) => ▸ids(0.5)', /a real index of ids/u, /integer/u],
  ['mask', '(i, j) => ▸i.x === j.x', /the property x of a number/u, /a declared grid/u],
  ['mask', '(i, j) => i < ▸Math.random()', /Math\.random/u, /Math\.\{floor/u],
  ['mask', '(i, j) => ▸Math.max() < i', /Math\.max of nothing/u, /one number or more/u],
  ['mask', '(i, j) => ▸Math.abs(i, j) < 3', /2 arguments of abs/u, /1/u],
  ['mask', '(i, j) => ▸Math', /Math as a whole/u, /a boolean or a number/u],
  ['mask', '(i, j) => ▸i / 2 < j', /a quotient/u, /Math\.floor\(a \/ b\)/u],
  ['mask', '(i, j) => ▸i * 0.5 < j', /real arithmetic/u, /masks may only compare/u],
  ['mask', '(i, j) => ▸Math.sqrt(i) < j', /real arithmetic/u, /masks may only compare/u],
  ['mask', '(i, j) => ▸i + 3000000000 < j', /real arithmetic/u, /masks may only compare/u],
  ['mask', '(i, j, { time }) => ▸time(i) + 1 < 2', /real arithmetic/u, /masks may only compare/u],
  ['mask', '(i, j, { time }) => time(i) < ▸0.1', /0\.1/u, /Math\.fround\(0\.1\)/u],
  ['mask', '(i, j, { time }) => ▸time(i) < j', /an integer compared with a real/u, /two integers, or two reals/u],
  ['mask', '(i, j, { time }) => time(i) < ▸16777217', /16777217/u, /a float32 number/u],
  ['mask', '(i, j) => ▸i % 0', /% 0/u, /a divisor that is not 0/u],
  ['mask', '(i, j) => ▸i / 0 > 1', /\/ 0/u, /a divisor that is not 0/u],
  ['score', '(s, i, j) => ▸s % 2', /% of real numbers/u, /integers/u],
  ['score', '(s, i, j) => ▸s | 0', /a real number/u, /integers for bitwise operators/u],
  ['mask', '(i, j) => ▸(i < j) + 1', /a boolean/u, /condition \? 1 : 0/u],
  ['mask', '(i, j) => ▸(i < j) < (j < i)', /< with a boolean/u, /two conditions/u],
  ['mask', '(i, j) => ▸(i < j) === 1', /=== with a boolean/u, /two conditions/u],
  ['score', '(s, i, j) => ▸i < j', /a boolean/u, /a number/u],
  ['score', '(s, i, j) => ▸i < j && s', /a boolean on some paths/u, /a number on all/u],
  ['mask', '(i, j) => ▸undefined', /undefined as the result/u, /a boolean or a number/u],
  ['mask', '(i, j) => ▸void 0', /undefined as the result/u, /a boolean or a number/u],
  ['mask', '(i, j) => { let x; if (i) x = 1; return ▸x + 1 }', /a variable that may not have a value/u, /a number/u],
  ['mask', '(i, j) => { const y = ▸x; let x = 1; return y }', /x before its declaration/u, /before use/u],
  ['mask', '(i, j) => { ▸x = 1; let x; return x }', /x before its declaration/u, /before use/u],
  ['mask', '(i, j) => { const x = 1; ▸x = 2; return x }', /the constant x/u, /let/u],
  ['mask', '(i, j) => { ▸x = 2; return i }', /the free name x/u, /last parameter/u],
  ['mask', '(i, j, c) => { ▸c.h = 2; return i }', /an assignment to this/u, /variables/u],
  ['mask', '(i, j, { ▸ids = 3 }) => i', /a default value/u, /ids without a default/u],
  ['mask', '(i, ▸j = 3) => i', /“assignment pattern”/u, /without defaults/u],
  ['mask', '(i, j, { ▸...rest }) => i', /“rest element”/u, /every name/u],
  ['mask', '(i, j, ▸[a]) => i', /“array pattern”/u, /plain names/u],
  ['mask', '(i, j, c, ▸d) => i', /one more parameter/u, /at most 3/u],
  ['mask', 'function (i, ▸i) { return i }', /the same name again/u, /names that differ/u],
  ['mask', '(i, j, { [▸i]: x }) => x', /a computed name/u, /a plain name/u],
  ['mask', '▸async (i, j) => i', /an async function/u, /one function/u],
  ['mask', '▸function* (i, j) { return i }', /a generator/u, /one function/u],
  ['mask', '▸get x() { return 1 }', /a getter or setter/u, /one function/u],
  ['mask', '▸class A {}', /no function/u, /one function/u],
  ['mask', '▸1 + 1', /no function/u, /one function/u],
  ['mask', '__name(▸1, "a")', /no function/u, /one function/u],
  ['mask', '(i, j) => i <▸', /unexpected token/u, /without syntax errors/u],
  ['mask', '(i, j) => i ▸<!-- j', /<!--/u, /a space within/u],
  ['mask', '(i, j) => i▸--> j', /-->/u, /a space within/u],
  ['mask', '(i, j) => (▸cov_1x().other[0]++, j <= i)', /a change of this/u, /variables/u],
  ['mask', '(i, j, { window: cov_1x }) => (▸cov_1x().s[0]++, j <= i)', /a change of this/u, /variables/u],
  ['mask', '(i, j, { cov_1x }) => j <= i', /the unknown name cov_1x/u, /last parameter/u],
];

test('refusals show the line, a caret and a remedy', (t) => {
  for (const [kind, marked, received, expected] of refusals) {
    const at = marked.indexOf('▸');
    const source = marked.replace('▸', '');
    const error = t.throws(() => graphOf(kind, source), { instanceOf: AttentionError }, source);
    isRefusal(t, error, { code: 'ERR_PROGRAM', argument: 'program', received, expected });
    if (at < 0) continue;
    const [, line, caret] = /\n\n {4}(.*)\n {4}( *\^)$/u.exec(error.message) ?? [];
    t.is(line, source, error.message);
    t.is(caret, `${' '.repeat(at)}^`, `${source}\n${error.message}`);
    t.regex(error.message, new RegExp(`line 1, column ${at + 1}\\)`, 'u'));
  }
});

test('the whole message', (t) => {
  const source = '(i, j) => {\n  const near = i - j < 4;\n\treturn near || j < prefix;\n}';
  const error = t.throws(() => graphOf('mask', source));
  t.is(
    (error as Error).message,
    [
      'program: expected every name from outside to come in through the last parameter: (i, j, { prefix }) => … ' +
        'but received the free name prefix (line 3, column 21)',
      '',
      '     return near || j < prefix;',
      `    ${' '.repeat(20)}^`,
    ].join('\n'),
  );
});

test('of long lines the part around the place is shown', (t) => {
  const source = `(i, j) => ${'i < j || '.repeat(100)}missing || ${'i < j || '.repeat(100)}i`;
  const { message } = t.throws(() => graphOf('mask', source)) as Error;
  const [line, caret] = message.split('\n').slice(-2) as [string, string];
  t.regex(line, /^ {4}….*missing.*…$/u);
  t.is(line.indexOf('missing'), caret.indexOf('^'));
  t.true(line.length < 140);
});

test('functions without a text are refused with the remedy', (t) => {
  const near = (window: number, i: number, j: number): boolean => i - j < window;
  for (const program of [near.bind(null, 3), Math.max, new Proxy(() => true, {}), Symbol]) {
    const error = t.throws(() => graphOf('mask', program));
    isRefusal(t, error, { code: 'ERR_PROGRAM', argument: 'program', expected: /give the program as a string/u });
  }
  for (const program of [undefined, null, 1, {}, Symbol('x'), ['(i) => i']]) {
    const error = t.throws(() => graphOf('mask', program));
    isRefusal(t, error, { code: 'ERR_INVALID_ARG_TYPE', argument: 'program', expected: /a function or a string/u });
  }
});

test('parameters must not have names of the context', (t) => {
  for (const name of ['b', 'h', 'hkv', 'row', 'col', 'nq', 'nkv']) {
    const clash = { [name]: { type: 'integer', rank: 0 } } as const;
    const error = t.throws(() => compileProgram('mask', '(i, j) => i < j', clash));
    isRefusal(t, error, { code: 'ERR_PROGRAM', argument: 'program', received: new RegExp(`named ${name}$`, 'u') });
  }
});

test('a program compiles once for parameters of the same kinds', (t) => {
  const source = '(i, j, { ids, window }) => ids(i) < window';
  const first = compileProgram('mask', source, given);
  t.is(compileProgram('mask', source, { ...given }), first);
  t.is(compileProgram('mask', source, Object.fromEntries(Object.entries(given).reverse())), first);
  t.is(first.source, source);
  t.not(compileProgram('mask', source, { ...given, window: { type: 'real', rank: 0 }, ids: kinds['time']! }), first);
  t.not(compileProgram('mask', source, given, [4, 6]), first);
  t.not(compileProgram('score', '(s) => s', given).graph.kind, first.graph.kind);
  const program = (i: number, j: number): boolean => i < j;
  t.is(compileProgram('mask', program, {}), compileProgram('mask', program, {}));
  t.is(compileProgram('mask', program, {}).source, String(program));
  // What is not used for long is forgotten.
  for (let count = 0; count < 2000; count += 1) compileProgram('mask', `(i, j) => i < ${count}`, {});
  t.not(compileProgram('mask', source, given), first);
  t.deepEqual(compileProgram('mask', source, given), first);
});
