// Results of some heads, put together.

import { copyElements } from '../dense.js';
import type { FloatDtype } from '../dtype.js';
import { shapeOf } from '../geometry.js';
import { allocate } from '../memory.js';
import { contiguousStrides, countOf } from '../shape.js';
import { tensorOf } from '../tensor.js';
import type { HostView } from '../view.js';
import { exchanged } from './request.js';
import type { ParallelResult, Request } from './request.js';
import { rowsAt } from './rows.js';
import type { Run } from './runs.js';

/** Output and lse of one rank's queries, head-first in memory where they are not ragged. */
export class HeadResults {
  readonly #request: Request;
  readonly #output: HostView;
  readonly #lse: HostView | undefined;

  constructor(request: Request) {
    const { options, geometry } = request;
    const { batch, headsQ, queries, dimV, ragged, query } = geometry;
    const shape = shapeOf(batch, headsQ, queries, dimV, ragged, 'bhsd');
    this.#request = request;
    this.#output = empty('output', shape, options.outputDtype ?? (query.dtype as FloatDtype));
    if (options.lse) this.#lse = empty('lse', ragged ? [headsQ, queries] : [batch, headsQ, queries], 'float32');
  }

  /** Puts results of some heads in their places. */
  put(heads: Run, output: HostView, lse: HostView | undefined): void {
    const { ragged } = this.#request.geometry;
    copyElements(output, rowsAt(this.#output, 1, heads));
    if (lse && this.#lse) copyElements(lse, rowsAt(this.#lse, ragged ? 0 : 1, heads));
  }

  finished(): ParallelResult {
    const { geometry, layout } = this.#request;
    const arranged = geometry.ragged || layout === 'bhsd' ? this.#output : exchanged(this.#output);
    const output = tensorOf(arranged);
    return this.#lse ? { output, lse: tensorOf(this.#lse) } : { output };
  }
}

function empty(argument: string, shape: readonly number[], dtype: FloatDtype): HostView {
  const sizes = Object.freeze([...shape]);
  return {
    data: allocate(dtype, countOf(sizes), argument),
    dtype,
    shape: sizes,
    strides: contiguousStrides(sizes),
    offset: 0,
  };
}
