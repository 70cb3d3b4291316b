// Random calls for the fuzz test: a call that is right in every part, then, most of the time, spoilt in one or two.

import {
  Tensor,
  alibi,
  and,
  causal,
  compose,
  dilated,
  documents,
  logLengthScaling,
  mask,
  not,
  or,
  prefixLm,
  score,
  sharedPrefix,
  slidingWindow,
  strided,
  temperature,
} from '../../lib/index.js';
import type { Dtype, Mask, Score, TensorInput } from '../../lib/index.js';
import type { Random } from '../reference/random.js';
import { resizable, rowMajor } from './tensors.js';

/** Arguments of a call, anything at all, and what may be done to their memory while it runs. */
export interface RandomCall {
  args: unknown[];
  options: Record<string, unknown>;
  /** The shape that the output has if the call works and was not spoilt; null when it was. */
  shape: number[] | null;
  /** Buffers of the arguments. */
  buffers: ArrayBufferLike[];
}

type Resizable = ArrayBuffer & { resize?: (bytes: number) => void; maxByteLength?: number };

const floats = ['float32', 'float16', 'bfloat16'] as const;

/** Values that are hardly ever right. */
export function junk(random: Random): unknown {
  return random.pick<() => unknown>([
    () => undefined,
    () => null,
    () => NaN,
    () => -1,
    () => 2 ** 53,
    () => 1e300,
    () => 0.5,
    () => 'bhsd',
    () => '',
    () => true,
    () => 12n,
    () => Symbol('junk'),
    () => ({}),
    () => [],
    () => [[]],
    () => new Array(3),
    () => ({ data: new Float32Array(4), dims: [2, 2] }),
    () => ({ data: 'data', shape: [1], dtype: 'float32' }),
    () => new Proxy(new Float32Array(8), {}),
    () => new Float64Array(6),
    () => new DataView(new ArrayBuffer(8)),
    () => Object.create(Tensor.prototype) as unknown,
    () => Object.create(null) as unknown,
    () => () => 0,
    () => causal,
    () => causal(),
    () => temperature(2),
    () => AbortSignal.abort(),
    () => throwing(),
    () => Tensor.from(new Float32Array(1), []),
    () => {
      const tensor = Tensor.from(new Float32Array(4), [4]);
      tensor.dispose();
      return tensor;
    },
  ])();
}

function throwing(): object {
  const fail = (): never => {
    throw new Error('a getter that throws');
  };
  const properties = ['data', 'dims', 'shape', 'dtype', 'output', 'kind', 'aborted', '0', 'length'];
  return Object.defineProperties(
    {},
    Object.fromEntries(properties.map((name) => [name, { get: fail, enumerable: true }])),
  );
}

export class CallMaker {
  readonly #random: Random;
  #buffers: ArrayBufferLike[] = [];
  /** Tensors as they were made. */
  #whole = new Set<Tensor>();

  constructor(random: Random) {
    this.#random = random;
  }

  make(): RandomCall {
    const random = this.#random;
    this.#buffers = [];
    this.#whole = new Set();
    const call = random.chance(0.25) ? this.#ragged() : this.#dense();
    let spoils = random.pick([0, 0, 0, 1, 1, 2]);
    const result: RandomCall = { ...call, shape: spoils === 0 ? call.shape : null, buffers: this.#buffers };
    for (; spoils > 0 && result.options === call.options; spoils -= 1) this.#spoil(result);
    return result;
  }

  #dense(): { args: unknown[]; options: Record<string, unknown>; shape: number[] } {
    const random = this.#random;
    const sizes = this.#sizes();
    const { batch, headsQ, headsKv, dimQk, dimV } = sizes;
    const queries = this.#rows();
    const keys = this.#rows();
    const bshd = random.chance(0.3);
    const shape = (heads: number, rows: number, dim: number): number[] =>
      bshd ? [batch, rows, heads, dim] : [batch, heads, rows, dim];
    const options: Record<string, unknown> = {};
    if (bshd) options['layout'] = 'bshd';
    if (random.chance(0.2)) options['lengthsQ'] = this.#lengths(batch, queries);
    if (random.chance(0.3)) options['lengthsKv'] = this.#lengths(batch, keys);
    const grid = (): number[] =>
      [batch, headsQ, queries, keys].map((size, axis) => (axis < 3 && random.chance(0.4) ? 1 : size));
    const masks: unknown[] = [];
    while (random.chance(0.3)) {
      masks.push(
        random.pick<() => unknown>([
          () => this.#program(),
          () => this.#program(),
          () => not(and(this.tensor(grid(), 'bool') as TensorInput, this.#program())),
          () => this.tensor(grid(), 'bool'),
          () => this.tensor([batch, keys], 'bool'),
        ])(),
      );
    }
    if (masks.length > 0) options['mask'] = masks.length === 1 ? masks[0] : masks;
    if (random.chance(0.2)) options['bias'] = this.tensor(grid().slice(random.integer(0, 3)), random.pick(floats));
    this.#more(options, sizes, shape(headsQ, queries, dimV));
    const args = [
      this.tensor(shape(headsQ, queries, dimQk), random.pick(floats)),
      this.tensor(shape(headsKv, keys, dimQk), random.pick(floats)),
      this.tensor(shape(headsKv, keys, dimV), random.pick(floats)),
    ];
    return { args, options, shape: shape(headsQ, queries, dimV) };
  }

  #ragged(): { args: unknown[]; options: Record<string, unknown>; shape: number[] } {
    const random = this.#random;
    const sizes = this.#sizes();
    const { batch, headsQ, headsKv, dimQk, dimV } = sizes;
    const cumulative = (): number[] => {
      const ends = [0];
      for (let b = 0; b < batch; b += 1) ends.push(ends.at(-1)! + random.pick([0, 1, 2, 5, 9]));
      return ends;
    };
    const [startsQ, startsKv] = [cumulative(), cumulative()];
    const options: Record<string, unknown> = {
      cuSeqlensQ: this.#integers(startsQ),
      cuSeqlensKv: this.#integers(startsKv),
    };
    if (random.chance(0.3)) options['mask'] = this.#program();
    const [rows, keys] = [startsQ.at(-1)!, startsKv.at(-1)!];
    this.#more(options, sizes, [rows, headsQ, dimV]);
    const args = [
      this.tensor([rows, headsQ, dimQk], random.pick(floats)),
      this.tensor([keys, headsKv, dimQk], random.pick(floats)),
      this.tensor([keys, headsKv, dimV], random.pick(floats)),
    ];
    return { args, options, shape: [rows, headsQ, dimV] };
  }

  /** Options that calls of all kinds have. */
  #more(options: Record<string, unknown>, { headsQ }: { headsQ: number }, shape: number[]): void {
    const random = this.#random;
    const maybe = (name: string, probability: number, make: () => unknown): void => {
      if (random.chance(probability)) options[name] = make();
    };
    maybe('scale', 0.2, () => random.pick([0, 1, -2, 1e-30, 1e30]));
    maybe('softcap', 0.15, () => random.pick([1, 50, 1e-30, 3e38]));
    maybe('score', 0.15, () => this.#score());
    maybe('align', 0.2, () => random.pick(['top-left', 'bottom-right']));
    maybe('threads', 0.3, () => random.pick([1, 2, 3, 2 ** 40]));
    maybe('device', 0.2, () => random.pick(['auto', 'cpu']));
    if (random.chance(0.1)) {
      options['partial'] = true;
      return;
    }
    if (random.chance(0.15)) {
      options['normalizer'] = random.pick<unknown>([
        'sigmoid',
        { kind: 'sigmoid', shift: random.pick<unknown>(['keys', -3, 3e38]) },
        { kind: random.pick(['relu', 'squared-relu']), divide: random.pick<unknown>(['keys', 1, 1e-30, 3e38]) },
      ]);
    } else {
      for (const name of ['lse', 'entropy', 'rowMax']) maybe(name, 0.25, () => random.chance(0.8));
      maybe('sinks', 0.15, () => Array.from(random.normals(headsQ)));
    }
    if (random.chance(0.2)) options['out'] = this.tensor(shape, random.pick(floats), false);
    else maybe('outputDtype', 0.2, () => random.pick(floats));
  }

  /** A tensor of finite values in memory of some kind: plain, offset, strided, shared, resizable, or of another library. */
  tensor(shape: number[], dtype: Dtype, repeats = true): unknown {
    const random = this.#random;
    const inner = shape.length - 1;
    // Axes in some order in memory, the last one fastest; sometimes with gaps, sometimes with an axis that repeats.
    const order = random.shuffle(shape.map((_, axis) => axis).slice(0, -1));
    if (random.chance(0.5)) order.sort((a, b) => a - b);
    const strides = new Array<number>(shape.length).fill(1);
    const gap = random.chance(0.2) ? random.integer(1, 3) : 0;
    let step = inner < 0 ? 1 : Math.max(shape[inner]!, 1) + gap;
    for (const axis of order.reverse()) {
      strides[axis] = step;
      step *= Math.max(shape[axis]!, 1);
    }
    if (repeats && order.length > 0 && random.chance(0.1)) strides[random.pick(order)] = 0;
    const extent = shape.includes(0) ? 0 : shape.reduce((sum, size, axis) => sum + (size - 1) * strides[axis]!, 1);
    const offset = random.chance(0.3) ? random.integer(1, 5) : 0;
    const count = offset + extent + random.integer(0, 2);
    const data = this.#array(dtype, count);
    const plain = offset === 0 && String(strides) === String(rowMajor(shape));
    if (plain && random.chance(0.5)) return { data, dims: shape, type: dtype };
    const tensor = Tensor.from(data, shape, { dtype, strides, offset });
    this.#whole.add(tensor);
    return tensor;
  }

  #array(dtype: Dtype, count: number): Float32Array | Uint16Array | Uint8Array {
    const random = this.#random;
    const bytes = dtype === 'float32' ? 4 : dtype === 'bool' ? 1 : 2;
    const start = random.chance(0.2) ? 4 * random.integer(1, 4) : 0;
    const size = start + bytes * count;
    const kind = random.pick(['plain', 'plain', 'plain', 'shared', 'resizable', 'tracking']);
    const memory: ArrayBufferLike =
      kind === 'plain'
        ? new ArrayBuffer(size)
        : kind === 'shared'
          ? new SharedArrayBuffer(size)
          : resizable(size, 2 * size);
    this.#buffers.push(memory);
    const Class = dtype === 'float32' ? Float32Array : dtype === 'bool' ? Uint8Array : Uint16Array;
    const array =
      kind === 'tracking' ? new Class(memory as ArrayBuffer, start) : new Class(memory as ArrayBuffer, start, count);
    for (let i = 0; i < array.length; i += 1) {
      // Halves: the numbers of magnitude about 1 in both types.
      if (dtype === 'float32') array[i] = random.unit() * 4 - 2;
      else array[i] = dtype === 'bool' ? random.bits() & 1 : (random.bits() & 0x8000) | 0x3c00 | (random.bits() & 0x7f);
    }
    return array;
  }

  #sizes(): { batch: number; headsQ: number; headsKv: number; dimQk: number; dimV: number } {
    const random = this.#random;
    const headsKv = random.integer(1, 3);
    const dim = (): number => random.pick([1, 2, 3, 7, 8, 16, 17, 32, 64]);
    const batch = random.chance(0.05) ? 0 : random.integer(1, 3);
    return { batch, headsKv, headsQ: headsKv * random.integer(1, 3), dimQk: dim(), dimV: dim() };
  }

  #rows(): number {
    return this.#random.pick([0, 1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33]);
  }

  #lengths(batch: number, rows: number): unknown {
    return this.#integers(Array.from({ length: batch }, () => this.#random.integer(0, rows)));
  }

  /** A mask that fits all lengths: no tables by position, which could be too short. */
  #program(): Mask {
    const random = this.#random;
    const table = Int32Array.from({ length: 100 }, () => random.integer(-1, 1));
    return random.pick<() => Mask>([
      causal,
      () => slidingWindow(random.integer(0, 9), random.pick([null, 0, 3])),
      () => prefixLm(random.integer(0, 12)),
      () => dilated(random.integer(1, 5)),
      () => strided(random.integer(1, 5)),
      () => sharedPrefix(random.integer(0, 5), random.integer(1, 5)),
      () => or(causal(), not(dilated(2))),
      () => documents({ q: table, kv: table }),
      () => mask('(i, j, { h, t }) => t(Math.abs(i * 7 + j * 3 + h) % 100) >= 0', { t: table }),
      () => mask('(i, j, { b, nkv, c }) => (i ^ j) % c !== b || j < nkv', { c: random.integer(2, 9) }),
    ])();
  }

  #score(): Score {
    const random = this.#random;
    return random.pick<() => Score>([
      () => alibi(64),
      () => temperature(random.integer(1, 9) / 4),
      () => logLengthScaling(random.integer(2, 20)),
      () => compose(temperature(2), score('(s, i, j, { c }) => Math.tanh(s) * c', { c: random.normal() })),
      () => score('(s, i, j, { row }) => (row % 3 === 0 ? -Infinity : s / 0)'),
      () => score('(s, i, j, { t }) => s + t(Math.min(Math.abs(i - j), 7))', { t: new Float32Array(8).fill(0.5) }),
    ])();
  }

  #integers(values: number[]): unknown {
    const kinds = [() => values, () => Int32Array.from(values), () => BigInt64Array.from(values, BigInt)];
    return this.#random.pick(kinds)();
  }

  #spoil(call: RandomCall): void {
    const random = this.#random;
    const { args, options } = call;
    const names = ['scale', 'mask', 'bias', 'softcap', 'sinks', 'align', 'layout', 'outputDtype', 'lse', 'entropy'];
    names.push('rowMax', 'partial', 'threads', 'out', 'cuSeqlensQ', 'cuSeqlensKv', 'lengthsQ', 'lengthsKv', 'device');
    names.push('signal', 'normalizer', 'score', 'pages', 'laout');
    const at = random.integer(0, 2);
    random.pick<() => void>([
      () => (args[at] = junk(random)),
      () => (options[random.pick(names)] = junk(random)),
      () => (options[random.pick(names)] = junk(random)),
      () => this.#otherShape(args, at),
      () => this.#absurdShape(args, at),
      () => this.#detach(call.buffers),
      () => this.#resize(call.buffers),
      () =>
        (options['mask'] = this.tensor([1, 1, this.#rows(), this.#rows()], random.pick([...floats, 'bool', 'bool']))),
      () => (options['bias'] = this.tensor([this.#rows(), this.#rows()], random.pick([...floats, 'bool']))),
      () => (options['out'] = random.pick([args[at], { output: args[at], lse: args[at] }, { lse: junk(random) }])),
      () => this.#spoilLengths(options),
      () => (options['device'] = random.pick(['cuda', 'metal'])),
      () => (options['normalizer'] = random.pick(['relu', 'sigmoid', 'softmin', { kind: 'relu', divide: 0 }])),
      () => (options['signal'] = AbortSignal.abort(junk(random))),
      () => (call.options = junk(random) as Record<string, unknown>),
    ])();
  }

  #otherShape(args: unknown[], at: number): void {
    const random = this.#random;
    const tensor = args[at];
    // Not after another spoiling of the same argument.
    if (!(tensor instanceof Tensor) || !this.#whole.has(tensor)) return;
    const axis = random.integer(0, tensor.shape.length - 1);
    args[at] = random.pick<() => unknown>([
      () => tensor.narrow(axis, 0, random.integer(0, tensor.shape[axis]!)),
      () => tensor.transpose(axis, random.integer(0, tensor.shape.length - 1)),
      () => this.tensor([...tensor.shape, 1], 'float32'),
      () => this.tensor(tensor.shape.slice(1), 'float32'),
      () => this.tensor([...tensor.shape], 'bool'),
      () => ({ data: tensor.data, dims: tensor.shape.map((size) => size + 1), type: tensor.dtype }),
      () => ({ data: tensor.data, shape: tensor.shape, dtype: random.pick(['float64', 'float32', 'float16', 5]) }),
    ])();
  }

  /** Sizes that no memory could hold, by an axis that repeats. */
  #absurdShape(args: unknown[], at: number): void {
    const random = this.#random;
    const shape = [1, 1, 1, random.pick([1, 64])];
    shape[random.integer(0, 3)] = random.pick([2 ** 34, 2 ** 45]);
    args[at] = Tensor.from(new Float32Array(64), shape, { strides: [0, 0, 0, 0] });
  }

  #detach(buffers: ArrayBufferLike[]): void {
    const plain = buffers.filter((memory) => memory instanceof ArrayBuffer);
    if (plain.length > 0) detach(this.#random.pick(plain));
  }

  #resize(buffers: ArrayBufferLike[]): void {
    for (const memory of buffers) resize(memory, this.#random);
  }

  #spoilLengths(options: Record<string, unknown>): void {
    const random = this.#random;
    const name = random.pick(['cuSeqlensQ', 'cuSeqlensKv', 'lengthsQ', 'lengthsKv']);
    const value = random.pick([-1, 1.5, NaN, 2 ** 40, 3, 0]);
    const lengths = Array.from({ length: random.integer(0, 4) }, () => random.pick([0, 1, 2, value]));
    options[name] = lengths;
  }
}

/** Takes the memory away from whoever has it. */
export function detach(memory: ArrayBufferLike): void {
  try {
    structuredClone(memory, { transfer: [memory as ArrayBuffer] });
  } catch {
    // Already gone, or not to be taken.
  }
}

/** Changes the size of a resizable buffer to anything it can have. */
export function resize(memory: ArrayBufferLike, random: Random): void {
  const { resize: change, maxByteLength } = memory as Resizable;
  if (change === undefined || maxByteLength === undefined || memory.byteLength === 0) return;
  try {
    change.call(memory, random.integer(0, maxByteLength));
  } catch {
    // Not while it is used.
  }
}
