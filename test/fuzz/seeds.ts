// Writes the seed corpus: what lib/ really hands to the addon, in the form that test/fuzz/input.h reads.
//   node --require=tsx/cjs test/fuzz/seeds.ts <folder>     folder/problem/*, folder/program/*
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import {
  attentionSync,
  alibi,
  and,
  causal,
  dilated,
  documents,
  explain,
  logLengthScaling,
  mask,
  mergePartialsSync,
  not,
  or,
  prefixLm,
  score,
  sharedPrefix,
  slidingWindow,
  strided,
  temperature,
} from '../../lib/index.js';
import { loadNative } from '../../lib/native.cjs';
import type { NativeCall } from '../../lib/native.cjs';
import { random } from '../helpers/in-flight.js';
import { CallMaker } from '../helpers/random-call.js';
import { Random } from '../reference/random.js';

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: seeds.ts <folder>');
for (const target of ['problem', 'program']) mkdirSync(join(folder, target), { recursive: true });

const largest = 1 << 15; // of an input: a fuzzer is quick with small ones

function number(value: number): Buffer {
  if (Number.isInteger(value) && value >= -0x8000 && value < 0x7fff && !Object.is(value, -0)) {
    const bytes = Buffer.alloc(2);
    bytes.writeInt16LE(value);
    return bytes;
  }
  const bytes = Buffer.alloc(10);
  bytes.writeUInt16LE(0x7fff);
  bytes.writeDoubleLE(value, 2);
  return bytes;
}

function list(values: Float64Array): Buffer {
  const count = Buffer.alloc(2);
  count.writeUInt16LE(values.length);
  return Buffer.concat([count, ...[...values].map(number)]);
}

/** Null where the form has no room for it. */
function buffer(view: ArrayBufferView | null): Buffer | null {
  if (view === null) return Buffer.from([0xff, 0xff]);
  if (view.byteLength >= 0xffff) return null;
  const content = Buffer.from(view.buffer, view.byteOffset, Math.min(view.byteLength, 248));
  const head = Buffer.alloc(3);
  head.writeUInt16LE(view.byteLength);
  head.writeUInt8(content.length, 2);
  return Buffer.concat([head, content]);
}

const seen = new Set<string>();
const written = { problem: 0, program: 0 };
function write(
  target: 'problem' | 'program',
  prefix: number[],
  numbers: Float64Array,
  views: (ArrayBufferView | null)[],
) {
  const buffers = views.map(buffer);
  if (buffers.length > 255 || buffers.includes(null)) return;
  const bytes = Buffer.concat([
    Buffer.from(prefix),
    list(numbers),
    Buffer.from([buffers.length]),
    ...(buffers as Buffer[]),
  ]);
  const name = createHash('sha1').update(bytes).digest('hex');
  if (bytes.length > largest || seen.has(name)) return;
  seen.add(name);
  writeFileSync(join(folder!, target, name), bytes);
  written[target] += 1;
}

const native = loadNative();
const original = { ...native };
const record = (what: number, [numbers, buffers]: NativeCall) =>
  write('problem', [what], numbers, buffers as (ArrayBufferView | null)[]);
native.runSync = (...call) => (record(0, call), original.runSync(...call));
native.explain = (...call) => (record(1, call), original.explain(...call));
native.mergeSync = (...call) => (record(2, call), original.mergeSync(...call));
native.program = (numbers, tables) => {
  write('program', [written.program % 12, written.program % 2], numbers, tables);
  return original.program(numbers, tables);
};

const quietly = (body: () => unknown) => {
  try {
    body();
  } catch {
    // Calls that are wrong in some part are seeds as far as they come.
  }
};

for (let seed = 1; seed <= 600; seed += 1) {
  const call = new CallMaker(new Random(seed)).make();
  quietly(() => attentionSync(...(call.args as Parameters<typeof attentionSync>)));
  if (seed % 5 === 0) quietly(() => explain(...(call.args as Parameters<typeof explain>)));
}

const small = random([1, 2, 9, 8]);
const ids = Int32Array.from({ length: 9 }, (_, i) => i >> 2);
const masks = [
  () => causal(),
  () => slidingWindow(4, 0),
  () => documents(ids),
  () => prefixLm(3),
  () => dilated(2),
  () => strided(2),
  () => sharedPrefix(2, 3),
  () => and(causal(), not(slidingWindow(2, 1))),
  () => or(causal(), strided(3)),
  () => mask((i, j, { b, h, nq, nkv }) => (i * 3 - j) % 7 < 4 || (b + h + nq - nkv) << 2 >= j),
  () => mask((i, j) => (i ^ j) % 5 !== 0 && Math.abs(i - j) < Math.max(i, 7)),
];
const scores = [
  () => alibi(2),
  () => logLengthScaling(4),
  () => temperature(0.5),
  () => score((s, i, j) => Math.tanh(s) + Math.exp(-Math.abs(i - j)) * Math.sin(j)),
  () => score((s, i, j, { hkv }) => (i > j ? Math.sqrt(Math.abs(s)) : s ** 2 / (hkv + 1))),
];
for (const each of masks) quietly(() => attentionSync(small, small, small, { mask: each() }));
for (const each of scores) quietly(() => attentionSync(small, small, small, { score: each() }));
for (const pages of [
  { table: [[1, 0], [0]], lengths: [3, 1] },
  {
    table: [
      [1, 0, 3],
      [1, 2],
    ],
    lengths: [6, 4],
    sharedPrefix: 2,
  },
  {
    table: [
      [1, 0],
      [1, 2],
    ],
    lengths: [4, 3],
    prefixes: [{ sequences: [1, 0], tokens: 3 }],
  },
]) {
  const pool = random([4, 1, 2, 4]);
  for (const prefix of [undefined, causal()]) {
    quietly(() => attentionSync(random([2, 2, 1, 4]), pool, pool, { pages, mask: prefix }));
    quietly(() => attentionSync(random([3, 2, 4]), pool, pool, { pages, mask: prefix, cuSeqlensQ: [0, 1, 3] }));
    quietly(() => explain(random([2, 2, 1, 4]), pool, pool, { pages, mask: prefix }));
  }
}
const part = attentionSync(small, small, small, { partial: true });
const whole = attentionSync(small, small, small, { lse: true });
mergePartialsSync([part, part]);
mergePartialsSync([part, whole] as never, { outputDtype: 'float16' });
mergePartialsSync([part, part], { partial: true });
console.log(`${written.problem} problems, ${written.program} programs`);
