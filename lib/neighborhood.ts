// Neighborhood attention: on a grid of one to three axes each query sees a window of its neighbours (Hassani et al.
// 2023; dilated: Hassani & Shi 2022; strided: Hassani et al. 2025).

import { describe, invalidType, invalidValue } from './errors.js';
import { perAxis, places, readGrid } from './grid-axes.js';
import type { PerAxis } from './grid-axes.js';
import { builtInMask } from './masks.js';
import type { Mask } from './masks.js';
import { checkInteger } from './shape.js';
import { orElse, readSnapshot } from './snapshot.js';

/** Which neighbours a query sees. */
export interface NeighborhoodWindow {
  /** Keys of the window along each axis, from 2 to the axis' length. */
  readonly window: PerAxis<number>;
  /** Queries along each axis that share a window, from 1 (default) to `window`; `window` itself makes windows that do not overlap. */
  readonly stride?: PerAxis<number> | undefined;
  /** Distance of neighbours along each axis, >= 1 (default); window times dilation fits in the axis. */
  readonly dilation?: PerAxis<number> | undefined;
  /** Axes along which no key after the query is seen. Default false. */
  readonly causal?: PerAxis<boolean> | undefined;
  /**
   * At the borders of the grid windows move inwards, so that all are of one size ('clamp', the default, as in NATTEN), or
   * stay where they are and lose what lies outside ('mask', as in HaloNet).
   */
  readonly border?: 'clamp' | 'mask' | undefined;
}

export interface NeighborhoodOptions extends NeighborhoodWindow {
  /** Lengths of the grid's one to three axes, row-major, the last one fastest. */
  readonly grid: readonly number[];
  /**
   * Positions before the first cell of the grid, which hold register or text tokens: every query sees them, and they see
   * everything. Cell n of the grid is at position `extra` + n. Default 0.
   */
  readonly extra?: number | undefined;
}

/** Along one axis. */
export interface AxisWindow {
  readonly length: number;
  readonly window: number;
  readonly stride: number;
  readonly dilation: number;
  readonly causal: boolean;
}

const windowNames = ['window', 'stride', 'dilation', 'causal', 'border'] as const;
const axisNames = ['z', 'y', 'x'] as const;

/**
 * A window of neighbours on a grid: along each axis the `window` keys around the query, axes combined by AND.
 *
 * With L, i, k, s the axis' length, the query's place, window and stride, all counted inside one of the `dilation` residue
 * classes of the axis: the leader is min(⌊i/s⌋·s + ⌊s/2⌋, L − 1), and the window of k keys begins ⌊k/2⌋ before it, moved
 * inwards at the borders. Causal: the leader is min(⌊i/s⌋·s + s − 1, L − 1), and of the k keys up to it those up to i are
 * seen. With border 'mask' L − 1 is no bound of the leader, nothing is moved, and what lies outside is lost. stride = window with window | L is the windowed attention of Swin; window = L is dense.
 *
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_INVALID_ARG_VALUE`, `ERR_UNKNOWN_OPTION`, `ERR_OUT_OF_RANGE`.
 */
export function neighborhood(options: NeighborhoodOptions): Mask {
  const given = readSnapshot('options', options, ['grid', 'extra', ...windowNames]);
  const lengths = readGrid(given['grid']);
  const origin = checkInteger('options.extra', orElse(given['extra'], 0), 0, 2 ** 30);
  return makeNeighborhood({ axes: readAxes(given, lengths), clamped: readBorder(given['border']), origin });
}

/** A neighborhood whose options have been checked. */
export interface CheckedNeighborhood {
  readonly axes: readonly AxisWindow[];
  readonly clamped: boolean;
  readonly origin: number;
}

export function makeNeighborhood({ axes, clamped, origin }: CheckedNeighborhood): Mask {
  const lengths = axes.map(({ length }) => length);
  const parameters: Record<string, unknown> = {};
  const conditions: string[] = [];
  const product = [];
  for (const [index, axis] of axes.entries()) {
    const name = axisNames[index + 3 - axes.length]!;
    const { start, end } = rangesOf(axis, clamped);
    Object.assign(parameters, { [`${name}Start`]: start, [`${name}End`]: end });
    const [x, c] = [places('i', lengths, origin)[index]!, places('j', lengths, origin)[index]!];
    conditions.push(`${c} >= ${name}Start(${x}) && ${c} < ${name}End(${x})`);
    if (axis.dilation > 1) conditions.push(`(${c} - ${x}) % ${axis.dilation} === 0`);
    product.push({ length: axis.length, period: axis.dilation, start: `${name}Start`, end: `${name}End` });
  }
  if (origin > 0) parameters['extra'] = origin;
  const inside = conditions.join(' && ');
  const program = `(i, j, { ${Object.keys(parameters).join(', ')} }) =>
    ${origin > 0 ? `i < extra || j < extra || ` : ''}${inside}`;
  const label = `neighborhood(${lengths.join('×')}, window ${axes.map(({ window }) => window).join('×')})`;
  return builtInMask(label, program, parameters, { origin, axes: product });
}

/** Which places [start, end) of an axis each place sees, of those in its residue class. */
export function rangesOf(axis: AxisWindow, clamped: boolean): { start: Int32Array; end: Int32Array } {
  const { length, dilation } = axis;
  const start = new Int32Array(length);
  const end = new Int32Array(length);
  for (let at = 0; at < length; at += 1) {
    const residue = at % dilation;
    const count = Math.ceil((length - residue) / dilation);
    const [first, stop] = rangeInClass(axis, clamped, (at - residue) / dilation, count);
    start[at] = residue + first * dilation;
    end[at] = residue + (stop - 1) * dilation + 1;
  }
  return { start, end };
}

function rangeInClass({ window, stride, causal }: AxisWindow, clamped: boolean, i: number, length: number) {
  const group = Math.floor(i / stride) * stride;
  // Windows that are not moved inwards lie where those of a longer axis would.
  const bounded = (place: number): number => (clamped ? Math.min(place, length - 1) : place);
  if (causal) {
    const leader = bounded(group + stride - 1);
    return [Math.max(leader - window + 1, 0), Math.min(i + 1, length)] as const;
  }
  const left = Math.floor(window / 2);
  const right = left + (window % 2) - 1;
  const leader = bounded(group + Math.floor(stride / 2));
  if (!clamped) return [Math.max(leader - left, 0), Math.min(leader + right + 1, length)] as const;
  const first = Math.max(leader - left, 0) - Math.max(0, leader + right - length + 1);
  return [first, first + window] as const;
}

/** The window along each axis, checked against its length. */
export function readAxes(given: Readonly<Record<string, unknown>>, lengths: readonly number[]): AxisWindow[] {
  const rank = lengths.length;
  const windows = perAxis('options.window', given['window'], rank);
  const strides = perAxis('options.stride', orElse(given['stride'], 1), rank);
  const dilations = perAxis('options.dilation', orElse(given['dilation'], 1), rank);
  const causals = perAxis('options.causal', orElse(given['causal'], false), rank);
  const name = (option: string, axis: number): string =>
    Array.isArray(given[option]) ? `options.${option}[${axis}]` : `options.${option}`;
  return lengths.map((length, axis) => {
    const window = checkInteger(name('window', axis), windows[axis], 2, length);
    const stride = checkInteger(name('stride', axis), strides[axis], 1, window);
    const dilation = checkInteger(name('dilation', axis), dilations[axis], 1, Math.floor(length / window));
    const causal = causals[axis];
    if (typeof causal !== 'boolean') throw invalidType(name('causal', axis), 'a boolean', causal);
    return { length, window, stride, dilation, causal };
  });
}

/** Whether windows are moved inwards at the borders. */
export function readBorder(value: unknown): boolean {
  if (value === undefined || value === 'clamp') return true;
  if (value === 'mask') return false;
  throw invalidValue('options.border', "'clamp' or 'mask'", describe(value));
}
