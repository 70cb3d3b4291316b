// Mutated and malicious sources: an error with a code, or the right answer, and soon.

import test from 'ava';
import { AttentionError } from '../lib/errors.js';
import { compileProgram } from '../lib/program/compile.js';
import type { ProgramKind } from '../lib/program/graph.js';
import { interpret, poison, Refused, valuesFor } from './reference/interpreter.js';
import { functionOf, OutOfTable, plainMask, plainScore } from './reference/programs.js';
import type { PlainProgram } from './reference/programs.js';
import { randomPair, randomProgram } from './reference/random-program.js';
import { Random } from './reference/random.js';
import { kinds, parameters, size } from './toolchain/kinds.js';
import { programs } from './toolchain/programs.js';
import { randomStyle } from './toolchain/random-style.js';

/** Milliseconds that one source may take. */
const budget = 50;
const limits = { size, heads: 4, batch: 2 };

const operators = '+ - * / % < <= > >= == === != !== && || & | ^ << >> >>> ** ='.split(' ');
const operands = 'i j s h ids window limit time slope 0 1 2 7 0.5 -1 true ids(i) (i-j) Math.min(i,j) NaN'.split(' ');

const pieces = [
  'i j s h ids window limit time slope Math context undefined NaN Infinity arguments eval true false null',
  '0 1 -1 2 0.5 1e9 2147483648 -2147483649 1e309 0x10 010 1n 1_0 .1 -0 1/0 0/0',
  '+ - * / % ** < <= > >= == === != !== && || ?? ! ~ ? : & | ^ << >> >>> = += ||= => ... . ?. , ; ( ) [ ] { }',
  'if else return const let var for(;;) while(1) do switch try throw break function async await yield class new',
  'this super delete typeof void in of get set static import with debugger label: i++ --j (i=j) {} () +i -j !i ~j',
  '.constructor .__proto__ ["x"] .prototype `x` "x" /x/ // /* */ <!-- --> "use_strict"; cov_a().s[0]++; __name(',
  'ids(i) ids(99) Math.min(i,j) Math.max() Math.random() Math.floor(i/2) (0,ids)(i) (i/2|0) \\u0069 ид 𝒊',
]
  .flatMap((line) => line.split(' '))
  .concat(['\u2028', '\u00a0', '\ufeff', '\0', '\n', '\r\n']);

/** One of the sources that are mutated, with what it is called with. */
interface Case {
  readonly kind: ProgramKind;
  readonly source: string;
  readonly given: typeof parameters;
  readonly kinds: typeof kinds;
  readonly grid: readonly number[] | undefined;
}

function caseOf(seed: number): Case {
  const kind = seed % 2 === 0 ? 'mask' : 'score';
  if (seed % 3 === 0) return { ...randomStyle(kind, seed), given: parameters, kinds, grid: undefined };
  if (seed % 3 === 1) {
    const program = randomProgram(kind, seed, { ...limits, depth: 2 });
    return { ...program, given: program.parameters };
  }
  const all = Object.values(programs);
  const one = all[seed % all.length]!;
  return { kind: one.kind, source: String(one.program), given: parameters, kinds, grid: one.grid };
}

/** A token or a few replaced by one that fits, or by anything; removed, or doubled elsewhere. */
function mutated(random: Random, source: string): string {
  const tokens = source.match(/\s+|\w+(?:\.\w+)?|[<>=!&|]+|[^]/gu)!;
  for (let count = random.chance(0.7) ? 1 : random.integer(2, 3); count > 0; count -= 1) {
    const at = random.integer(0, tokens.length - 1);
    switch (random.integer(0, 7)) {
      case 0:
        tokens.splice(at, random.integer(1, 3));
        break;
      case 1:
        tokens.splice(at, 0, ` ${random.pick(pieces)} `);
        break;
      case 2:
        tokens[at] = ` ${random.pick(pieces)} `;
        break;
      case 3:
        tokens.splice(at, 0, random.pick(tokens));
        break;
      default: {
        const kind = random.chance(0.5) ? operators : operands;
        const places = tokens.flatMap((token, place) => (kind.includes(token) ? [place] : []));
        if (places.length > 0) tokens[random.pick(places)] = ` ${random.pick(kind)} `;
      }
    }
    if (tokens.length === 0) tokens.push(' ');
  }
  return tokens.join('');
}

/** Milliseconds of a compilation: of the fastest one, repeated while that is over the budget. Other processes run, too. */
function timed(compile: () => unknown): number {
  let fastest = Infinity;
  for (let n = 0; n < 5 && fastest > budget; n++) {
    const start = process.hrtime.bigint();
    try {
      compile();
    } catch {
      // Looked at elsewhere.
    }
    fastest = Math.min(fastest, Number(process.hrtime.bigint() - start) / 1e6);
  }
  return fastest;
}

/** The function, if it is one that can be called: what only looks like a loop could hang, and is refused anyway. */
function callable(source: string): PlainProgram | undefined {
  if (/for\s*\(|while\s*\(/u.test(source)) return undefined;
  try {
    const program = functionOf(source);
    return typeof program === 'function' ? program : undefined;
  } catch {
    return undefined;
  }
}

test('10,000 mutated sources are refused with a code or computed right', (t) => {
  const random = new Random(6);
  let [refused, compared, slowest] = [0, 0, 0];
  const uncomparable: string[] = [];
  // The parser is loaded with the first program.
  compileProgram('mask', '(i, j) => j <= i', {});
  for (let seed = 1; seed <= 10_000; seed += 1) {
    const one = caseOf(seed);
    const source = mutated(random, one.source);
    const compile = (): ReturnType<typeof compileProgram> => compileProgram(one.kind, source, one.kinds, one.grid);
    slowest = Math.max(slowest, timed(compile));
    let graph: ReturnType<typeof compileProgram>['graph'];
    try {
      ({ graph } = compile());
    } catch (error) {
      refused += 1;
      if (error instanceof AttentionError && error.code === 'ERR_PROGRAM') continue;
      t.fail(`${String(error)}: ${source}`);
      return;
    }
    const program = callable(source) ?? callable(`({ ${source} }).${/^\s*(\w+)/u.exec(source)?.[1]}`);
    if (program === undefined) {
      uncomparable.push(source);
      continue;
    }
    const plain = (one.kind === 'mask' ? plainMask : plainScore)(program, one.given, one.grid);
    const values = valuesFor(graph, one.given);
    for (let count = 0; count < 6; count += 1) {
      const pair = randomPair(random, limits);
      const verdict = judge(
        () => plain(pair),
        () => interpret(graph, pair, values),
      );
      if (verdict === undefined) continue;
      compared += 1;
      if (verdict !== '') {
        t.fail(`seed ${seed}: ${verdict}\n${source}\n${JSON.stringify(pair)}`);
        return;
      }
    }
  }
  t.log({ refused, compared, uncomparable: uncomparable.length, slowest: `${slowest.toFixed(1)} ms` });
  t.true(refused > 3000 && refused < 9000);
  t.true(compared > 6000);
  t.deepEqual(uncomparable, []);
  t.true(slowest <= budget, `${slowest} ms`);
});

/** Empty if both agree; undefined where the call is refused, or where float32 and double precision may part. */
function judge(plain: () => unknown, graph: () => unknown): string | undefined {
  let expected: unknown;
  let outcome: unknown;
  try {
    expected = plain();
  } catch (error) {
    // A read out of range: what the graph makes of it is refused or not needed.
    return error instanceof OutOfTable ? undefined : `the function throws ${String(error)}`;
  }
  try {
    outcome = graph();
  } catch (error) {
    return error instanceof Refused ? undefined : String(error);
  }
  if (outcome === poison) return 'a read out of range';
  if (typeof expected === 'boolean') return expected === outcome ? '' : `${String(outcome)} instead of ${expected}`;
  const [x, y] = [Number(expected), Number(outcome)];
  if (Object.is(x + 0, y + 0) || Math.abs(x - y) <= 1e-3 * (1 + Math.abs(x))) return '';
  // Rounding to float32 moves comparisons and functions of large numbers; that is not what this test is about.
  return undefined;
}

const deep = (open: string, inside: string, close: string, times: number): string =>
  open.repeat(times) + inside + close.repeat(times);

const hostile: Readonly<Record<string, string>> = {
  'deep parentheses': `(i, j) => ${deep('(', 'i', ')', 9000)}`,
  'deep brackets': `(i, j) => ${deep('[', 'i', ']', 9000)}`,
  'deep blocks': `(i, j) => ${deep('{', 'return i', '}', 9000)}`,
  'deep functions': `(i, j) => ${'() => '.repeat(3000)}i`,
  'deep calls': `(i, j, { ids }) => ${deep('ids(', 'i', ')', 3000)}`,
  'deep calls, within the limits': `(i, j, { ids }) => ${deep('ids(', 'i', ')', 95)} > 1 >`,
  'many negations': `(i, j) => ${'!'.repeat(19_000)}i`,
  'many signs': `(i, j) => ${'- '.repeat(9000)}i`,
  'many choices': `(i, j) => ${'i ? j : '.repeat(2000)}i`,
  'many choices within choices': `(i, j) => ${'i ? '.repeat(1500)}i${' : j'.repeat(1500)}`,
  'many powers': `(s, i, j) => ${'s ** '.repeat(3000)}s`,
  'many assignments': `(i, j) => ${'i = '.repeat(4000)}j`,
  'many ifs': `(i, j) => { ${'if (i) '.repeat(2000)} return j; return i }`,
  'many ifs in a row': `(i, j) => { ${'if (i < j) return j; '.repeat(400)} return i }`,
  'many elses': `(i, j) => { ${'if (i < j) return j; else '.repeat(380)} return i }`,
  'ifs that double the rest': `(i, j) => { let x = 0; ${'if (i < x) { if (j < x) return 1; x += j; } '.repeat(300)} return x }`,
  'variables that double': `(i, j) => { let x = i; ${'x = j < x ? x + i : x - j; '.repeat(500)} return x }`,
  'choices that double': `(s, i, j) => { let x = 1; ${'x = j < x ? Math.abs(x) : Math.exp(x); '.repeat(400)} return x }`,
  'many conditions': `(i, j) => ${Array.from({ length: 700 }, (_, at) => `i<${at}`).join('&&')}`,
  'conditions that grow': `(i, j) => { let x = i < j; ${'x = x && i < j + x; '.repeat(500)} return x }`,
  'conditions that alternate': `(i, j) => { let x = i < j; ${Array.from({ length: 500 }, (_, at) => `x = x ${at % 2 ? '&&' : '||'} i < ${at};`).join(' ')} return x }`,
  'equalities of conditions': `(i, j) => { let x = i < j; ${Array.from({ length: 600 }, (_, at) => `x = x === i < ${at};`).join(' ')} return x }`,
  'bits that grow': `(i, j) => { let x = i; ${Array.from({ length: 800 }, (_, at) => `x = x ^ ~(i + ${at});`).join(' ')} return x }`,
  'a long sum': `(i, j) => ${'i+'.repeat(150)}j`,
  'a very long sum': `(i, j) => ${'i+'.repeat(9000)}j`,
  'a long product of large numbers': `(i, j) => ${'999999999*'.repeat(150)}i > j`,
  'a huge literal': `(i, j) => i < ${'9'.repeat(19_000)}`,
  'a huge name': `(i, j) => ${'x'.repeat(19_000)}`,
  'a long string': `(i, j) => "${'x'.repeat(19_000)}"`,
  'a long comment': `(i, j) => i /* ${'*'.repeat(19_000)}`,
  'comments that never end': `(i, j) => i ${'/* '.repeat(6000)}`,
  'comments in a row': `(i, j) => i ${'/**/'.repeat(4900)}`,
  'strings that never end': `(i, j) => i ${'"\\\\\n'.repeat(3900)}`,
  spaces: `(i, j) => i ${' '.repeat(19_000)}< j`,
  newlines: `(i, j) => i ${'\n'.repeat(19_000)}< missing`,
  'hidden nesting': `(i, j) => /"/ + ${'!'.repeat(15_000)}i + /"/`,
  'many variables': `(i, j) => { ${Array.from({ length: 600 }, (_, at) => `let x${at}=i;`).join('')} return x0 }`,
  'variables and paths': `(i, j) => { ${Array.from({ length: 500 }, (_, at) => `let x${at}=i;if(i<j)x${at}=j;`).join('')} return x0 }`,
  'too long': `(i, j) => i /* ${'x'.repeat(20_000)} */`,
  nothing: '',
  'not a function': 'i < j',
  'two functions': '(i) => i, (j) => j',
  'out of the brackets': '(i) => i) + (j',
  'out of the method': 'a() { return 1 } }), ({ b() { return 2 }',
  'a getter': 'get a() { return 1 }',
  unicode: '(і, j) => i < j',
  separators: '(i,\u2028j) => i\u00a0<\ufeffj',
  'a lone surrogate': '(i, j) => i < "\ud800"',
};

const graphs = new Set([
  'a long sum',
  'spaces',
  'comments in a row',
  'many ifs in a row',
  'many elses',
  'many conditions',
  'separators',
  'many variables',
]);

const scanned = new Set([
  'deep parentheses',
  'deep brackets',
  'deep blocks',
  'deep functions',
  'deep calls',
  'many negations',
  'many signs',
  'many choices',
  'many choices within choices',
  'many powers',
  'many assignments',
  'many ifs',
]);

test('hostile sources end soon', (t) => {
  for (const [name, source] of Object.entries(hostile)) {
    const kind = source.startsWith('(s') ? 'score' : 'mask';
    const compile = (): unknown => compileProgram(kind, source, kinds);
    const time = timed(compile);
    t.true(time <= budget, `${name}: ${time} ms`);
    try {
      compile();
      graphs.delete(name);
    } catch (error) {
      t.true(error instanceof AttentionError && error.code === 'ERR_PROGRAM', `${name}: ${String(error)}`);
      t.true((error as Error).message.length < 800, name);
      // Found by the scan, and not when a parser ran out of stack.
      if (scanned.has(name)) t.regex((error as Error).message, /received deeper nesting \(line 1, column/u, name);
    }
  }
  t.deepEqual([...graphs], [], 'these are long, and fine');
});

test('functions are never called, and their properties never read', (t) => {
  const touch = (): never => {
    throw new Error('touched');
  };
  const trap = new Proxy((i: number, j: number) => i < j, {
    get: touch,
    apply: touch,
    getPrototypeOf: touch,
    has: touch,
  });
  const proxied = t.throws(() => compileProgram('mask', trap, {}), { instanceOf: AttentionError });
  t.is(proxied.code, 'ERR_PROGRAM');
  const program = (i: number, j: number): boolean => i < j || touch();
  for (const name of ['toString', 'name', 'length', 'call', 'prototype', 'constructor']) {
    Object.defineProperty(program, name, { get: touch });
  }
  t.throws(() => compileProgram('mask', program, {}), { instanceOf: AttentionError, message: /the free name touch/u });
  const plain = Object.defineProperty((i: number, j: number) => i < j, 'toString', { get: touch });
  t.is(compileProgram('mask', plain, {}).graph.kind, 'mask');
});

test('names of Object.prototype are no parameters', (t) => {
  for (const name of ['toString', '__proto__', 'constructor', 'hasOwnProperty', 'valueOf']) {
    for (const source of [`(i, j, { ${name}: x }) => x(i)`, `(i, j, c) => c.${name}(i)`, `(i, j) => Math.${name}(i)`]) {
      const error = t.throws(() => compileProgram('mask', source, {}), { instanceOf: AttentionError }, source);
      t.is(error.code, 'ERR_PROGRAM', source);
    }
  }
  const own = JSON.parse('{ "__proto__": { "type": "integer", "rank": 1 } }') as typeof kinds;
  t.is(compileProgram('mask', '(i, j, c) => c.__proto__(i)', own).graph.tables[0]!.name, '__proto__');
});
