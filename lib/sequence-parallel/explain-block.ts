// What a rank's call over a part of the whole would do.

import { explainCall } from '../explain.js';
import type { Explanation } from '../explain.js';
import type { HostView } from '../view.js';
import { callOver } from './local.js';
import type { Block } from './local.js';
import type { Request } from './request.js';
import { rowsIn } from './volume.js';

/** A block of tensors that are not there. */
export type Outline = Omit<Block, 'query' | 'key' | 'value'>;

export function explainBlock(request: Request, block: Outline, headsQ: number, headsKv: number): Explanation {
  const { query, key, value, ragged, batch } = request.geometry;
  const sized = (view: HostView, heads: number, counts: readonly number[]): HostView => {
    const dim = view.shape.at(-1)!;
    const [shape, strides] = ragged
      ? [
          [rowsIn(request.geometry, counts), heads, dim],
          [0, 0, 1],
        ]
      : [
          [batch, heads, counts[0]!, dim],
          [0, 0, 0, 1],
        ];
    return { ...view, shape, strides };
  };
  const tensors = {
    query: sized(query, headsQ, block.queries),
    key: sized(key, headsKv, block.keys),
    value: sized(value, headsKv, block.keys),
  };
  return explainCall(callOver(request, { ...tensors, ...block }, 'reserve'));
}
