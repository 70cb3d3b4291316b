// A transformer of two attention layers whose weights are written down instead of trained: an induction circuit (Elhage
// et al. 2021). It continues a text as that went on the last times, so what it says shows whether its caches are right.
//
//   layer 1: eight heads; head d looks d tokens back, by rotary embedding alone, and fetches that token's embedding
//   layer 2: one head; a token whose eight predecessors match the last eight tokens brings its own embedding
//
// All tokens have the same key in layer 1. A query that is turned back by d positions meets the key of d tokens ago at
// angle zero, and there the sum of cosines over the frequencies is largest.

import { KvCache, Tensor } from 'fused-attention';

/** Tokens that the second layer compares. */
const CONTEXT = 8;
/** Components of an embedding, and of the keys of layer 1. */
const WIDTH = 64;
const TURNING = 32;
/** Sharp enough that what matches best takes nearly all the weight. */
const SHARPNESS = 40;

export interface Timing {
  /** Milliseconds in calls of the caches, and tokens that they took. */
  attention: number;
  tokens: number;
}

export class CopyModel {
  readonly #alphabet: readonly string[];
  readonly #ids: ReadonlyMap<string, number>;
  /** [alphabet, WIDTH], rows of length 1. */
  readonly #embedding: Float32Array;
  /** Of layer 1, [CONTEXT, TURNING]: the same at every position. */
  readonly #lookBack: Float32Array;

  constructor(text: string) {
    this.#alphabet = [...new Set(text)].sort();
    this.#ids = new Map(this.#alphabet.map((character, id) => [character, id]));
    this.#embedding = unitRows(this.#alphabet.length, WIDTH);
    this.#lookBack = new Float32Array(CONTEXT * TURNING);
    const pairs = TURNING / 2;
    for (let d = 0; d < CONTEXT; d += 1) {
      for (let f = 0; f < pairs; f += 1) {
        const angle = -(d + 1) * 10000 ** (-f / pairs);
        this.#lookBack[d * TURNING + f] = Math.cos(angle);
        this.#lookBack[d * TURNING + pairs + f] = Math.sin(angle);
      }
    }
  }

  /** Ids of characters; those that the model has no embedding for are left out. */
  encode(text: string): number[] {
    return [...text].flatMap((character) => this.#ids.get(character) ?? []);
  }

  decode(tokens: readonly number[]): string {
    return tokens.map((token) => this.#alphabet[token]!).join('');
  }

  start(): Sequence {
    const lookBack = new KvCache({
      heads: 1,
      dim: TURNING,
      dimV: WIDTH,
      window: CONTEXT,
      rope: { pairing: 'halves' },
    });
    const compare = new KvCache({ heads: 1, dim: CONTEXT * WIDTH, dimV: WIDTH, dtype: 'bfloat16' });
    return new Sequence(this, lookBack, compare);
  }

  /** Embeddings of tokens, one after the other. */
  embed(tokens: readonly number[]): Float32Array {
    const rows = new Float32Array(tokens.length * WIDTH);
    tokens.forEach((token, at) => rows.set(this.#embedding.subarray(token * WIDTH, (token + 1) * WIDTH), at * WIDTH));
    return rows;
  }

  /** Queries of layer 1, [1, CONTEXT, rows, TURNING]. */
  lookBackQueries(rows: number): Tensor {
    // Every row is the same: a stride of 0 repeats it.
    return Tensor.from(this.#lookBack, [1, CONTEXT, rows, TURNING], {
      strides: [CONTEXT * TURNING, TURNING, 0, 1],
    });
  }

  /** The token whose embedding is nearest. */
  nearest(row: Float32Array): number {
    let best = 0;
    let most = -Infinity;
    for (let token = 0; token < this.#alphabet.length; token += 1) {
      let product = 0;
      for (let d = 0; d < WIDTH; d += 1) product += row[d]! * this.#embedding[token * WIDTH + d]!;
      if (product > most) [best, most] = [token, product];
    }
    return best;
  }
}

/** One text under way: a cache for each layer. */
export class Sequence {
  readonly timing: Timing = { attention: 0, tokens: 0 };
  readonly #model: CopyModel;
  readonly #lookBack: KvCache;
  readonly #compare: KvCache;

  constructor(model: CopyModel, lookBack: KvCache, compare: KvCache) {
    this.#model = model;
    this.#lookBack = lookBack;
    this.#compare = compare;
  }

  get length(): number {
    return this.#compare.length;
  }

  get bytes(): number {
    return this.#lookBack.bytes + this.#compare.bytes;
  }

  /** The same text so far, to go on in another way; the caches share their pages. */
  fork(): Sequence {
    return new Sequence(this.#model, this.#lookBack.fork(), this.#compare.fork());
  }

  free(): void {
    this.#lookBack.free();
    this.#compare.free();
  }

  /** Takes some tokens and says which one comes next. One token is a decoding step, many are a chunk of a prefill. */
  async next(tokens: readonly number[]): Promise<number> {
    const rows = tokens.length;
    const own = this.#model.embed(tokens);
    const value = Tensor.from(own, [1, 1, rows, WIDTH]);
    const same = new Float32Array(TURNING).fill(1, 0, TURNING / 2);

    let began = performance.now();
    const before = await this.#lookBack.attend(this.#model.lookBackQueries(rows), {
      k: Tensor.from(same, [1, 1, rows, TURNING], { strides: [TURNING, TURNING, 0, 1] }),
      v: value,
      scale: SHARPNESS,
    });
    this.timing.attention += performance.now() - began;

    // Layer 2's key of a token: its predecessors, nearest first. The last token's query: itself and its predecessors.
    const predecessors = before.output.data as Float32Array; // [CONTEXT, rows, WIDTH]
    const keys = new Float32Array(rows * CONTEXT * WIDTH);
    for (let row = 0; row < rows; row += 1) {
      for (let d = 0; d < CONTEXT; d += 1) {
        const from = (d * rows + row) * WIDTH;
        keys.set(predecessors.subarray(from, from + WIDTH), (row * CONTEXT + d) * WIDTH);
      }
    }
    const query = new Float32Array(CONTEXT * WIDTH);
    query.set(own.subarray((rows - 1) * WIDTH));
    query.set(keys.subarray((rows - 1) * CONTEXT * WIDTH, rows * CONTEXT * WIDTH - WIDTH), WIDTH);
    // Nearer tokens count more, so that a shorter match decides where no longer one is found.
    for (let n = 0; n < query.length; n += 1) query[n]! *= 0.8 ** Math.floor(n / WIDTH);

    began = performance.now();
    const { output } = await this.#compare.attend(Tensor.from(query, [1, 1, 1, query.length]), {
      k: Tensor.from(keys, [1, 1, rows, CONTEXT * WIDTH]),
      v: value,
      scale: SHARPNESS,
    });
    this.timing.attention += performance.now() - began;
    this.timing.tokens += rows;
    return this.#model.nearest(output.data as Float32Array);
  }
}

/** Random directions, from a fixed seed. */
function unitRows(count: number, width: number): Float32Array {
  let state = 1;
  const uniform = (): number => (state = (state * 16807) % 2147483647) / 2147483647;
  const rows = new Float32Array(count * width);
  for (let row = 0; row < count; row += 1) {
    const line = rows.subarray(row * width, (row + 1) * width);
    line.forEach((_, d) => (line[d] = Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())));
    const length = Math.hypot(...line);
    line.forEach((x, d) => (line[d] = x / length));
  }
  return rows;
}
