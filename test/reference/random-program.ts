// Seeded random programs as sources, with parameters that fit them. Every value is tracked as an interval, so that no
// integer leaves int32 for positions and rows below `size`, no divisor is 0, and reads either fit or are guarded.

import type { ProgramKind } from '../../lib/program/graph.js';
import type { ParameterKind } from '../../lib/program/compile.js';
import type { Pair, TableValue } from './interpreter.js';
import { Random } from './random.js';

export interface RandomProgram {
  readonly kind: ProgramKind;
  readonly source: string;
  readonly parameters: Readonly<Record<string, number | TableValue>>;
  readonly kinds: Readonly<Record<string, ParameterKind>>;
  readonly grid: readonly number[] | undefined;
}

export interface RandomLimits {
  /** Positions, rows and columns lie in [0, size), nq and nkv in [1, size]. */
  readonly size: number;
  /** Query heads and sequences lie in [0, heads) and [0, batch). */
  readonly heads: number;
  readonly batch: number;
  /** How deep expressions nest. */
  readonly depth?: number;
  /** Whether to declare a grid of `size` positions. By default some programs do. */
  readonly grid?: boolean;
}

/** An integer expression and the values it may take. */
interface Integer {
  readonly text: string;
  readonly low: number;
  readonly high: number;
}

const bound = 2 ** 24;

/** The program of a seed. */
export function randomProgram(kind: ProgramKind, seed: number, limits: RandomLimits): RandomProgram {
  return new Writer(kind, seed, limits).write();
}

/** A pair within the limits; its row, column and position have nothing to do with each other. */
export function randomPair(random: Random, { size, heads, batch }: RandomLimits): Pair {
  const position = (): number => random.integer(0, size - 1);
  return {
    i: position(),
    j: position(),
    row: position(),
    col: position(),
    b: random.integer(0, batch - 1),
    h: random.integer(0, heads - 1),
    hkv: random.integer(0, heads - 1),
    nq: 1 + position(),
    nkv: 1 + position(),
    s: Math.fround(random.normal() * 4),
  };
}

class Writer {
  readonly #kind: ProgramKind;
  readonly #limits: RandomLimits;
  readonly #random: Random;
  readonly #parameters: Record<string, number | TableValue> = {};
  readonly #kinds: Record<string, ParameterKind> = {};
  readonly #fields = new Set<string>();
  readonly #grid: readonly number[] | undefined;
  /** Names of `const` that stand before the result. */
  readonly #locals: Integer[] = [];

  constructor(kind: ProgramKind, seed: number, limits: RandomLimits) {
    this.#kind = kind;
    this.#limits = limits;
    this.#random = new Random(seed);
    const gridded = limits.grid ?? this.#chance(0.2);
    this.#grid = gridded ? this.#pick(gridsOf(limits.size)) : undefined;
  }

  write(): RandomProgram {
    const depth = this.#limits.depth ?? 3;
    const statements: string[] = [];
    for (let count = this.#below(3); count > 0; count -= 1) {
      const value = this.#integer(depth - 1);
      const name = `v${this.#locals.length}`;
      statements.push(`const ${name} = ${value.text};`);
      this.#locals.push({ ...value, text: name });
    }
    for (let count = this.#chance(0.4) ? 1 + this.#below(2) : 0; count > 0; count -= 1) {
      statements.push(`if (${this.#condition(depth - 1)}) return ${this.#result(depth - 2)};`);
    }
    const result = this.#result(depth);
    const names = [...this.#fields, ...Object.keys(this.#parameters)].join(', ');
    const head = `(${this.#kind === 'mask' ? 'i, j' : 's, i, j'}${names === '' ? '' : `, { ${names} }`})`;
    const source =
      statements.length === 0
        ? `${head} => ${result}`
        : `${head} => {\n  ${[...statements, `return ${result};`].join('\n  ')}\n}`;
    return { kind: this.#kind, source, parameters: this.#parameters, kinds: this.#kinds, grid: this.#grid };
  }

  #result(depth: number): string {
    return this.#kind === 'mask' ? this.#condition(depth) : this.#real(depth);
  }

  #condition(depth: number): string {
    if (depth <= 0) return this.#comparison(0);
    switch (this.#below(9)) {
      case 0:
        return `(${this.#condition(depth - 1)} && ${this.#condition(depth - 1)})`;
      case 1:
        return `(${this.#condition(depth - 1)} || ${this.#condition(depth - 1)})`;
      case 2:
        return `!${this.#condition(depth - 1)}`;
      case 3:
        return `(${this.#condition(depth - 1)} ? ${this.#condition(depth - 1)} : ${this.#condition(depth - 1)})`;
      case 4:
        return `(${this.#condition(depth - 1)} ${this.#pick(['===', '!=='])} ${this.#condition(depth - 1)})`;
      case 5:
        return this.#guarded(depth);
      case 6:
        return this.#realComparison();
      default:
        return this.#comparison(depth);
    }
  }

  #comparison(depth: number): string {
    const a = this.#integer(depth - 1);
    // A neighbour of what the other side may be: comparisons that go either way.
    const b = this.#chance(0.4) ? this.#constant(a.low + this.#below(a.high - a.low + 1)) : this.#integer(depth - 1);
    const operator = this.#pick(['<', '<=', '>', '>=', '===', '!==', '==', '!=']);
    return `(${a.text} ${operator} ${b.text})`;
  }

  /** A read of a table that is shorter than its index, behind the guard that makes it fit. */
  #guarded(depth: number): string {
    const index = this.#integer(depth - 2);
    const length = 1 + this.#below(this.#limits.size);
    const read = `${this.#table('integer', [length], 8)}(${index.text})`;
    const test = `${read} ${this.#pick(['<', '===', '>='])} ${this.#below(8)}`;
    return this.#chance(0.5)
      ? `(${index.text} >= 0 && ${index.text} < ${length} && ${test})`
      : `(${index.text} < 0 || ${index.text} > ${length - 1} ? ${this.#comparison(0)} : ${test})`;
  }

  /** Real tables and numbers, which masks may compare. */
  #realComparison(): string {
    const { size } = this.#limits;
    const a = `${this.#table('real', [size], 8)}(${this.#position()})`;
    const b = this.#pick([
      () => `${this.#table('real', [size], 8)}(${this.#position()})`,
      () => this.#number(this.#eighths(8)),
      () => `(${this.#eighths(8)})`,
    ])();
    return `(${a} ${this.#pick(['<', '<=', '>', '>=', '===', '!=='])} ${b})`;
  }

  #integer(depth: number): Integer {
    if (depth <= 0) return this.#leaf();
    switch (this.#below(14)) {
      case 0:
      case 1: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        return this.#fitting({ text: `(${a.text} + ${b.text})`, low: a.low + b.low, high: a.high + b.high });
      }
      case 2:
      case 3: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        return this.#fitting({ text: `(${a.text} - ${b.text})`, low: a.low - b.high, high: a.high - b.low });
      }
      case 4: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        return this.#fitting({ text: `(${a.text} * ${b.text})`, ...corners(a, b, (x, y) => x * y) });
      }
      case 5: {
        const a = this.#integer(depth - 1);
        const divisor = this.#divisor();
        const most = Math.abs(divisor) - 1;
        return { text: `(${a.text} % ${divisor})`, low: a.low < 0 ? -most : 0, high: a.high > 0 ? most : 0 };
      }
      case 6: {
        const a = this.#integer(depth - 1);
        const divisor = this.#divisor();
        const name = this.#pick(['floor', 'ceil', 'trunc'] as const);
        const text = this.#chance(0.2) ? `(${a.text} / ${divisor} | 0)` : `Math.${name}(${a.text} / ${divisor})`;
        return { text, low: Math.min(0, a.low, -a.high) - 1, high: Math.max(0, a.high, -a.low) + 1 };
      }
      case 7: {
        const a = this.#integer(depth - 1);
        return { text: `Math.abs(${a.text})`, low: 0, high: Math.max(Math.abs(a.low), Math.abs(a.high)) };
      }
      case 8: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        const name = this.#pick(['min', 'max'] as const);
        return { text: `Math.${name}(${a.text}, ${b.text})`, ...corners(a, b, Math[name]) };
      }
      case 9: {
        const a = this.#integer(depth - 1);
        return this.#pick([
          { text: `(- ${a.text})`, low: -a.high, high: -a.low },
          { text: `(~${a.text})`, low: ~a.high, high: ~a.low },
          { text: `Math.sign(${a.text})`, low: -1, high: 1 },
        ]);
      }
      case 10: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        const most = powerAbove(a, b);
        return { text: `(${a.text} ${this.#pick(['&', '|', '^'])} ${b.text})`, low: -most, high: most - 1 };
      }
      case 11:
        return this.#shift(depth);
      case 12: {
        const [a, b] = [this.#integer(depth - 1), this.#integer(depth - 1)];
        const text = `(${this.#condition(depth - 1)} ? ${a.text} : ${b.text})`;
        return { text, low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
      }
      default:
        return this.#read();
    }
  }

  #shift(depth: number): Integer {
    const a = this.#integer(depth - 1);
    const count = this.#below(5);
    if (this.#chance(0.4)) {
      return this.#fitting({ text: `(${a.text} << ${count})`, low: a.low * 2 ** count, high: a.high * 2 ** count });
    }
    if (a.low >= 0 && this.#chance(0.3)) {
      return { text: `(${a.text} >>> ${count})`, low: 0, high: a.high };
    }
    return { text: `(${a.text} >> ${count})`, low: a.low >> count, high: a.high >> count };
  }

  /** A table read whose index always fits. */
  #read(): Integer {
    const { size, heads } = this.#limits;
    const range = 2 + this.#below(6);
    const text = this.#pick([
      () => `${this.#table('integer', [size], range)}(${this.#position()})`,
      () => `${this.#table('integer', [size], range)}(${this.#position()})`,
      () => `${this.#table('integer', [heads], range)}(${this.#field('h')})`,
      () => `${this.#table('integer', [heads, size], range)}(${this.#field('h')}, ${this.#position()})`,
      () => `${this.#table('integer', [2 * size - 1], range)}(i - j + ${size - 1})`,
      () => {
        const [a, b] = [this.#read(), this.#read()];
        return `${this.#table('integer', [a.high + 1, b.high + 1], range)}(${a.text}, ${b.text})`;
      },
    ])();
    return { text, low: 0, high: range - 1 };
  }

  #leaf(): Integer {
    const { size, heads, batch } = this.#limits;
    const position = { low: 0, high: size - 1 };
    switch (this.#below(9)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return { text: this.#position(), ...position };
      case 4: {
        if (this.#grid === undefined) return { text: this.#position(), ...position };
        const axis = this.#below(this.#grid.length);
        const name = ['x', 'y', 'z'][this.#grid.length - 1 - axis];
        return { text: `${this.#pick(['i', 'j'])}.${name}`, low: 0, high: this.#grid[axis]! - 1 };
      }
      case 5: {
        const [name, low, high] = this.#pick([
          ['h', 0, heads - 1],
          ['hkv', 0, heads - 1],
          ['b', 0, batch - 1],
          ['row', 0, size - 1],
          ['col', 0, size - 1],
          ['nq', 1, size],
          ['nkv', 1, size],
        ] as const);
        return { text: this.#field(name), low, high };
      }
      case 6: {
        const value = this.#below(2 * size) - size;
        return { text: this.#number(value), low: value, high: value };
      }
      case 7: {
        const local = this.#locals[this.#below(this.#locals.length)];
        return local ?? this.#constant(this.#below(size));
      }
      default:
        return this.#constant(this.#below(2 * size) - this.#below(size));
    }
  }

  /** A score: the score so far with real and integer parts around it. */
  #real(depth: number): string {
    if (depth <= 0) {
      return this.#pick([
        () => 's',
        () => `(${this.#eighths(4)})`,
        () => this.#number(this.#eighths(4)),
        () => this.#readReal(),
        () => this.#integer(1).text,
      ])();
    }
    const deeper = (): string => this.#real(depth - 1);
    return this.#pick([
      () => `(${deeper()} ${this.#pick(['+', '-'])} ${deeper()})`,
      () => `(${deeper()} + s)`,
      () => `(${deeper()} * ${this.#real(0)})`,
      () => `(${deeper()} / ${this.#pick(['3', '8', '0.7', '(1 + Math.abs(i - j))'])})`,
      () => `(${this.#condition(depth - 1)} ? ${deeper()} : ${deeper()})`,
      () => `Math.${this.#pick(['min', 'max'])}(${deeper()}, ${deeper()})`,
      () => `Math.${this.#pick(['abs', 'floor', 'ceil', 'trunc', 'sign', 'tanh', 'sin', 'cos'])}(${deeper()})`,
      () => `Math.exp(-Math.abs(${deeper()}))`,
      () => `Math.${this.#pick(['log', 'log2', 'sqrt'])}(1 + Math.abs(${deeper()}))`,
      () => `Math.pow(0.5 + Math.abs(${this.#real(0)}), ${this.#pick(['2', '0.5', '-1.5'])})`,
      () => `(- ${deeper()})`,
      () => (this.#chance(0.3) ? '-Infinity' : deeper()),
    ])();
  }

  #readReal(): string {
    const { size, heads } = this.#limits;
    return this.#pick([
      () => `${this.#table('real', [size], 4)}(${this.#position()})`,
      () => `${this.#table('real', [heads], 4)}(${this.#field('h')})`,
      () => `${this.#table('real', [heads, 2 * size - 1], 4)}(${this.#field('h')}, i - j + ${size - 1})`,
    ])();
  }

  /** With axes positions are objects to the function that is called plainly: `+` makes them numbers. */
  #position(): string {
    const name = this.#pick(['i', 'j']);
    return this.#grid === undefined ? name : `(+${name})`;
  }

  #field(name: string): string {
    this.#fields.add(name);
    return name;
  }

  #number(value: number): string {
    const name = `n${Object.keys(this.#parameters).length}`;
    this.#parameters[name] = value;
    this.#kinds[name] = { type: Number.isInteger(value) ? 'integer' : 'real', rank: 0 };
    return name;
  }

  /** A table of integers in [0, range), or of eighths in [-range, range). */
  #table(type: 'integer' | 'real', shape: number[], range: number): string {
    const name = `t${Object.keys(this.#parameters).length}`;
    const count = shape.reduce((product, length) => product * length, 1);
    const make = (): number => (type === 'integer' ? this.#below(range) : this.#eighths(range));
    const values = Array.from({ length: count }, make);
    // Documents and the like come in order.
    if (this.#chance(0.4)) values.sort((a, b) => a - b);
    const data = type === 'integer' ? Int32Array.from(values) : Float32Array.from(values);
    this.#parameters[name] = { data, shape };
    this.#kinds[name] = { type, rank: shape.length as 1 | 2 | 3 };
    return name;
  }

  #constant(value: number): Integer {
    return { text: value < 0 ? `(${value})` : String(value), low: value, high: value };
  }

  #divisor(): number {
    const most = this.#chance(0.5) ? 5 : this.#limits.size;
    return (1 + this.#below(most)) * (this.#chance(0.15) ? -1 : 1);
  }

  /** What stays well inside int32, or a remainder of it that does. */
  #fitting(value: Integer): Integer {
    if (value.low >= -bound && value.high <= bound) return value;
    return { text: `(${value.text} % 97)`, low: value.low < 0 ? -96 : 0, high: 96 };
  }

  #eighths(range: number): number {
    return Math.floor((this.#random.unit() * 2 - 1) * range * 8) / 8;
  }

  #below(count: number): number {
    return Math.floor(this.#random.unit() * count);
  }

  #chance(probability: number): boolean {
    return this.#random.chance(probability);
  }

  #pick<T>(choices: readonly T[]): T {
    return this.#random.pick(choices);
  }
}

function corners(a: Integer, b: Integer, of: (x: number, y: number) => number): { low: number; high: number } {
  const values = [of(a.low, b.low), of(a.low, b.high), of(a.high, b.low), of(a.high, b.high)];
  return { low: Math.min(...values), high: Math.max(...values) };
}

/** A power of two that no operand reaches. */
function powerAbove(a: Integer, b: Integer): number {
  const most = Math.max(Math.abs(a.low), Math.abs(a.high), Math.abs(b.low), Math.abs(b.high));
  return 2 ** Math.ceil(Math.log2(most + 2));
}

/** Grids of one to three axes that have `size` positions. */
function gridsOf(size: number): number[][] {
  const grids = [[size]];
  for (let x = 2; x <= size / 2; x += 1) {
    if (size % x !== 0) continue;
    grids.push([size / x, x]);
    for (let y = 2; y <= size / x / 2; y += 1) if ((size / x) % y === 0) grids.push([size / x / y, y, x]);
  }
  return grids;
}
