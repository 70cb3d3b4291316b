// Under mpirun: every schedule, over MPI and over threads. Rank 0 reports what differs. With `copies` as its argument, on
// a runtime on which memory cannot be kept in its place, as on Node 22.

import { mpiGroup, Tensor, threadGroup, unshard } from '../../lib/index.js';
import type { Group, ParallelResult, Sharding, Traffic } from '../../lib/index.js';
import { bitsOf } from '../reference/call.js';
import {
  everyFunction,
  onGroup,
  onRank,
  parallelCases,
  referenceOf,
  wholeOf,
  wrongPlaces,
  type Function,
  type Whole,
} from '../reference/parallel-case.js';
import { report } from './report.js';

const shardings: Sharding[] = ['contiguous', 'zigzag', 'striped'];
const counts = ['sentBytes', 'receivedBytes', 'sentMessages', 'receivedMessages'] as const;

function numbers(traffic: Traffic, before?: Traffic): number[] {
  return counts.map((name) => traffic[name] - (before?.[name] ?? 0));
}

/** The whole of what ranks have. */
async function gather(group: Group, name: Function, sharding: Sharding, whole: Whole, result: ParallelResult) {
  const of = async (tensor: Tensor, axis?: number): Promise<Tensor> => {
    const tensors = await group.allGather(tensor);
    if (name === 'tree') {
      if (tensors.some((other) => bitsOf(other).join() !== bitsOf(tensor).join())) {
        throw new Error('ranks of a tree have different results');
      }
      return tensors[0]!;
    }
    const cuSeqlens = whole.cuSeqlensQ ? { cuSeqlens: whole.cuSeqlensQ } : {};
    return unshard(tensors, { sharding, ...cuSeqlens, ...(axis === undefined ? {} : { axis }) });
  };
  return { output: await of(result.output), lse: await of(result.lse!, whole.cuSeqlensQ ? 1 : 2) };
}

async function main(): Promise<void> {
  if (process.argv[2] === 'copies') {
    // What the library asks whether a buffer can be kept.
    globalThis.structuredClone = () => {
      throw new Error('not here');
    };
  }
  const group = await mpiGroup();
  const { rank, size } = group;
  const differences: string[] = [];
  let calls = 0;
  for (const [n, one] of parallelCases.entries()) {
    // All cases on two ranks, half of them on more.
    if (size > 2 && (n + size) % 2 === 0) continue;
    const whole = wholeOf(one, 70 + n);
    const reference = rank === 0 ? referenceOf(one, whole) : [];
    for (const [f, name] of everyFunction.entries()) {
      const sharding = name === 'striped' ? 'striped' : shardings[(n + size + f) % 3]!;
      const before = group.traffic;
      const result = await onRank(group, name, sharding, one.options, whole);
      const traffic = Float32Array.from(numbers(group.traffic, before));
      const all = await gather(group, name, sharding, whole, result);
      const traffics = await group.allGather(Tensor.from(traffic, [4]));
      calls += 1;
      if (rank !== 0) continue;
      const expected = await onGroup(name, size, sharding, one.options, whole, threadGroup(size));
      const what = `${one.name}: ${name}, ${sharding}`;
      differences.push(...wrongPlaces(one, reference, all).map((place) => `${what}: ${place}`));
      const [got, want] = [bitsOf(all.output), bitsOf(expected.output)];
      if (got.some((bits, at) => bits !== want[at])) differences.push(`${what}: bits`);
      expected.groups.forEach((thread, at) => {
        const [here, there] = [Array.from(traffics[at]!.toFloat32()).join(), numbers(thread.traffic).join()];
        if (here !== there) differences.push(`${what}: traffic of rank ${at}: ${here}, over threads ${there}`);
      });
    }
  }
  report(rank, { value: { differences, calls, size } });
}

void main();
