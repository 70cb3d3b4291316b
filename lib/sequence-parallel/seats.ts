// Groups whose ranks are in different threads: seats are made in one of them and taken in others.

import { MessageChannel, MessagePort } from 'node:worker_threads';
import { invalidType, invalidValue } from '../errors.js';
import { checkInteger } from '../shape.js';
import { reading } from '../snapshot.js';
import type { Engine } from './engine.js';
import { SharedSigns } from './shared-signs.js';
import { now } from './waits.js';
import { WorkerEngine } from './workers.js';

/** A rank's place in a group over threads, on its way to the thread that takes it. It can be sent once. */
export interface WorkerSeat {
  readonly rank: number;
  readonly size: number;
  readonly timeout: number;
  /** Ports to the other ranks, in order: what `postMessage` or `new Worker` is to transfer. Of Node's own type. */
  // oxlint-disable-next-line typescript/no-explicit-any -- its type is not there in every program
  readonly ports: readonly any[];
  readonly signs: SharedArrayBuffer;
  readonly start: number;
}

/** Each pair of ranks has a channel of its own. */
const mostRanks = 256;

export function workerSeats(size: unknown, timeout: number): WorkerSeat[] {
  const count = checkInteger('size', size, 1, mostRanks);
  const [signs, start] = [SharedSigns.memory(count), now()];
  const ports = Array.from({ length: count }, (): MessagePort[] => []);
  for (let rank = 0; rank < count; rank += 1) {
    for (let peer = rank + 1; peer < count; peer += 1) {
      const { port1, port2 } = new MessageChannel();
      ports[rank]!.push(port1);
      ports[peer]!.push(port2);
    }
  }
  return ports.map((own, rank) => ({ rank, size: count, timeout, ports: own, signs, start }));
}

const taken = new WeakSet<object>();

export function workerEngine(value: unknown): Engine {
  const expected = 'a seat of workerSeats(), sent with its ports';
  if (typeof value !== 'object' || value === null) throw invalidType('seat', expected, value);
  const { rank, size, timeout, ports, signs, start } = reading('seat', () => ({ ...(value as Partial<WorkerSeat>) }));
  const whole =
    signs instanceof SharedArrayBuffer &&
    typeof start === 'number' &&
    Array.isArray(ports) &&
    ports.length === size! - 1;
  if (!whole || !ports.every((port) => port instanceof MessagePort)) throw invalidType('seat', expected, value);
  checkInteger('seat.size', size, 1, mostRanks);
  checkInteger('seat.rank', rank, 0, size! - 1);
  const place = ports[0] ?? value;
  if (taken.has(place)) throw invalidValue('seat', 'one that has not been taken', 'a seat that has');
  taken.add(place);
  const all = [...ports.slice(0, rank), null, ...ports.slice(rank)];
  return new WorkerEngine(rank!, timeout!, all, new SharedSigns(signs, size!, start));
}
