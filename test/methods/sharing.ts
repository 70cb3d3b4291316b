// Heads that share, caches, pages, keys in parts, attention in two steps.

import { Tensor } from '../../lib/index.js';
import { method } from './method.js';
import type { Methods } from './method.js';
import { attend, attendHeads, range, rowsOf } from './plain.js';
import type { Rows } from './plain.js';

const causal = (i: number, j: number): boolean => j <= i;
const one = [1, 4, 1, 8];

export const sharing: Methods = {
  'Multi-query attention': method(
    (source) => ({ k: source.tensor([1, 1, 32, 8]), v: source.tensor([1, 1, 32, 8]) }),
    (inputs) => ({ output: attendHeads(inputs) }),
    { exact: true },
  ),
  'Grouped-query attention': method(
    (source) => ({ k: source.tensor([1, 2, 32, 8]), v: source.tensor([1, 2, 32, 8]) }),
    (inputs) => ({ output: attendHeads(inputs) }),
    { exact: true },
  ),
  'Multi-head latent attention': method(
    (source) => ({ q: source.tensor([1, 4, 32, 12]), latent: source.tensor([1, 1, 32, 12]) }),
    ({ q, latent }) => {
      const keys = rowsOf(latent, 0, 0);
      const values = keys.map((row) => row.slice(0, 8));
      return { output: range(4, (h) => attend(rowsOf(q, 0, h), keys, values, { sees: causal })) };
    },
  ),
  FlashAttention: method(
    () => ({}),
    (inputs) => ({ output: attendHeads(inputs) }),
    { exact: true },
  ),
  'Flash-Decoding': method(
    (source) => ({ q: source.tensor(one) }),
    (inputs) => ({ output: attendHeads(inputs) }),
    {
      exact: true,
    },
  ),
  'Ring attention': method(
    () => ({}),
    (inputs) => ({ output: attendHeads(inputs) }),
    { exact: true },
  ),
  'Chunked prefill': method(
    () => ({}),
    (inputs) => ({
      outputs: range(4, (c) =>
        attendHeads(inputs, () => ({ sees: causal })).map((rows) => rows.slice(c * 8, (c + 1) * 8)),
      ),
    }),
  ),
  'Rolling cache': method(
    () => ({}),
    (inputs) => ({
      outputs: range(32, (i) =>
        attendHeads(inputs, () => ({ sees: (r, j) => j <= r && (r - j <= 7 || j < 2) })).map((rows) => rows[i]!),
      ),
    }),
  ),
  PagedAttention: method(
    (source) => ({
      q: source.tensor([2, 4, 1, 8]),
      keyPool: source.tensor([6, 4, 4, 8]),
      valuePool: source.tensor([6, 4, 4, 8]),
      table: [
        [5, 2, 0],
        [1, 4],
      ],
      lengths: [11, 7],
    }),
    (inputs) => ({
      output: range(2, (b) =>
        range(4, (h) => {
          const row = (pool: Tensor, token: number): number[] =>
            rowsOf(pool, inputs.table[b]![Math.floor(token / 4)]!, h)[token % 4]!;
          const rows = (pool: Tensor): Rows => range(inputs.lengths[b]!, (token) => row(pool, token));
          return attend(rowsOf(inputs.q, b, h), rows(inputs.keyPool), rows(inputs.valuePool));
        }),
      ),
    }),
  ),
  Hydragen: method(
    (source) => ({
      q: source.tensor([3, 4, 1, 8]),
      prefixK: source.tensor([1, 4, 20, 8]),
      prefixV: source.tensor([1, 4, 20, 8]),
      k: source.tensor([3, 4, 6, 8]),
      v: source.tensor([3, 4, 6, 8]),
    }),
    ({ q, k, v, prefixK, prefixV }) => ({
      output: range(3, (b) =>
        range(4, (h) =>
          attend(
            rowsOf(q, b, h),
            [...rowsOf(prefixK, 0, h), ...rowsOf(k, b, h)],
            [...rowsOf(prefixV, 0, h), ...rowsOf(v, b, h)],
          ),
        ),
      ),
    }),
  ),
  'Attention as a recurrent network': method(
    (source) => ({ query: source.tensor([1, 4, 1, 8]) }),
    ({ query, k, v }) => ({
      output: range(4, (h) => {
        const row = rowsOf(query, 0, h)[0]!;
        return range(32, (n) => attend([row], rowsOf(k, 0, h).slice(0, n + 1), rowsOf(v, 0, h).slice(0, n + 1))[0]!);
      }),
    }),
  ),
  'Set Transformer': method(
    (source) => ({ induce: source.tensor([1, 4, 3, 8]) }),
    ({ q, k, v, induce }) => ({
      output: range(4, (h) => {
        const summary = attend(rowsOf(induce, 0, h), rowsOf(k, 0, h), rowsOf(v, 0, h));
        return attend(rowsOf(q, 0, h), summary, summary);
      }),
    }),
  ),
  'Agent attention': method(
    (source) => ({ agents: source.tensor([1, 4, 5, 8]) }),
    ({ q, k, v, agents }) => ({
      output: range(4, (h) => {
        const own = rowsOf(agents, 0, h);
        return attend(rowsOf(q, 0, h), own, attend(own, rowsOf(k, 0, h), rowsOf(v, 0, h)));
      }),
    }),
  ),
  FLARE: method(
    (source) => ({ latent: source.tensor([1, 4, 5, 8]) }),
    ({ k, v, latent }) => ({
      output: range(4, (h) => {
        const [keys, own] = [rowsOf(k, 0, h), rowsOf(latent, 0, h)];
        return attend(keys, own, attend(own, keys, rowsOf(v, 0, h), { scale: 1 }), { scale: 1 });
      }),
    }),
  ),
  'Shared weights of layers': method(
    (source) => ({ values: [source.tensor([1, 4, 32, 8]), source.tensor([1, 4, 32, 8])] }),
    ({ q, k, values }) => ({ outputs: values.map((v) => attendHeads({ q, k, v }, () => ({ sees: causal }))) }),
  ),
};
