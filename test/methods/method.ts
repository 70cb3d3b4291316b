// A published method: what a snippet of docs/methods is given, and what the paper says comes out.

import { Tensor } from '../../lib/index.js';
import { Random } from '../reference/random.js';

/** Numbers, nested as you like; compared in order. */
export type Nested = number | readonly Nested[];

/** Every snippet has these; a method may put others in their place. */
export interface Usual {
  q: Tensor;
  k: Tensor;
  v: Tensor;
}

export interface Method {
  /** Values by the names that the snippet uses; under `paper`, what only the formula is told. */
  given(source: Source): Usual & Record<string, unknown>;
  /** Results by the names that the snippet gives them, in float64 from the paper's definition. */
  formula(inputs: unknown): Record<string, Nested>;
  /** The method computes plain attention, another way. */
  readonly exact: boolean;
}

/** Methods by the headings of their page. */
export type Methods = Readonly<Record<string, Method>>;

export const usualShape = [1, 4, 32, 8];

/** A method on the usual q, k, v [1, 4, 32, 8] and what `given` adds. */
export function method<Given extends object>(
  given: (source: Source) => Given,
  formula: (inputs: Omit<Usual, keyof Given> & Given) => Record<string, Nested>,
  { exact = false } = {},
): Method {
  return {
    given: (source) => {
      const [q, k, v] = [source.tensor(usualShape), source.tensor(usualShape), source.tensor(usualShape)];
      return { q, k, v, ...given(source) };
    },
    formula: formula as Method['formula'],
    exact,
  };
}

/** Reproducible inputs, all of them exact in float32. */
export class Source {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = new Random(seed);
  }

  tensor(shape: readonly number[], deviation = 1): Tensor {
    const count = shape.reduce((product, size) => product * size, 1);
    return Tensor.from(Float32Array.from(this.#random.normals(count, deviation)), shape);
  }

  /** Standard normal. */
  numbers(length: number): number[] {
    return Array.from({ length }, () => Math.fround(this.#random.normal()));
  }

  /** Uniform in [low, high). */
  between(low: number, high: number, length: number): number[] {
    return Array.from({ length }, () => Math.fround(low + (high - low) * this.#random.unit()));
  }

  /** In [low, high], both inclusive. */
  integers(low: number, high: number, length: number): number[] {
    return Array.from({ length }, () => this.#random.integer(low, high));
  }

  shuffled(length: number): number[] {
    return this.#random.shuffle(Array.from({ length }, (_, n) => n));
  }
}
