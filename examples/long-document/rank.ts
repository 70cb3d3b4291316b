// One rank: its rows of the document, attention over all of it, and what the others are told. Rank 0 also computes the
// whole alone, and compares.

import { networkInterfaces } from 'node:os';

import { attention, documents, mpiGroup, ringAttention, slidingWindow, Tensor } from 'fused-attention';
import type { Group } from 'fused-attention';

import { readDocument } from './document.js';
import { projections } from './first-layer.js';

const [tokens, window] = process.argv.slice(2).map(Number) as [number, number];

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(2)} s`;
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

function address(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? 'no address';
}

/** What each rank has to say, in their order, printed by rank 0. */
async function tell(group: Group, line: string): Promise<void> {
  const text = Tensor.from(Uint8Array.from(Buffer.from(line)), [Buffer.byteLength(line)], { dtype: 'bool' });
  const lines = await group.allGather(text);
  if (group.rank === 0) for (const { data } of lines) console.log(Buffer.from(data as Uint8Array).toString());
}

async function main(): Promise<void> {
  const group = await mpiGroup();
  const { rank, size } = group;
  const document = readDocument(tokens);
  const total = document.tokens.length;
  const begin = Math.floor((total * rank) / size);
  const end = Math.floor((total * (rank + 1)) / size);
  const [q, k, v] = await projections(document, begin, end);

  // A token sees those of its chapter that are not further away than the window.
  const mask = [documents(document.chapters), slidingWindow(window, window)];
  await group.barrier();
  const began = performance.now();
  const { output } = await ringAttention(group, q, k, v, { mask });
  const elapsed = performance.now() - began;
  const { receivedBytes } = group.traffic;
  await tell(
    group,
    `rank ${rank} at ${address()}: tokens ${begin} to ${end - 1}, ${seconds(elapsed)}, ` +
      `received ${megabytes(receivedBytes)} of others' keys and values`,
  );

  // Ranks have rows of the document in order, each head's apart.
  if (rank !== 0) return group.send(0, [output]);
  const parts = [output];
  for (let peer = 1; peer < size; peer++) parts.push((await group.receive(peer))[0]!);

  const [wholeQ, wholeK, wholeV] = await projections(document, 0, total);
  const alone = performance.now();
  const whole = await attention(wholeQ, wholeK, wholeV, { mask });
  console.log(`one process: ${total} tokens, ${seconds(performance.now() - alone)}`);
  console.log(
    `a ring without the mask: ${megabytes(((size - 1) / size) * 2 * 4 * wholeK.shape.reduce((a, b) => a * b))} for each rank`,
  );

  let row = 0;
  let difference = 0;
  for (const part of parts) {
    const rows = part.shape[2]!;
    const [own, expected] = [part.toFloat32(), whole.output.narrow(2, row, rows).toFloat32()];
    for (let n = 0; n < own.length; n++) difference = Math.max(difference, Math.abs(own[n]! - expected[n]!));
    row += rows;
  }
  const largest = whole.output.toFloat32().reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  const equal = row === total && difference <= 2e-6 * largest;
  console.log(
    `${row} rows ${equal ? 'agree' : 'DO NOT agree'}: they differ by ${difference.toExponential(1)} at most, of ${largest.toFixed(2)}`,
  );
  if (!equal) process.exitCode = 1;
}

void main();
