// The public names.

export { attention, attentionSync } from './attention.js';
export type { AttentionResult } from './attention.js';
export type { Float16ArrayLike, TensorData } from './arrays.js';
export { devices } from './devices.js';
export type { Device } from './devices.js';
export type { Dtype, FloatDtype } from './dtype.js';
export type { DeviceName } from './environment.js';
export { AttentionError } from './errors.js';
export type { ErrorCode } from './errors.js';
export { explain } from './explain.js';
export type { Explanation } from './explain.js';
export type { LengthsInput } from './lengths.js';
export { Mask, causal, slidingWindow } from './masks.js';
export type { MaskItem } from './masks.js';
export type {
  AbortSignalLike,
  Align,
  AttentionBaseOptions,
  AttentionOptions,
  AttentionOut,
  LayoutName,
  PartialOptions,
} from './options.js';
export { mergePartials, mergePartialsSync } from './partials.js';
export type { MergeOptions, MergeResult, PartialInput, SoftmaxPartial } from './partials.js';
export { Tensor } from './tensor.js';
export type { TensorInput, TensorLike, TensorOptions } from './tensor.js';
