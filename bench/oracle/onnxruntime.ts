// An oracle case through onnxruntime: the operator's inputs and attributes, and its output as [B, Nq, Hq, Dv].
import type { Tensor } from 'onnxruntime-node';
import { createSession, floats, ints, type Node } from '../peers/onnx-session.js';
import type { OracleCase } from './cases.js';
import type { Operands } from './operands.js';

type Feeds = Record<string, Tensor>;

/** Rows [first, end) of [B, S, H, D] as [B, H, S, D]. */
function heads(data: Float32Array, c: OracleCase, dim: number, first: number, end: number): Tensor {
  const { batch, headsKv, keys } = c;
  const rows = end - first;
  const out = new Float32Array(batch * headsKv * rows * dim);
  for (let b = 0, to = 0; b < batch; b++) {
    for (let h = 0; h < headsKv; h++) {
      for (let row = first; row < end; row++, to += dim) {
        const from = ((b * keys + row) * headsKv + h) * dim;
        out.set(data.subarray(from, from + dim), to);
      }
    }
  }
  return floats(out, [batch, headsKv, rows, dim]);
}

/** Rows [first, keys) of [B, S, H, D] as [B, S, H * D]. */
function tail(data: Float32Array, c: OracleCase, dim: number, first: number): Tensor {
  const { batch, headsKv, keys } = c;
  const width = headsKv * dim;
  const rows = keys - first;
  const out = new Float32Array(batch * rows * width);
  for (let b = 0; b < batch; b++)
    out.set(data.subarray((b * keys + first) * width, (b + 1) * keys * width), b * rows * width);
  return floats(out, [batch, rows, width]);
}

function node(c: OracleCase, feeds: Feeds): Node {
  const scale: Node['attributes'] = c.scale === undefined ? {} : { scale: { float: c.scale } };
  if (c.operator === 'MultiHeadAttention') {
    const attributes = { num_heads: c.headsQ, unidirectional: c.causal ? 1 : 0, ...scale };
    return { operator: c.operator, inputs: Object.keys(feeds), attributes };
  }
  const window: Node['attributes'] = c.window === undefined ? {} : { local_window_size: c.window };
  const softcap: Node['attributes'] = c.softcap === undefined ? {} : { softcap: { float: c.softcap } };
  const attributes = { num_heads: c.headsQ, kv_num_heads: c.headsKv, ...scale, ...window, ...softcap };
  return { operator: c.operator, inputs: Object.keys(feeds), attributes };
}

export async function runOnnxruntime(c: OracleCase, operands: Operands): Promise<Float32Array> {
  const { batch, headsQ, queries, keys, dimQk, dimV, causal } = c;
  // The operators take more keys than queries under a causal mask only as a past.
  const past = causal ? keys - queries : 0;
  const feeds: Feeds = {
    query: floats(operands.query, [batch, queries, headsQ * dimQk]),
    key: tail(operands.key, c, dimQk, past),
    value: tail(operands.value, c, dimV, past),
  };
  if (past > 0) {
    feeds['past_key'] = heads(operands.key, c, dimQk, 0, past);
    feeds['past_value'] = heads(operands.value, c, dimV, 0, past);
  }
  if (c.operator === 'GroupQueryAttention') {
    feeds['seqlens_k'] = ints(new Array<number>(batch).fill(keys - 1), [batch]);
    feeds['total_sequence_length'] = ints([keys], [1]);
    if (operands.sinks) feeds['head_sink'] = floats(operands.sinks, [headsQ]);
  }
  if (operands.keyPadding) feeds['key_padding_mask'] = ints([...operands.keyPadding], [batch, keys]);
  if (operands.mask) feeds['key_padding_mask'] = ints([...operands.mask], [batch, queries, keys]);
  if (operands.bias) {
    feeds['attention_bias'] = floats(operands.bias, [
      c.bias!.batch ? batch : 1,
      c.bias!.heads ? headsQ : 1,
      queries,
      keys,
    ]);
  }
  const session = await createSession(node(c, feeds), 1);
  try {
    const { output } = await session.run(feeds, ['output']);
    return output!.data as Float32Array;
  } finally {
    await session.release();
  }
}
