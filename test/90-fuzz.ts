// 10^5 random calls, most of them wrong somewhere: each ends in a result or in a coded error, and many reach a kernel.
// FUZZ_CALLS and FUZZ_SEED choose another number and another sequence; a failure names the call, which can be run alone
// with FUZZ_ONLY.

import test from 'ava';
import {
  attention,
  attentionSync,
  AttentionError,
  explain,
  mergePartials,
  mergePartialsSync,
  Tensor,
} from '../lib/index.js';
import { Random } from './reference/random.js';
import { CallMaker, detach, junk, resize } from './helpers/random-call.js';
import type { RandomCall } from './helpers/random-call.js';

const calls = Number(process.env['FUZZ_CALLS'] ?? 100_000);
const firstSeed = Number(process.env['FUZZ_SEED'] ?? 1);
const only = process.env['FUZZ_ONLY'];

type Entry = (...args: unknown[]) => unknown;
const sync = attentionSync as unknown as Entry;
const promised = attention as unknown as (...args: unknown[]) => Promise<unknown>;
const merge = mergePartials as unknown as (...args: unknown[]) => Promise<unknown>;
const mergeNow = mergePartialsSync as unknown as Entry;

const modes = 'sync sync sync promise promise promise disturbed disturbed aborted explain'.split(' ');

interface Tally {
  results: number;
  kernels: number;
  codes: Map<string, number>;
  wrong: string[];
}

/** A result: of the announced shape, and of a kernel if there was anything to compute. */
function countResult(tally: Tally, result: unknown, call: RandomCall, seed: number): void {
  tally.results += 1;
  const { output, o } = result as { output?: Tensor; o?: Tensor };
  const tensor = output ?? o;
  if (!(tensor instanceof Tensor)) tally.wrong.push(`call ${seed}: no tensor`);
  else if (call.shape !== null && output !== undefined && String(output.shape) !== String(call.shape)) {
    tally.wrong.push(`call ${seed}: shape [${output.shape}] instead of [${call.shape}]`);
  } else if (tensor.size > 0) tally.kernels += 1;
}

function countError(tally: Tally, error: unknown, call: RandomCall, seed: number, disturbed: boolean): void {
  const { code } = (error ?? {}) as { code?: unknown };
  const aborted = code === 'ABORT_ERR' && (error as Error).name === 'AbortError';
  const coded = error instanceof AttentionError && code !== 'ERR_INTERNAL';
  if (!aborted && !coded) tally.wrong.push(`call ${seed}: ${error instanceof Error ? error.stack : String(error)}`);
  if (call.shape !== null && !disturbed)
    tally.wrong.push(`call ${seed}: nothing was wrong with it, but ${String(error)}`);
  tally.codes.set(String(code), (tally.codes.get(String(code)) ?? 0) + 1);
}

/** Starts a call, which must not throw. */
function start(args: unknown[], tally: Tally, seed: number): Promise<unknown> {
  try {
    return promised(...args);
  } catch (error) {
    tally.wrong.push(`call ${seed}: threw instead of rejecting, ${String(error)}`);
    throw error;
  }
}

async function runCall(seed: number, tally: Tally): Promise<void> {
  const random = new Random(seed);
  const call = new CallMaker(random).make();
  const args = [...call.args, call.options];
  const mode = random.pick(modes);
  const disturbed = mode === 'disturbed' || mode === 'aborted';
  try {
    if (mode === 'explain') {
      String(explain(...(args as Parameters<typeof explain>)));
      tally.results += 1;
      return;
    }
    let result: unknown;
    if (mode === 'sync') result = sync(...args);
    else if (mode === 'promise') result = await start(args, tally, seed);
    else if (mode === 'disturbed') {
      const running = start(args, tally, seed);
      for (const memory of call.buffers) {
        if (random.chance(0.3)) detach(memory);
        else resize(memory, random);
      }
      result = await running;
    } else {
      const controller = new AbortController();
      if (typeof call.options === 'object' && call.options !== null) call.options['signal'] = controller.signal;
      const running = start(args, tally, seed);
      if (random.chance(0.7)) controller.abort(junk(random));
      result = await running;
    }
    countResult(tally, result, call, seed);
    if (random.chance(0.1)) await runMerge(random, result, tally);
  } catch (error) {
    countError(tally, error, call, seed, disturbed);
  }
}

/** Merges of what there is, spoilt as often as not. */
async function runMerge(random: Random, result: unknown, tally: Tally): Promise<void> {
  const parts: unknown = random.pick<() => unknown>([
    () => [result, result],
    () => [result],
    () => [result, junk(random)],
    () => [{ ...(result as object), [random.pick(['o', 'm', 'l', 'output', 'lse', 'kind'])]: junk(random) }],
    () => junk(random),
  ])();
  const options = random.chance(0.7)
    ? undefined
    : { [random.pick(['sinks', 'layout', 'out', 'signal', 'mask'])]: junk(random) };
  try {
    if (random.chance(0.5)) mergeNow(parts, options);
    else await merge(parts, options);
    tally.results += 1;
  } catch (error) {
    const { code } = (error ?? {}) as { code?: unknown };
    if (code !== 'ABORT_ERR' && (!(error instanceof AttentionError) || code === 'ERR_INTERNAL')) throw error;
    tally.codes.set(String(code), (tally.codes.get(String(code)) ?? 0) + 1);
  }
}

test('every call ends in a result or a coded error', async (t) => {
  t.timeout(600_000);
  const tally: Tally = { results: 0, kernels: 0, codes: new Map(), wrong: [] };
  const seeds = only === undefined ? Array.from({ length: calls }, (_, i) => firstSeed * 1e6 + i) : [Number(only)];
  // Several at a time, so that calls meet in the pool.
  const inFlight = 8;
  for (let first = 0; first < seeds.length && tally.wrong.length < 10; first += inFlight) {
    await Promise.all(seeds.slice(first, first + inFlight).map((seed) => runCall(seed, tally)));
  }
  const codes = [...tally.codes].sort((a, b) => b[1] - a[1]).map(([code, count]) => `${code} ${count}`);
  const share = tally.kernels / seeds.length;
  t.log(`${seeds.length} calls: ${(100 * share).toFixed(1)} % reached a kernel; errors: ${codes.join(', ')}`);
  t.deepEqual(tally.wrong, []);
  if (only !== undefined) return;
  t.true(share >= 0.3, `${share}`);
  const seen = ['TYPE', 'VALUE'].map((kind) => `ERR_INVALID_ARG_${kind}`);
  seen.push('ERR_UNKNOWN_OPTION', 'ERR_SHAPE_MISMATCH', 'ERR_OUT_OF_RANGE', 'ERR_UNSUPPORTED', 'ERR_NO_DEVICE');
  seen.push('ERR_ALIASING', 'ERR_DISPOSED', 'ABORT_ERR');
  for (const code of seen) t.true(tally.codes.has(code), `${code} never came`);
});
