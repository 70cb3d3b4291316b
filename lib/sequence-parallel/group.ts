// Groups: the ranks that compute one sequence together, and what they say to each other.

import { checkMaker, face, ours } from '../class-face.js';
import { denseElements } from '../dense.js';
import { sizeOf } from '../dtype.js';
import { AttentionError, invalidType } from '../errors.js';
import { checkInteger, contiguousStrides, countOf } from '../shape.js';
import { abortedBy, isAborted, listen } from '../signals.js';
import type { AbortSignalLike } from '../signals.js';
import { isArray, orElse, readList, readSnapshot } from '../snapshot.js';
import { readTensor, tensorOf } from '../tensor.js';
import type { Tensor, TensorInput } from '../tensor.js';
import type { HostView } from '../view.js';
import type { Engine, Received } from './engine.js';
import { threadEngines } from './threads.js';

/** What a rank has sent to others and got from them: bytes of tensors, and messages with or without tensors. */
export interface Traffic {
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly sentMessages: number;
  readonly receivedMessages: number;
}

/** Options of {@link threadGroup}, {@link workerSeats} and {@link mpiGroup}. */
export interface GroupOptions {
  /**
   * Milliseconds without a sign of life after which a rank that others wait for counts as lost; then the group fails on
   * all of them. A rank that is computing is alive, and so is one that waits for it. Default 30000.
   */
  readonly timeout?: number | undefined;
}

type Counts = { -readonly [Name in keyof Traffic]: number };

let open: (group: Group) => Channel;
let make: (engine: Engine) => Group;
let isGroup: (value: unknown) => value is Group;

/**
 * One rank's end of a group. All ranks call the same operations in the same order; each call is a promise that settles
 * when this rank's part is done and its memory is its own again.
 *
 * When a rank fails, is lost or closes its group, the operations of all ranks reject with an AttentionError
 * `ERR_GROUP_FAILED`, at once or after the timeout, and so do later ones: form a new group. Bad arguments that all ranks
 * can tell of leave the group as it is.
 */
export class Group {
  readonly #engine: Engine;
  readonly #traffic: Counts = { sentBytes: 0, receivedBytes: 0, sentMessages: 0, receivedMessages: 0 };
  #operations = 0;

  static {
    open = (group) => group.#open();
    make = (engine) => new Group(ours, engine);
    isGroup = (value): value is Group => typeof value === 'object' && value !== null && #engine in value;
    face(this, 'Group', isGroup, 'close');
  }

  private constructor(token: symbol, engine: Engine) {
    checkMaker(token, 'Group', 'threadGroup(), joinGroup() or mpiGroup()');
    this.#engine = engine;
  }

  /** Which of the ranks this is, from 0. */
  get rank(): number {
    return this.#engine.rank;
  }

  /** Number of ranks. */
  get size(): number {
    return this.#engine.size;
  }

  /** Counted since the group was formed. */
  get traffic(): Traffic {
    return { ...this.#traffic };
  }

  /** Sends tensors to another rank, which must receive them. */
  async send(to: number, tensors: readonly TensorInput[]): Promise<void> {
    const peer = this.#peer('to', to);
    const channel = new Channel(this.#engine, this.#traffic, 'point');
    await channel.send(peer, '', '', readAll('tensors', tensors));
  }

  /** The next tensors that a rank sends here, copied. */
  async receive(from: number): Promise<Tensor[]> {
    const peer = this.#peer('from', from);
    return copied(await new Channel(this.#engine, this.#traffic, 'point').receive(peer, ''));
  }

  /** The tensors of all ranks, by rank; those of others are copies. */
  async allGather(tensor: TensorInput): Promise<Tensor[]> {
    return this.allToAll(new Array<TensorInput>(this.size).fill(tensor));
  }

  /** Sends the n-th tensor to rank n; what they all sent here, by rank. Those of others are copies. */
  async allToAll(tensors: readonly TensorInput[]): Promise<Tensor[]> {
    const views = readAll('tensors', tensors);
    if (views.length !== this.size) {
      throw new AttentionError('ERR_SHAPE_MISMATCH', 'tensors', `${this.size}, one a rank`, `${views.length}`);
    }
    return together(this, async (channel) => {
      for (const peer of channel.others()) void channel.send(peer, '', '', [views[peer]!]);
      const result: Tensor[] = [];
      for (let peer = 0; peer < this.size; peer += 1) {
        result.push(peer === this.rank ? tensorOf(views[peer]!) : copied(await channel.receive(peer, ''))[0]!);
      }
      return result;
    });
  }

  /** The tensor of rank `root`, whose own is `tensor`; the others give none, and get a copy. */
  async broadcast(root: number, tensor?: TensorInput): Promise<Tensor> {
    checkInteger('root', root, 0, this.size - 1);
    const view = this.rank === root ? readTensor(tensor, 'tensor') : undefined;
    return together(this, async (channel) => {
      if (view === undefined) return copied(await channel.receive(root, ''))[0]!;
      for (const peer of channel.others()) void channel.send(peer, '', '', [view]);
      return tensorOf(view);
    });
  }

  /** Resolves when all ranks have called it. */
  async barrier(): Promise<void> {
    await together(this, async (channel) => {
      for (const peer of channel.others()) void channel.send(peer, '', '', []);
      for (const peer of channel.others()) await channel.receive(peer, '');
    });
  }

  /** Leaves the group, which fails for the other ranks. Also under `Symbol.dispose` where the runtime has it. */
  close(): void {
    this.#engine.close();
  }

  /** `Group(rank 1 of 4)` */
  toString(): string {
    return `Group(rank ${this.rank} of ${this.size})`;
  }

  #peer(argument: string, value: unknown): number {
    return checkInteger(argument, value, 0, this.size - 1);
  }

  #open(): Channel {
    this.#operations += 1;
    return new Channel(this.#engine, this.#traffic, String(this.#operations));
  }
}

/**
 * A group whose ranks are in this process and share its memory and its threads: nothing is copied on the way. For
 * working on one machine as on many, and for trying out schedules.
 *
 * @param size Number of ranks, 1 to 4096.
 * @returns The ranks' ends. Each rank is a chain of promises: `Promise.all(groups.map(async (group) => …))`.
 * @throws AttentionError `ERR_INVALID_ARG_TYPE`, `ERR_OUT_OF_RANGE`, `ERR_UNKNOWN_OPTION`.
 */
export function threadGroup(size: number, options?: GroupOptions): Group[] {
  const count = checkInteger('size', size, 1, 4096);
  return threadEngines(count, readTimeout(options)).map(groupOver);
}

export function readTimeout(options: GroupOptions | undefined): number {
  const given = readSnapshot('options', options, ['timeout']);
  return checkInteger('options.timeout', orElse(given['timeout'], 30_000), 1, 2 ** 31 - 1);
}

/** A rank's end of a group over an engine. */
export function groupOver(engine: Engine): Group {
  return make(engine);
}

/** One operation of a group: its messages are apart from those of others, and counted. */
export class Channel {
  readonly #engine: Engine;
  readonly #counts: Counts;
  readonly #name: string;
  readonly #sending: Promise<void>[] = [];
  #aborted: Error | undefined;
  #stopListening: (() => void) | undefined;
  /** Set when all ranks know of an error by themselves. */
  agreed = false;

  constructor(engine: Engine, counts: Counts, name: string) {
    this.#engine = engine;
    this.#counts = counts;
    this.#name = name;
  }

  get rank(): number {
    return this.#engine.rank;
  }

  get size(): number {
    return this.#engine.size;
  }

  /** The other ranks, the next one first. */
  others(): readonly number[] {
    const { rank, size } = this;
    return Array.from({ length: size - 1 }, (_, n) => (rank + 1 + n) % size);
  }

  /** Begins to send; the promise, and {@link sent} for all of them, resolves when the tensors are this rank's again. */
  send(to: number, stage: string, note: string, tensors: readonly HostView[]): Promise<void> {
    if (to !== this.rank) {
      this.#counts.sentMessages += 1;
      this.#counts.sentBytes += bytesOf(tensors);
    }
    const sending = this.#engine.send(to, `${this.#name} ${stage}`, { note, tensors });
    sending.catch((error: unknown) => this.#engine.fail(error)); // this rank may be waiting for another meanwhile
    this.#sending.push(sending);
    return sending;
  }

  async sent(): Promise<void> {
    await Promise.all(this.#sending);
  }

  async receive(from: number, stage: string): Promise<Received> {
    const received = await this.#engine.receive(from, `${this.#name} ${stage}`);
    if (from !== this.rank) {
      this.#counts.receivedMessages += 1;
      this.#counts.receivedBytes += bytesOf(received.tensors);
    }
    return received;
  }

  working<Result>(work: Promise<Result>): Promise<Result> {
    return this.#engine.working(work);
  }

  /** An abort ends waiting for others, too: the group fails. */
  heed(signal: AbortSignalLike | undefined): void {
    if (signal === undefined) return;
    const abort = (): void => {
      this.#aborted ??= abortedBy(signal);
      this.#engine.fail(this.#aborted);
    };
    this.#stopListening = listen(signal, abort);
    if (isAborted(signal)) abort();
  }

  /** The operation is over. Returns what this rank is to be told of an error, and tells the others of it. */
  end(error?: unknown): unknown {
    this.#stopListening?.();
    if (error === undefined || this.agreed) return error;
    this.#engine.fail(error);
    return this.#aborted ?? error;
  }
}

/** Runs one rank's part of an operation of all ranks. An error that the others cannot know of ends the group. */
export async function together<Result>(group: Group, part: (channel: Channel) => Promise<Result>): Promise<Result> {
  const channel = open(group);
  try {
    const result = await part(channel);
    await channel.sent();
    channel.end();
    return result;
  } catch (error) {
    throw channel.end(error);
  }
}

/** A group argument. */
export function readGroup(value: unknown): Group {
  if (!isGroup(value)) {
    throw invalidType('group', 'a Group (made by threadGroup(), joinGroup() or mpiGroup())', value);
  }
  return value;
}

function bytesOf(tensors: readonly HostView[]): number {
  return tensors.reduce((sum, { shape, dtype }) => sum + countOf(shape) * sizeOf[dtype], 0);
}

function readAll(argument: string, tensors: unknown): HostView[] {
  if (!isArray(argument, tensors)) throw invalidType(argument, 'an array of tensors', tensors);
  return readList(argument, tensors, readTensor);
}

/** What came, in memory of its own: where it is the sender's again, copies. */
function copied(received: Received): Tensor[] {
  if (received.owned) return received.tensors.map(tensorOf);
  const tensors = received.tensors.map((view) => {
    const data = denseElements(view, 'message').slice();
    return tensorOf({ data, dtype: view.dtype, shape: view.shape, strides: contiguousStrides(view.shape), offset: 0 });
  });
  received.release();
  return tensors;
}
