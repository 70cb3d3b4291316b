// The tfjs-backend-wasm peer: matMul, softmax, matMul for each head, with SIMD. Its fast matrix product takes neither a
// batch nor a transposed operand, so heads go one by one and keys are given as [D, S], made before anything is timed.
import { sequences, visible, type Case } from '../case.js';
import type { Absent, Contestant } from '../contestant.js';
import { operand, type Inputs, type Operand } from '../inputs.js';

type Tensorflow = typeof import('@tensorflow/tfjs-core');
type Tensor2D = import('@tensorflow/tfjs-core').Tensor2D;

const NAME = 'tfjs-backend-wasm';
const WORK_A_CALL = 2e9; // operations: about 0.1 s
const MOST_SCORES = 2 ** 25; // of one head; softmax holds several such tensors in WebAssembly's memory

let backend: Promise<Tensorflow> | undefined;

/** The library on its wasm backend, once a process. */
function load(): Promise<Tensorflow> {
  backend ??= (async () => {
    const tensorflow = await import('@tensorflow/tfjs-core');
    await import('@tensorflow/tfjs-backend-wasm');
    if (!(await tensorflow.setBackend('wasm'))) throw new Error('its wasm backend does not start');
    if (!(await tensorflow.env().getAsync('WASM_HAS_SIMD_SUPPORT'))) throw new Error('no SIMD in this WebAssembly');
    return tensorflow;
  })();
  return backend;
}

function whyNot(c: Case, threads: number): string | null {
  if (threads > 1) return 'its threads do not start in Node (it makes workers from blob URLs): see one thread';
  if (c.program !== undefined) return 'has no score programs';
  if (c.dtype !== 'float32') return 'has no 16-bit types';
  if (sequences(c).some(({ queries, keys }) => queries * keys > MOST_SCORES)) {
    return 'writes out N × N scores, which do not fit into its memory';
  }
  return null;
}

export async function tensorflowWasm(c: Case, inputs: Inputs, threads: number): Promise<Contestant | Absent> {
  const absent = whyNot(c, threads);
  if (absent !== null) return { name: NAME, absent };
  const tensorflow = await load();
  const { matMul, mul, add, scalar, softmax, tensor2d, tidy } = tensorflow;
  const out = operand(c, c.headsQ, c.queries);
  const parts = sequences(c);
  const workOfHead = parts.reduce((sum, { queries, keys }) => sum + queries * keys * 4 * c.dim, 0);
  const heads = Math.max(1, Math.min(c.headsQ, Math.ceil(WORK_A_CALL / workOfHead)));

  const upload = (from: Operand, batch: number, head: number, first: number, rows: number, transposed: boolean) => {
    const { dim, data, strides } = from;
    const copy = new Float32Array(rows * dim);
    for (let row = 0; row < rows; row++) {
      const start = batch * strides.batch + head * strides.head + (first + row) * strides.row;
      for (let d = 0; d < dim; d++) copy[transposed ? d * rows + row : row * dim + d] = data[start + d]!;
    }
    return tensor2d(copy, transposed ? [dim, rows] : [rows, dim]);
  };
  // One mask for each length is enough: there is none where sequences differ in length.
  const hidden = ({ queries, keys }: (typeof parts)[number]): Tensor2D => {
    const bias = new Float32Array(queries * keys).fill(-Infinity);
    for (let row = 0; row < queries; row++) {
      const [first, end] = visible(c.mask, row, queries, keys);
      bias.fill(0, row * keys + first, row * keys + end);
    }
    return tensor2d(bias, [queries, keys]);
  };
  const bias = c.mask.kind === 'full' ? null : hidden(parts[0]!);
  const scale = scalar(1 / Math.sqrt(c.dim));
  const calls = parts.flatMap(({ batch, rowQ, rowKv, queries, keys }) =>
    Array.from({ length: heads }, (_, head) => {
      const headKv = Math.floor((head * c.headsKv) / c.headsQ);
      return {
        query: upload(inputs.query, batch, head, rowQ, queries, false),
        key: upload(inputs.key, batch, headKv, rowKv, keys, true),
        value: upload(inputs.value, batch, headKv, rowKv, keys, false),
        write: (data: Float32Array) => {
          for (let row = 0; row < queries; row++) {
            const { strides } = out;
            const start = batch * strides.batch + head * strides.head + (rowQ + row) * strides.row;
            out.data.set(data.subarray(row * c.dim, (row + 1) * c.dim), start);
          }
        },
      };
    }),
  );
  const masked = bias === null ? '' : ', the mask as a tensor of 0 and -Infinity';
  return {
    name: NAME,
    role: 'peer',
    unlike: `SIMD, matMul, softmax and matMul, head by head; keys as [D, S], inputs in its memory before${masked}`,
    slow: true,
    share: heads / c.headsQ,
    run() {
      for (const { query, key, value, write } of calls) {
        const result = tidy(() => {
          const scores = mul(matMul(query, key), scale);
          return matMul(softmax(bias === null ? scores : add(scores, bias)), value);
        });
        write(result.dataSync<'float32'>());
        result.dispose();
      }
      return undefined;
    },
    row(batch, head, row) {
      if (head >= heads) return null;
      const start = batch * out.strides.batch + head * out.strides.head + row * out.strides.row;
      return out.data.subarray(start, start + c.dim);
    },
    async dispose() {
      for (const { query, key, value } of calls) tensorflow.dispose([query, key, value]);
      tensorflow.dispose([scale, ...(bias === null ? [] : [bias])]);
    },
  };
}
