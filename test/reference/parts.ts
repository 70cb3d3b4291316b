// A case cut along its keys: calls over parts, as partials or as finished results.

import { attentionSync, type PartialInput } from '../../lib/index.js';
import { callOf, tensorOf, type Call, type Options } from './call.js';
import type { Case } from './case.js';
import { draw, usual, type Topic } from './grid.js';
import { Random } from './random.js';
import { placeGrid } from './storage.js';
import { valuesOf, type Grid, type Values } from './values.js';

/** Columns [begin, end) of a grid over keys. */
function columnsOf(grid: Grid, begin: number, end: number): Grid {
  const [b, h, rows, columns] = grid.shape;
  if (columns === 1) return grid;
  const width = end - begin;
  const data = new Float64Array(b * h * rows * width);
  for (let line = 0; line < b * h * rows; line++) {
    data.set(grid.data.subarray(line * columns + begin, line * columns + end), line * width);
  }
  return { shape: [b, h, rows, width], data };
}

export interface Parted {
  one: Case;
  values: Values;
  whole: Call;
  /** The call over keys [begin, end), without sinks. */
  part(begin: number, end: number): Call;
}

/** A case without bands: positions would not survive the cut. */
export function parted(topic: Topic, seed: number): Parted {
  const drawn = draw(topic, seed, usual);
  const one: Case = {
    ...drawn,
    lengths: 'dense',
    lengthsQ: null,
    lengthsKv: null,
    causal: false,
    window: null,
    outputDtype: 'float32',
    lse: true,
    entropy: false,
    rowMax: false,
  };
  if (one.storage.key === 'packed') one.storage = { query: 'plain', key: 'plain', value: 'plain' };
  const values = valuesOf(one);
  const whole = callOf(one, values);
  const axis = one.layout === 'bhsd' ? 2 : 1;
  return {
    one,
    values,
    whole,
    part(begin, end) {
      const random = new Random(seed + begin);
      const mask = values.masks.map((grid, n) =>
        tensorOf(placeGrid(columnsOf(grid, begin, end), 'bool', one.masks[n] === 'keys' ? 2 : 4, random)),
      );
      const { sinks: _, ...options } = whole.options;
      return {
        query: whole.query,
        key: whole.key.narrow(axis, begin, end - begin),
        value: whole.value.narrow(axis, begin, end - begin),
        options: {
          ...options,
          mask,
          ...(values.bias
            ? { bias: tensorOf(placeGrid(columnsOf(values.bias, begin, end), one.bias!.dtype, 4, random)) }
            : {}),
        },
      };
    },
  };
}

export function partialOf({ query, key, value, options }: Call): PartialInput {
  const { lse: _, outputDtype: __, ...rest } = options as Record<string, unknown>;
  return attentionSync(query, key, value, { ...rest, partial: true } as unknown as Options) as unknown as PartialInput;
}

export function finishedOf({ query, key, value, options }: Call): PartialInput {
  return attentionSync(query, key, value, options) as unknown as PartialInput;
}

export function cuts(random: Random, keys: number): number[] {
  const inner = Array.from({ length: random.integer(0, 5) }, () => random.integer(0, keys));
  return [0, ...inner, keys].sort((a, b) => a - b); // empty parts among them
}
