// The bars that the library has set itself, as data: which cases a bar is about, which figure of theirs it is, and how much
// it has to be. Of several cases the worst one counts.
import type { Case } from './case.js';
import type { CaseFigures, ContestantFigures, Run } from './figures.js';
import { median } from './measure.js';

export interface Bar {
  what: string;
  threads: readonly number[];
  cases: (c: Case | CaseFigures) => boolean;
  /** The figure of a case; null where the case lacks what it takes. */
  figure: (figures: CaseFigures) => number | null;
  unit: '' | '×' | 'µs';
  /** Bounds; a bar has one of them, or none where a figure is only told. */
  atLeast?: number;
  stretch?: number;
  atMost?: number;
  /** Of several cases the median counts. */
  median?: true;
}

export interface Verdict {
  bar: Bar;
  /** null: not measured in this run. */
  value: number | null;
  met: boolean | null;
  /** The case that decides. */
  where: string;
  noisy: boolean;
}

type Figure = Bar['figure'];

const ours = ({ contestants }: CaseFigures): ContestantFigures | undefined =>
  contestants.find(({ role }) => role === 'ours');
const peakFraction: Figure = (figures) => ours(figures)?.fractionOfPeak ?? null;
const readFraction: Figure = (figures) => ours(figures)?.fractionOfRead ?? null;
const over =
  (name: string): Figure =>
  ({ contestants }) =>
    contestants.find((one) => one.name === name)?.timesOurs ?? null;
const ofOneThread: Figure = (figures) => {
  const mine = ours(figures);
  const single = figures.contestants.find(({ name }) => name === 'ours, 1 thread');
  return mine === undefined || single === undefined ? null : mine.fractionOfPeak / single.fractionOfPeak;
};
const microseconds =
  (name: string): Figure =>
  ({ contestants }) => {
    const found = contestants.find((one) => one.name === name);
    return found === undefined ? null : found.ms.median * 1000;
  };

type Where = Bar['cases'];
const MULTI_HEAD = 'onnxruntime MultiHeadAttention';
const GROUP_QUERY = 'onnxruntime GroupQueryAttention';
const prefill =
  (least: number, most = Infinity, dim?: number): Where =>
  (c) =>
    c.suite === 'prefill' &&
    !c.label.includes('[') &&
    c.keys >= least &&
    c.keys <= most &&
    (dim === undefined || c.dim === dim);
const causal =
  (least: number, most = Infinity): Where =>
  (c) =>
    c.suite === 'causal' && c.keys >= least && c.keys <= most;
const small =
  (rows: number, dim: number): Where =>
  (c) =>
    c.suite === 'small' && c.keys === rows && c.dim === dim;
const decode =
  (suite: 'decode' | 'layers', headsKv: number, dtype: Case['dtype'], dim?: number): Where =>
  (c) =>
    c.suite === suite &&
    !c.label.startsWith('KvCache') &&
    c.headsKv === headsKv &&
    c.dtype === dtype &&
    (dim === undefined || c.dim === dim);
const half =
  (dtype: Case['dtype']): Where =>
  (c) =>
    c.suite === 'half' && c.dtype === dtype;
const program =
  (label: string): Where =>
  (c) =>
    c.suite === 'programs' && c.label === label;
const neighborhood =
  (label: string): Where =>
  (c) =>
    c.suite === 'neighborhood' && c.label === label;
const blocks =
  (what: string): Where =>
  (c) =>
    c.suite === 'blocks' && c.label.includes(what);
const call: Where = (c) => c.suite === 'call' && c.queries === 16;

const ONE = [1];
const TWO = [2];
const BOTH = [1, 2];

const bar = (
  what: string,
  threads: readonly number[],
  cases: Where,
  figure: Figure,
  bound: { atLeast?: number; stretch?: number; atMost?: number; median?: true },
  unit: Bar['unit'] = '',
): Bar => ({ what, threads, cases, figure, unit, ...bound });

/** Of one cache, call after call, which may stay in the processor's; or of the caches of many layers in turn. */
const decodeBars = (suite: 'decode' | 'layers', threads: readonly number[]): Bar[] => {
  const what = suite === 'decode' ? 'decode' : 'decode, caches in turn';
  const on = threads[0] === 1 ? '1 thread' : '2 threads';
  const cases = (headsKv: number, dtype: Case['dtype'], dim?: number): Where => decode(suite, headsKv, dtype, dim);
  const ofRead = (name: string, where: Where, atLeast: number): Bar =>
    bar(`${what}, ${name}, ${on}: of read bandwidth`, threads, where, readFraction, { atLeast });
  const overPeer = (name: string, peer: string, where: Where, atLeast: number): Bar =>
    bar(`${what}, ${name}, ${on}: over ${peer}`, threads, where, over(peer), { atLeast }, '×');
  return [
    ofRead('8/8 heads, D 64', cases(8, 'float32', 64), 0.85),
    ofRead('8/8 heads, D 128', cases(8, 'float32', 128), 0.8),
    ofRead('8/2 heads, float32', cases(2, 'float32'), 0.75),
    ofRead('8/2 heads, float16', cases(2, 'float16'), 0.55),
    // From memory, one key head's bytes come too slowly for that.
    suite === 'decode'
      ? bar(`${what}, 8/1 heads, ${on}: of FMA peak`, threads, cases(1, 'float32'), peakFraction, { atLeast: 0.5 })
      : bar(`${what}, 8/1 heads, ${on}: of read bandwidth`, threads, cases(1, 'float32'), readFraction, {}),
    overPeer('8/8 heads', MULTI_HEAD, cases(8, 'float32'), 1.2),
    overPeer('8/2 heads', GROUP_QUERY, cases(2, 'float32'), 5),
  ];
};

export const BARS: readonly Bar[] = [
  bar('dense, N 1024 to 4096, D 64: of FMA peak', ONE, prefill(1024, 4096, 64), peakFraction, {
    atLeast: 0.82,
    stretch: 0.86,
  }),
  bar('dense, N 1024 to 4096, D 128: of FMA peak', ONE, prefill(1024, 4096, 128), peakFraction, {
    atLeast: 0.86,
    stretch: 0.9,
  }),
  bar('dense, N 512: of FMA peak', ONE, prefill(512, 512), peakFraction, { atLeast: 0.78 }),
  bar('dense, N 1024 to 4096: over onnxruntime', ONE, prefill(1024, 4096), over(MULTI_HEAD), { atLeast: 1.12 }, '×'),
  bar('causal, N from 2048: of FMA peak', ONE, causal(2048), peakFraction, { atLeast: 0.8, stretch: 0.85 }),
  bar('causal, N 512: of FMA peak', ONE, causal(512, 512), peakFraction, { atLeast: 0.72 }),
  bar(
    'causal, N from 2048: over onnxruntime MultiHeadAttention',
    ONE,
    causal(2048),
    over(MULTI_HEAD),
    { atLeast: 2.4 },
    '×',
  ),
  bar('causal, N from 2048: over onnxruntime GroupQueryAttention', ONE, causal(2048), over(GROUP_QUERY), {}, '×'),
  bar('small, B·H 512, N 128, D 64: of FMA peak', ONE, small(128, 64), peakFraction, { atLeast: 0.68 }),
  bar('small, B·H 512, N 32, D 64: of FMA peak', ONE, small(32, 64), peakFraction, { atLeast: 0.5 }),
  bar('small, B·H 512, N 49, D 32: of FMA peak', ONE, small(49, 32), peakFraction, { atLeast: 0.45 }),
  bar('dense, N 1024 to 4096, 2 threads: of the fraction on 1', TWO, prefill(1024, 4096), ofOneThread, {
    atLeast: 0.95,
  }),
  bar('causal, N from 2048, 2 threads: of the fraction on 1', TWO, causal(2048), ofOneThread, { atLeast: 0.93 }),
  bar(
    'window of 512, N 16384: of the dense rate',
    ONE,
    (c) => c.suite === 'window' && c.keys === 16384,
    over('ours, dense'),
    { atLeast: 0.85 },
  ),
  ...(
    [
      ['64×64, window 13×13, D 64', 0.5],
      ['16384, window 255, D 64', 0.8],
      ['16×32×32, window 5×9×9, D 64', 0.45],
      ['56×56, window 7×7, D 32', 0.37],
      ['64×64, windows of 8×8, D 64', 0.8],
      ['56×56, windows of 7×7, D 32', 0.6],
    ] as const
  ).map(([label, atLeast]) =>
    bar(`neighborhood, ${label}: of the dense rate`, ONE, neighborhood(label), over('ours, dense'), { atLeast }),
  ),
  bar(
    'neighborhood, dilated: of the speed without',
    ONE,
    (c) => c.suite === 'neighborhood' && c.label.includes('dilation'),
    over('ours, undilated'),
    { atLeast: 0.87 },
  ),
  ...(
    [
      ['64×64', 0.8],
      ['16×16', 0.7],
      ['keys a query', 0.25],
    ] as const
  ).map(([what, atLeast]) =>
    bar(`random blocks, ${what}: of the dense rate`, ONE, blocks(what), over('ours, dense'), { atLeast }),
  ),
  bar(
    'statistics of rows: of the speed without',
    ONE,
    (c) => c.suite === 'statistics' && !c.label.includes('column sums'),
    over('ours, no statistics'),
    { atLeast: 0.87 },
  ),
  bar(
    'column sums: of the speed without',
    ONE,
    (c) => c.suite === 'statistics' && c.label.includes('column sums'),
    over('ours, no statistics'),
    { atLeast: 0.588 },
  ),
  bar('float16: of the speed in float32', ONE, half('float16'), over('ours, float32'), { atLeast: 0.95 }),
  bar('bfloat16: of the speed in float32', ONE, half('bfloat16'), over('ours, float32'), { atLeast: 0.95 }),
  bar('ALiBi: of the speed without', ONE, program('ALiBi'), over('ours, no program'), { atLeast: 0.9 }),
  bar('four operations: of the speed without', ONE, program('four operations'), over('ours, no program'), {
    atLeast: 0.85,
  }),
  bar('one tanh: of the speed without', ONE, program('one tanh'), over('ours, no program'), { atLeast: 0.7 }),
  bar('one exp: of the speed without', ONE, program('one exp'), over('ours, no program'), { atLeast: 0.7 }),
  bar(
    'ten random programs, median: of the speed without',
    ONE,
    (c) => c.suite === 'programs' && c.random === true,
    over('ours, no program'),
    { atLeast: 0.75, median: true },
  ),
  ...decodeBars('decode', ONE),
  ...decodeBars('layers', ONE),
  ...decodeBars('decode', TWO),
  ...decodeBars('layers', TWO),
  bar('attentionSync on 1×1×16×16, with out', BOTH, call, microseconds('fused-attention'), { atMost: 6 }, 'µs'),
  bar('attentionSync on 1×1×16×16, allocating', BOTH, call, microseconds('ours, allocating'), { atMost: 8 }, 'µs'),
  bar('attention on 1×1×16×16, round trip', BOTH, call, microseconds('ours, promise'), { atMost: 40 }, 'µs'),
];

/** Does any bar need this case? */
export const isForBars = (c: Case, threads: number): boolean =>
  BARS.some((one) => one.threads.includes(threads) && one.cases(c));

function judge(one: Bar, run: Run): Verdict {
  const found = run.cases.flatMap((figures) => {
    const value = one.threads.includes(figures.threads) && one.cases(figures) ? one.figure(figures) : null;
    return value === null ? [] : [{ value, figures }];
  });
  if (found.length === 0) return { bar: one, value: null, met: null, where: '', noisy: false };
  found.sort((a, b) => (one.atMost === undefined ? a.value - b.value : b.value - a.value));
  const worst = found[0]!;
  const value = one.median ? median(found.map((each) => each.value)) : worst.value;
  let met: boolean | null = null;
  if (one.atLeast !== undefined) met = value >= one.atLeast;
  if (one.atMost !== undefined) met = value <= one.atMost;
  const noisy = one.median ? found.some(({ figures }) => figures.noisy) : worst.figures.noisy;
  const threads = one.threads.length > 1 ? `, threads ${worst.figures.threads}` : '';
  const where = one.median
    ? `of ${found.length}; worst ${worst.value.toFixed(2)}: ${worst.figures.label}`
    : `${worst.figures.label}${threads}`;
  return { bar: one, value, met, where, noisy };
}

export const judgeBars = (run: Run): Verdict[] => BARS.map((one) => judge(one, run));
