// A bias by relative place on a grid.

import { denseFloat32 } from './dense.js';
import { formatShape, shapeMismatch } from './errors.js';
import { perAxis, places, readGrid } from './grid-axes.js';
import type { PerAxis } from './grid-axes.js';
import { builtInScore } from './scores.js';
import type { Score } from './scores.js';
import { checkInteger, countOf } from './shape.js';
import { orElse, readSnapshot } from './snapshot.js';
import { readTensor } from './tensor.js';
import type { TensorInput } from './tensor.js';
import type { HostView } from './view.js';

/** Options of {@link gridBias}. */
export interface GridBiasOptions {
  /** Lengths of the grid's axes, as for {@link neighborhood}. */
  readonly grid: readonly number[];
  /** Distance of neighbours along each axis. Default 1. */
  readonly dilation?: PerAxis<number> | undefined;
  /** Positions before the first cell; pairs with one of them get no bias. Default 0. */
  readonly extra?: number | undefined;
}

/**
 * A learned bias by relative place on a grid (the relative position bias of Swin and of NATTEN): s + bias(h, offset),
 * where the offset along each axis is that of the key from the query, in steps of the dilation: entry R + key − query, as
 * in NATTEN. Swin's tables are [offsets, H] and count query − key: transposed and turned round they are these.
 *
 * @param bias [H, ...(2R + 1)], an axis of offsets −R … R for each axis of the grid: with R = window − 1 all that a
 *   {@link neighborhood} has. Offsets beyond R take the end's.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_UNKNOWN_OPTION`, `ERR_OUT_OF_RANGE`,
 *   `ERR_SHAPE_MISMATCH`.
 */
export function gridBias(bias: TensorInput, options: GridBiasOptions): Score {
  const given = readSnapshot('options', options, ['grid', 'dilation', 'extra']);
  const grid = readGrid(given['grid']);
  const origin = checkInteger('options.extra', orElse(given['extra'], 0), 0, 2 ** 30);
  const dilations = perAxis('options.dilation', orElse(given['dilation'], 1), grid.length);
  return biasOnGrid('bias', readTensor(bias, 'bias'), { grid, origin, dilations });
}

/** What {@link gridBias} makes of a table, which errors call `argument`. */
export function biasOnGrid(
  argument: string,
  view: HostView,
  { grid, origin, dilations }: { grid: readonly number[]; origin: number; dilations: readonly unknown[] },
): Score {
  const { shape } = view;
  if (shape.length !== grid.length + 1 || shape.slice(1).some((offsets) => offsets % 2 !== 1)) {
    const expected = `[H, ${grid.map(() => '2R + 1').join(', ')}], an odd number of offsets for each axis`;
    throw shapeMismatch(argument, expected, formatShape(shape));
  }
  const [queries, keys] = [places('i', grid, origin), places('j', grid, origin)];
  let index = '0';
  for (const [axis, length] of grid.entries()) {
    const offsets = shape[axis + 1]!;
    const reach = (offsets - 1) / 2;
    const dilation = checkInteger('options.dilation', dilations[axis], 1, length);
    const away = `(${keys[axis]} - ${queries[axis]})`;
    const steps = dilation > 1 ? `Math.trunc(${away} / ${dilation})` : away;
    index = `(${index}) * ${offsets} + Math.max(${-reach}, Math.min(${reach}, ${steps})) + ${reach}`;
  }
  const names = origin > 0 ? 'h, bias, extra' : 'h, bias';
  const first = origin > 0 ? 'i < extra || j < extra ? s : ' : '';
  const program = `(s, i, j, { ${names} }) => ${first}s + bias(h, ${index})`;
  const table = { data: denseFloat32(view, argument), shape: [shape[0]!, countOf(shape.slice(1))] };
  return builtInScore(`gridBias(bias, ${grid.join('×')})`, program, {
    bias: table,
    ...(origin > 0 && { extra: origin }),
  });
}
