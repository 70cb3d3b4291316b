// What computing and sending cost the ranks of a group: the numbers that schedules are chosen by.

import { invalidType, outOfRange } from '../errors.js';
import { readSnapshot } from '../snapshot.js';

/**
 * What computing and sending cost each rank of a group; {@link measureCosts} measures them. What is left out is that of
 * one core with AVX2 on each host and 10 Gbit/s between them.
 */
export interface GroupCosts {
  /** Useful floating-point operations a second of a rank, while all ranks compute. Default 5e10. */
  readonly flopRate?: number | undefined;
  /** Bytes a second that a rank can read from its memory. Default 1e10. */
  readonly readRate?: number | undefined;
  /** Seconds that a call of a rank takes besides. Default 1e-4. */
  readonly callTime?: number | undefined;
  /** Seconds until a message is there, however short it is. Default 5e-5. */
  readonly latency?: number | undefined;
  /** Bytes a second that come in to a rank. Default 1.25e9. */
  readonly bandwidth?: number | undefined;
  /** Bytes that a rank may hold: a schedule that needs more is chosen only where all do. Default: any number. */
  readonly memory?: number | undefined;
}

export type MeasuredCosts = { readonly [Name in keyof GroupCosts]-?: number };

const defaults: MeasuredCosts = {
  flopRate: 5e10,
  readRate: 1e10,
  callTime: 1e-4,
  latency: 5e-5,
  bandwidth: 1.25e9,
  memory: Infinity,
};
const names = Object.keys(defaults) as readonly (keyof MeasuredCosts)[];

/** Throws ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE, ERR_UNKNOWN_OPTION. */
export function readCosts(argument: string, value: unknown): MeasuredCosts {
  const given = readSnapshot(argument, value, names);
  const costs: { -readonly [Name in keyof MeasuredCosts]: number } = { ...defaults };
  for (const name of names) {
    const cost = given[name];
    if (cost === undefined) continue;
    if (typeof cost !== 'number') throw invalidType(`${argument}.${name}`, 'a number > 0', cost);
    if (!(cost > 0)) throw outOfRange(`${argument}.${name}`, 'a number > 0', cost);
    costs[name] = cost;
  }
  return costs;
}
