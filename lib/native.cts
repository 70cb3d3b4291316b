// The one file that loads the addon, and the one description of what it exports.
// Everything here takes values that lib/ has already validated; natively they are checked again so that nothing can crash.
import { join, resolve } from 'node:path';

/** A program with its parameters, held by the addon until nothing refers to it. */
export type NativeProgram = { readonly [nativeProgram]: true };
declare const nativeProgram: unique symbol;

/** A cache, held by the addon until nothing refers to it; its memory until it is freed. */
export type NativeCache = { readonly [nativeCache]: true };
declare const nativeCache: unique symbol;

/** Memory of a device, held by the addon until it is freed and no call uses it, or nothing refers to it. */
export type NativeMemory = { readonly [nativeMemory]: true };
declare const nativeMemory: unique symbol;

/** Memory that a call reads or writes. */
export type NativeBuffer = ArrayBufferView | NativeMemory;

/** The last arguments of functions that take a call: properties of an object would each be looked up by name. */
export type NativeCall = [
  /** In the order of native/problem_codec.h. */
  numbers: Float64Array,
  /** By slot; those past the end are null. */
  buffers: (NativeBuffer | null)[],
  mask?: NativeProgram | undefined,
  score?: NativeProgram | undefined,
  /**
   * Of what runs in the background: buffers that JavaScript could take away in flight. They are copied before the call
   * returns, and what was computed is written back when it settles.
   */
  copied?: boolean[] | undefined,
];

/** Called on the thread that made the call: with null, or the error (code 'ABORT_ERR' when cancelled). */
export type Settled = (error: NativeError | null) => void;

/** What a step over a cache takes besides its call. */
export type NativeStep = [
  /** Several are of one form, and each is a sequence. */
  caches: NativeCache | NativeCache[],
  /** What several share: for each cache which prefix it has, or -1, then the tokens of each prefix. */
  shared: Int32Array | null,
  positions: Int32Array | null,
  queries: number,
  appended: number,
];

/** What the addon throws or hands to a callback: lib/errors.ts turns it into an AttentionError. */
export interface NativeError extends Error {
  code: string;
  argument: string;
  expected: string;
  received: string;
}

export interface NativeInfo {
  /** Processor brand string. */
  cpu: string;
  /** Instruction sets compiled in and runnable here, best first. */
  isas: string[];
  /** The one used when none is forced. */
  isa: string;
  /** Compute threads this process may use (affinity and cgroup). */
  threads: number;
  /** Package version the addon was built from. */
  version: string;
}

export interface NativeCuda {
  devices: {
    name: string;
    /** By its compute capability: 'sm_80'. */
    architecture: string;
    /** Threads that it runs at a time. */
    threads: number;
    /** Bytes. */
    memory: number;
  }[];
  /** Why there is none; else empty. */
  reason: string;
}

export interface NativeExplanation {
  device: string;
  kernel: string;
  tileQueries: number;
  tileKeys: number;
  tilesFull: number;
  tilesPartial: number;
  tilesSkipped: number;
  tilesPromoted: number;
  chunk: number;
  tasks: number;
  threads: number;
  flops: number;
  bytes: number;
  workspaceBytes: number;
  notTaken: { path: string; reason: string }[];
}

/** Identifies a call in flight in its own environment. */
export type JobId = number;

export interface Native {
  info(): NativeInfo;
  /** The library that is the CUDA driver, for the whole process; of no effect once it is open. */
  chooseCudaLibrary(path: string): void;
  /** Opens the CUDA driver, where there is one and this is the first call that needs it. Throws NativeError. */
  cuda(): NativeCuda;
  /** Blocks; the calling thread computes too. Throws NativeError. */
  runSync(...call: NativeCall): void;
  /** Queues the call; `settled` runs later. */
  run(settled: Settled, ...call: NativeCall): JobId;
  /** Asks a call to stop; it settles soon with 'ABORT_ERR'. Unknown ids are ignored. */
  cancel(job: JobId): void;
  explain(...call: NativeCall): NativeExplanation;
  /** States (0 none, 1 partial, 2 full) of the tiles of one sequence and query head, row-major. */
  blockMap(batch: number, head: number, tileQ: number, tileK: number, ...call: NativeCall): Uint8Array;
  /** The numbers of native/program/program.h; tables are copied. */
  program(numbers: Float64Array, tables: (Int32Array | Float32Array)[]): NativeProgram;
  mergeSync(...call: NativeCall): void;
  merge(settled: Settled, ...call: NativeCall): JobId;
  /** Makes a CUDA device ready, which takes a while where this is the first time. */
  open(settled: Settled, device: number): JobId;
  /** Memory of a CUDA device that is ready; none of 0 bytes. */
  allocate(device: number, bytes: number): NativeMemory;
  /** Gives it back once no call in flight uses it; then it is none. */
  freeMemory(memory: NativeMemory): void;
  /** Copies between memory of a device and that of the host or a device: numbers and buffers of native/transfer.h. */
  transfer(settled: Settled, ...call: NativeCall): JobId;
  /** An empty cache: the numbers of native/cache/cache_codec.h. */
  cache(numbers: Float64Array): NativeCache;
  /**
   * Appends the call's key and value, `appended` rows, to the cache, and attends to it with its `queries` rows; to each
   * of several with its own. Positions are those of the rows appended, or of the queries; null: their places in the cache.
   */
  runCacheSync(...step: [...NativeStep, ...NativeCall]): void;
  runCache(settled: Settled, ...step: [...NativeStep, ...NativeCall]): JobId;
  forkCache(cache: NativeCache): NativeCache;
  truncateCache(cache: NativeCache, length: number): void;
  freeCache(cache: NativeCache): void;
  cacheLength(cache: NativeCache): number;
  cacheBytes(cache: NativeCache): number;
  /** For lifecycle tests: jobs stop at the named stage until released. */
  park(stage: 'queued' | 'running' | 'finishing' | null): void;
  /** How many jobs stand parked now, in the whole process. */
  parked(): number;
}

const nodeGypBuild = require('node-gyp-build') as { resolve(folder: string): string };
const packageRoot = join(__dirname, '..');
const nativePath = process.env['FUSED_ATTENTION_NATIVE_PATH'] || null;

let loaded: Native | null = null;
let failure: Error | null = null;

/**
 * The addon, loaded at the first call: from FUSED_ATTENTION_NATIVE_PATH if it is set, else from build/ or prebuilds/ of this
 * package. A failure is final for the process and is thrown again by every later call.
 *
 * Throws AttentionError ERR_LOAD_FAILED; its message lists what was tried and the remedies, `cause` is the error met.
 */
export function loadNative(): Native {
  if (loaded !== null) return loaded;
  if (failure !== null) throw failure;
  // There is one candidate. A second choice after a first that is broken would hide which code runs.
  let path = packageRoot;
  try {
    path = nativePath === null ? findBinary() : resolve(nativePath);
    return (loaded = load(path));
  } catch (error) {
    // Only needed now, and every file read at start-up counts.
    const { loadFailure } = require('./load-failure.js') as typeof import('./load-failure.js');
    throw (failure = loadFailure(path, error as Error, packageRoot, nativePath));
  }
}

function findBinary(): string {
  try {
    return nodeGypBuild.resolve(packageRoot);
  } catch (error) {
    throw Object.assign(error as Error, { code: 'NO_BINARY' });
  }
}

function load(path: string): Native {
  const native = require(path) as Native;
  const { version } = require('../package.json') as { version: string };
  const built = typeof native.info === 'function' ? native.info().version : 'no version';
  if (built !== version) {
    throw Object.assign(new Error(`the addon reports ${built}, the package is ${version}`), {
      code: 'VERSION_MISMATCH',
    });
  }
  return native;
}
