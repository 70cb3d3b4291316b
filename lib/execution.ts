// Hands prepared calls to the addon: at once, or in the background with memory kept in place and signals heard.

import { bufferOf } from './arrays.js';
import type { BoundProgram } from './bound-program.js';
import { AttentionError, fromNative } from './errors.js';
import { loadNative } from './native.cjs';
import type { JobId, Native, NativeBuffer, NativeCache, NativeError, Settled } from './native.cjs';
import { isKept, keep, needsCopy } from './protection.js';
import { abortedBy, isAborted, listen } from './signals.js';
import type { AbortSignalLike } from './signals.js';

/**
 * A call in the form of native/problem_codec.h. Slots 3 to 8 of an attention call are written, 0 to 2 of a merge, the
 * second of the two of a transfer.
 */
export interface PreparedCall {
  readonly kind: 'attention' | 'merge' | 'transfer';
  /** The numbers, in memory that the next call's take: asked for as they are handed over, when no foreign code runs. */
  readonly numbers: () => Float64Array;
  readonly buffers: (NativeBuffer | null)[];
  /** What users call the buffer in a slot, for errors. */
  readonly name: (slot: number) => string | undefined;
  /** Bits of the first slots whose memory no user has seen before the call settles: it needs no protection. */
  readonly owned: number;
  readonly programs?: Programs;
  /** Called once the call no longer uses its buffers, or was refused. */
  readonly release?: (() => void) | undefined;
  /** Of an attention call over a cache. */
  readonly step?: CacheStep | undefined;
}

/** What a call over a cache has besides: its key and value are appended, and its queries attend to all of the cache. */
export interface CacheStep extends CachesOfStep {
  readonly positions: Int32Array | null;
  readonly queries: number;
  readonly appended: number;
}

/** One cache, or several, each a sequence. */
export interface CachesOfStep {
  readonly handle: NativeCache | NativeCache[];
  /** Which prefix each has or -1, then the tokens of each prefix. */
  readonly shared: Int32Array | null;
}

/** What a call reads besides its buffers. */
export interface Programs {
  readonly mask: BoundProgram | null;
  readonly score: BoundProgram | null;
}

/**
 * Computes on this thread and the pool's. Throws AttentionError: ERR_BUFFER_IN_USE where an asynchronous call in flight
 * writes the same memory or reads what this one writes, ERR_ALIASING, ERR_OUT_OF_MEMORY, ERR_OUT_OF_RANGE (lengths),
 * ERR_UNSUPPORTED, ERR_LOAD_FAILED, ERR_INTERNAL.
 */
export function executeSync(call: PreparedCall): void {
  const native = loadNative();
  try {
    const { step, buffers, programs } = call;
    const mask = programs?.mask?.handle;
    const score = programs?.score?.handle;
    if (step) {
      const { handle, shared, positions, queries, appended } = step;
      native.runCacheSync(handle, shared, positions, queries, appended, call.numbers(), buffers, mask, score);
    } else if (call.kind === 'merge') native.mergeSync(call.numbers(), buffers);
    else native.runSync(call.numbers(), buffers, mask, score);
  } catch (error) {
    throw translate(call, error);
  } finally {
    call.release?.();
  }
}

/**
 * Computes on the pool's threads. Never throws: rejects with the errors of {@link executeSync}, with AttentionError
 * ERR_INVALID_ARG_VALUE where a result's buffer was detached or shrunk in flight, or where `signal` throws before there is
 * a job, or with an AbortError (its cause is the signal's reason) soon after `signal` aborts; by then nothing of the call
 * is in use any more.
 *
 * Array buffers of arguments become untransferable for good, or are copied where marks do not hold (see protection.ts).
 */
export function execute(call: PreparedCall, signal?: AbortSignalLike): Promise<void> {
  return new Promise((resolve, reject) => {
    const native = loadNative();
    let job: JobId | undefined;
    let aborted = false;
    let stopListening: (() => void) | undefined;
    const settle = (error: Error | null): void => {
      call.release?.();
      if (error === null) resolve();
      else reject(error);
      stopListening?.();
    };
    let foreign: readonly number[] | undefined;
    let copied: boolean[] | undefined;
    try {
      // The signal's own code runs before there is a job: what it throws must not leave one behind that goes on.
      if (signal !== undefined) {
        stopListening = listen(signal, () => {
          aborted = true;
          if (job !== undefined) native.cancel(job);
        });
        // It may have happened since the arguments were checked.
        if (aborted || isAborted(signal)) return settle(abortedBy(signal));
      }
      foreign = foreignSlots(call);
      copied = foreign && copiesOf(call, foreign);
      job = start(native, call, copied, (error) => {
        if (error === null) settle(null);
        else settle(error.code === 'ABORT_ERR' ? abortedBy(signal) : translate(call, error));
      });
    } catch (error) {
      return settle(translate(call, error));
    }
    foreign?.forEach((slot) => copied?.[slot] || keep(bufferAt(call, slot)));
  });
}

function isOwned({ owned }: PreparedCall, slot: number): boolean {
  return slot < 31 && ((owned >> slot) & 1) === 1;
}

/** Of a slot that holds memory of the host. */
function bufferAt({ buffers }: PreparedCall, slot: number): ArrayBufferLike {
  return bufferOf(buffers[slot] as ArrayBufferView);
}

/** Slots of host memory that has not been seen here before; undefined where there is none, as in a loop of calls. */
function foreignSlots(call: PreparedCall): number[] | undefined {
  const { buffers } = call;
  let foreign: number[] | undefined;
  for (let slot = 0; slot < buffers.length; slot += 1) {
    const view = buffers[slot]!;
    if (view === null || isOwned(call, slot) || !ArrayBuffer.isView(view) || isKept(bufferOf(view))) continue;
    foreign ??= [];
    foreign.push(slot);
  }
  return foreign;
}

/** Which buffers a call in flight cannot rely on; undefined where it can on all. */
function copiesOf(call: PreparedCall, foreign: readonly number[]): boolean[] | undefined {
  const moving = foreign.filter((slot) => needsCopy(bufferAt(call, slot)));
  return moving.length === 0 ? undefined : call.buffers.map((_, slot) => moving.includes(slot));
}

function start(native: Native, call: PreparedCall, copied: boolean[] | undefined, settled: Settled): JobId {
  const { step, buffers, programs } = call;
  const mask = programs?.mask?.handle;
  const score = programs?.score?.handle;
  if (step) {
    const { handle, shared, positions, queries, appended } = step;
    const of = [handle, shared, positions, queries, appended] as const;
    return native.runCache(settled, ...of, call.numbers(), buffers, mask, score, copied);
  }
  if (call.kind === 'merge') return native.merge(settled, call.numbers(), buffers, mask, score, copied);
  if (call.kind === 'transfer') return native.transfer(settled, call.numbers(), buffers, mask, score, copied);
  return native.run(settled, call.numbers(), buffers, mask, score, copied);
}

/** The addon names buffers and tables by their place: users know them by other names. */
function translate(call: PreparedCall, error: unknown): AttentionError {
  if (error instanceof AttentionError) return error;
  const { code, argument, expected, received } = fromNative(error as NativeError);
  const program = argument === 'options.score' ? call.programs?.score : call.programs?.mask;
  const named = (text: string): string =>
    text
      .replace(/buffers\[(\d+)\]/g, (slot, index) => call.name(Number(index)) ?? slot)
      .replace(/\btables\[(\d+)\]/g, (place, index) => program?.graph.tables[index]?.name ?? place);
  return new AttentionError(code, named(argument), named(expected), named(received), { cause: error });
}
