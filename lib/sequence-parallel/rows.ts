// Rows of tensors along the axis of the sequence: chosen, copied and put in their places.

import { copyElements } from '../dense.js';
import { allocate } from '../memory.js';
import { contiguousStrides, countOf as elementsOf } from '../shape.js';
import type { HostView } from '../view.js';
import { countOf } from './runs.js';
import type { Run } from './runs.js';

/** A view of the rows of a run. */
export function rowsAt(view: HostView, axis: number, { start, step, count }: Run): HostView {
  const shape = Object.freeze(view.shape.map((size, index) => (index === axis ? count : size)));
  const strides = Object.freeze(view.strides.map((stride, index) => (index === axis ? stride * step : stride)));
  const offset = elementsOf(shape) === 0 ? view.offset : view.offset + start * view.strides[axis]!;
  return { ...view, shape, strides, offset };
}

/** New memory for `count` rows like those of a tensor. */
export function emptyLike(view: HostView, axis: number, count: number, argument: string): HostView {
  const shape = Object.freeze(view.shape.map((size, index) => (index === axis ? count : size)));
  const data = allocate(view.dtype, elementsOf(shape), argument);
  return { data, dtype: view.dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

/** The rows of the runs, one after the other: a view where there is one run, else a copy. */
export function gathered(view: HostView, axis: number, runs: readonly Run[], argument: string): HostView {
  if (runs.length === 0) return rowsAt(view, axis, { start: 0, step: 1, count: 0 });
  if (runs.length === 1) return rowsAt(view, axis, runs[0]!);
  return taken(view, axis, runs, argument);
}

/** A copy of the rows of the runs, one after the other. */
export function taken(view: HostView, axis: number, runs: readonly Run[], argument: string): HostView {
  const target = emptyLike(view, axis, countOf(runs), argument);
  eachRun(runs, (run, own) => copyElements(rowsAt(view, axis, run), rowsAt(target, axis, own)));
  return target;
}

/** Puts rows, one after the other, in the places of the runs. */
export function scatter(rows: HostView, target: HostView, axis: number, runs: readonly Run[]): void {
  eachRun(runs, (run, own) => copyElements(rowsAt(rows, axis, own), rowsAt(target, axis, run)));
}

function eachRun(runs: readonly Run[], visit: (run: Run, own: Run) => void): void {
  let first = 0;
  for (const run of runs) {
    visit(run, { start: first, step: 1, count: run.count });
    first += run.count;
  }
}

/** Runs inside sequences that lie one after the other: sequence b begins at row `starts[b]`. */
export function inRow(sequences: readonly (readonly Run[])[], starts: ArrayLike<number>): readonly Run[] {
  return sequences.flatMap((runs, b) => runs.map((run) => ({ ...run, start: starts[b]! + run.start })));
}

/** 0, and the sums of the first, the first two, … counts. */
export function cumulative(counts: readonly number[]): readonly number[] {
  let sum = 0;
  return [0, ...counts.map((count) => (sum += count))];
}
