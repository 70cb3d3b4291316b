// Our library as a contestant, through its public interface and its built JavaScript, and ours again in other ways to
// compare with. Loaded by import() only after FUSED_ATTENTION_ISA is set: the environment is read once, at import.
import type { Mask } from '../dist/index.js';
import {
  alibi,
  attention,
  attentionSync,
  blockSparse,
  causal,
  devices,
  KvCache,
  mask as maskOf,
  neighborhood,
  or,
  score,
  slidingWindow,
  Tensor,
} from '../dist/index.js';
import { decode16 } from '../test/reference/half.js';
import { flops, square, type Case } from './case.js';
import type { Contestant } from './contestant.js';
import { listsOf } from './drawn-blocks.js';
import { asFloat32, makeInputs, operand, type Inputs, type Operand } from './inputs.js';
import { unturned } from './rotary.js';

function tensor({ stored, shape, dtype }: Operand): Tensor {
  return stored instanceof Uint16Array ? Tensor.from(stored, shape, { dtype }) : Tensor.from(stored, shape);
}

function patternOf({ mask, headsQ, queries }: Case): Mask | undefined {
  if (mask.kind === 'causal') return causal();
  if (mask.kind === 'window') return slidingWindow(mask.keys - 1, 0);
  if (mask.kind === 'pinned') {
    return or(slidingWindow(mask.keys - 1, 0), maskOf('(i, j, { pinned }) => j < pinned', { pinned: mask.pinned }));
  }
  if (mask.kind === 'full') return undefined;
  if (mask.kind === 'blocks') return blockSparse(listsOf(mask, headsQ, queries), { blockSize: mask.size });
  return neighborhood({
    grid: mask.axes.map(({ length }) => length),
    window: mask.axes.map(({ window }) => window),
    stride: mask.axes.map(({ stride }) => stride),
    dilation: mask.axes.map(({ dilation }) => dilation),
  });
}

/** What a caller would write: nothing that is so by default. */
function options(c: Case, threads: number) {
  const { lengths, layout, program, statistics } = c;
  const pattern = patternOf(c);
  const offsets = [0];
  for (const length of lengths ?? []) offsets.push(offsets.at(-1)! + length);
  return {
    ...(threads === devices()[0]?.threads ? {} : { threads }),
    ...(pattern === undefined ? {} : { mask: pattern }),
    ...(statistics === undefined ? {} : { statistics }),
    ...(lengths === undefined ? {} : { cuSeqlensQ: offsets, cuSeqlensKv: offsets }),
    ...(lengths === undefined && layout !== 'bhsd' ? { layout } : {}),
    ...(program === undefined
      ? {}
      : { score: program.source === 'alibi' ? alibi(8) : score(program.source, program.parameters) }),
  };
}

/** An output of the case's type and the view of its rows as numbers. */
function output(c: Case, dtype: Case['dtype']) {
  const like = operand(c, c.headsQ, c.queries);
  const out = dtype === 'float32' ? like : { ...like, dtype, stored: new Uint16Array(like.data.length) };
  const row: Contestant['row'] = (batch, head, at) => {
    const start = batch * out.strides.batch + head * out.strides.head + at * out.strides.row;
    const found = out.stored.subarray(start, start + c.dim);
    return dtype === 'float32' ? found : Array.from(found, (bits) => decode16(dtype, bits));
  };
  return { out: tensor(out), row };
}

export function fusedAttention(c: Case, inputs: Inputs, threads: number): Contestant {
  const [q, k, v] = [tensor(inputs.query), tensor(inputs.key), tensor(inputs.value)];
  const { out, row } = output(c, inputs.query.dtype);
  const chosen = { ...options(c, threads), out };
  return {
    name: 'fused-attention',
    role: 'ours',
    share: 1,
    run() {
      attentionSync(q, k, v, chosen);
      return undefined;
    },
    row,
  };
}

/**
 * A step of a decode loop through KvCache: appends the newest row and attends. The row is taken back after it, so that every
 * call is the same step; that is timed too, a microsecond.
 */
function cacheStep(c: Case, inputs: Inputs, threads: number): Contestant {
  const { mask, cache: step, headsKv, dim } = c;
  const past = c.keys - c.queries;
  const turned = (from: Operand, position: number): Tensor => tensor(step?.rope ? unturned(from, position) : from);
  const [keys, values] = [turned(inputs.key, 0), tensor(inputs.value)];
  const cache = new KvCache({
    heads: headsKv,
    dim,
    ...(step?.rope ? { rope: { pairing: 'halves' as const } } : {}),
    ...(mask.kind === 'pinned' ? { window: mask.keys - 1, pinned: mask.pinned } : {}),
  });
  cache.append(keys.narrow(2, 0, past), values.narrow(2, 0, past));
  const newest = (from: Tensor): Tensor =>
    Tensor.from(from.narrow(2, past, c.queries).toFloat32(), [1, headsKv, c.queries, dim]);
  const q = turned(inputs.query, past);
  const { out, row } = output(c, 'float32');
  const { threads: some } = options(c, threads);
  const chosen = { k: newest(keys), v: newest(values), out, ...(some === undefined ? {} : { threads: some }) };
  return {
    name: 'fused-attention',
    role: 'ours',
    share: 1,
    run() {
      cache.attendSync(q, chosen);
      cache.truncate(past);
      return undefined;
    },
    row,
    dispose: async () => cache.free(),
  };
}

/** What the case is about. */
export const ours = (c: Case, inputs: Inputs, threads: number): Contestant =>
  (c.cache === undefined ? fusedAttention : cacheStep)(c, inputs, threads);

/** The same, with an output that the call allocates. */
function allocating(c: Case, inputs: Inputs, threads: number): Contestant {
  const [q, k, v] = [tensor(inputs.query), tensor(inputs.key), tensor(inputs.value)];
  const chosen = options(c, threads);
  let latest: Float32Array = new Float32Array(0);
  return {
    name: 'ours, allocating',
    role: 'reference',
    share: 1,
    run() {
      latest = attentionSync(q, k, v, chosen).output.data as Float32Array;
      return undefined;
    },
    row: (_batch, head, row) => latest.subarray((head * c.queries + row) * c.dim, (head * c.queries + row + 1) * c.dim),
  };
}

/** The same through the promise: what a call costs when it leaves the event loop. */
function promised(c: Case, inputs: Inputs, threads: number): Contestant {
  const [q, k, v] = [tensor(inputs.query), tensor(inputs.key), tensor(inputs.value)];
  const { out, row } = output(c, 'float32');
  const chosen = { ...options(c, threads), out };
  return {
    name: 'ours, promise',
    role: 'reference',
    share: 1,
    async run() {
      await attention(q, k, v, chosen);
    },
    row,
  };
}

/** What of ours is timed beside a case, as the thing that its figure is a part of. */
export function references(c: Case, inputs: Inputs, threads: number): Contestant[] {
  const reference = { role: 'reference' } as const;
  if (c.suite === 'call') return [allocating(c, inputs, threads), promised(c, inputs, threads)];
  if (c.suite === 'programs') {
    const { program: _, ...plain } = c;
    const without = fusedAttention(plain, inputs, threads);
    return [{ ...without, ...reference, name: 'ours, no program', otherResult: true }];
  }
  if (c.suite === 'statistics') {
    const { statistics: _, ...plain } = c;
    return [{ ...fusedAttention(plain, inputs, threads), ...reference, name: 'ours, no statistics' }];
  }
  if (c.suite === 'half') {
    return [{ ...fusedAttention(c, asFloat32(inputs), threads), ...reference, name: 'ours, float32' }];
  }
  if (c.cache !== undefined) {
    // Keys and values as one tensor, those of the step among them; turned before.
    return [{ ...fusedAttention(c, inputs, threads), ...reference, name: 'ours, attentionSync' }];
  }
  if (c.suite === 'window' || c.suite === 'neighborhood' || c.suite === 'blocks') {
    // A dense call of 16384 rows would take as long as the whole suite: the rate hardly depends on length from 4096 on.
    const dense = square('prefill', Math.min(c.queries, 4096), c.dim);
    const whole = fusedAttention(dense, makeInputs(dense), threads);
    const list: Contestant[] = [{ ...whole, ...reference, name: 'ours, dense', otherWork: { flops: flops(dense) } }];
    if (c.mask.kind === 'neighborhood' && c.mask.axes.some(({ dilation }) => dilation > 1)) {
      const axes = c.mask.axes.map((axis) => ({ ...axis, dilation: 1 }));
      const near = fusedAttention({ ...c, mask: { ...c.mask, axes } }, inputs, threads);
      list.push({ ...near, ...reference, name: 'ours, undilated', otherResult: true });
    }
    return list;
  }
  if (threads > 1 && (c.suite === 'prefill' || c.suite === 'causal')) {
    return [{ ...fusedAttention(c, inputs, 1), ...reference, name: 'ours, 1 thread', threads: 1 }];
  }
  return [];
}

/** The instruction set in use; throws where the process may not use as many threads as asked for. */
export function chosenIsa(threads: number): string {
  const [cpu] = devices();
  if (cpu === undefined || cpu.threads < threads) {
    throw new Error(`--threads ${threads}: the library may use ${cpu?.threads ?? 0} here`);
  }
  return cpu.isa;
}
