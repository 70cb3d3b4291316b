// The public names.

export { attention, attentionSync } from './attention.js';
export type { AttentionResult } from './attention.js';
export type { BlockLayoutInput, CsrBlocks, IntegerList, ListedBlocks } from './block-lists.js';
export { BlockMap, blockMap } from './block-map.js';
export type { BlockMapOptions } from './block-map.js';
export { chooseBlocks, pooledScores } from './block-choice.js';
export type { ChooseBlocksOptions, PooledScoresOptions, Pooling } from './block-choice.js';
export { BlockMask, blockSparse } from './block-mask.js';
export type { BlockPlace, BlockSparseOptions } from './block-mask.js';
export { localGlobal, shardedStrides, verticalSlash } from './block-patterns.js';
export type { LocalGlobalOptions, ShardedStridesOptions, VerticalSlashOptions } from './block-patterns.js';
export {
  alibi,
  causal,
  dilated,
  documents,
  logLengthScaling,
  prefixLm,
  relativeBias,
  segments,
  sharedPrefix,
  shiftedGroups,
  slidingWindow,
  strided,
  temperature,
} from './builtins.js';
export type { Grid2, RelativeBuckets, Row, ShiftedGroupsOptions } from './builtins.js';
export type { Float16ArrayLike, TensorData } from './arrays.js';
export { devices } from './devices.js';
export type { Device } from './devices.js';
export type { Dtype, FloatDtype } from './dtype.js';
export type { CudaName, DeviceName, TensorDevice } from './environment.js';
export { AttentionError } from './errors.js';
export type { ErrorCode } from './errors.js';
export { explain } from './explain.js';
export type { Explanation } from './explain.js';
export { KvCache } from './kv-cache.js';
export type {
  AppendOptions,
  AttendGroupOptions,
  AttendOptions,
  KvCacheOptions,
  PositionsInput,
} from './cache-options.js';
export type { RopeOptions } from './rotary.js';
export type { LengthsInput } from './lengths.js';
export { Mask, and, mask, not, or } from './masks.js';
export type { BlockMaskJson, MaskContext, MaskFunction, MaskItem, Position, ProgramContext } from './masks.js';
export type {
  Align,
  AttentionBaseOptions,
  AttentionOptions,
  AttentionOut,
  LayoutName,
  PartialOptions,
} from './options.js';
export type { PagesOptions, PageTableInput, PageTableTensor, SharedPrefix } from './pages.js';
export type { NestedNumbers, ProgramParameter, ProgramParameters, TableArray } from './parameters.js';
export type {
  Normalizer,
  NormalizerName,
  ReluNormalizer,
  SigmoidNormalizer,
  SoftmaxNormalizer,
} from './normalizers.js';
export type { BlockStatistics, Statistics, StatisticsOf, StatisticsOptions, TopWeights } from './statistics.js';
export type { ProgramOptions } from './program-options.js';
export type { AbortSignalLike } from './signals.js';
export { Score, compose, score } from './scores.js';
export type { ScoreFunction } from './scores.js';
export type { PerAxis } from './grid-axes.js';
export { gridBias } from './grid-bias.js';
export type { GridBiasOptions } from './grid-bias.js';
export { neighborhood } from './neighborhood.js';
export type { NeighborhoodOptions, NeighborhoodWindow } from './neighborhood.js';
export { neighborhoodAttention, neighborhoodAttentionSync } from './neighborhood-attention.js';
export type { NeighborhoodAttentionOptions, NeighborhoodAttentionResult } from './neighborhood-attention.js';
export { mergePartials, mergePartialsSync } from './partials.js';
export type {
  MergeOptions,
  MergePartialOptions,
  MergeResult,
  PartialInput,
  PartialOf,
  SoftmaxPartial,
  SumKind,
  SumMergeOptions,
  SumPartial,
  SumPartialInput,
} from './partials.js';
export {
  Group,
  allGatherAttention,
  explainSchedule,
  joinGroup,
  measureCosts,
  mpiGroup,
  parallelAttention,
  predictSchedules,
  ringAttention,
  shard,
  shardLengths,
  stripedAttention,
  threadGroup,
  treeAttention,
  ulyssesAttention,
  unshard,
  workerSeats,
} from './sequence-parallel/index.js';
export type {
  AllGatherOptions,
  GroupCosts,
  GroupOptions,
  MeasuredCosts,
  MeasureOptions,
  ParallelOptions,
  ParallelResult,
  PredictOptions,
  RankOf,
  Schedule,
  ScheduledOptions,
  ScheduleExplanation,
  ScheduleOptions,
  SchedulePrediction,
  SchedulePredictions,
  ScheduleRank,
  ScheduleRound,
  ShardOptions,
  Sharding,
  Traffic,
  WorkerSeat,
} from './sequence-parallel/index.js';
export { branches, draftTree } from './tree-patterns.js';
export { Tensor } from './tensor.js';
export type { TensorInput, TensorLike, TensorOptions } from './tensor.js';
