// Memory of calls in flight: reads share it, a write has it alone, and it is free again however the call ended.

import test from 'ava';
import { attention, attentionSync, mergePartials, Tensor } from '../lib/index.js';
import type { NativeCall } from '../lib/native.cjs';
import { refuses, rejects } from './helpers/errors.js';
import { resizable } from './helpers/tensors.js';
import { native, over, raggedCall, random, size, until, untilParked, whileParking } from './helpers/in-flight.js';

const shape = [1, 2, 16, 8];
const [q, k, v] = [random(shape, 1), random(shape, 2), random(shape, 3)];
const bytes = 4 * size(shape);
const inUse = (argument: string, received: RegExp) => ({ code: 'ERR_BUFFER_IN_USE', argument, received }) as const;

/** Runs `body` while a call with these options stands in flight; then lets it end. */
async function inFlight(options: object, body: () => Promise<void>, query = q): Promise<void> {
  await whileParking('running', async () => {
    const call = attention(query, k, v, options);
    await untilParked(1);
    // What the body starts must not stop.
    native.park('queued');
    native.park('running');
    await body();
    native.park(null);
    await call;
  });
}

test.serial('reads share memory', async (t) => {
  await inFlight({}, async () => {
    t.notThrows(() => attentionSync(q, k, v));
    t.notThrows(() => attentionSync(k, q, q));
  });
});

test.serial('what a call writes, no other may write or read', async (t) => {
  const output = random(shape);
  await inFlight({ out: { output } }, async () => {
    refuses(t, () => attentionSync(q, k, v, { out: { output } }), inUse('options.out.output', /writing/));
    refuses(t, () => attentionSync(output, k, v), inUse('query', /writing/));
    refuses(t, () => attentionSync(q, output, v), inUse('key', /writing/));
    await rejects(t, () => attention(q, k, v, { out: { output } }), inUse('options.out.output', /writing/));
    await rejects(t, () => attention(q, k, output), inUse('value', /writing/));
  });
  t.notThrows(() => attentionSync(output, k, v, { out: { output: random(shape) } }));
});

test.serial('what a call reads, no other may write', async (t) => {
  await inFlight({}, async () => {
    refuses(
      t,
      () => attentionSync(random(shape), v, v, { out: { output: k } }),
      inUse('options.out.output', /reading/),
    );
    await rejects(
      t,
      () => attention(random(shape), v, v, { out: { output: q } }),
      inUse('options.out.output', /reading/),
    );
  });
});

test.serial('statistics, masks and biases count too', async (t) => {
  const lse = random([1, 2, 16]);
  const bias = random([1, 2, 16, 16]);
  await inFlight({ lse: true, out: { lse }, bias }, async () => {
    const other = random([1, 2, 16, 16]);
    refuses(t, () => attentionSync(q, k, v, { lse: true, out: { lse } }), inUse('options.out.lse', /writing/));
    refuses(
      t,
      () => attentionSync(random([1, 2, 16, 16]), other, other, { out: { output: bias } }),
      inUse('options.out.output', /reading/),
    );
  });
});

test.serial('ranges count, not buffers', async (t) => {
  const both = new ArrayBuffer(2 * bytes);
  const first = over(both, shape, 1, 0);
  const second = over(both, shape, 2, bytes);
  const across = over(both, shape, 3, bytes / 2);
  await inFlight({ out: { output: first } }, async () => {
    t.notThrows(() => attentionSync(q, k, v, { out: { output: second } }));
    refuses(t, () => attentionSync(q, k, v, { out: { output: across } }), inUse('options.out.output', /writing/));
    refuses(t, () => attentionSync(across, k, v), inUse('query', /writing/));
  });
});

test.serial('memory in use by address: other views of it, shared memory, and memory that is copied', async (t) => {
  for (const buffer of [new ArrayBuffer(bytes), new SharedArrayBuffer(bytes), resizable(bytes, 2 * bytes)]) {
    const output = over(buffer, shape);
    const view = Tensor.from(new Float32Array(buffer as ArrayBuffer, 4, 8), [1, 1, 1, 8]);
    const small = random([1, 1, 1, 8]);
    await inFlight({ out: { output } }, async () => {
      refuses(t, () => attentionSync(view, small, small), inUse('query', /writing/));
    });
    t.notThrows(() => attentionSync(view, small, small));
    const query = over(buffer, shape);
    await inFlight(
      {},
      async () => {
        refuses(
          t,
          () => attentionSync(small, small, small, { out: { output: view } }),
          inUse('options.out.output', /reading/),
        );
      },
      query,
    );
  }
});

test.serial('a call that fails or is refused holds nothing', async (t) => {
  const bad = raggedCall([0, 9, 8, 10]);
  const [numbers, buffers] = bad;
  const other = raggedCall([0, 8, 9, 10])[1].map((view, slot) => (slot > 10 ? view : buffers[slot]!));
  const good: NativeCall = [numbers, other];
  t.throws(() => native.runSync(...bad), { code: 'ERR_OUT_OF_RANGE' });
  t.notThrows(() => native.runSync(...good));
  const error = await new Promise<NodeJS.ErrnoException | null>((settled) => native.run(settled, ...bad));
  t.is(error?.code, 'ERR_OUT_OF_RANGE');
  t.notThrows(() => native.runSync(...good));
  const short = other.map((view, slot) => (slot === 1 ? new Float32Array(3) : view));
  t.throws(() => native.run(() => t.fail(), numbers, short), { code: 'ERR_SHAPE_MISMATCH' });
  t.notThrows(() => native.runSync(...good));
});

test.serial('inside one call, written memory is apart from everything else', async (t) => {
  const aliasing = { code: 'ERR_ALIASING', argument: 'options.out.output' } as const;
  refuses(t, () => attentionSync(q, k, v, { out: { output: q } }), aliasing);
  await rejects(t, () => attention(q, k, v, { out: { output: v } }), aliasing);
  const one = random([1, 2, 2, 8]);
  refuses(
    t,
    () => attentionSync(one, one, one, { lse: true, out: { output: one.narrow(2, 0, 2), lse: random([1, 2, 2]) } }),
    aliasing,
  );
});

test.serial('merges hold their memory too', async (t) => {
  const part = attentionSync(q, k, v, { partial: true });
  await whileParking('queued', async () => {
    const call = mergePartials([part, part]);
    await untilParked(1);
    refuses(t, () => attentionSync(q, k, v, { out: { output: part.o } }), inUse('options.out.output', /reading/));
    native.park(null);
    await call;
  });
  t.notThrows(() => attentionSync(q, k, v, { out: { output: part.o } }));
});

test.after(async () => until(() => native.parked() === 0, 'no call stands parked'));

test.serial("lengths of many sequences are each call's own, whatever ended before", async (t) => {
  const sequences = 600;
  const starts = (seed: number): number[] => {
    const all = [0];
    for (let b = 0; b < sequences; b += 1) all.push(all[b]! + ((b * 7 + seed) % 3));
    return all;
  };
  const calls = [0, 1, 2, 3].map((seed) => {
    const cuSeqlens = starts(seed).slice(0, seed === 3 ? 520 : sequences);
    const x = random([cuSeqlens.at(-1)!, 1, 4], seed);
    return { x, options: { cuSeqlensQ: cuSeqlens, cuSeqlensKv: seed % 2 ? [...cuSeqlens] : cuSeqlens } };
  });
  const alone = calls.map(({ x, options }) => attentionSync(x, x, x, options).output.toFloat32());
  for (let round = 0; round < 3; round += 1) {
    const controller = new AbortController();
    const [{ x, options }] = calls as [(typeof calls)[0]];
    const aborted = attention(x, x, x, { ...options, signal: controller.signal });
    const together = calls.map((call) => attention(call.x, call.x, call.x, call.options));
    controller.abort();
    await t.throwsAsync(aborted, { name: 'AbortError' });
    for (const [index, { output }] of (await Promise.all(together)).entries()) {
      t.deepEqual(output.toFloat32(), alone[index]);
    }
    refuses(t, () => attentionSync(x, x, x, { ...options, cuSeqlensKv: [...options.cuSeqlensKv.slice(0, -1), 1e6] }), {
      code: 'ERR_OUT_OF_RANGE',
      argument: `options.cuSeqlensKv[${sequences - 1}]`,
    });
  }
});
