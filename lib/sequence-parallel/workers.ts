// The engine whose ranks are in different threads of one process: messages go through ports between them. Tensors in
// shared memory stay where they are; others are copied once, when the receiver asks for them, so that no more of them wait
// there than it has use for.

import type { MessagePort } from 'node:worker_threads';
import { bufferOf } from '../arrays.js';
import { denseElements } from '../dense.js';
import { AttentionError } from '../errors.js';
import { contiguousStrides, isContiguous } from '../shape.js';
import type { HostView } from '../view.js';
import { Boxes } from './boxes.js';
import { closed, closedBy, failedBy, groupFailed } from './engine.js';
import type { Engine, Message, Received } from './engine.js';
import { SharedSigns } from './shared-signs.js';
import { Waits } from './waits.js';

/** A message on its way. `number` is what its sender knows it by, null where it is all there and nobody's memory. */
interface Letter {
  readonly note: string;
  readonly number: number | null;
  /** null: to be asked for. */
  readonly tensors: readonly HostView[] | null;
}

/** What ranks say to each other. */
type Word =
  | { readonly kind: 'letter'; readonly channel: string; readonly letter: Letter }
  /** The tensors of a letter are asked for, or were read and are the sender's again. */
  | { readonly kind: 'wanted' | 'released'; readonly number: number }
  | { readonly kind: 'tensors'; readonly number: number; readonly tensors: readonly HostView[] }
  | { readonly kind: 'failed'; readonly expected: string; readonly received: string; readonly cause?: Cause };

/** An error on its way to another thread, where it would lose its class. */
interface Cause {
  readonly error: unknown;
  readonly fields?: Pick<AttentionError, 'code' | 'argument' | 'expected' | 'received'>;
}

export class WorkerEngine implements Engine {
  readonly rank: number;
  readonly size: number;
  /** By rank; none for this one. */
  readonly #ports: readonly (MessagePort | null)[];
  readonly #signs: SharedSigns;
  readonly #waits: Waits;
  readonly #boxes = new Boxes<Letter>();
  /** Tensors of letters that others have not read, by number. */
  readonly #out = new Map<number, { readonly tensors: readonly HostView[]; done(): void }>();
  /** Tensors that have been asked for, by rank and number. */
  readonly #coming = new Map<string, (tensors: readonly HostView[]) => void>();
  /** Ranks whose threads have ended: what they have not sent will not come. */
  readonly #gone = new Set<number>();
  #letters = 0;
  #failure: AttentionError | undefined;
  #closed = false;

  constructor(rank: number, timeout: number, ports: readonly (MessagePort | null)[], signs: SharedSigns) {
    this.rank = rank;
    this.size = ports.length;
    this.#ports = ports;
    this.#signs = signs;
    this.#waits = new Waits(timeout, signs, (error) => this.#end(error));
    signs.see(rank);
    ports.forEach((port, peer) => {
      port?.on('message', (word: Word) => this.#hear(peer, word));
      port?.on('close', () => this.#leave(peer));
      // Waits have timers; a group that nobody waits for keeps no thread.
      port?.unref();
    });
  }

  async send(to: number, channel: string, { note, tensors }: Message): Promise<void> {
    this.#begin();
    if (tensors.length === 0) {
      return this.#post(to, { kind: 'letter', channel, letter: { note, number: null, tensors } });
    }
    const number = (this.#letters += 1);
    const stay = to === this.rank || tensors.every(isShared);
    return this.#wait<void>(to, 'a message taken by', (done) => {
      this.#out.set(number, { tensors, done });
      this.#post(to, { kind: 'letter', channel, letter: { note, number, tensors: stay ? tensors : null } });
    });
  }

  async receive(from: number, channel: string): Promise<Received> {
    this.#begin();
    const key = `${from} ${channel}`;
    const { note, number, tensors } =
      this.#boxes.take(key) ??
      (await this.#wait<Letter>(from, 'a message from', (resolve) => this.#boxes.expect(key, resolve)));
    if (number === null) return { note, tensors: [], release() {} };
    if (tensors) return { note, tensors, release: () => this.#post(from, { kind: 'released', number }) };
    const came = await this.#wait<readonly HostView[]>(from, 'a message from', (resolve) => {
      this.#coming.set(`${from} ${number}`, resolve);
      this.#post(from, { kind: 'wanted', number });
    });
    return { note, tensors: came, owned: true, release() {} };
  }

  async working<Result>(work: Promise<Result>): Promise<Result> {
    this.#signs.work(this.rank, true);
    try {
      return await work;
    } finally {
      this.#signs.see(this.rank);
      this.#signs.work(this.rank, false);
    }
  }

  fail(cause: unknown): void {
    this.#end(failedBy(this.rank, cause));
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#end(closedBy(this.rank));
  }

  #wait<Value>(peer: number, what: string, begin: (resolve: (value: Value) => void) => void): Promise<Value> {
    const waited = this.#waits.wait<Value>(this.rank, peer, what, ({ resolve }) => begin(resolve));
    if (this.#gone.has(peer)) this.#miss(peer);
    return waited;
  }

  #leave(peer: number): void {
    this.#gone.add(peer);
    for (const awaited of this.#signs.waitsOf(this.rank)) if (awaited === peer) return this.#miss(peer);
  }

  #miss(peer: number): void {
    this.#end(groupFailed('every rank to take part', `the thread of rank ${peer} has ended`));
  }

  #hear(from: number, word: Word): void {
    if (this.#failure) return;
    switch (word.kind) {
      case 'letter':
        return this.#boxes.put(`${from} ${word.channel}`, word.letter);
      case 'tensors': {
        const key = `${from} ${word.number}`;
        this.#coming.get(key)?.(word.tensors);
        this.#coming.delete(key);
        return;
      }
      case 'failed':
        return this.#end(groupFailed(word.expected, word.received, word.cause && read(word.cause)));
      default: {
        const out = this.#out.get(word.number);
        this.#out.delete(word.number);
        if (out === undefined) return;
        if (word.kind === 'wanted') this.#give(from, word.number, out.tensors);
        out.done();
      }
    }
  }

  #give(to: number, number: number, tensors: readonly HostView[]): void {
    try {
      const copies = tensors.map(copyOf);
      const memory = copies.map(({ data }) => bufferOf(data as ArrayBufferView) as ArrayBuffer);
      this.#post(to, { kind: 'tensors', number, tensors: copies }, memory);
    } catch (error) {
      this.fail(error);
    }
  }

  /** A message to this rank itself goes the same way. */
  #post(to: number, word: Word, memory: ArrayBuffer[] = []): void {
    if (this.#failure) return;
    const port = this.#ports[to];
    if (port) port.postMessage(word, memory);
    else this.#hear(to, word);
  }

  /** The group is over. The others are told, whoever knows it first: that this rank's port closes says less. */
  #end(error: AttentionError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#boxes.clear();
    this.#out.clear();
    this.#coming.clear();
    this.#waits.end(error);
    const { expected, received, cause } = error;
    const word: Word = {
      kind: 'failed',
      expected,
      received,
      ...(cause === undefined ? {} : { cause: written(cause) }),
    };
    for (const port of this.#ports) {
      port?.postMessage(word);
      port?.close();
    }
  }

  #begin(): void {
    if (this.#closed) throw closed();
    this.#signs.see(this.rank);
    if (this.#failure) throw this.#failure;
  }
}

function isShared({ data }: HostView): boolean {
  return bufferOf(data as ArrayBufferView) instanceof SharedArrayBuffer;
}

/** The elements alone, in memory of their own. */
function copyOf(view: HostView): HostView {
  const { dtype, shape, strides } = view;
  const dense = denseElements(view, 'message');
  const data = isContiguous(shape, strides) ? dense.slice() : dense;
  return { data, dtype, shape, strides: contiguousStrides(shape), offset: 0 };
}

function written(error: unknown): Cause {
  // An error's own cause, such as an abort's reason, may be something that cannot go to another thread.
  if (!(error instanceof AttentionError))
    return { error: error instanceof Error ? new Error(error.message) : String(error) };
  const { code, argument, expected, received, message } = error;
  return { error: message, fields: { code, argument, expected, received } };
}

function read({ error, fields }: Cause): unknown {
  return fields ? new AttentionError(fields.code, fields.argument, fields.expected, fields.received) : error;
}
