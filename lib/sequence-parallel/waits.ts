// Waits of ranks for each other, until they settle, the group fails or the other shows no sign of life for too long.

import { groupFailed } from './engine.js';
import type { AttentionError } from '../errors.js';

/** What is known of ranks. */
export interface Signs {
  /** When a rank last gave a sign of life, by {@link now}; one that computes does all the time. */
  lastSeen(rank: number): number;
  /** Whom a rank is waiting for. */
  waitsOf(rank: number): Iterable<number>;
  /** A rank begins to wait for another, or ceases to. */
  note(rank: number, peer: number, waits: boolean): void;
}

/** How a wait ends. */
export interface Waiting<Value> {
  resolve(value: Value): void;
  reject(error: Error): void;
}

/** Milliseconds, by a clock that all threads of the process share. */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return 1000 * seconds + nanoseconds / 1e6;
}

export class Waits {
  readonly timeout: number;
  readonly #signs: Signs;
  readonly #lost: (error: AttentionError) => void;
  readonly #waiting = new Set<(error: Error) => void>();

  /** `lost` is called when a rank that another waits for is. */
  constructor(timeout: number, signs: Signs, lost: (error: AttentionError) => void) {
    this.timeout = timeout;
    this.#signs = signs;
    this.#lost = lost;
  }

  wait<Value>(own: number, peer: number, what: string, begin: (waiting: Waiting<Value>) => void): Promise<Value> {
    return new Promise((resolve, reject) => {
      const since = now();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const done = (): void => {
        clearTimeout(timer);
        if (this.#waiting.delete(fail)) this.#signs.note(own, peer, false);
      };
      const fail = (error: Error): void => {
        done();
        reject(error);
      };
      const look = (): void => {
        const silent = now() - Math.max(since, this.#signs.lastSeen(peer));
        if (silent >= this.timeout && !this.#isAlive(peer, new Set([own]))) {
          this.#lost(groupFailed(`${what} rank ${peer} within ${this.timeout} ms`, 'no sign of it'));
        } else {
          timer = setTimeout(look, Math.ceil(Math.max(this.timeout - silent, this.timeout / 4)));
        }
      };
      this.#signs.note(own, peer, true);
      this.#waiting.add(fail);
      timer = setTimeout(look, this.timeout);
      begin({
        resolve(value) {
          done();
          resolve(value);
        },
        reject: fail,
      });
    });
  }

  end(error: Error): void {
    for (const reject of this.#waiting) reject(error);
  }

  /** A rank that itself waits for one that is alive is not lost; ranks that wait for each other are. */
  #isAlive(rank: number, asked: Set<number>): boolean {
    asked.add(rank);
    if (now() - this.#signs.lastSeen(rank) < this.timeout) return true;
    for (const peer of this.#signs.waitsOf(rank)) if (!asked.has(peer) && this.#isAlive(peer, asked)) return true;
    return false;
  }
}
