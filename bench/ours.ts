// Our library as a contestant, through its public interface and its built JavaScript.
// Loaded by import() only after FUSED_ATTENTION_ISA is set: the environment is read once, at import.
import { attention, attentionSync, causal, devices, slidingWindow, Tensor } from '../dist/index.js';
import type { Case } from './cases.js';
import type { Contestant } from './contestant.js';
import { operand, type Inputs, type Operand } from './inputs.js';

const tensor = (from: Operand): Tensor => Tensor.from(from.data, from.shape);

function options(c: Case, threads: number, out: Tensor) {
  const mask =
    c.mask.kind === 'causal' ? causal() : c.mask.kind === 'window' ? slidingWindow(c.mask.keys - 1, 0) : undefined;
  const offsets = [0];
  for (const length of c.lengths ?? []) offsets.push(offsets.at(-1)! + length);
  const ragged = c.lengths === undefined ? {} : { cuSeqlensQ: offsets, cuSeqlensKv: offsets };
  const layout = c.lengths === undefined ? { layout: c.layout } : {};
  return { ...(mask === undefined ? {} : { mask }), ...layout, ...ragged, threads, out };
}

export function fusedAttention(c: Case, inputs: Inputs, threads: number): Contestant {
  const [q, k, v] = [tensor(inputs.query), tensor(inputs.key), tensor(inputs.value)];
  const out = operand(c, c.headsQ, c.queries);
  const chosen = options(c, threads, tensor(out));
  return {
    name: 'fused-attention',
    share: 1,
    run() {
      attentionSync(q, k, v, chosen);
      return undefined;
    },
    row(batch, head, row) {
      const start = batch * out.strides.batch + head * out.strides.head + row * out.strides.row;
      return out.data.subarray(start, start + c.dim);
    },
  };
}

/** The same through the promise: what a call costs when it leaves the event loop. */
export function fusedAttentionAsync(c: Case, inputs: Inputs, threads: number): Contestant {
  const sync = fusedAttention(c, inputs, threads);
  const [q, k, v] = [tensor(inputs.query), tensor(inputs.key), tensor(inputs.value)];
  const out = operand(c, c.headsQ, c.queries);
  const chosen = options(c, threads, tensor(out));
  return {
    ...sync,
    name: 'fused-attention, promise',
    async run() {
      await attention(q, k, v, chosen);
    },
    row(batch, head, row) {
      const start = batch * out.strides.batch + head * out.strides.head + row * out.strides.row;
      return out.data.subarray(start, start + c.dim);
    },
  };
}

/** The instruction set in use; throws where the process may not use as many threads as asked for. */
export function chosenIsa(threads: number): string {
  const [cpu] = devices();
  if (cpu === undefined || cpu.threads < threads) {
    throw new Error(`--threads ${threads}: the library may use ${cpu?.threads ?? 0} here`);
  }
  return cpu.isa;
}
