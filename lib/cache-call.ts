// Calls over a cache: the checks and the form of an attention call whose key and value are what is appended.

import type { AttentionCall } from './call.js';
import { pageRows } from './cache-form.js';
import type { CacheForm } from './cache-form.js';
import { formatShape, invalidType, invalidValue, describe, outOfRange, shapeMismatch, unsupported } from './errors.js';
import type { CachesOfStep, PreparedCall } from './execution.js';
import { checkOperand, shapeOf } from './geometry.js';
import type { Geometry } from './geometry.js';
import { readBias, readMasks } from './grids.js';
import { checkMemory } from './memory.js';
import { readOptions } from './options.js';
import type { CallOptions } from './options.js';
import { encodeCall } from './call.js';
import { readResults } from './results.js';
import { readPositions } from './rotary.js';
import { readScore } from './scores.js';
import { throwIfAborted } from './signals.js';
import { readSinks } from './sinks.js';
import { contiguousStrides } from './shape.js';
import { readTensor } from './tensor.js';
import type { HostView } from './view.js';

/** The most rows and columns of a mask's program (native/program/unary.cc). */
const mostWithPrograms = 2 ** 26;

const appendNames = ['positions', 'threads'];
export const attendNames = [
  'k',
  'v',
  'positions',
  'scale',
  'mask',
  'score',
  'bias',
  'softcap',
  'sinks',
  'normalizer',
  'outputDtype',
  'threads',
  'out',
  'device',
  'signal',
  'lse',
  'entropy',
  'rowMax',
];

/** A call with no query, which only appends. */
export function appendCall(
  form: CacheForm,
  caches: CachesOfStep,
  length: number,
  k: unknown,
  v: unknown,
  given: unknown,
): PreparedCall {
  const options = readOptions(given, appendNames, form.layout);
  const added = readAdded(form, k, v);
  const query = emptyView(form, form.heads, form.dim);
  const call = callOf(form, length, query, form.heads, 0, added, options);
  return stepOf(form, caches, call, added, 0, options);
}

/** `form` and `length` are those of the cache; of several caches, with one sequence each, and of the longest. */
export function attendCall(
  form: CacheForm,
  caches: CachesOfStep,
  length: number,
  q: unknown,
  options: CallOptions,
): { call: AttentionCall; prepared: PreparedCall } {
  throwIfAborted(options.signal);
  const { k, v } = options.given;
  const query = readTensor(q, 'query');
  const sizes = checkOperand('query', query, false, form.layout);
  if (sizes.batch !== form.batch || sizes.dim !== form.dim || sizes.heads % form.heads !== 0) {
    const expected = formatShape(
      shapeOf<number | string>(form.batch, `n · ${form.heads}`, 'Nq', form.dim, false, form.layout),
    );
    throw shapeMismatch('query', `${expected}, as the cache`, formatShape(query.shape));
  }
  if (k === undefined && v !== undefined) throw invalidValue('options.v', 'none without options.k', describe(v));
  const added = k === undefined ? null : readAdded(form, k, v);
  const call = callOf(form, length, query, sizes.heads, sizes.rows, added, options);
  return { call, prepared: stepOf(form, caches, call, added, sizes.rows, options) };
}

/** What is appended. */
interface Added {
  readonly key: HostView;
  readonly value: HostView | null;
  readonly rows: number;
}

function readAdded(form: CacheForm, k: unknown, v: unknown): Added {
  const key = readTensor(k, 'key');
  const { rows } = readOperand(form, 'key', key, form.dim, undefined);
  if (form.latent) {
    if (v !== undefined) throw invalidValue('value', 'none in a latent cache', describe(v));
    return { key, value: null, rows };
  }
  if (v === undefined) throw invalidType('value', 'a Tensor or an object with data, dims and type', v);
  const value = readTensor(v, 'value');
  readOperand(form, 'value', value, form.dimV, rows);
  return { key, value, rows };
}

function readOperand(form: CacheForm, argument: string, view: HostView, dim: number, rows: number | undefined) {
  const sizes = checkOperand(argument, view, false, form.layout);
  const fits = sizes.batch === form.batch && sizes.heads === form.heads && sizes.dim === dim;
  if (!fits || (rows !== undefined && sizes.rows !== rows)) {
    const expected = formatShape(
      shapeOf<number | string>(form.batch, form.heads, rows ?? 'S', dim, false, form.layout),
    );
    throw shapeMismatch(argument, `${expected}, as the cache`, formatShape(view.shape));
  }
  return sizes;
}

function callOf(
  form: CacheForm,
  length: number,
  query: HostView,
  headsQ: number,
  queries: number,
  added: Added | null,
  options: CallOptions,
): AttentionCall {
  const tokens = length + (added?.rows ?? 0);
  if (queries > 1 && tokens > mostWithPrograms) {
    const expected = `at most 1 row, as the cache holds ${tokens} tokens (several see a program of at most ${mostWithPrograms})`;
    throw outOfRange('query', expected, queries);
  }
  const geometry: Geometry = {
    query,
    key: added?.key ?? emptyView(form, form.heads, form.dim),
    value: added?.value ?? emptyView(form, form.heads, form.dimV),
    ragged: false,
    layout: form.layout,
    batch: form.batch,
    headsQ,
    headsKv: form.heads,
    queries,
    keys: tokens,
    dimQk: form.dim,
    dimV: form.dimV,
    lengthsQ: null,
    lengthsKv: null,
  };
  const { mask, score, bias, sinks } = options.given;
  // One query stands at the last token: whatever the cache still shows it is visible.
  const visibility = readMasks(mask, geometry, queries > 1 ? form.visible : undefined);
  if (form.windowed && (visibility.grids.length > 0 || bias !== undefined)) {
    const argument = bias === undefined ? 'options.mask' : 'options.bias';
    throw unsupported(argument, 'programs in a cache with a window, as their columns go', 'a tensor');
  }
  return {
    options,
    geometry,
    visibility,
    score: readScore(score),
    bias: readBias(bias, geometry),
    sinks: readSinks(sinks, headsQ),
    results: readResults(geometry, options, 'allocate'),
    statistics: null,
  };
}

function stepOf(
  form: CacheForm,
  caches: CachesOfStep,
  call: AttentionCall,
  added: Added | null,
  queries: number,
  options: CallOptions,
): PreparedCall {
  const appended = added?.rows ?? 0;
  const rows = added === null ? queries : appended;
  const positions = readPositions(options.given['positions'], rows, form.batch, form.rope !== null);
  if (positions !== null && queries > rows) {
    throw shapeMismatch('query', `at most ${rows} rows, for which there are positions`, `${queries}`);
  }
  const width = form.latent ? form.dim : form.dim + form.dimV;
  if (appended > 0) checkMemory(form.dtype, (appended + pageRows) * form.batch * form.heads * width, 'key');
  // Written out: spread, it would have a hidden class of its own in every call.
  return encodeCall(call, { handle: caches.handle, shared: caches.shared, positions, queries, appended });
}

/** Made once: an array of its own would cost an appended row more than the row does. */
const noElements = new Float32Array(0);

/** Stands for a tensor that there is not. */
function emptyView(form: CacheForm, heads: number, dim: number): HostView {
  const shape = shapeOf(form.batch, heads, 0, dim, false, form.layout);
  return { data: noElements, dtype: 'float32', shape, strides: contiguousStrides(shape), offset: 0 };
}
