// This process among those of mpirun: messages of all its groups, moved along between turns of the event loop, and an
// end that waits for nobody who is lost.

import { writeSync } from 'node:fs';
import { fromNative } from '../errors.js';
import type { AttentionError } from '../errors.js';
import type { NativeCommunicator } from '../native-mpi.cjs';
import type { NativeError } from '../native.cjs';
import { groupFailed } from './engine.js';
import { MpiEngine } from './mpi-engine.js';
import { heedTermination, lastWords } from './mpi-termination.js';
import type { Word } from './mpi-words.js';

/** What is heard of a transfer: that pieces of it have moved, and that it is over. */
interface Moving {
  moved(): void;
  done(): void;
}

/** A call of MPI's may take so long, in milliseconds, whatever the timeout for ranks is; the last one for all of them. */
const shortestLimit = 1000;
const shortestLastLimit = 10_000;
/** Milliseconds for which polls follow one another at once when something has just moved. */
const eager = 2;
/** The longest pause between polls. */
const longestPause = 10;

export class MpiWorld {
  readonly rank: number;
  readonly size: number;
  readonly #native: NativeCommunicator;
  /** By number: all ranks form their groups in the same order. */
  readonly #engines: MpiEngine[] = [];
  /** Words of groups that are not formed here yet. */
  readonly #early = new Map<number, { readonly from: number; readonly word: Word }[]>();
  /** So many, with most MPIs 2^31 - 1, that those of messages that nobody took are not used again. */
  readonly #tags: number;
  readonly #transfers = new Map<number, Moving>();
  /** Ranks that have said that they are leaving. */
  readonly #left = new Set<number>();
  /** When there was a sign of the process. */
  readonly #heard: number[];
  #tag = 0;
  #waits = 0;
  #jobs = 0;
  #polling = false;
  /** Until the next poll. */
  #pause: ReturnType<typeof setTimeout> | undefined;
  #moved = 0;
  #period = Infinity;
  /** Of the group that was formed last. */
  #timeout = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #ticked = 0;
  #lost: AttentionError | undefined;
  readonly #ignoreTermination: () => void;

  constructor(native: NativeCommunicator) {
    this.#native = native;
    this.rank = native.rank();
    this.size = native.size();
    this.#tags = native.tags();
    this.#heard = new Array<number>(this.size).fill(performance.now());
    this.#ignoreTermination = heedTermination(
      (error) => {
        const waited = this.#waits > 0 || this.#jobs > 0;
        this.lose(error);
        return waited;
      },
      // Where a job is still under way, its operation has not rejected.
      () => {
        if (this.#jobs > 0) say(this.#lost!);
      },
    );
    process.on('exit', this.#exit);
  }

  /** The next group's engine. */
  form(timeout: number): MpiEngine {
    if (this.#lost) throw this.#lost;
    const number = this.#engines.length;
    const engine = new MpiEngine(this, number, timeout);
    this.#engines.push(engine);
    for (const { from, word } of this.#early.get(number) ?? []) engine.hear(from, word);
    this.#early.delete(number);
    this.#timeout = timeout;
    this.#native.limit(Math.max(timeout, shortestLimit));
    this.#beatEvery(Math.min(timeout / 8, 1000));
    return engine;
  }

  hasLeft(rank: number): boolean {
    return this.#left.has(rank);
  }

  /** A wait begins: until it is over, messages move and the process stays. */
  hold(): void {
    this.#waits += 1;
    this.#moved = performance.now();
    if (this.#polling && this.#pause === undefined) return;
    clearTimeout(this.#pause);
    this.#pause = undefined;
    this.#polling = true;
    setImmediate(this.#poll);
  }

  release(): void {
    this.#waits -= 1;
  }

  /** Computing has begun (1), or is over (-1). */
  compute(change: 1 | -1): void {
    this.#jobs += change;
  }

  post(to: number, group: number | null, word: Word): void {
    this.#call(() => this.#native.post(to, JSON.stringify([group, word])));
  }

  /** Tags for so many transfers in a row. */
  takeTags(count: number): number {
    const first = this.#tag;
    this.#tag = (first + count) % this.#tags;
    return first;
  }

  /** Begins a transfer. */
  transfer(direction: 'send' | 'receive', peer: number, tag: number, bytes: Uint8Array, moving: Moving): void {
    this.#call(() => this.#transfers.set(this.#native[direction](peer, tag % this.#tags, bytes), moving));
  }

  /** A rank is lost, and with it all groups. */
  lose(error: AttentionError): void {
    if (this.#lost) return;
    this.#lost = error;
    for (const engine of this.#engines) engine.end(error);
    // What that said to others goes out; then MPI, which may get stuck with a rank that is gone, is left alone.
    if (this.#timer) setTimeout(() => clearInterval(this.#timer), lastWords + 2 * this.#period).unref();
  }

  /** Whether something has moved. */
  poll(): boolean {
    const progress = this.#call(() => this.#native.poll());
    if (!progress) return false;
    for (const id of progress.moved) this.#transfers.get(id)?.moved();
    for (const id of progress.done) {
      this.#transfers.get(id)?.done();
      this.#transfers.delete(id);
    }
    for (const { from, text } of progress.letters) this.#hear(from, text);
    return true;
  }

  #hear(from: number, text: string): void {
    const [group, word] = JSON.parse(text) as [number | null, Word];
    this.#heard[from] = performance.now();
    if (word.kind === 'leaving') {
      this.#left.add(from);
      for (const engine of this.#engines) engine.leave(from);
    }
    if (group === null) return;
    const engine = this.#engines[group];
    if (engine) return engine.hear(from, word);
    const words = this.#early.get(group) ?? [];
    words.push({ from, word });
    this.#early.set(group, words);
  }

  /** Where MPI itself gives up, so does everything. */
  #call<Result>(operation: () => Result): Result | undefined {
    try {
      return operation();
    } catch (error) {
      this.lose(fromNative(error as NativeError));
      return undefined;
    }
  }

  /**
   * While ranks wait, polls follow one another at once as long as something moves, and then with pauses: computing needs
   * the processor. They grow with the time that has passed, except while tensors are on their way, which the system holds
   * only so much of. Next to a job of this process there is always a pause.
   */
  readonly #poll = (): void => {
    this.#pause = undefined;
    if (this.#waits === 0) {
      this.#polling = false;
      return;
    }
    const moves = this.poll();
    const now = performance.now();
    if (moves) this.#moved = now;
    const idle = now - this.#moved;
    if (this.#jobs === 0 && idle < eager) setImmediate(this.#poll);
    else this.#pause = setTimeout(this.#poll, this.#transfers.size > 0 ? 1 : Math.min(1 + idle / 32, longestPause));
  };

  #beatEvery(period: number): void {
    if (period >= this.#period) return;
    this.#period = period;
    clearInterval(this.#timer);
    this.#ticked = performance.now();
    this.#timer = setInterval(this.#tick, period);
    this.#timer.unref();
  }

  readonly #tick = (): void => {
    const before = this.#ticked;
    this.#ticked = performance.now();
    this.poll();
    if (this.#lost) return;
    // A process that was held up itself has not listened: others may have spoken meanwhile.
    const listened = this.#ticked - before < 3 * this.#period + 50;
    for (const engine of this.#engines) engine.beat(listened);
    for (const peer of this.#left) this.post(peer, null, { kind: 'here' });
  };

  /**
   * MPI's own end waits for all processes. So the others are waited for here, as long as there are signs of them;
   * without them, or after a failure of this process, it ends without MPI's, and mpirun then ends the others.
   */
  readonly #exit = (code: number): void => {
    this.#ignoreTermination();
    if (this.#lost || this.#native.terminated()) return;
    if (code !== 0) {
      const error = groupFailed('every rank to take part', `rank ${this.rank} has ended with exit code ${code}`);
      for (const engine of this.#engines) engine.end(error);
      this.#pollFor(lastWords, () => false);
      return;
    }
    this.#heard.fill(performance.now());
    const others = Array.from({ length: this.size }, (_, rank) => rank).filter((rank) => rank !== this.rank);
    for (const peer of others) this.post(peer, null, { kind: 'leaving' });
    const missing = (): number[] => others.filter((rank) => !this.#left.has(rank));
    const silent = (rank: number): boolean => performance.now() - this.#heard[rank]! > this.#timeout;
    this.#pollFor(Infinity, () => this.#lost !== undefined || missing().length === 0 || missing().some(silent));
    if (this.#lost === undefined && missing().length === 0) {
      this.#native.limit(Math.max(this.#timeout, shortestLastLimit));
      return this.#native.finish();
    }
    const received = `no sign of rank ${missing().find(silent)}`;
    say(this.#lost ?? groupFailed(`every rank to end within ${this.#timeout} ms`, received));
    process.exitCode = 1;
  };

  /** Outside of the event loop, which is over. */
  #pollFor(milliseconds: number, until: () => boolean): void {
    const pause = new Int32Array(new SharedArrayBuffer(4));
    const end = performance.now() + milliseconds;
    while (!until() && performance.now() < end) if (!this.poll()) Atomics.wait(pause, 0, 0, 1);
  }
}

/** On stderr at once: nobody may be left to hear of it. */
function say({ code, message }: AttentionError): void {
  writeSync(2, `${code}: ${message}\n`);
}
