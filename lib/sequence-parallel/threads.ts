// The engine whose ranks are in one process: messages are handed over, and tensors stay where they are.

import { AttentionError } from '../errors.js';
import { groupFailed } from './engine.js';
import type { Engine, Message, Received } from './engine.js';

interface Waiting<Value> {
  resolve(value: Value): void;
  reject(error: Error): void;
}

/** A channel from one rank to another. Letters wait for a receiver, or receivers for a letter. */
interface Box {
  readonly letters: Received[];
  readonly receivers: Waiting<Received>[];
}

/** What the ranks share. */
class Hub {
  readonly size: number;
  readonly timeout: number;
  readonly ends: readonly End[];
  readonly #boxes = new Map<string, Box>();
  readonly #waiting = new Set<(error: Error) => void>();
  #failure: AttentionError | undefined;

  constructor(size: number, timeout: number) {
    this.size = size;
    this.timeout = timeout;
    this.ends = Array.from({ length: size }, (_, rank) => new End(this, rank));
  }

  /** Every wait of a rank for another, until it settles, the group fails or the other shows no sign of life for too long. */
  wait<Value>(own: number, peer: number, what: string, begin: (waiting: Waiting<Value>) => void): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      const since = performance.now();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const { waits } = this.ends[own]!;
      const wait = { peer };
      const done = (): void => {
        clearTimeout(timer);
        waits.delete(wait);
        this.#waiting.delete(fail);
      };
      const fail = (error: Error): void => {
        done();
        reject(error);
      };
      const look = (): void => {
        const silent = performance.now() - Math.max(since, this.ends[peer]!.lastSeen());
        if (silent >= this.timeout && !this.#isAlive(peer, new Set([own]))) {
          this.fail(groupFailed(`${what} rank ${peer} within ${this.timeout} ms`, 'no sign of it'));
        } else {
          timer = setTimeout(look, Math.ceil(Math.max(this.timeout - silent, this.timeout / 4)));
        }
      };
      waits.add(wait);
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

  /** A rank that itself waits for one that is alive is not lost; ranks that wait for each other are. */
  #isAlive(rank: number, asked: Set<number>): boolean {
    asked.add(rank);
    const end = this.ends[rank]!;
    if (performance.now() - end.lastSeen() < this.timeout) return true;
    for (const { peer } of end.waits) if (!asked.has(peer) && this.#isAlive(peer, asked)) return true;
    return false;
  }

  box(from: number, to: number, channel: string): Box {
    const key = `${from} ${to} ${channel}`;
    let box = this.#boxes.get(key);
    if (box === undefined) this.#boxes.set(key, (box = { letters: [], receivers: [] }));
    return box;
  }

  /** Boxes are as many as messages under way. */
  tidy(from: number, to: number, channel: string): void {
    const { letters, receivers } = this.box(from, to, channel);
    if (letters.length === 0 && receivers.length === 0) this.#boxes.delete(`${from} ${to} ${channel}`);
  }

  fail(error: AttentionError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#boxes.clear();
    for (const reject of this.#waiting) reject(error);
  }

  check(): void {
    if (this.#failure) throw this.#failure;
  }
}

class End implements Engine {
  readonly rank: number;
  /** What this rank is waiting for. */
  readonly waits = new Set<{ readonly peer: number }>();
  readonly #hub: Hub;
  #jobs = 0;
  #seen = performance.now();
  #closed = false;

  constructor(hub: Hub, rank: number) {
    this.#hub = hub;
    this.rank = rank;
  }

  get size(): number {
    return this.#hub.size;
  }

  lastSeen(): number {
    return this.#jobs > 0 ? performance.now() : this.#seen;
  }

  async send(to: number, channel: string, message: Message): Promise<void> {
    this.#begin();
    const hub = this.#hub;
    const { letters, receivers } = hub.box(this.rank, to, channel);
    let released = (): void => {};
    const letter: Received = { ...message, release: () => released() };
    const arrived = hub.wait<void>(this.rank, to, 'a message taken by', ({ resolve }) => {
      released = resolve;
      const receiver = receivers.shift();
      if (receiver) receiver.resolve(letter);
      else letters.push(letter);
    });
    hub.tidy(this.rank, to, channel);
    // Text alone is the receiver's at once.
    if (message.tensors.length === 0) released();
    return arrived;
  }

  async receive(from: number, channel: string): Promise<Received> {
    this.#begin();
    const hub = this.#hub;
    const letter = hub.box(from, this.rank, channel).letters.shift();
    hub.tidy(from, this.rank, channel);
    if (letter) return letter;
    return hub.wait<Received>(this.rank, from, 'a message from', (waiting) => {
      hub.box(from, this.rank, channel).receivers.push(waiting);
    });
  }

  async working<Result>(work: Promise<Result>): Promise<Result> {
    this.#jobs += 1;
    try {
      return await work;
    } finally {
      this.#jobs -= 1;
      this.#seen = performance.now();
    }
  }

  fail(cause: unknown): void {
    const said = cause instanceof Error ? cause.message : String(cause);
    this.#hub.fail(groupFailed('every rank to take part', `an error of rank ${this.rank}: ${said}`, cause));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#hub.fail(groupFailed('every rank to take part', `rank ${this.rank} closed its group`));
  }

  #begin(): void {
    if (this.#closed) throw new AttentionError('ERR_DISPOSED', 'group', 'a group that is not closed', 'a closed one');
    this.#seen = performance.now();
    this.#hub.check();
  }
}

/** The ends of a new group of ranks in this process. */
export function threadEngines(size: number, timeout: number): readonly Engine[] {
  return new Hub(size, timeout).ends;
}
