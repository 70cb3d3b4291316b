// The onnxruntime-node peer. onnxruntime takes and gives [B, S, H * D] and transposes inside; inputs are brought into that
// order before anything is timed, and outputs are preallocated.
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { sequences, type Case } from '../case.js';
import type { Absent, Contestant } from '../contestant.js';
import { gather, operand, type Inputs, type Operand } from '../inputs.js';
import { turns, unturned } from '../rotary.js';
import { createSession, floats, ints, type Feeds, type Node } from './onnx-session.js';

/** [B, S, H * D] of an operand; without a copy where it has that order already. */
function hidden(from: Operand): Tensor {
  const { heads, rows, dim, batch } = from;
  const width = heads * dim;
  if (from.strides.row === width) return floats(from.data, [batch, rows, width]);
  const data = new Float32Array(batch * rows * width);
  for (let b = 0; b < batch; b++) gather(from, b, 0, rows, { head: dim, row: width }, data, b * rows * width);
  return floats(data, [batch, rows, width]);
}

const MULTI_HEAD = 'onnxruntime MultiHeadAttention';
const GROUP_QUERY = 'onnxruntime GroupQueryAttention';
const LAYOUT = 'takes [B, S, H·D] and transposes inside';

function contestant(
  c: Case,
  name: string,
  unlike: string,
  session: InferenceSession,
  feeds: Feeds,
  more: Feeds = {},
): Contestant {
  const output = floats(new Float32Array(c.batch * c.queries * c.headsQ * c.dim), [
    c.batch,
    c.queries,
    c.headsQ * c.dim,
  ]);
  const fetches = { output, ...more };
  const data = output.data as Float32Array;
  return {
    name,
    role: 'peer',
    unlike,
    share: 1,
    async run() {
      await session.run(feeds, fetches);
    },
    row(batch, head, row) {
      const start = ((batch * c.queries + row) * c.headsQ + head) * c.dim;
      return data.subarray(start, start + c.dim);
    },
    dispose: () => session.release(),
  };
}

async function multiHead(c: Case, inputs: Inputs, threads: number): Promise<Contestant> {
  const attributes = { num_heads: c.headsQ, unidirectional: c.mask.kind === 'causal' ? 1 : 0 };
  const node: Node = { operator: 'MultiHeadAttention', inputs: ['query', 'key', 'value'], attributes };
  const feeds = { query: hidden(inputs.query), key: hidden(inputs.key), value: hidden(inputs.value) };
  const causal = c.mask.kind === 'causal' ? '; causal by its attribute `unidirectional`' : '';
  const session = await createSession(node, threads);
  return contestant(c, MULTI_HEAD, `${LAYOUT}${causal}`, session, feeds);
}

/** Decode over keys and values that lie as [B, H, S, D], as in a cache: nothing is transposed but the one query row. */
async function multiHeadDecode(c: Case, inputs: Inputs, threads: number): Promise<Contestant> {
  const node: Node = {
    operator: 'MultiHeadAttention',
    inputs: ['query', 'key', 'value'],
    attributes: { num_heads: c.headsQ },
  };
  const { query, key, value } = inputs;
  const feeds = { query: hidden(query), key: floats(key.data, key.shape), value: floats(value.data, value.shape) };
  const session = await createSession(node, threads);
  return contestant(c, MULTI_HEAD, 'keys and values as [B, H, S, D], like ours', session, feeds);
}

/**
 * GroupQueryAttention. In a step of a decode loop it appends the newest row to a past: where past and present are the same
 * memory, with room for all rows, it does so in place, which is what it is quickest with; `copying` gives it a past of its
 * own, and every call copies the whole cache to the present.
 */
async function groupQuery(c: Case, inputs: Inputs, threads: number, copying = false): Promise<Contestant> {
  const window: Record<string, number> = c.mask.kind === 'window' ? { local_window_size: c.mask.keys } : {};
  const rotary: Record<string, number> = c.cache?.rope ? { do_rotary: 1, rotary_interleaved: 0 } : {};
  const attributes = { num_heads: c.headsQ, kv_num_heads: c.headsKv, ...window, ...rotary };
  const past = c.keys - c.queries;
  const names = ['query', 'key', 'value', 'seqlens_k', 'total_sequence_length'];
  if (past > 0) names.push('past_key', 'past_value');
  if (c.cache?.rope) names.push('cos_cache', 'sin_cache');
  const session = await createSession({ operator: 'GroupQueryAttention', inputs: names, attributes }, threads);
  const feeds: Feeds = {
    query: hidden(c.cache?.rope ? unturned(inputs.query, past) : inputs.query),
    seqlens_k: ints(new Array<number>(c.batch).fill(c.keys - 1), [c.batch]),
    total_sequence_length: ints([c.keys], [1]),
  };
  if (c.cache?.rope) {
    const { cosines, sines } = turns(c.keys, c.dim);
    feeds['cos_cache'] = floats(cosines, [c.keys, c.dim / 2]);
    feeds['sin_cache'] = floats(sines, [c.keys, c.dim / 2]);
  }
  const shape = [c.batch, c.headsKv, c.keys, c.dim];
  const fetches: Feeds = {};
  for (const name of ['key', 'value'] as const) {
    const from = inputs[name];
    if (past === 0) {
      feeds[name] = hidden(from);
      fetches[`present_${name}`] = floats(new Float32Array(from.data.length), shape);
      continue;
    }
    const turned = name === 'key' && c.cache?.rope ? unturned(from, 0) : from;
    const newest = gather(turned, 0, past, c.queries, { head: c.dim, row: c.headsKv * c.dim });
    feeds[name] = floats(newest, [1, c.queries, c.headsKv * c.dim]);
    // Of the newest row there is nothing yet: a peer that does not append is found out.
    const older = gather(
      from,
      0,
      0,
      past,
      { head: (copying ? past : c.keys) * c.dim, row: c.dim },
      cacheOf(c, copying),
    );
    feeds[`past_${name}`] = floats(older, [1, c.headsKv, copying ? past : c.keys, c.dim]);
    fetches[`present_${name}`] = copying ? floats(cacheOf(c, false), shape) : feeds[`past_${name}`]!;
  }
  let unlike = `${LAYOUT}; also copies keys and values to present_key and present_value`;
  if (past > 0) {
    unlike = copying
      ? 'with a past of its own: copies the whole cache to its present_key and present_value in every call'
      : 'appends the newest key and value in every call, in place: past and present are the same memory';
  }
  return contestant(c, copying ? `${GROUP_QUERY}, copying` : GROUP_QUERY, unlike, session, feeds, fetches);
}

/** Memory for the keys, or values, of all rows; or of those before the queries'. */
const cacheOf = (c: Case, pastOnly: boolean): Float32Array =>
  new Float32Array(c.batch * c.headsKv * (pastOnly ? c.keys - c.queries : c.keys) * c.dim);

/** The ragged batch padded to its longest sequence, the padding masked by key_padding_mask. */
async function padded(c: Case, inputs: Inputs, threads: number): Promise<Contestant> {
  const parts = sequences(c);
  const longest = Math.max(...c.lengths!);
  const width = c.headsQ * c.dim;
  const fill = (from: Operand): Tensor => {
    const data = new Float32Array(parts.length * longest * width);
    parts.forEach((part, b) => {
      gather(from, 0, part.rowQ, part.queries, { head: c.dim, row: width }, data, b * longest * width);
    });
    return floats(data, [parts.length, longest, width]);
  };
  const mask = parts.flatMap(({ keys }) => Array.from({ length: longest }, (_, row) => (row < keys ? 1 : 0)));
  const session = await createSession(
    {
      operator: 'MultiHeadAttention',
      inputs: ['query', 'key', 'value', 'key_padding_mask'],
      attributes: { num_heads: c.headsQ },
    },
    threads,
  );
  const feeds = {
    query: fill(inputs.query),
    key: fill(inputs.key),
    value: fill(inputs.value),
    key_padding_mask: ints(mask, [parts.length, longest]),
  };
  const paddedCase: Case = { ...c, queries: longest };
  const base = contestant(
    paddedCase,
    'onnxruntime, padded',
    `MultiHeadAttention over the batch padded to ${longest} rows with key_padding_mask, padding not timed; ${LAYOUT}`,
    session,
    feeds,
  );
  return {
    ...base,
    row(_batch, head, row) {
      const b = parts.findIndex((part) => row >= part.rowQ && row < part.rowQ + part.queries);
      return base.row(b, head, row - parts[b]!.rowQ);
    },
  };
}

/** The ragged batch as one call for each sequence. */
async function oneByOne(c: Case, inputs: Inputs, threads: number): Promise<Contestant> {
  const width = c.headsQ * c.dim;
  const out = operand(c, c.headsQ, c.queries);
  const session = await createSession(
    { operator: 'MultiHeadAttention', inputs: ['query', 'key', 'value'], attributes: { num_heads: c.headsQ } },
    threads,
  );
  const calls = sequences(c).map(({ rowQ, queries }) => {
    const slice = (from: Operand): Tensor =>
      floats(from.data.subarray(rowQ * width, (rowQ + queries) * width), [1, queries, width]);
    const feeds = { query: slice(inputs.query), key: slice(inputs.key), value: slice(inputs.value) };
    return { feeds, fetches: { output: slice(out) } };
  });
  return {
    name: 'onnxruntime, one by one',
    role: 'peer',
    unlike: `MultiHeadAttention, one call a sequence; ${LAYOUT}`,
    share: 1,
    async run() {
      for (const { feeds, fetches } of calls) await session.run(feeds, fetches);
    },
    row(_batch, head, row) {
      const start = row * width + head * c.dim;
      return out.data.subarray(start, start + c.dim);
    },
    dispose: () => session.release(),
  };
}

/** Every way in which onnxruntime can do this case, and why it cannot in the others. */
export async function onnxruntime(c: Case, inputs: Inputs, threads: number): Promise<(Contestant | Absent)[]> {
  if (c.program !== undefined) {
    return [{ name: 'onnxruntime', absent: 'takes no score programs, only a tensor of N × N biases for each head' }];
  }
  if (c.dtype !== 'float32') {
    return [{ name: 'onnxruntime', absent: 'its MultiHeadAttention has no 16-bit kernel for the CPU' }];
  }
  if (c.lengths !== undefined) return [await padded(c, inputs, threads), await oneByOne(c, inputs, threads)];
  if (c.cache !== undefined) {
    if (c.mask.kind === 'pinned') return [{ name: GROUP_QUERY, absent: 'has a window, but no pinned tokens' }];
    return [await groupQuery(c, inputs, threads)];
  }
  const isDecode = c.suite === 'decode' || c.suite === 'layers';
  const equalHeads = c.headsKv === c.headsQ;
  const list: (Contestant | Absent)[] = [];
  if (c.mask.kind === 'window') list.push({ name: MULTI_HEAD, absent: 'has no window' });
  else if (!equalHeads) list.push({ name: MULTI_HEAD, absent: 'needs as many key heads as query heads' });
  else list.push(await (isDecode ? multiHeadDecode : multiHead)(c, inputs, threads));
  if (isDecode || c.mask.kind !== 'full') list.push(await groupQuery(c, inputs, threads));
  if (c.suite === 'decode') list.push(await groupQuery(c, inputs, threads, true));
  return list;
}
