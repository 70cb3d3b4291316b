// Programs called as the plain functions that they are: the oracle for masks, and for the shape of scores.

import { runInThisContext } from 'node:vm';
import type { Pair, TableValue } from './interpreter.js';

/** A program as written: it is only ever called here, never in the library. */
export type PlainProgram = (...args: never[]) => unknown;

export type GivenParameters = Readonly<Record<string, number | TableValue>>;

/** A read that a table does not hold. */
export class OutOfTable extends Error {}

/** A table as programs see it: a function of one index an axis. */
export function plainTable({ data, shape }: TableValue): (...indices: number[]) => number {
  return (...indices) => {
    let at = 0;
    for (const [axis, length] of shape.entries()) {
      const index = indices[axis]!;
      if (!(index >= 0 && index < length) || !Number.isInteger(index)) throw new OutOfTable(`${indices}`);
      at = at * length + index;
    }
    return data[at]!;
  };
}

/** What a program has as its last parameter, but for the fields of the pair. */
export function plainParameters(given: GivenParameters): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name, typeof value === 'number' ? value : plainTable(value)]),
  );
}

/** A mask as a function of the pair; `grid` gives positions their axes. */
export function plainMask(
  program: PlainProgram,
  given: GivenParameters = {},
  grid?: readonly number[],
): (pair: Pair) => boolean {
  const parameters = plainParameters(given);
  return (pair) => {
    const [i, j] = [positionOn(pair.i, grid), positionOn(pair.j, grid)];
    return Boolean(program(i as never, j as never, { ...fieldsOf(pair), ...parameters } as never));
  };
}

/** A score as a function of the pair, in double precision. */
export function plainScore(
  program: PlainProgram,
  given: GivenParameters = {},
  grid?: readonly number[],
): (pair: Pair) => number {
  const parameters = plainParameters(given);
  return (pair) => {
    const [i, j] = [positionOn(pair.i, grid), positionOn(pair.j, grid)];
    return Number(program(pair.s as never, i as never, j as never, { ...fieldsOf(pair), ...parameters } as never));
  };
}

function fieldsOf({ b, h, hkv, row, col, nq, nkv }: Pair): Record<string, number> {
  return { b, h, hkv, row, col, nq, nkv };
}

/** A number; with a grid one that has axes too, the last of them the fastest. Compare such positions by `==` or `<`. */
function positionOn(position: number, grid: readonly number[] | undefined): unknown {
  if (grid === undefined) return position;
  const axes: Record<string, number> = {};
  let rest = position;
  for (const [axis, name] of ['x', 'y', 'z'].slice(0, grid.length).reverse().entries()) {
    const size = grid.slice(axis + 1).reduce((product, length) => product * length, 1);
    axes[name] = Math.floor(rest / size);
    rest -= axes[name] * size;
  }
  return Object.assign(Object(position), axes);
}

/** The function that a source stands for. */
export function functionOf(source: string): PlainProgram {
  return runInThisContext(`(${source}\n)`) as PlainProgram;
}
