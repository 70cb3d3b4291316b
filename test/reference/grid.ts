// The grid: thousands of cases, each a draw of shapes, layouts, types, masks and scores from a seed. A topic fixes what its
// file is about; the rest is drawn, so that features meet. Nothing here runs anything.

import { workOf, type BiasShape, type Case, type MaskShape, type Storage } from './case.js';
import type { Dtype } from './half.js';
import { Random } from './random.js';

export type Topic =
  | 'dense'
  | 'masks'
  | 'scores'
  | 'types'
  | 'layouts'
  | 'lengths'
  | 'decode'
  | 'dims'
  | 'long'
  | 'anything';

export const counts: Record<Topic, number> = {
  dense: 300,
  masks: 500,
  scores: 450,
  types: 400,
  layouts: 400,
  lengths: 450,
  decode: 300,
  dims: 200,
  long: 350,
  anything: 500,
};

const dims = [1, 2, 3, 7, 8, 16, 31, 64, 65, 80, 96, 128, 192, 256, 576, 1024];
const dtypes: Dtype[] = ['float32', 'float16', 'bfloat16'];

export interface GridOptions {
  /** Multiplies the number of cases. */
  factor: number;
  /** Multiply-adds of the largest case. */
  work: number;
}

export const usual: GridOptions = { factor: 1, work: 400_000 };
export const long: GridOptions = { factor: 12, work: 6_000_000 };

function drawDim(random: Random): number {
  return random.chance(0.25) ? random.integer(1, 40) : random.pick(dims);
}

function drawHeads(random: Random): { headsQ: number; headsKv: number } {
  const headsKv = random.pick([1, 1, 2, 3]);
  return { headsKv, headsQ: headsKv * random.pick([1, 1, 2, 3, 4, 7]) };
}

function drawMasks(random: Random): MaskShape[] {
  const one = (): MaskShape => (random.chance(0.35) ? 'keys' : { batch: random.chance(0.5), head: random.chance(0.5) });
  return Array.from({ length: random.pick([1, 1, 1, 2, 3]) }, one);
}

function drawBias(random: Random): BiasShape {
  const axis = () => random.chance(0.6);
  return { dtype: random.pick(['float32', 'float32', ...dtypes]), axes: [axis(), axis(), axis(), axis()] };
}

function drawWindow(random: Random): [number, number] {
  const side = () => random.pick([0, 1, 3, random.integer(0, 20), random.integer(0, 90), Infinity]);
  return [side(), side()];
}

/** A case of the topic. `seed` alone decides it, within the options. */
export function draw(topic: Topic, seed: number, options: GridOptions): Case {
  const random = new Random(seed);
  const about = (...topics: Topic[]) => topics.includes(topic) || topic === 'anything' || topic === 'long';
  const mostly = (main: boolean) => random.chance(main ? 0.65 : 0.2);

  const dtype = random.pick(mostly(about('types')) ? dtypes : (['float32'] as Dtype[]));
  const mixed = mostly(about('types')) && random.chance(0.5);
  const store = (): Storage =>
    mostly(about('layouts')) ? random.pick<Storage>(['plain', 'offset', 'strided', 'strided']) : 'plain';
  const lengths = mostly(about('lengths')) ? random.pick(['padded', 'ragged'] as const) : 'dense';
  const few = topic === 'decode' || random.chance(0.12);

  const test: Case = {
    seed,
    batch: random.pick([1, 1, 2, 3]),
    ...drawHeads(random),
    dimQk: drawDim(random),
    dimV: drawDim(random),
    lengths,
    queries: few ? random.pick([1, 1, 1, 2, 3, 5]) : random.pick([1, 7, 8, 16, 17, 24, 25, 33, random.integer(1, 70)]),
    keys: random.pick([
      1,
      2,
      16,
      63,
      64,
      65,
      100,
      random.integer(1, 90),
      random.integer(1, 300),
      few ? random.integer(200, 1500) : 31,
    ]),
    lengthsQ: null,
    lengthsKv: null,
    layout: random.pick(['bhsd', 'bshd'] as const),
    storage: { query: store(), key: store(), value: store() },
    dtypes: { query: dtype, key: mixed ? random.pick(dtypes) : dtype, value: mixed ? random.pick(dtypes) : dtype },
    outputDtype: mostly(about('types')) && random.chance(0.6) ? random.pick(dtypes) : null,
    align: random.chance(0.4) ? 'top-left' : 'bottom-right',
    causal: random.chance(about('masks') ? 0.4 : 0.25),
    window: random.chance(about('masks') ? 0.35 : 0.15) ? drawWindow(random) : null,
    masks: topic !== 'dense' && mostly(about('masks')) ? drawMasks(random) : [],
    bias: topic !== 'dense' && mostly(about('scores')) ? drawBias(random) : null,
    softcap: mostly(about('scores')) ? random.pick([0.5, 5, 30, 50]) : null,
    sinks: mostly(about('scores')),
    scale: random.chance(0.25) ? random.pick([1, 0.1, 0.37, 1 / 64]) : null,
    scores: random.pick(['normal', 'normal', 'normal', 'wide', 'flat', 'ties'] as const),
    lse: random.chance(0.8),
    entropy: random.chance(0.4),
    rowMax: random.chance(0.4),
    threads: random.pick([null, 1, 2, 3]),
  };

  if (topic === 'long') {
    // Enough keys for several chunks, so little else.
    test.keys = random.pick([513, 640, 1024, 1025, random.integer(513, 2000), random.integer(513, 4000)]);
    test.queries = random.pick([1, 1, 2, 5, 9, 26]);
    Object.assign(
      test,
      random.pick([
        { headsQ: 1, headsKv: 1 },
        { headsQ: 2, headsKv: 1 },
        { headsQ: 4, headsKv: 2 },
      ]),
    );
    if (random.chance(0.8)) [test.dimQk, test.dimV] = [random.integer(1, 40), random.integer(1, 40)];
  }
  if (topic !== 'dims' && random.chance(0.6)) test.dimV = test.dimQk;
  if (topic === 'dense') test.window = random.chance(0.1) ? test.window : null;
  if (test.scores === 'wide') test.scale = null; // the spread is meant for the default
  if (test.keys > 1 && topic !== 'long' && random.chance(0.3)) test.queries = few ? test.queries : test.keys;
  if (random.chance(0.02)) test.keys = 0;
  if (test.storage.key !== 'plain' && test.batch > 1 && random.chance(0.4)) test.storage.key = 'shared';
  if (test.storage.value !== 'plain' && test.batch > 1 && random.chance(0.4)) test.storage.value = 'shared';

  if (test.lengths !== 'dense') {
    const within = (rows: number) =>
      Array.from({ length: test.batch }, () =>
        random.pick([0, Math.min(1, rows), rows, random.integer(0, rows), random.integer(0, rows)]),
      );
    test.lengthsQ = within(test.queries);
    test.lengthsKv = within(test.keys);
    if (test.lengths === 'padded' && random.chance(0.4)) test.lengthsQ = null;
    else if (test.lengths === 'padded' && random.chance(0.2)) test.lengthsKv = null;
  }
  const uniform = new Set(Object.values(test.dtypes)).size === 1;
  if (uniform && mostly(about('layouts')) && random.chance(0.4)) {
    test.storage = { query: 'packed', key: 'packed', value: 'packed' };
  }
  if (test.lengths === 'ragged') {
    test.masks = []; // tensors over a grid have no meaning on ragged rows
    test.bias = null;
    if (test.storage.key === 'shared') test.storage.key = 'strided';
    if (test.storage.value === 'shared') test.storage.value = 'strided';
  }

  // Down to the work that the reference may take, largest first.
  while (workOf(test) > options.work) {
    if (test.batch > 1 && random.chance(0.3) && test.lengths === 'dense') test.batch--;
    else if (test.headsQ > test.headsKv && random.chance(0.3)) test.headsQ -= test.headsKv;
    else if (test.headsKv > 1) {
      test.headsQ -= test.headsQ / test.headsKv;
      test.headsKv--;
    } else if (
      Math.max(test.dimQk, test.dimV) > (topic === 'long' ? 256 : 600) &&
      random.chance(0.5) &&
      topic !== 'dims'
    ) {
      test.dimQk = Math.ceil(test.dimQk / 2);
      test.dimV = Math.ceil(test.dimV / 2);
    } else {
      const fewer = (rows: number) => Math.min(rows, Math.max(1, Math.floor((rows * 2) / 3)));
      if (test.queries >= test.keys / 4 || (topic === 'long' && test.queries > 1)) {
        test.queries = fewer(test.queries);
        test.lengthsQ = test.lengthsQ?.map(fewer) ?? null;
      } else {
        test.keys = fewer(test.keys);
        test.lengthsKv = test.lengthsKv?.map(fewer) ?? null;
      }
    }
  }
  return test;
}

const order = Object.keys(counts) as Topic[];

/** All cases of a topic. */
export function grid(topic: Topic, options: GridOptions = usual): Case[] {
  const first = 1_000_000 * (order.indexOf(topic) + 1);
  return Array.from({ length: counts[topic] * options.factor }, (_, n) => draw(topic, first + n, options));
}

export function wholeGrid(options: GridOptions = usual): Case[] {
  return order.flatMap((topic) => grid(topic, options));
}

/** Few queries over many keys, so that threads share one row's keys. */
export const deep: Case[] = [
  { queries: 1, keys: 5000, headsQ: 1, headsKv: 1 },
  { queries: 1, keys: 4096, headsQ: 4, headsKv: 1 },
  { queries: 1, keys: 3001, headsQ: 6, headsKv: 2 },
  { queries: 3, keys: 5000, headsQ: 2, headsKv: 2 },
  { queries: 40, keys: 2300, headsQ: 1, headsKv: 1 },
  { queries: 2, keys: 1537, headsQ: 7, headsKv: 1 },
  { queries: 9, keys: 513, headsQ: 1, headsKv: 1 },
].flatMap((shape, n) => [0, 1, 2].map((variant) => deepCase(shape, 3 * n + variant, variant)));

function deepCase(shape: Partial<Case>, seed: number, variant: number): Case {
  return Object.assign(draw('dense', 500 + seed, usual), shape, {
    seed: 600 + seed,
    batch: 1 + (variant % 2),
    lengths: 'dense',
    lengthsQ: null,
    lengthsKv: null,
    dimQk: [24, 64, 7][variant]!,
    dimV: [24, 33, 7][variant]!,
    storage: { query: 'plain', key: 'plain', value: 'plain' },
    causal: variant > 0,
    window: variant === 2 ? [900, 0] : null,
    masks: variant === 1 ? ['keys'] : [],
    softcap: variant === 2 ? 20 : null,
    sinks: variant === 1,
    scores: variant === 0 ? 'wide' : 'normal',
    scale: null,
    lse: true,
    entropy: true,
    rowMax: true,
    threads: 1,
  } satisfies Partial<Case>);
}
