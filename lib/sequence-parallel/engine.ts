// What a group needs of an engine that carries messages between its ranks.

import { AttentionError } from '../errors.js';
import type { HostView } from '../view.js';

export interface Message {
  /** Text: what the tensors are, in JSON where it is more than a word. */
  readonly note: string;
  readonly tensors: readonly HostView[];
}

/** A message that came. Its tensors may be the sender's own memory, and stay as they are until `release` is called. */
export interface Received extends Message {
  /** The tensors are the receiver's to keep. */
  readonly owned?: boolean;
  release(): void;
}

/** One rank's end. Messages from one rank to another on one channel arrive in the order in which they were sent. */
export interface Engine {
  readonly rank: number;
  readonly size: number;
  /** Resolves when the memory of the tensors is the sender's again. Rejects with ERR_GROUP_FAILED. */
  send(to: number, channel: string, message: Message): Promise<void>;
  /** Rejects with ERR_GROUP_FAILED, not later than the group's timeout. */
  receive(from: number, channel: string): Promise<Received>;
  /** While the work is under way this rank counts as alive, however long it takes. */
  working<Result>(work: Promise<Result>): Promise<Result>;
  /** Ends the group, because of an error of this rank. */
  fail(cause: unknown): void;
  /** This rank takes part in nothing any more. */
  close(): void;
}

/** The error of a group that has ended, for ranks that did nothing wrong. */
export function groupFailed(expected: string, received: string, cause?: unknown): AttentionError {
  return new AttentionError('ERR_GROUP_FAILED', 'group', expected, received, cause === undefined ? {} : { cause });
}

/** The group has ended by an error of a rank. */
export function failedBy(rank: number, cause: unknown): AttentionError {
  const said = cause instanceof Error ? cause.message : String(cause);
  return groupFailed('every rank to take part', `an error of rank ${rank}: ${said}`, cause);
}

/** The group has ended because a rank has closed it. */
export function closedBy(rank: number): AttentionError {
  return groupFailed('every rank to take part', `rank ${rank} closed its group`);
}

/** The error of a rank that has closed its group itself. */
export function closed(): AttentionError {
  return new AttentionError('ERR_DISPOSED', 'group', 'a group that is not closed', 'a closed one');
}
