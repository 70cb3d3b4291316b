// Signs of life of ranks in different threads, in memory that they share.

import { now } from './waits.js';
import type { Signs } from './waits.js';

export class SharedSigns implements Signs {
  readonly #size: number;
  /** Of each rank: its last sign, its jobs under way, and how often it waits for each other one. */
  readonly #cells: Int32Array;
  readonly #start: number;

  /** `start`: when the memory was made, by {@link now}. */
  constructor(memory: SharedArrayBuffer, size: number, start: number) {
    this.#cells = new Int32Array(memory);
    this.#size = size;
    this.#start = start;
  }

  static memory(size: number): SharedArrayBuffer {
    return new SharedArrayBuffer(size * (2 + size) * Int32Array.BYTES_PER_ELEMENT);
  }

  lastSeen(rank: number): number {
    if (Atomics.load(this.#cells, this.#size + rank) > 0) return now();
    // Cells hold the low half of the time since the start, which takes 50 days to come round.
    const at = now();
    return at - ((Math.floor(at - this.#start) - Atomics.load(this.#cells, rank)) | 0);
  }

  *waitsOf(rank: number): Iterable<number> {
    const first = this.#size * (2 + rank);
    for (let peer = 0; peer < this.#size; peer += 1) if (Atomics.load(this.#cells, first + peer) > 0) yield peer;
  }

  note(rank: number, peer: number, waits: boolean): void {
    Atomics.add(this.#cells, this.#size * (2 + rank) + peer, waits ? 1 : -1);
  }

  /** A rank is alive now. */
  see(rank: number): void {
    Atomics.store(this.#cells, rank, Math.floor(now() - this.#start));
  }

  /** A rank begins to compute, or ceases to. */
  work(rank: number, begins: boolean): void {
    Atomics.add(this.#cells, this.#size + rank, begins ? 1 : -1);
  }
}
