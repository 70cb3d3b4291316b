// The engine whose ranks are in one thread of one process: messages are handed over, and tensors stay where they are.

import type { AttentionError } from '../errors.js';
import { Boxes } from './boxes.js';
import { closed, closedBy, failedBy } from './engine.js';
import type { Engine, Message, Received } from './engine.js';
import { now, Waits } from './waits.js';

/** What the ranks share. */
class Hub {
  readonly ends: readonly End[];
  readonly boxes = new Boxes<Received>();
  readonly waits: Waits;
  #failure: AttentionError | undefined;

  constructor(size: number, timeout: number) {
    this.ends = Array.from({ length: size }, (_, rank) => new End(this, rank));
    const signs = {
      lastSeen: (rank: number) => this.ends[rank]!.lastSeen(),
      waitsOf: (rank: number) => this.ends[rank]!.peers.keys(),
      note: (rank: number, peer: number, waits: boolean) => this.ends[rank]!.note(peer, waits),
    };
    this.waits = new Waits(timeout, signs, (error) => this.fail(error));
  }

  fail(error: AttentionError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.boxes.clear();
    this.waits.end(error);
  }

  check(): void {
    if (this.#failure) throw this.#failure;
  }
}

class End implements Engine {
  readonly rank: number;
  /** Whom this rank is waiting for, and how often. */
  readonly peers = new Map<number, number>();
  readonly #hub: Hub;
  #jobs = 0;
  #seen = now();
  #closed = false;

  constructor(hub: Hub, rank: number) {
    this.#hub = hub;
    this.rank = rank;
  }

  get size(): number {
    return this.#hub.ends.length;
  }

  lastSeen(): number {
    return this.#jobs > 0 ? now() : this.#seen;
  }

  note(peer: number, waits: boolean): void {
    const count = (this.peers.get(peer) ?? 0) + (waits ? 1 : -1);
    if (count === 0) this.peers.delete(peer);
    else this.peers.set(peer, count);
  }

  async send(to: number, channel: string, message: Message): Promise<void> {
    this.#begin();
    const { boxes, waits } = this.#hub;
    let released = (): void => {};
    const letter: Received = { ...message, release: () => released() };
    const arrived = waits.wait<void>(this.rank, to, 'a message taken by', ({ resolve }) => {
      released = resolve;
      boxes.put(`${this.rank} ${to} ${channel}`, letter);
    });
    // Text alone is the receiver's at once.
    if (message.tensors.length === 0) released();
    return arrived;
  }

  async receive(from: number, channel: string): Promise<Received> {
    this.#begin();
    const { boxes, waits } = this.#hub;
    const key = `${from} ${this.rank} ${channel}`;
    const letter = boxes.take(key);
    if (letter) return letter;
    return waits.wait<Received>(this.rank, from, 'a message from', ({ resolve }) => boxes.expect(key, resolve));
  }

  async working<Result>(work: Promise<Result>): Promise<Result> {
    this.#jobs += 1;
    try {
      return await work;
    } finally {
      this.#jobs -= 1;
      this.#seen = now();
    }
  }

  fail(cause: unknown): void {
    this.#hub.fail(failedBy(this.rank, cause));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#hub.fail(closedBy(this.rank));
  }

  #begin(): void {
    if (this.#closed) throw closed();
    this.#seen = now();
    this.#hub.check();
  }
}

/** The ends of a new group of ranks in this process. */
export function threadEngines(size: number, timeout: number): readonly Engine[] {
  return new Hub(size, timeout).ends;
}
