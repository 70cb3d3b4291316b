// Seeded random programs in the styles that compilers rewrite most: variables assigned on some paths, returns within
// ifs, choices between calls and between numbers of different types, conditions made of numbers. They read the
// parameters of kinds.ts. Some are not of the language (a real index); what matters is that a tool changes nothing.

import { Random } from '../reference/random.js';

export interface RandomStyle {
  readonly kind: 'mask' | 'score';
  readonly source: string;
}

export function randomStyle(kind: 'mask' | 'score', seed: number): RandomStyle {
  return { kind, source: new Writer(kind, seed).write() };
}

class Writer {
  readonly #score: boolean;
  readonly #random: Random;
  #variables: string[] = [];
  #count = 0;

  constructor(kind: 'mask' | 'score', seed: number) {
    this.#score = kind === 'score';
    this.#random = new Random(seed);
  }

  write(): string {
    const body = this.#statements(2 + this.#random.integer(0, 2), 2);
    const first = this.#score ? 's, i, j' : 'i, j';
    const head = `${first}, { h, window, ids, other, slope, limit }`;
    const text = `{\n${body}return ${this.#result(2)};\n}`;
    return this.#random.chance(0.5) ? `(${head}) => ${text}` : `function (${head}) ${text}`;
  }

  #result(depth: number): string {
    return this.#score || this.#random.chance(0.3) ? this.#number(depth) : this.#condition(depth);
  }

  #statements(count: number, depth: number): string {
    let text = '';
    for (let index = 0; index < count; index += 1) text += `${this.#statement(depth)}\n`;
    return text;
  }

  #statement(depth: number): string {
    const pick = this.#pick;
    switch (this.#random.integer(0, depth > 0 ? 8 : 4)) {
      case 0:
      case 1:
      case 2: {
        const value = this.#number(2);
        this.#count += 1;
        const name = `a${this.#count}`;
        const text = `${pick(['let', 'var'])} ${name} = ${value};`;
        this.#variables.push(name);
        return text;
      }
      case 3:
      case 4: {
        if (this.#variables.length === 0) return ';';
        const name = pick(this.#variables);
        const operator = pick(['=', '=', '+=', '-=']);
        return pick([
          `${name} ${operator} ${this.#number(1)};`,
          `${name}++;`,
          `${name} ${operator} ${this.#number(1)};`,
        ]);
      }
      case 5:
        return `if (${this.#condition(1)}) return ${this.#result(1)};`;
      default: {
        const test = this.#condition(1);
        const first = this.#block(depth - 1);
        return this.#random.chance(0.5)
          ? `if (${test}) ${first}`
          : `if (${test}) ${first} else ${this.#block(depth - 1)}`;
      }
    }
  }

  #block(depth: number): string {
    const outer = [...this.#variables];
    const statements = this.#statements(this.#random.integer(1, 2), depth);
    const last = this.#random.chance(0.4) ? `return ${this.#result(1)};\n` : '';
    this.#variables = outer;
    return `{\n${statements}${last}}`;
  }

  #condition(depth: number): string {
    const pick = this.#pick;
    if (depth <= 0 || this.#random.chance(0.4)) {
      const operator = pick(['<', '<=', '>', '>=', '===', '!==']);
      return pick([`${this.#number(0)} ${operator} ${this.#number(0)}`, `${this.#number(depth - 1)} ${operator} j`]);
    }
    const deeper = (): string => this.#condition(depth - 1);
    return pick([
      () => `(${deeper()} && ${deeper()})`,
      () => `(${deeper()} || ${deeper()})`,
      () => `!(${deeper()})`,
      () => `(${deeper()} ? ${deeper()} : ${deeper()})`,
      () => `!!${this.#number(0)}`,
      () => `(${this.#number(0)} && ${deeper()})`,
      () => `(${deeper()} ? ${pick(['true', 'false'])} : ${deeper()})`,
      () => `(${deeper()}) === (${deeper()})`,
    ])();
  }

  #number(depth: number): string {
    const pick = this.#pick;
    if (depth <= 0 || this.#random.chance(0.3)) {
      const names = ['i', 'j', 'h', 'window', '1', '2', '7', 'ids(i)', 'ids(j)', 'other(j)', ...this.#variables];
      const reals = this.#score ? ['s', '0.1', '0.2', 'slope(h)', 'limit', '-1.5'] : [];
      return pick([...names, ...reals]);
    }
    const deeper = (): string => this.#number(depth - 1);
    const test = (): string => this.#condition(depth - 1);
    const called = pick(this.#score ? ['Math.abs', 'Math.exp', 'Math.floor', 'Math.tanh', 'ids'] : ['Math.abs', 'ids']);
    const two = pick(['Math.min', 'Math.max']);
    const rounding = pick(['floor', 'ceil', 'trunc']);
    const shared = deeper();
    return pick([
      () => `(${deeper()} ${pick(['+', '-', '*'])} ${deeper()})`,
      () => `(-${deeper().replace(/^-/u, '')})`,
      () => `(${test()} ? ${deeper()} : ${deeper()})`,
      () => `(${test()} ? ${called}(${deeper()}) : ${called}(${deeper()}))`,
      () => `(${test()} ? ${two}(${shared}, ${deeper()}) : ${two}(${shared}, ${deeper()}))`,
      () => `(${test()} ? Math.${rounding}(${deeper()} / 4) : Math.${rounding}(${deeper()} / 3))`,
      () => `(${test()} ? ${shared} : ${test()} ? ${shared} : ${deeper()})`,
      () => `(${deeper()} ${pick(['&&', '||'])} ${deeper()})`,
      () => `${called}(${deeper()})`,
      () => `(${deeper()} ${pick(['&', '|', '^'])} ${deeper()} ${pick(['&', '|', '^'])} ~${deeper()})`,
    ])();
  }

  readonly #pick = <T>(list: readonly T[]): T => this.#random.pick(list);
}
