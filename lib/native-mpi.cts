// The one file that loads the addon of groups over MPI, and the one description of what it exports.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AttentionError } from './errors.js';

/** What has happened since the last poll. */
export interface NativeProgress {
  /** Transfers of which pieces have come or gone: all that are over, and others. */
  readonly moved: readonly number[];
  /** Transfers that are over. */
  readonly done: readonly number[];
  /** In the order in which each rank sent them. */
  readonly letters: readonly { readonly from: number; readonly text: string }[];
}

/** The interface of native/comm/communicator.h. All functions throw NativeError, and only `finish` waits. */
export interface NativeCommunicator {
  version(): string;
  /** Begins to join the other processes; once in a process. */
  join(): void;
  /** Whether all have come. What follows is for then. */
  joined(): boolean;
  rank(): number;
  size(): number;
  /** How many tags there are. */
  tags(): number;
  post(to: number, text: string): void;
  /** Begins a transfer; returns its number. The memory stays where it is, and must not change, until it is over. */
  send(to: number, tag: number, bytes: Uint8Array): number;
  receive(from: number, tag: number, bytes: Uint8Array): number;
  /** null: nothing. */
  poll(): NativeProgress | null;
  /** Leaves together with all other ranks. */
  finish(): void;
  /** A call that takes longer ends the process with a message. */
  limit(milliseconds: number): void;
  /** SIGTERM has come: nothing moves any more. */
  terminated(): boolean;
}

const path = join(__dirname, '..', 'build', 'mpi', 'fused_attention_mpi.node');

const remedy =
  'build it where the program runs: npm install --save-dev cmake-js node-addon-api, then ' +
  'npm explore fused-attention -- npm run build:mpi (needs CMake, a C++20 compiler and an MPI, e.g. Debian ' +
  'libopenmpi-dev and openmpi-bin)';

/** Throws AttentionError ERR_LOAD_FAILED with what to do. */
export function loadCommunicator(): NativeCommunicator {
  if (!existsSync(path)) throw failure(`no file ${path}`);
  let native: NativeCommunicator;
  try {
    native = require(path) as NativeCommunicator;
  } catch (error) {
    throw failure((error as Error).message, error);
  }
  const { version } = require('../package.json') as { version: string };
  if (native.version() !== version) throw failure(`one of version ${native.version()}`);
  return native;
}

function failure(received: string, cause?: unknown): AttentionError {
  const errors = require('./errors.js') as typeof import('./errors.js');
  const expected = `the addon of groups over MPI, of this version`;
  return new errors.AttentionError('ERR_LOAD_FAILED', 'mpiGroup', expected, `${received}: ${remedy}`, { cause });
}
