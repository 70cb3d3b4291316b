// Compiled, never run: what a user may write, and what the compiler must refuse. Only es2022 and no @types.
import {
  AttentionError,
  BlockMap,
  BlockMask,
  KvCache,
  Mask,
  Group,
  Tensor,
  alibi,
  allGatherAttention,
  and,
  attention,
  attentionSync,
  blockMap,
  blockSparse,
  causal,
  chooseBlocks,
  localGlobal,
  pooledScores,
  compose,
  devices,
  documents,
  explain,
  explainSchedule,
  gridBias,
  joinGroup,
  mask,
  measureCosts,
  mergePartials,
  mergePartialsSync,
  neighborhood,
  neighborhoodAttention,
  neighborhoodAttentionSync,
  not,
  or,
  parallelAttention,
  predictSchedules,
  relativeBias,
  ringAttention,
  score,
  shard,
  shardLengths,
  slidingWindow,
  stripedAttention,
  temperature,
  threadGroup,
  treeAttention,
  ulyssesAttention,
  unshard,
  workerSeats,
} from 'fused-attention';
import type {
  AttentionOptions,
  AttentionResult,
  BlockLayoutInput,
  Device,
  Dtype,
  ErrorCode,
  Explanation,
  MaskItem,
  MeasuredCosts,
  MergeResult,
  NeighborhoodAttentionOptions,
  NeighborhoodAttentionResult,
  NeighborhoodOptions,
  Normalizer,
  ParallelOptions,
  PartialOptions,
  PerAxis,
  ProgramParameters,
  Schedule,
  ScheduleExplanation,
  Score,
  Sharding,
  SoftmaxPartial,
  StatisticsOptions,
  SumPartial,
  TensorInput,
  TopWeights,
  TensorLike,
  WorkerSeat,
} from 'fused-attention';

/** Fails to compile unless both types are the same. */
type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(..._proof: Equal<A, B> extends true ? [] : ['the types differ']): void {}

// --- tensors

const q: Tensor = Tensor.from(new Float32Array(64), [1, 1, 8, 8]);
const half = Tensor.from(new Uint16Array(64), [1, 1, 8, 8], { dtype: 'bfloat16' });
const view = q.reshape([1, 8, 8]).transpose(1, 2).transpose([0, 2, 1]).narrow(1, 0, 4);
same<typeof view, Tensor>();
same<ReturnType<Tensor['toFloat32']>, Float32Array>();
same<Tensor['shape'], readonly number[]>();
same<Tensor['dtype'], Dtype>();
same<Tensor['device'], 'cpu' | 'cuda' | `cuda:${number}`>();
same<ReturnType<Tensor['to']>, Promise<Tensor>>();
void q.to('cuda:1');
// @ts-expect-error: no device of that name
void q.to('auto');
attentionSync(q, q, q, { device: 'cuda:1' });
view.dispose();

// @ts-expect-error: a shape is an array
Tensor.from(new Float32Array(4), 4);
// @ts-expect-error: float64 is not supported
Tensor.from(new Float64Array(4), [4]);
// @ts-expect-error: no such element type
Tensor.from(new Uint16Array(4), [4], { dtype: 'float8' });
// @ts-expect-error: a misspelt option
Tensor.from(new Float32Array(4), [4], { stride: [1] });
// @ts-expect-error: tensors are made by Tensor.from
new Tensor();
// @ts-expect-error: the shape cannot be written
q.shape[0] = 2;

// Tensors of other libraries.
const foreign = { data: new Float32Array(64), dims: [1, 1, 8, 8], type: 'float32' };
const like: TensorLike = foreign;
const inputs: TensorInput[] = [q, like, { data: new Uint16Array(64), shape: [1, 1, 8, 8], dtype: 'float16' }];

// --- calls

export async function calls(): Promise<void> {
  const plain = await attention(q, foreign, half);
  same<(typeof plain)['output'], Tensor>();
  same<(typeof plain)['lse'], undefined>();
  // @ts-expect-error: lse was not asked for
  void plain.lse.shape;

  const withLse = await attention(q, q, q, { mask: causal(), lse: true });
  same<(typeof withLse)['lse'], Tensor>();
  same<(typeof withLse)['entropy'], undefined>();

  const all = attentionSync(q, q, q, { lse: true, entropy: true, rowMax: true });
  const statistics: Tensor[] = [all.output, all.lse, all.entropy, all.rowMax];
  statistics.pop();

  const told = attentionSync(q, q, q, { statistics: { mass: [[0, 4]], topK: 3, blocks: { blockSize: 2, max: true } } });
  same<(typeof told)['statistics']['mass'], Tensor>();
  same<(typeof told)['statistics']['topK'], TopWeights>();
  same<(typeof told)['statistics']['blockSums'], Tensor>();
  same<(typeof told)['statistics']['blockMax'], Tensor>();
  same<(typeof told)['statistics']['columnSums'], Tensor | undefined>();
  // @ts-expect-error: a misspelt statistic
  attentionSync(q, q, q, { statistics: { columnSum: true } });
  const asked: StatisticsOptions = { columnSums: true };
  const later = await attention(q, q, q, { statistics: asked });
  same<(typeof later)['statistics']['columnSums'], Tensor | undefined>();
  same<(typeof withLse)['statistics'], undefined>();

  const flag: boolean = Math.random() < 0.5;
  const maybe = attentionSync(q, q, q, { lse: flag });
  same<(typeof maybe)['lse'], Tensor | undefined>();

  const options: AttentionOptions = { scale: 0.125, threads: 2 };
  const result: AttentionResult = attentionSync(q, q, q, options);
  result.output.toFloat32();

  const partial = await attention(q, q, q, { partial: true });
  same<typeof partial, SoftmaxPartial>();
  const merged = await mergePartials([partial, partial, { output: q, lse: q }], { sinks: [0.5] });
  const mergedSync = mergePartialsSync([partial]);
  const sums = attentionSync(q, q, q, { partial: true, normalizer: { kind: 'relu', divide: 4 } });
  same<typeof sums, SumPartial>();
  const settings: PartialOptions = { partial: true };
  const named = attentionSync(q, q, q, settings);
  same<typeof named, SoftmaxPartial>();
  const added = await mergePartials([sums, sums]);
  same<typeof added, Pick<MergeResult, 'output'>>();
  const how: Normalizer = Math.random() < 0.5 ? 'softmax' : 'sigmoid';
  const either = attentionSync(q, q, q, { partial: true, normalizer: how as Normalizer });
  same<typeof either, SoftmaxPartial | SumPartial>();
  same<(typeof merged)['lse'], Tensor>();
  same<(typeof mergedSync)['output'], Tensor>();
}

// Every option once.
const everyOption: AttentionOptions = {
  scale: 1,
  mask: [causal(), slidingWindow(128, 0), Tensor.from(new Uint8Array(8), [1, 8], { dtype: 'bool' })],
  bias: q,
  softcap: 30,
  normalizer: { kind: 'softmax' },
  sinks: new Array<number>(8).fill(0),
  align: 'top-left',
  layout: 'bshd',
  outputDtype: 'float16',
  threads: 1,
  out: { output: q },
  cuSeqlensQ: [0, 4, 8],
  cuSeqlensKv: new Int32Array([0, 4, 8]),
  lengthsQ: new BigInt64Array(1),
  lengthsKv: [8],
  device: 'auto',
  lse: false,
};
attentionSync(q, q, q, everyOption);
attentionSync(q, q, q, { out: q });

// A signal as in browsers and Node, whose types may be absent.
interface Signal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: string, listener: (event: unknown) => void, options?: object): void;
  removeEventListener(type: string, listener: (event: unknown) => void): void;
}
export const aborting = (signal: Signal) => attention(q, q, q, { signal });

// @ts-expect-error: a misspelt option
attentionSync(q, q, q, { sofcap: 30 });
attentionSync(q, q, q, { normalizer: { kind: 'relu', divide: 'keys' } });
// @ts-expect-error: a shift is sigmoid's
attentionSync(q, q, q, { normalizer: { kind: 'relu', shift: 1 } });
// @ts-expect-error: no such layout
attentionSync(q, q, q, { layout: 'sbhd' });
// @ts-expect-error: a number is no mask
attentionSync(q, q, q, { mask: 3 });
// @ts-expect-error: a rule is made by calling it
attentionSync(q, q, q, { mask: causal });
// @ts-expect-error: a partial has no sinks
attentionSync(q, q, q, { partial: true, sinks: [0] });
// @ts-expect-error: a partial is float32
attentionSync(q, q, q, { partial: true, outputDtype: 'float16' });
// @ts-expect-error: bool is no output type
attentionSync(q, q, q, { outputDtype: 'bool' });
// @ts-expect-error: no such device
attentionSync(q, q, q, { device: 'tpu' });
// @ts-expect-error: values are missing
attentionSync(q, q);
// @ts-expect-error: both sides of a window are given
slidingWindow(128);
// @ts-expect-error: sums of weights have no lse
void mergePartialsSync([attentionSync(q, q, q, { partial: true, normalizer: 'relu' })]).lse;
// @ts-expect-error: they do not go with softmax
mergePartialsSync([attentionSync(q, q, q, { partial: true, normalizer: 'relu' }), { output: q, lse: q }]);
// @ts-expect-error: partials come in an array
mergePartialsSync(attentionSync(q, q, q, { partial: true }));

// --- masks, explain, devices, errors

const masks: MaskItem[] = [causal(), slidingWindow(128, null), q];
const rule: Mask = causal();
const account: Explanation = explain(q, q, q, { mask: rule });
const found: readonly Device[] = devices();
same<typeof account.flops, number>();

export function codeOf(error: unknown): ErrorCode | undefined {
  if (!(error instanceof AttentionError)) return undefined;
  const texts: string[] = [error.name, error.argument, error.expected, error.received, error.message];
  if (error.code === 'ERR_SHAPE_MISMATCH') return error.code;
  // @ts-expect-error: no such code
  if (error.code === 'ERR_SHAPE') return undefined;
  return texts.length > 0 ? error.code : undefined;
}

export { account, found, inputs, masks };

// --- programs

const tokens = new Int32Array(8);
const sees: Mask = mask((i, j, { ids, reach, h }) => ids(i) === ids(j) && i - j <= reach && h < 4, {
  ids: tokens,
  reach: 3,
});
const faded: Score = score((s, i, j, { rate }) => s - rate(i) * Math.abs(i - j), { rate: [0.5, 0.25] });
const texts: [Mask, Score] = [mask('(i, j) => j <= i'), score('(s, i, j, { c }) => s * c', { c: 0.5 })];
const onGrid = mask((i, j) => Math.abs(i.x - j.x) <= 1 && Math.abs(i.y - j.y) <= 1, {}, { grid: [4, 4] });
const given: ProgramParameters = { ids: tokens, shaped: { data: [1, 2], shape: [2, 1] }, tensor: q, deep: [[[1]]] };
const combined: Mask = and(
  sees,
  or(onGrid, not(causal())),
  foreign,
  documents({ q: tokens, kv: [1, 2] }).with({ q: tokens }),
);
const composed: Score = compose(
  faded,
  alibi(8),
  temperature([1, 2]),
  relativeBias([[1, 2, 3]]),
  ...(texts.slice(1, 2) as Score[]),
);
same<ReturnType<Mask['toJSON']>, unknown>();
mask(combined.toJSON() as object, given);
attentionSync(q, q, q, { mask: [combined, causal()], score: composed });
const map: BlockMap = blockMap([causal(), sees], { nq: 64, block: [16, 32], align: 'top-left' });
same<typeof map.states, Uint8Array>();
same<BlockMap['counts'], { readonly none: number; readonly partial: number; readonly full: number }>();

// @ts-expect-error: a score is not a mask
attentionSync(q, q, q, { mask: composed });
// @ts-expect-error: a mask is not a score
attentionSync(q, q, q, { score: causal() });
// @ts-expect-error: there is no such parameter
mask((i, j, { other }) => other === i, { ids: tokens });
// @ts-expect-error: a table is read by call
mask((i, j, { ids }) => ids === i, { ids: tokens });
// @ts-expect-error: a number is not
mask((i, j, { reach }) => reach(i) === j, { reach: 2 });
// @ts-expect-error: masks do not combine with scores
and(causal(), composed);
// @ts-expect-error: the number of queries is needed
blockMap(causal(), {});

// --- grids

const perAxis: PerAxis<number> = [3, 5];
const blocks: BlockMask = blockSparse([[0], new Int32Array([0, 1])], { blockSize: [4, 8] });
const layouts: BlockLayoutInput[] = [q, { indptr: [0, 1], indices: [0], shape: [1, 1] }, [[[0]], [[0]]], [[[[0]]]]];
const chosen: BlockMask = chooseBlocks(pooledScores(q, q, { blockSize: 4, keys: 'max' }), { blockSize: 4, topK: 2 });
attentionSync(q, q, q, {
  mask: [blocks.or(chosen).not(), and(blocks, causal()), localGlobal({ length: 8, blockSize: 4, before: 1, after: 0 })],
});
same<typeof blocks.density, number>();
const restored: BlockMask = blockSparse(blocks.toJSON());
// @ts-expect-error: made by blockSparse
new BlockMask();
// @ts-expect-error: made by mask
new Mask();
// @ts-expect-error: of blocks alone
blocks.and(causal());
// @ts-expect-error: no size
blockSparse([[0]], {});
void [layouts, restored];

const nearby: NeighborhoodOptions = { grid: [4, 8], window: perAxis, stride: 1, causal: [true, false], extra: 2 };
const cells: Mask = neighborhood({ ...nearby, dilation: [1, 1], border: 'mask' });
const table: Score = gridBias(q, { grid: [4, 8], dilation: 1, extra: 2 });
const everyGridOption: NeighborhoodAttentionOptions = {
  window: 3,
  stride: 1,
  dilation: 1,
  causal: false,
  border: 'clamp',
  relativeBias: q,
  mask: [cells, q],
  extraKey: foreign,
  extraValue: q,
  score: table,
  scale: 1,
  lse: true,
};
const around: Promise<NeighborhoodAttentionResult> = neighborhoodAttention(q, foreign, q, everyGridOption);
same<Awaited<typeof around>['output'], Tensor>();
same<Awaited<typeof around>['lse'], Tensor | undefined>();
neighborhoodAttentionSync(q, q, q, { window: [3, 3] }).output.dispose();

// @ts-expect-error: the grid is needed
neighborhood({ window: 3 });
// @ts-expect-error: so is the window
neighborhood({ grid: [4, 8] });
// @ts-expect-error: no such border
neighborhood({ grid: [4, 8], window: 3, border: 'wrap' });
// @ts-expect-error: the grid is that of the tensors
neighborhoodAttentionSync(q, q, q, { window: 3, grid: [4, 8] });
// @ts-expect-error: the window is needed
neighborhoodAttentionSync(q, q, q, {});

// --- caches

const cache: KvCache = new KvCache({ heads: 1, dim: 8, window: 4, pinned: 1, rope: { pairing: 'halves', dim: 4 } });
cache.append(q, q, { positions: [0, 1, 2, 3, 4, 5, 6, 7] });
const read: Promise<AttentionResult<true>> = cache.attend(q, { k: q, v: q, lse: true, mask: causal(), sinks: [1] });
same<Awaited<typeof read>['lse'], Tensor>();
const step = cache.attendSync(q, { k: q, v: q, positions: Int32Array.of(1), out: q });
same<typeof step.output, Tensor>();
same<typeof step.lse, undefined>();
const branch: KvCache = cache.fork();
branch.truncate(cache.length - 1);
same<KvCache['bytes'], number>();
const grown = KvCache.attendGroupSync([cache, branch], q, { k: q, v: q, sharedPrefix: 3, lse: true });
same<typeof grown.lse, Tensor>();
const group: Promise<AttentionResult> = KvCache.attendGroup([cache], q, { prefixes: [{ sequences: [0], tokens: 1 }] });
void group;
branch.free();

// @ts-expect-error: there is no default pairing
new KvCache({ heads: 1, dim: 8, rope: {} });
// @ts-expect-error: the number of heads is needed
new KvCache({ dim: 8 });
// @ts-expect-error: a cache has no alignment to choose
cache.attendSync(q, { align: 'top-left' });
// @ts-expect-error: what caches share is said of several
cache.attendSync(q, { sharedPrefix: 4 });
// @ts-expect-error: sinks are logits of a call; tokens that stay visible are pinned
new KvCache({ heads: 1, dim: 8, sinks: 4 });

// --- partials of partials

const summed = mergePartialsSync([{ output: q, lse: q }], { partial: true });
same<typeof summed, SoftmaxPartial>();
mergePartials([summed], { outputDtype: 'float16', sinks: [1] });

// @ts-expect-error: sinks join at the end
mergePartialsSync([summed], { partial: true, sinks: [1] });

// --- sequence parallelism

const ranks: Group[] = threadGroup(4, { timeout: 1000 });
const end: Group = ranks[0]!;
const dealt: Sharding = 'zigzag';
const everyParallelOption: ParallelOptions = {
  scale: 1,
  mask: [causal()],
  score: table,
  softcap: 1,
  sinks: [1],
  align: 'top-left',
  layout: 'bshd',
  outputDtype: 'bfloat16',
  threads: 1,
  cuSeqlensQ: [0, 1],
  cuSeqlensKv: [0, 1],
  device: 'cpu',
  sharding: dealt,
  lse: false,
};
const ringed = ringAttention(end, q, foreign, q, { sharding: 'striped', lse: true });
same<Awaited<typeof ringed>['lse'], Tensor>();
same<Awaited<ReturnType<typeof treeAttention<undefined>>>['lse'], undefined>();
const gathered = allGatherAttention(end, q, q, q, { ...everyParallelOption, headsStep: 2 });
same<Awaited<typeof gathered>['output'], Tensor>();
void [stripedAttention(end, q, q, q), ulyssesAttention(end, q, q, q, everyParallelOption)];
const back: Tensor = unshard([shard(q, end, { sharding: dealt, axis: 1 }), q], { cuSeqlens: Int32Array.of(0, 8) });
same<ReturnType<typeof shardLengths>, number[]>();
const plan: ScheduleExplanation = explainSchedule(2, [1, 1, 8, 4], [1, 1, 8, 4], back.shape, { schedule: 'tree' });
same<(typeof plan)['balance'], number>();
const measured = measureCosts(end, { dim: 128, dtype: 'float16', threads: 1 });
same<Awaited<typeof measured>, MeasuredCosts>();
same<MeasuredCosts['latency'], number>();
const foreseen = predictSchedules(2, [1, 1, 8, 4], [1, 1, 8, 4], back.shape, { costs: { bandwidth: 1e9 } });
same<(typeof foreseen)['chosen'], Schedule>();
const scheduled = parallelAttention(end, q, q, q, { ...everyParallelOption, schedule: 'auto', costs: { latency: 1 } });
same<Awaited<typeof scheduled>['output'], Tensor>();
same<ReturnType<typeof joinGroup>, Group>();
const places: WorkerSeat[] = workerSeats(2, { timeout: 1000 });
same<(typeof places)[0]['rank'], number>();
end.close();

// @ts-expect-error: groups are made by functions
new Group();
// @ts-expect-error: striped is striped
stripedAttention(end, q, q, q, { sharding: 'zigzag' });
// @ts-expect-error: no bias tensors
ringAttention(end, q, q, q, { bias: q });
