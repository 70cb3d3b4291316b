// Everybody who takes part in a case beside us, and who cannot.
import type { Case } from '../case.js';
import type { Absent, Contestant } from '../contestant.js';
import type { Inputs } from '../inputs.js';

type Join = (
  c: Case,
  inputs: Inputs,
  threads: number,
) => Promise<Contestant | Absent | (Contestant | Absent)[]> | Contestant | Absent;

interface Peer {
  name: string;
  /** Loaded only here, so that a package without a binary for this machine is an absent peer and no crash. */
  join: () => Promise<Join>;
  /** Needed for the bars. */
  bars?: true;
}

const PEERS: readonly Peer[] = [
  { name: 'onnxruntime', join: async () => (await import('./onnxruntime.js')).onnxruntime, bars: true },
  { name: 'tfjs-backend-wasm', join: async () => (await import('./tensorflow.js')).tensorflowWasm },
  { name: '@ruvector/attention', join: async () => (await import('./ruvector.js')).ruvector },
  { name: 'plain JavaScript', join: async () => (await import('./javascript.js')).plainJavaScript },
];

/** @param barsOnly leaves out who is in no bar */
export async function peersOf(
  c: Case,
  inputs: Inputs,
  threads: number,
  barsOnly: boolean,
): Promise<(Contestant | Absent)[]> {
  // onnxruntime and tfjs take no such mask but as a bias for all pairs; NATTEN has no binding for Node.
  if (c.mask.kind === 'blocks') return [{ name: 'peers', absent: 'none has lists of blocks' }];
  if (c.mask.kind === 'neighborhood') return [{ name: 'peers', absent: 'none has neighborhoods' }];
  const list: (Contestant | Absent)[] = [];
  for (const { name, join, bars } of PEERS) {
    if (barsOnly && bars !== true) continue;
    if (c.cache !== undefined && name !== 'onnxruntime') {
      list.push({ name, absent: 'has no cache to append to' });
      continue;
    }
    try {
      const joined = await (await join())(c, inputs, threads);
      list.push(...(Array.isArray(joined) ? joined : [joined]));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      list.push({ name, absent: `fails here: ${why}`, broken: true });
    }
  }
  return list;
}
