// Masks and scores as values: how they are made, combined, changed, written down and read again; and what is refused.

import { inspect } from 'node:util';
import test from 'ava';
import type { ExecutionContext } from 'ava';
import {
  AttentionError,
  Mask,
  Score,
  Tensor,
  alibi,
  and,
  attentionSync,
  blockMap,
  causal,
  compose,
  documents,
  explain,
  mask,
  not,
  or,
  score,
  slidingWindow,
  temperature,
} from '../lib/index.js';
import type { ErrorCode, MaskItem } from '../lib/index.js';

/** Which pairs a mask shows, from blocks of one pair: rows of 0 and 1. */
function pairs(item: MaskItem, nq: number, nkv = nq): string[] {
  const map = blockMap(item, { nq, nkv, block: 1 });
  return Array.from({ length: nq }, (_, row) =>
    Array.from(map.states.subarray(row * nkv, (row + 1) * nkv), (state) => ['.', '?', '#'][state]!).join(''),
  );
}

function refused(t: ExecutionContext, body: () => unknown, code: ErrorCode, argument?: string): AttentionError {
  const error = t.throws(body, { instanceOf: AttentionError })!;
  t.is(error.code, code, error.message);
  if (argument !== undefined) t.is(error.argument, argument, error.message);
  return error;
}

const kinds = [3, 3, 1, 1, 3];

test('a function and its text make the same mask', (t) => {
  const made = mask((i, j, { ids }) => ids(i) === ids(j), { ids: kinds });
  const text = mask('(i, j, { ids }) => ids(i) === ids(j)', { ids: Int32Array.from(kinds) });
  t.true(made instanceof Mask);
  t.deepEqual(pairs(made, 5), ['##..#', '##..#', '..##.', '..##.', '##..#']);
  t.deepEqual(pairs(text, 5), pairs(made, 5));
});

test('parameters are copied when given', (t) => {
  const given = Int32Array.from(kinds);
  const made = documents(given);
  given.fill(0);
  t.deepEqual(pairs(made, 5), ['##..#', '##..#', '..##.', '..##.', '##..#']);
});

test('tables of several axes, as nested arrays, shaped data and tensors', (t) => {
  const expected = ['#.', '##'];
  const program = '(i, j, { allowed }) => allowed(i, j) > 0';
  const nested = [
    [1, 0],
    [2, 3],
  ];
  const shaped = { data: Uint8Array.from([1, 0, 2, 3]), shape: [2, 2] };
  const tensor = Tensor.from(Float32Array.from([1, 0, 0.5, 3]), [2, 2]);
  const strided = Tensor.from(Float32Array.from([1, 9, 0.5, 0, 9, 3]), [2, 2], { strides: [2, 3] });
  for (const allowed of [nested, shaped, tensor, strided]) t.deepEqual(pairs(mask(program, { allowed }), 2), expected);
  t.deepEqual(
    pairs(
      mask('(i, j, { t }) => t(0, i, j) === 1', {
        t: [
          [
            [0, 1],
            [1, 0],
          ],
        ],
      }),
      2,
    ),
    ['.#', '#.'],
  );
  const wide = BigInt64Array.from([5n, 5n]);
  t.deepEqual(pairs(mask('(i, j, { ids }) => ids(i) === ids(j)', { ids: wide }), 2), ['##', '##']);
});

test('and, or, not', (t) => {
  t.deepEqual(pairs(and(causal(), documents(kinds)), 5), ['#....', '##...', '..#..', '..##.', '##..#']);
  t.deepEqual(
    pairs(or(not(causal()), documents(kinds)), 5),
    ['#####', '#####', '..###', '..###', '##..#'].map((row, i) =>
      [...row].map((_, j) => (j > i || kinds[i] === kinds[j] ? '#' : '.')).join(''),
    ),
  );
  t.deepEqual(pairs(not(and(causal(), not(slidingWindow(1, null)))), 4), ['####', '####', '.###', '..##']);
  t.deepEqual(pairs(and(causal()), 3), pairs(causal(), 3));
});

test('tensors in combinations are read like those of the mask option', (t) => {
  const shape = [1, 1, 4, 4];
  const grid = Tensor.from(
    Uint8Array.from({ length: 16 }, (_, n) => Number(n % 3 === 0)),
    shape,
    { dtype: 'bool' },
  );
  const x = Tensor.from(
    Float32Array.from({ length: 16 }, (_, n) => Math.sin(n)),
    shape,
  );
  const direct = attentionSync(x, x, x, { mask: [grid, causal()] }).output.data;
  t.deepEqual(attentionSync(x, x, x, { mask: and(grid, causal()) }).output.data, direct);
  const twice = attentionSync(x, x, x, { mask: [and(grid, causal()), grid, not(not(grid))] }).output.data;
  t.deepEqual(twice, direct);
  const inverse = Tensor.from(
    Uint8Array.from({ length: 16 }, (_, n) => Number(n % 3 !== 0)),
    shape,
    { dtype: 'bool' },
  );
  const other = attentionSync(x, x, x, { mask: inverse }).output.data;
  t.deepEqual(attentionSync(x, x, x, { mask: not(grid) }).output.data, other);
  refused(
    t,
    () => attentionSync(x, x, x, { mask: not(Tensor.from(new Uint8Array(4), [2, 2], { dtype: 'bool' })) }),
    'ERR_SHAPE_MISMATCH',
    'options.mask',
  );
  refused(t, () => and(x), 'ERR_INVALID_ARG_VALUE', 'and[0]');
});

test('with changes parameters, and only those there are', (t) => {
  const local = mask('(i, j, { reach }) => Math.abs(i - j) <= reach', { reach: 0 });
  t.deepEqual(pairs(local.with({ reach: 1 }), 3), ['##.', '###', '.##']);
  t.deepEqual(pairs(local, 3), ['#..', '.#.', '..#']);
  const both = and(local, documents(kinds));
  t.deepEqual(pairs(both.with({ reach: 4, ids: [1, 2, 1, 1, 1] }), 5)[0], '#.###');
  refused(t, () => local.with({ raech: 1 }), 'ERR_INVALID_ARG_VALUE', 'parameters.raech');
  refused(t, () => and(local, local).with({ reach: 1 }), 'ERR_INVALID_ARG_VALUE', 'parameters.reach');
  refused(t, () => both.with({ other: 1 }), 'ERR_INVALID_ARG_VALUE', 'parameters.other');
  const scaled = compose(temperature(2), score('(s, i, j, { shift }) => s + shift', { shift: 1 }));
  t.true(scaled.with({ shift: 2, temperature: 4 }) instanceof Score);
  refused(t, () => scaled.with({ other: 1 }), 'ERR_INVALID_ARG_VALUE', 'parameters.other');
});

test('masks and scores as JSON', (t) => {
  const masks = [
    causal(),
    documents(kinds),
    mask('(i, j, { bound }) => j < bound', { bound: 2 }),
    and(or(causal(), not(documents(kinds))), slidingWindow(2, 0)),
    mask('(i, j) => i.x === j.x', {}, { grid: [2, 3] }),
    mask('(i, j, { p }) => p(i) < p(j)', { p: [0.5, 0.25, Infinity, -Infinity, NaN] }),
  ];
  for (const one of masks) {
    const json = JSON.stringify(one);
    const read = mask(JSON.parse(json));
    t.is(JSON.stringify(read), json);
    t.deepEqual(pairs(read, 5), pairs(one, 5), json);
  }
  const x = Tensor.from(
    Float32Array.from({ length: 40 }, (_, n) => Math.sin(n)),
    [1, 2, 5, 4],
  );
  for (const one of [alibi(2), compose(alibi(2), temperature(0.5)), score('(s, i, j, { c }) => s + c', { c: -0 })]) {
    const read = score(JSON.parse(JSON.stringify(one)));
    t.deepEqual(
      attentionSync(x, x, x, { score: read }).output.data,
      attentionSync(x, x, x, { score: one }).output.data,
    );
  }
  const grid = Tensor.from(new Uint8Array(1), [1, 1], { dtype: 'bool' });
  refused(t, () => and(grid).toJSON(), 'ERR_UNSUPPORTED');
  refused(t, () => mask({ kind: 'score', source: '(s) => s' }), 'ERR_INVALID_ARG_TYPE', 'program');
  refused(t, () => mask({ kind: 'mask', operation: 'xor', items: [] }), 'ERR_INVALID_ARG_VALUE', 'program.operation');
  refused(t, () => score({ kind: 'score', operation: 'compose', items: [] }), 'ERR_INVALID_ARG_TYPE', 'program.items');
});

test('how they print', (t) => {
  t.is(inspect(slidingWindow(256, 0)), 'slidingWindow(256, 0)');
  t.is(String(and(causal(), not(documents(kinds)))), 'and(causal(), not(documents(ids)))');
  t.is(String(mask('(i, j) => i === j')), 'mask((i, j) => i === j)');
  t.is(String(compose(alibi(8), temperature(2))), 'compose(alibi(8), temperature(2))');
  t.is(causal().source, '(i, j) => j <= i');
});

test('scores change scores, before the bias, in the order composed', (t) => {
  const shape = [1, 2, 6, 4];
  const x = Tensor.from(
    Float32Array.from({ length: 48 }, (_, n) => Math.sin(n * n)),
    shape,
  );
  const close = (left: Tensor, right: Tensor): void => {
    left.toFloat32().forEach((value, index) => t.true(Math.abs(value - right.toFloat32()[index]!) < 1e-6));
  };
  const bias = Tensor.from(
    Float32Array.from({ length: 72 }, (_, n) => Math.cos(n)),
    [1, 2, 6, 6],
  );
  const slopes = [0.5, 0.25];
  const linear = Float32Array.from(
    { length: 72 },
    (_, n) => -slopes[Math.floor(n / 36)]! * Math.abs((Math.floor(n / 6) % 6) - (n % 6)),
  );
  close(
    attentionSync(x, x, x, { score: alibi(slopes) }).output,
    attentionSync(x, x, x, { bias: Tensor.from(linear, [1, 2, 6, 6]) }).output,
  );
  const halved = attentionSync(x, x, x, { scale: 0.25, bias }).output;
  close(attentionSync(x, x, x, { scale: 0.5, score: temperature(2), bias }).output, halved);
  close(attentionSync(x, x, x, { scale: 0.5, score: temperature([2, 2]), bias }).output, halved);
  const first = score('(s) => s + 1');
  const second = score('(s) => s * 3');
  const both = attentionSync(x, x, x, { score: compose(first, second), lse: true }).lse;
  close(both, attentionSync(x, x, x, { score: score('(s) => (s + 1) * 3'), lse: true }).lse);
  const capped = attentionSync(x, x, x, { softcap: 0.5, lse: true }).lse;
  close(attentionSync(x, x, x, { score: score('(s) => 0.5 * Math.tanh(s / 0.5)'), lse: true }).lse, capped);
  // A score of -Infinity hides its key.
  const hidden = attentionSync(x, x, x, { score: score('(s, i, j) => j <= i ? s : -Infinity') }).output;
  close(hidden, attentionSync(x, x, x, { mask: causal() }).output);
});

test('what is refused', (t) => {
  const x = Tensor.from(new Float32Array(16), [1, 1, 4, 4]);
  const wrong = (value: unknown): never => value as never;
  const free = refused(t, () => mask((i, j) => j <= i + outside, {}), 'ERR_PROGRAM');
  t.true(free.message.includes('outside') && free.message.includes('^'), free.message);
  refused(t, () => mask('(i, j) => {'), 'ERR_PROGRAM');
  refused(t, () => mask(wrong(7)), 'ERR_INVALID_ARG_TYPE');
  refused(t, () => score(wrong(undefined)), 'ERR_INVALID_ARG_TYPE');
  refused(t, () => mask('(i, j, { a }) => a === 0', wrong([1])), 'ERR_INVALID_ARG_TYPE', 'parameters');
  refused(t, () => mask('(i, j, { a }) => a === 0', wrong({ a: 'x' })), 'ERR_INVALID_ARG_TYPE', 'parameters.a');
  refused(
    t,
    () => mask('(i, j, { a }) => a(i) === 0', wrong({ a: [1, 'x'] })),
    'ERR_INVALID_ARG_TYPE',
    'parameters.a[1]',
  );
  refused(
    t,
    () => mask('(i, j, { a }) => a(i, j) === 0', { a: [[1, 2], [3]] }),
    'ERR_SHAPE_MISMATCH',
    'parameters.a[1]',
  );
  refused(t, () => mask('(i, j, { a }) => a(i) < 0.5', { a: [0.1] }), 'ERR_INVALID_ARG_VALUE', 'parameters.a[0]');
  // An integer that the program compares with reals.
  refused(
    t,
    () => mask('(i, j, { a, n }) => a(i) < n', { a: [0.5], n: 2 ** 24 + 1 }),
    'ERR_INVALID_ARG_VALUE',
    'parameters.n',
  );
  refused(t, () => mask('(i, j) => i < j', {}, wrong({ gird: [2] })), 'ERR_UNKNOWN_OPTION', 'options.gird');
  refused(t, () => mask('(i, j) => i < j', {}, { grid: [0] }), 'ERR_SHAPE_MISMATCH', 'options.grid');
  refused(t, () => and(), 'ERR_INVALID_ARG_VALUE', 'and');
  refused(t, () => not(wrong('x')), 'ERR_INVALID_ARG_TYPE');
  refused(t, () => compose(wrong(causal())), 'ERR_INVALID_ARG_TYPE', 'compose[0]');
  refused(t, () => attentionSync(x, x, x, { score: wrong(causal()) }), 'ERR_INVALID_ARG_TYPE', 'options.score');
  refused(t, () => attentionSync(x, x, x, { mask: wrong(alibi(1)) }), 'ERR_INVALID_ARG_TYPE', 'options.mask');
  const getter = Object.defineProperty({}, 'a', {
    enumerable: true,
    get: () => {
      throw new Error('no');
    },
  });
  refused(t, () => mask('(i, j, { a }) => a === 0', wrong(getter)), 'ERR_INVALID_ARG_VALUE', 'parameters.a');
});

test('what depends on the lengths of a call is refused when it is made', (t) => {
  const x = Tensor.from(new Float32Array(16), [1, 1, 4, 4]);
  const short = documents([1, 1]);
  const error = refused(t, () => attentionSync(x, x, x, { mask: short }), 'ERR_OUT_OF_RANGE', 'options.mask');
  t.regex(error.message, /ids/);
  t.notThrows(() =>
    attentionSync(x, x, x, { mask: mask('(i, j, { ids }) => j < 2 && ids(j) === 1', { ids: [1, 1] }) }),
  );
  refused(
    t,
    () => attentionSync(x, x, x, { mask: mask('(i, j) => (i << 30) * 4 === j') }),
    'ERR_OUT_OF_RANGE',
    'options.mask',
  );
  refused(
    t,
    () => attentionSync(x, x, x, { mask: mask('(i, j, { n }) => i % n === j', { n: 0 }) }),
    'ERR_OUT_OF_RANGE',
    'options.mask',
  );
  refused(
    t,
    () => attentionSync(x, x, x, { score: score('(s, i, j, { t }) => s + t(i)', { t: [0.5] }) }),
    'ERR_OUT_OF_RANGE',
    'options.score',
  );
});

test('lengths that no vector of positions should have', (t) => {
  refused(t, () => blockMap(causal(), { nq: 2 ** 31 - 1, block: 2 ** 20 }), 'ERR_OUT_OF_RANGE', 'options.mask');
  refused(t, () => blockMap(causal(), { nq: 8, headsQ: 3, headsKv: 2 }), 'ERR_SHAPE_MISMATCH', 'options.headsKv');
});

test('explain counts the tiles of a program', (t) => {
  const x = Tensor.from(new Float32Array(1024 * 4), [1, 1, 1024, 4]);
  const { tiles } = explain(x, x, x, { mask: documents(Int32Array.from({ length: 1024 }, (_, n) => n >> 8)) });
  t.true(tiles.full > 0 && tiles.skipped > tiles.full + tiles.partial);
  t.is(explain(x, x, x, { mask: mask('() => true') }).tiles.partial, 0);
});

declare const outside: number;
