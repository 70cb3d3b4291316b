// The engine of one group over MPI: which message is for whom, and whether the ranks that are waited for are alive.

import { bufferOf } from '../arrays.js';
import { denseElements } from '../dense.js';
import type { AttentionError } from '../errors.js';
import { allocate } from '../memory.js';
import { keep, needsCopy } from '../protection.js';
import { contiguousStrides, countOf } from '../shape.js';
import type { HostView } from '../view.js';
import { Boxes } from './boxes.js';
import { closed, closedBy, failedBy, groupFailed } from './engine.js';
import type { Engine, Message, Received } from './engine.js';
import { read, written } from './mpi-words.js';
import type { Word } from './mpi-words.js';
import type { MpiWorld } from './mpi-world.js';

/** Begins to fetch a message that has been announced. */
type Fetch = () => Promise<Received>;

interface Wait {
  readonly peer: number;
  readonly what: string;
  readonly since: number;
  /** For a message that is not even announced, or to be taken: from a rank that has left it cannot come. */
  readonly needsRank: boolean;
  fail(error: Error): void;
}

/** What is known of a rank. */
interface Heard {
  /** Its last sign of life. */
  at: number;
  /** The last time when it said whom it waits for. */
  saidAt: number;
  waits: readonly number[];
}

export class MpiEngine implements Engine {
  readonly rank: number;
  readonly size: number;
  readonly #world: MpiWorld;
  readonly #number: number;
  readonly #timeout: number;
  /** By rank and channel. */
  readonly #boxes = new Boxes<Fetch>();
  readonly #waits = new Set<Wait>();
  readonly #heard: Heard[];
  #jobs = 0;
  #seen = performance.now();
  /** Since when this rank has listened without a break. */
  #listening = performance.now();
  #closed = false;
  #failure: AttentionError | undefined;

  constructor(world: MpiWorld, number: number, timeout: number) {
    this.#world = world;
    this.#number = number;
    this.#timeout = timeout;
    this.rank = world.rank;
    this.size = world.size;
    this.#heard = Array.from({ length: this.size }, () => ({ at: this.#seen, saidAt: 0, waits: [] }));
  }

  async send(to: number, channel: string, message: Message): Promise<void> {
    this.#begin();
    if (to === this.rank) return this.#hand(channel, message);
    const { note, tensors } = message;
    const arrays = tensors.map(bytesOf);
    const tag = this.#world.takeTags(arrays.length);
    const kinds = tensors.map(({ dtype, shape }) => [dtype, shape] as const);
    this.#say(to, { kind: 'message', channel, note, tensors: kinds, tag });
    await Promise.all(arrays.map((bytes, n) => this.#move('send', to, tag + n, bytes)));
  }

  async receive(from: number, channel: string): Promise<Received> {
    this.#begin();
    const key = `${from} ${channel}`;
    const announced = this.#boxes.take(key);
    if (announced) return announced();
    const fetch = await this.#wait<Fetch>(from, 'a message from', true, (resolve) => this.#boxes.expect(key, resolve));
    return fetch();
  }

  async working<Result>(work: Promise<Result>): Promise<Result> {
    this.#jobs += 1;
    this.#world.compute(1);
    try {
      return await work;
    } finally {
      this.#jobs -= 1;
      this.#world.compute(-1);
      this.#seen = performance.now();
    }
  }

  fail(cause: unknown): void {
    this.end(failedBy(this.rank, cause));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.end(closedBy(this.rank));
  }

  /** The group is over. The others are told, whoever knows it first: a rank that ends then says so after that. */
  end(error: AttentionError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#boxes.clear();
    for (const wait of this.#waits) wait.fail(error);
    const { expected, received, cause } = error;
    const word: Word = {
      kind: 'failed',
      expected,
      received,
      ...(cause === undefined ? {} : { cause: written(cause) }),
    };
    for (const peer of this.#others()) this.#say(peer, word);
  }

  /** Word of another rank. */
  hear(from: number, word: Word): void {
    if (this.#failure) return;
    const now = performance.now();
    const heard = this.#heard[from]!;
    switch (word.kind) {
      case 'alive':
        heard.at = Math.max(heard.at, now - word.silent);
        heard.saidAt = now;
        heard.waits = word.waits;
        return;
      case 'failed':
        return this.end(groupFailed(word.expected, word.received, word.cause && read(word.cause)));
      case 'message':
        heard.at = now;
        return this.#boxes.put(`${from} ${word.channel}`, () => this.#fetch(from, word));
    }
  }

  /** A rank has ended, orderly: what it has not sent will not come. */
  leave(rank: number): void {
    for (const { peer, needsRank } of this.#waits) if (peer === rank && needsRank) return this.#miss(rank);
  }

  /** Tells the others that this rank is alive, and looks for ranks that are not. */
  beat(listened: boolean): void {
    if (this.#failure) return;
    const now = performance.now();
    if (!listened) this.#listening = now;
    if (this.#jobs === 0 && this.#waits.size === 0) return;
    const waits = Array.from(this.#waits, ({ peer }) => peer);
    const silent = this.#jobs > 0 ? 0 : now - this.#seen;
    for (const peer of this.#others()) this.#say(peer, { kind: 'alive', silent, waits });
    for (const { peer, what, since } of this.#waits) {
      if (peer === this.rank || now - Math.max(since, this.#lastSign(peer)) < this.#timeout) continue;
      const lost = this.#lostBehind(peer, new Set([this.rank]));
      if (lost === null) continue;
      const error = groupFailed(`${what} rank ${peer} within ${this.#timeout} ms`, `no sign of rank ${lost}`);
      return this.#world.lose(error);
    }
  }

  /**
   * null where a rank is alive: also when it waits for one that is. Else who is lost, it or one that it waits for; ranks
   * that wait for each other are.
   */
  #lostBehind(rank: number, asked: Set<number>): number | null {
    asked.add(rank);
    const now = performance.now();
    if (now - this.#lastSign(rank) < this.#timeout) return null;
    const { saidAt, waits } = this.#heard[rank]!;
    let lost = rank;
    if (now - saidAt >= this.#timeout) return lost;
    for (const peer of waits) {
      if (asked.has(peer)) continue;
      const behind = this.#lostBehind(peer, asked);
      if (behind === null) return null;
      lost = behind;
    }
    return lost;
  }

  #lastSign(rank: number): number {
    return Math.max(this.#heard[rank]!.at, this.#listening);
  }

  /** Tensors come into memory of their own. */
  async #fetch(from: number, { note, tensors, tag }: Word & { kind: 'message' }): Promise<Received> {
    const views = tensors.map(([dtype, shape]): HostView => {
      const data = allocate(dtype, countOf(shape), 'message');
      return { data, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
    });
    // Nobody else has that memory yet.
    const bytes = views.map(({ data }) => bytesIn(data as ArrayBufferView));
    await Promise.all(bytes.map((into, n) => this.#move('receive', from, tag + n, into)));
    return { note, tensors: views, owned: true, release() {} };
  }

  /** A message to this rank itself stays where it is. */
  #hand(channel: string, message: Message): Promise<void> {
    return this.#wait<void>(this.rank, 'a message taken by', true, (resolve) => {
      const received = { ...message, release: () => resolve() };
      this.#boxes.put(`${this.rank} ${channel}`, () => Promise.resolve(received));
      if (message.tensors.length === 0) resolve();
    });
  }

  #move(direction: 'send' | 'receive', peer: number, tag: number, bytes: Uint8Array): Promise<void> {
    const sends = direction === 'send';
    return this.#wait<void>(peer, sends ? 'a message taken by' : 'a message from', sends, (resolve) => {
      const moved = (): void => {
        this.#seen = performance.now();
        if (!sends) this.#heard[peer]!.at = this.#seen;
      };
      this.#world.transfer(direction, peer, tag, bytes, { moved, done: resolve });
    });
  }

  #wait<Value>(
    peer: number,
    what: string,
    needsRank: boolean,
    begin: (resolve: (value: Value) => void) => void,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (this.#failure) return reject(this.#failure);
      const done = (): void => {
        if (this.#waits.delete(wait)) this.#world.release();
      };
      const fail = (error: Error): void => {
        done();
        reject(error);
      };
      const wait: Wait = { peer, what, needsRank, since: performance.now(), fail };
      this.#waits.add(wait);
      this.#world.hold();
      begin((value) => {
        done();
        resolve(value);
      });
      if (needsRank && this.#world.hasLeft(peer) && this.#waits.has(wait)) this.#miss(peer);
    });
  }

  #miss(rank: number): void {
    this.end(groupFailed('every rank to take part', `rank ${rank} has ended`));
  }

  #others(): number[] {
    return Array.from({ length: this.size }, (_, rank) => rank).filter((rank) => rank !== this.rank);
  }

  #say(to: number, word: Word): void {
    this.#world.post(to, this.#number, word);
  }

  #begin(): void {
    if (this.#closed) throw closed();
    this.#seen = performance.now();
    if (this.#failure) throw this.#failure;
  }
}

/** A tensor's bytes in row-major order, which stay where they are while they are on their way. */
function bytesOf(view: HostView): Uint8Array {
  let elements = denseElements(view, 'message');
  if (needsCopy(bufferOf(elements))) elements = elements.slice();
  else keep(bufferOf(elements));
  return bytesIn(elements);
}

function bytesIn({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
