// explain: what a call would do, from the dispatch code that would do it.

import { encodeNumbers, pageLists } from './call.js';
import type { AttentionCall } from './call.js';
import { AttentionError, fromNative } from './errors.js';
import { loadNative } from './native.cjs';
import type { NativeCall, NativeError, NativeExplanation } from './native.cjs';
import type { Normalizer } from './normalizers.js';
import type { AttentionOptions, PartialOptions } from './options.js';
import { guarded, readCall } from './prepare.js';
import type { TensorInput } from './tensor.js';

/** What {@link explain} returns; `toString()` is for reading. */
export interface Explanation {
  /** Where the call would run. */
  readonly device: string;
  /** The kernel, with its instruction set. */
  readonly kernel: string;
  /** Rows of a tile: queries side by side, keys one after the other. */
  readonly tile: { readonly queries: number; readonly keys: number };
  /**
   * Tiles by what queries see of them: all keys, some, none (never touched). A tile that a mask tensor says something
   * about is counted as partial: its values are only read when the call runs. `promoted` of the full and skipped ones are
   * so because their pairs were looked at; of the others the program's analysis knew it.
   */
  readonly tiles: {
    readonly full: number;
    readonly partial: number;
    readonly skipped: number;
    readonly promoted: number;
  };
  /** Keys that are summed up together before they combine with others. */
  readonly chunk: number;
  /** Pieces of work that threads share. */
  readonly tasks: number;
  /** Of the pool; on a GPU those of a block, which is a task. */
  readonly threads: number;
  /** Useful floating-point operations: 2·(Dqk + Dv) for each visible pair of a query and a key. */
  readonly flops: number;
  /** Those of q, k, v and the output, each element that is used once. */
  readonly bytes: number;
  /** Scratch memory of each thread; on a GPU the shared memory of a block. */
  readonly workspaceBytes: number;
  /** Paths not taken, and why. */
  readonly notTaken: readonly { readonly path: string; readonly reason: string }[];
  toString(): string;
}

/**
 * What {@link attention} would do with the same arguments. Checks them like a call, but allocates and computes nothing.
 *
 * @throws AttentionError as {@link attention} rejects with.
 */
export function explain(
  q: TensorInput,
  k: TensorInput,
  v: TensorInput,
  options?: AttentionOptions | PartialOptions<Normalizer | undefined>,
): Explanation {
  return guarded(() => explainCall(readCall(q, k, v, options, 'reserve')));
}

/** What a call would do that has been checked. */
export function explainCall(call: AttentionCall): Explanation {
  const { lengthsQ, lengthsKv } = call.geometry;
  const buffers: (ArrayBufferView | null)[] = new Array(lengthSlots + call.visibility.grids.length).fill(null);
  buffers[lengthSlots - 2] = lengthsQ;
  buffers[lengthSlots - 1] = lengthsKv;
  for (const [slot, list] of pageLists(call)) buffers[slot] = list;
  const { program } = call.visibility;
  const numbers = encodeNumbers(call);
  const account = ask([numbers, buffers, program?.handle, call.score?.handle]);
  return new Account(account, program?.product === 'lost' ? [gridLost] : []);
}

const gridLost = {
  path: 'grid',
  reason:
    'the mask of a grid is combined with others, moved to a shard or has new parameters: it is a plain program then',
};

/** lengthsQ and lengthsKv are the last of the fixed slots. */
const lengthSlots = 13;

function ask(call: NativeCall): NativeExplanation {
  try {
    return loadNative().explain(...call);
  } catch (error) {
    if (error instanceof AttentionError) throw error;
    throw fromNative(error as NativeError);
  }
}

class Account implements Explanation {
  readonly device: string;
  readonly kernel: string;
  readonly tile: Explanation['tile'];
  readonly tiles: Explanation['tiles'];
  readonly chunk: number;
  readonly tasks: number;
  readonly threads: number;
  readonly flops: number;
  readonly bytes: number;
  readonly workspaceBytes: number;
  readonly notTaken: Explanation['notTaken'];

  constructor(native: NativeExplanation, more: Explanation['notTaken']) {
    this.device = native.device;
    this.kernel = native.kernel;
    this.tile = { queries: native.tileQueries, keys: native.tileKeys };
    this.tiles = {
      full: native.tilesFull,
      partial: native.tilesPartial,
      skipped: native.tilesSkipped,
      promoted: native.tilesPromoted,
    };
    this.chunk = native.chunk;
    this.tasks = native.tasks;
    this.threads = native.threads;
    this.flops = native.flops;
    this.bytes = native.bytes;
    this.workspaceBytes = native.workspaceBytes;
    this.notTaken = [...native.notTaken.map(({ path, reason }) => ({ path, reason })), ...more];
  }

  toString(): string {
    const { tile, tiles } = this;
    const lines = [
      `${this.kernel} on ${this.device}`,
      row('tiles', `${tile.queries} queries x ${tile.keys} keys: ${tileCounts(tiles)}`),
      row('schedule', `${count(this.tasks, 'task')} on ${count(this.threads, 'thread')}, chunks of ${this.chunk} keys`),
      row('work', `${quantity(this.flops, 'FLOP', 1000)}, ${quantity(this.bytes, 'B', 1024)} in and out`),
      row('workspace', `${quantity(this.workspaceBytes, 'B', 1024)} a ${this.device === 'cpu' ? 'thread' : 'block'}`),
      ...this.notTaken.map(({ path, reason }) => row('not taken', `${path}: ${reason}`)),
    ];
    return lines.join('\n');
  }
}

export function row(name: string, text: string): string {
  return `  ${name.padEnd(10)}${text}`;
}

function tileCounts({ full, partial, skipped, promoted }: Explanation['tiles']): string {
  const counts = `${full} full, ${partial} partial, ${skipped} skipped`;
  return promoted === 0 ? counts : `${counts} (${promoted} by their pairs)`;
}

function count(value: number, noun: string): string {
  return `${value} ${noun}${value === 1 ? '' : 's'}`;
}

export function quantity(value: number, unit: string, base: 1000 | 1024): string {
  const prefixes = base === 1000 ? ['', 'k', 'M', 'G', 'T', 'P'] : ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'];
  let power = 0;
  while (value >= base && power < prefixes.length - 1) {
    value /= base;
    power += 1;
  }
  return `${power === 0 ? value : value.toPrecision(3)} ${prefixes[power]}${unit}`;
}
