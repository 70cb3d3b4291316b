// Masks: programs that say which keys a query may see, with their parameters, and their combinations.

import type { BlockLayout } from './block-layout.js';
import { readLayout } from './block-lists.js';
import { listedProgram, withoutLists } from './block-programs.js';
import { BoundProgram, bindProgram, joinPrograms, rebind, sourceToJSON } from './bound-program.js';
import type { AxisProduct, ProgramSource } from './bound-program.js';
import { checkMaker, face, ours } from './class-face.js';
import { replaceInParts } from './combination.js';
import { AttentionError, describe, invalidType, invalidValue, unsupported } from './errors.js';
import { language } from './language.js';
import { readParameters } from './parameters.js';
import type { ProgramParameters } from './parameters.js';
import { readProgramOptions } from './program-options.js';
import type { ProgramOptions } from './program-options.js';
import { checkBlock } from './shape.js';
import { isArray, reading, readLength, readList, readProperty } from './snapshot.js';
import { readTensor } from './tensor.js';
import type { TensorInput } from './tensor.js';

/** Context of a pair, and the parameters given by name: tables are functions of their indices. */
export type MaskContext<Parameters> = ProgramContext & {
  readonly [Name in keyof Parameters]: Parameters[Name] extends number ? number : (...indices: number[]) => number;
};

/** What every program may read of a pair besides i and j. */
export interface ProgramContext {
  /** Sequence of the batch, query head, key/value head. */
  readonly b: number;
  readonly h: number;
  readonly hkv: number;
  /** Row of the query and of the key in their sequence. */
  readonly row: number;
  readonly col: number;
  /** Queries and keys of the sequence. */
  readonly nq: number;
  readonly nkv: number;
}

/** A position on a declared grid: row-major, last axis fastest; the axes are x; y, x; or z, y, x. */
export type Position = number & { readonly x: number; readonly y: number; readonly z: number };

/** A mask as a plain function, parsed and never called. */
export type MaskFunction<Parameters = {}> = (
  i: Position,
  j: Position,
  context: MaskContext<Parameters>,
) => boolean | number;

/** One mask: a program, or a boolean tensor (see `mask` of the options). */
export type MaskItem = Mask | TensorInput;

/** How a mask was made. */
type Origin =
  | { readonly made: 'program'; readonly source: ProgramSource; readonly label: string | undefined }
  | { readonly made: 'blocks'; readonly layout: BlockLayout; readonly label: string }
  | { readonly made: 'and' | 'or' | 'not'; readonly items: readonly (Mask | TensorInput)[] };

/** What a mask is made from. @hidden */
export interface MaskParts {
  readonly bound: BoundProgram;
  readonly origin: Origin;
}

/** A mask of blocks as a plain object. */
export interface BlockMaskJson {
  readonly kind: 'mask';
  readonly operation: 'blocks';
  readonly blockSize: readonly [number, number];
  readonly rows: 'position' | 'row';
  readonly layout: {
    readonly shape: readonly number[];
    readonly indptr: readonly number[];
    readonly indices: readonly number[];
  };
}

let boundOf: (mask: Mask) => BoundProgram;
let isMask: (value: unknown) => value is Mask;
let make: (bound: BoundProgram, origin: Origin) => Mask;

/**
 * A rule that says which keys a query may see. Made by {@link mask}, by {@link causal} and its like, and by {@link and},
 * {@link or} and {@link not}; immutable, and usable in any number of calls.
 *
 * The query of row r of a sequence stands at position r + nkv - nq (`align: 'bottom-right'`, the default) or r
 * (`align: 'top-left'`); the key of row c stands at position c. Rows count inside the sequence.
 */
export class Mask {
  readonly #bound: BoundProgram;
  readonly #origin: Origin;

  static {
    isMask = (value): value is Mask => typeof value === 'object' && value !== null && #bound in value;
    boundOf = (item) => item.#bound;
    make = (bound, origin) => new Mask(ours, { bound, origin });
    face(this, 'Mask', isMask);
  }

  /** @hidden */
  protected constructor(token: symbol, parts: MaskParts) {
    checkMaker(token, 'Mask', 'mask()');
    this.#bound = parts.bound;
    this.#origin = parts.origin;
  }

  /** The program's text; of a combination how it was made. */
  get source(): string {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.source.source;
    if (origin.made === 'blocks') return origin.label;
    return `${origin.made}(${origin.items.map((item) => (isMask(item) ? item.source : 'tensor')).join(', ')})`;
  }

  /**
   * The same mask with some parameters replaced; nothing is compiled anew when their kinds stay. Of a combination, the
   * one part that has a parameter of that name takes it.
   *
   * @throws AttentionError `ERR_INVALID_ARG_VALUE` for a name that no part has, or more than one.
   */
  with(parameters: ProgramParameters): Mask {
    const origin = this.#origin;
    if (origin.made === 'program') {
      const { bound, source } = rebind(this.#bound, origin.source, parameters);
      return make(bound, { made: 'program', source, label: undefined });
    }
    if (origin.made === 'blocks') throw invalidValue('parameters', 'none: lists of blocks have no parameters', 'some');
    const items = replaceInParts(
      origin.items,
      parameters,
      (item, name) => (isMask(item) ? item.#parameterCount(name) : 0),
      (item, changes) => (item as Mask).with(changes),
    );
    return combine(origin.made, items);
  }

  /** A plain object that {@link mask} takes back. Not for masks that hold tensors (`ERR_UNSUPPORTED`). */
  toJSON(): unknown {
    const origin = this.#origin;
    if (origin.made === 'program') return sourceToJSON(origin.source);
    if (origin.made === 'blocks') return layoutToJSON(origin.layout);
    const items = origin.items.map((item) => {
      if (!isMask(item)) throw unsupported('mask', 'a mask of programs alone to turn into JSON', 'one with a tensor');
      return item.toJSON();
    });
    return { kind: 'mask', operation: origin.made, items };
  }

  /** How the mask was made, e.g. `slidingWindow(256, 0)`. */
  toString(): string {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.label ?? `mask(${origin.source.source})`;
    if (origin.made === 'blocks') return origin.label;
    return `${origin.made}(${origin.items.map((item) => (isMask(item) ? String(item) : 'tensor')).join(', ')})`;
  }

  #parameterCount(name: string): number {
    const origin = this.#origin;
    if (origin.made === 'program') return origin.source.parameters.has(name) ? 1 : 0;
    if (origin.made === 'blocks') return 0;
    return origin.items.reduce((sum, item) => sum + (isMask(item) ? item.#parameterCount(name) : 0), 0);
  }
}

/**
 * A mask from a plain function `(i, j, { names }) => boolean` of the query's and the key's position, or from the same as
 * a string. The function is parsed and never called; everything from outside comes in through `parameters`, by the names
 * that its last argument takes apart. Masks compute with integers and booleans; float tables and numbers may be compared.
 *
 * @param program A function, its text, or what {@link Mask.toJSON} gave.
 * @param parameters Numbers, and tables that the program reads by call. Copied.
 * @throws AttentionError `ERR_PROGRAM` (with the text, a caret and the remedy), `ERR_INVALID_ARG_TYPE`,
 *   `ERR_INVALID_ARG_VALUE`, `ERR_UNKNOWN_OPTION`.
 */
export function mask<const Parameters extends ProgramParameters = {}>(
  program: MaskFunction<Parameters> | string | object,
  parameters?: Parameters,
  options?: ProgramOptions,
): Mask {
  if (typeof program === 'object' && program !== null)
    return reading('program', () => maskFromJSON('program', program));
  const { grid } = readProgramOptions(options);
  const { bound, source } = bindProgram('mask', program, readParameters('parameters', parameters, 'mask'), grid);
  return make(bound, { made: 'program', source, label: undefined });
}

/** A mask of this package's own, which says how it was made, and what other form it has. */
export function builtInMask(
  label: string,
  program: string,
  parameters: Readonly<Record<string, unknown>> = {},
  product?: AxisProduct,
): Mask {
  const given = readParameters(label, parameters, 'mask');
  const { bound, source } = bindProgram('mask', program, given, undefined, product);
  return make(bound, { made: 'program', source, label });
}

/** What a mask of blocks is made from. */
export function partsOfLayout(layout: BlockLayout, label: string): MaskParts {
  return { bound: listedProgram(layout), origin: { made: 'blocks', layout, label } };
}

export function layoutToJSON(layout: BlockLayout): BlockMaskJson {
  const { sizeQ, sizeK, byRow, batches, heads, rows, columns, starts, blocks } = layout;
  const csr = { shape: [batches, heads, rows, columns], indptr: [...starts], indices: [...blocks] };
  const form = { blockSize: [sizeQ, sizeK] as const, rows: byRow ? ('row' as const) : ('position' as const) };
  return { kind: 'mask', operation: 'blocks', ...form, layout: csr };
}

function layoutFromJSON(argument: string, json: object): Mask {
  const [sizeQ, sizeK] = checkBlock(`${argument}.blockSize`, readProperty(argument, json, 'blockSize'));
  const rows = readProperty(argument, json, 'rows');
  if (rows !== 'row' && rows !== 'position')
    throw invalidValue(`${argument}.rows`, "'position' or 'row'", describe(rows));
  const byRow = rows === 'row';
  const form = { sizeQ, sizeK, byRow, columns: undefined };
  const layout = readLayout(readProperty(argument, json, 'layout'), form);
  const { bound, origin } = partsOfLayout(layout, `blockSparse(blocks of ${sizeQ} x ${sizeK})`);
  return make(bound, origin);
}

/** Keys that all items allow. Tensors are as in `mask` of the options. */
export function and(...items: MaskItem[]): Mask {
  return combine('and', checkItems('and', items));
}

/** Keys that some item allows. */
export function or(...items: MaskItem[]): Mask {
  return combine('or', checkItems('or', items));
}

/** Keys that the item does not allow. */
export function not(item: MaskItem): Mask {
  return combine('not', checkItems('not', [item]));
}

/** The program of a mask; undefined for anything that is not a {@link Mask}. */
export function readMask(value: unknown): BoundProgram | undefined {
  return isMask(value) ? boundOf(value) : undefined;
}

function checkItems(argument: string, items: readonly unknown[]): readonly MaskItem[] {
  if (items.length === 0) throw new AttentionError('ERR_INVALID_ARG_VALUE', argument, 'at least one mask', 'none');
  items.forEach((item, index) => {
    if (isMask(item)) return;
    const view = readTensor(item, `${argument}[${index}]`);
    if (view.dtype !== 'bool') throw invalidValue(`${argument}[${index}]`, "dtype 'bool'", describe(view.dtype));
  });
  return items as readonly MaskItem[];
}

function combine(made: 'and' | 'or' | 'not', items: readonly MaskItem[]): Mask {
  const { combineMasks, gridMask, negateMask } = language();
  const parts = items.map((item) => {
    if (!isMask(item)) return new BoundProgram(gridMask(), [], [], [item]);
    return made === 'and' ? boundOf(item) : withoutLists(boundOf(item));
  });
  const bound = joinPrograms(parts, (graphs) => (made === 'not' ? negateMask(graphs[0]!) : combineMasks(made, graphs)));
  return make(bound, { made, items: [...items] });
}

function maskFromJSON(argument: string, json: object): Mask {
  if (readProperty(argument, json, 'kind') !== 'mask') {
    throw invalidType(argument, 'a function, its text, or the JSON of a mask', json);
  }
  const operation = readProperty(argument, json, 'operation');
  if (operation === undefined) {
    const parameters = readProperty(argument, json, 'parameters');
    const grid = readProperty(argument, json, 'grid');
    return mask(readProperty(argument, json, 'source') as string, parameters as ProgramParameters, {
      grid: grid as readonly number[] | undefined,
    });
  }
  if (operation === 'blocks') return layoutFromJSON(argument, json);
  const items = readProperty(argument, json, 'items');
  if (operation !== 'and' && operation !== 'or' && operation !== 'not') {
    throw invalidValue(`${argument}.operation`, "'and', 'or' or 'not'", describe(operation));
  }
  const list = `${argument}.items`;
  if (!isArray(list, items) || readLength(list, items) === 0) throw invalidType(list, 'an array of masks', items);
  const masks = readList(list, items, (item, name) => {
    if (typeof item !== 'object' || item === null) throw invalidType(name, 'a mask', item);
    return maskFromJSON(name, item);
  });
  return combine(operation, masks);
}
