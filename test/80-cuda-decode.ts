// CUDA: few queries over many keys, and keys in pages; on the interpreter of test/ptx. Where that is not there, or the
// build has no kernels, tests are skipped and say why; with CUDA_REQUIRED set they fail.

import { interpreted, whyNoInterpreter } from './helpers/interpreter.js';
import { needing } from './helpers/needing.js';

const onDevice = needing(whyNoInterpreter(), 'CUDA_REQUIRED');

/** Halves from a normal distribution. */
const draws = `
  const { Random } = require('./test/reference/random.ts');
  const { encode16 } = require('./test/reference/half.ts');
  const random = new Random(11);
  const drawn = (dtype, ...shape) => {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
    return Tensor.from(dtype === 'float32' ? values : Uint16Array.from(values, (x) => encode16(dtype, x)), shape, { dtype });
  };
  const bits = (tensor) => Buffer.from(Float32Array.from(tensor.toFloat32()).buffer).toString('hex');
`;

onDevice('cuda decode: pages give the bits of rows side by side, and the formula', (t) => {
  const { result, report } = interpreted(`
    const { alone, joinQueries, makeBatch, outputOf, worstError } = require('./test/reference/paged.ts');
    const { Random } = require('./test/reference/random.ts');
    const random = new Random(80);
    const odd = fused.mask('(i, j, { nkv, nq }) => (i * 3 + j) % 5 !== 1 && j < nkv && i - (nkv - nq) < nq');
    const surroundings = [{ mask: fused.causal() }, {}, { mask: fused.slidingWindow(20, 0) }, { mask: odd, softcap: 3 }];
    const wrong = [];
    for (let n = 0; n < 28; n += 1) {
      const headsKv = random.integer(1, 2), count = random.integer(1, 3), few = n % 3 > 0;
      const lengths = Array.from({ length: count }, () => random.integer(0, few ? 600 : 90));
      const form = {
        lengths,
        queries: lengths.map((n) => random.integer(0, few ? 4 : 90)),
        headsKv,
        headsQ: headsKv * random.pick([1, 3]),
        dim: random.pick([16, 64, 100]),
        dimV: random.pick([3, 64, 128]),
        pageSize: [1, 2, 3, 7, 16, 33, 256][n % 7],
        dtype: ['float32', 'float16', 'bfloat16'][n % 3],
        layout: random.chance(0.5) ? 'bhsd' : 'bshd',
      };
      const batch = makeBatch(random, form);
      const ragged = random.chance(0.4);
      const options = { ...surroundings[n % 4], device: 'cuda' };
      const starts = form.queries.reduce((all, count) => [...all, all.at(-1) + count], [0]);
      const { output } = attentionSync(joinQueries(batch, ragged), batch.key, batch.value, {
        ...options,
        layout: form.layout,
        pages: { table: { data: batch.table, dims: [count, batch.columns] }, lengths },
        ...(ragged ? { cuSeqlensQ: starts } : { lengthsQ: form.queries }),
      });
      for (let b = 0; b < count; b += 1) {
        const ours = outputOf(batch, ragged, output, b);
        const same = Buffer.from(ours.buffer).equals(Buffer.from(Float64Array.from(alone(batch, b, options)).buffer));
        const right = n % 4 > 0 || form.dtype !== 'float32' || worstError(batch, b, ours) <= 1;
        if (!same || !right) wrong.push({ n, b, same, right, ...form });
      }
    }
    return wrong;
  `);
  t.deepEqual(result, []);
  t.deepEqual(report.findings, []);
});

onDevice('cuda decode: every feature over many chunks, for heads that share keys', (t) => {
  const { result, report } = interpreted(`
    const { failuresIn } = require('./test/cuda/cases.ts');
    return failuresIn([
      { queries: 1, keys: 3300, headsQ: 4, headsKv: 2, sinks: true, entropy: true, rowMax: true },
      { queries: 3, keys: 700, headsQ: 8, headsKv: 1, causal: true, entropy: true, window: [500, Infinity] },
      { queries: 1, keys: 600, headsQ: 20, headsKv: 1, softcap: 20, rowMax: true },
      { queries: 2, keys: 800, headsQ: 4, headsKv: 2, masks: ['keys', { batch: true, head: true }], entropy: true },
      { queries: 5, keys: 600, headsQ: 6, headsKv: 2, bias: { dtype: 'float16', axes: [true, true, true, true] } },
      { queries: 1, keys: 1100, headsQ: 2, headsKv: 2, scores: 'wide', window: [300, 0] },
    ]);
  `);
  t.deepEqual(result, []);
  t.deepEqual(report.findings, []);
});

onDevice('cuda decode: what is computed together goes by the batch, the heads of keys and the keys alone', (t) => {
  const { result } = interpreted(`${draws}
    const tasks = (batch, headsQ, headsKv, queries, keys, options = {}) => {
      const [q, k] = [drawn('float16', batch, headsQ, queries, 16), drawn('float16', batch, headsKv, keys, 16)];
      const { kernel, tasks, chunk, tiles } = fused.explain(q, k, k, { device: 'cuda', ...options });
      return [kernel, tasks, chunk, tiles];
    };
    return [
      tasks(3, 8, 2, 1, 1000),
      tasks(3, 4, 2, 7, 1000),
      tasks(1, 2, 2, 1, 1000, { mask: fused.slidingWindow(300, 0) }),
      tasks(1, 3, 1, 16, 256),
      tasks(1, 1, 1, 17, 256),
      tasks(2, 2, 1, 200, 300, { lengthsQ: [3, 200], lengthsKv: [300, 300] }),
    ];
  `);
  const tiles = (full: number, partial: number, skipped: number) => ({ full, partial, skipped, promoted: 0 });
  t.deepEqual(result, [
    ['decode_f16_64', 3 * 2 * 4, 256, tiles(6 * 63, 0, 0)],
    ['decode_f16_64', 3 * 2 * 4, 256, tiles(6 * 63, 0, 0)],
    // Keys 699 to 999: of two chunks.
    ['decode_f16_64', 2 * 2, 256, tiles(2 * 19, 2, 2 * 43)],
    // 48 rows.
    ['decode_f16_64', 3, 256, tiles(3 * 16, 0, 0)],
    ['forward_f16_64', 1, 256, tiles(4, 0, 0)],
    ['forward_f16_64, decode_f16_64', 2 * 2 + 2, 300, tiles(19 + 2 * 7 * 5, 0, 0)],
  ]);
});

for (const [dtype, dim, pageSize] of [
  ['float16', 64, 0],
  ['bfloat16', 64, 16],
  ['float16', 128, 16],
  ['bfloat16', 128, 0],
] as const) {
  const keys = 2048;
  const form = pageSize === 0 ? 'side by side' : `in pages of ${pageSize}`;
  onDevice(`cuda decode: ${dim} components of ${dtype} ${form} are read once, and no bank twice`, (t) => {
    const { report } = interpreted(
      `${draws}
      const q = drawn('${dtype}', 1, 8, 1, ${dim});
      const pages = ${pageSize} && { table: [[...Array(${keys / (pageSize || 1)}).keys()].reverse()], lengths: [${keys}] };
      const shape = pages ? [${keys / (pageSize || 1)}, 2, ${pageSize}, ${dim}] : [1, 2, ${keys}, ${dim}];
      const [k, v] = [drawn('${dtype}', ...shape), drawn('${dtype}', ...shape)];
      attentionSync(q, k, v, { device: 'cuda', ...(pages ? { pages } : {}) });
      return true;
    `,
      { PTX_RACES: '0' },
    );
    const [[name, decode], [merging, merge]] = Object.entries(report.kernels).sort() as [
      [string, (typeof report.kernels)[string]],
      [string, (typeof report.kernels)[string]],
    ];
    t.is(name, `decode_${dtype === 'float16' ? 'f16' : 'bf16'}_${dim}`);
    t.is(merging, `merge_${dtype === 'float16' ? 'f16' : 'bf16'}`);
    const { globalLoads, sharedLoads, sharedStores, globalStores } = decode;
    const sectors = (bytes: number): number => Math.ceil(bytes / 32);
    // Besides, each of 2 x 8 blocks reads its queries, four rows, and what it is about; and pages are looked up.
    const keysAndValues = 2 * 2 * keys * sectors(2 * dim);
    const around = globalLoads.sectors - keysAndValues;
    t.log(`${globalLoads.sectors} sectors, of which ${around} beside keys and values`);
    t.true(around >= 0 && around <= 16 * (4 * sectors(2 * dim) + 24) + (pageSize && 2 * 2 * (keys / 2)), `${around}`);
    for (const traffic of [sharedLoads, sharedStores]) t.is(traffic.wavefronts, traffic.minimum);
    for (const traffic of [globalLoads, globalStores]) t.is(traffic.sectors, traffic.minimum);
    t.is(merge.globalStores.sectors, merge.globalStores.minimum);
  });
}

onDevice("cuda decode: a sequence's bits are its own, whatever the batch and its length", (t) => {
  const { result } = interpreted(`${draws}
    const [q, k, v] = [[3, 4, 5, 40], [3, 2, 900, 40], [3, 2, 900, 40]].map((shape) => drawn('bfloat16', ...shape));
    const options = { device: 'cuda', mask: fused.causal(), lse: true };
    const lengths = { lengthsQ: [1, 5, 3], lengthsKv: [900, 511, 70] };
    const all = attentionSync(q, k, v, { ...options, ...lengths });
    return [0, 1, 2].map((b) => {
      const [queries, keys] = [lengths.lengthsQ[b], lengths.lengthsKv[b]];
      const one = (tensor, rows) => tensor.narrow(0, b, 1).narrow(2, 0, rows);
      const alone = attentionSync(one(q, queries), one(k, keys), one(v, keys), options);
      return bits(alone.output) === bits(one(all.output, queries)) && bits(alone.lse) === bits(one(all.lse, queries));
    });
  `);
  t.deepEqual(result, [true, true, true]);
});

onDevice('cuda decode: sequences that fill their part of the table have their own pages', (t) => {
  const { result } = interpreted(`${draws}
    return [2, 40].map((queries) => {
      const [q, k, v] = [drawn('float16', 3, 2, queries, 16), drawn('float16', 9, 2, 8, 16), drawn('float16', 9, 2, 8, 16)];
      const pages = { table: [[0, 5, 2], [3, 4, 1], [8, 7, 6]], lengths: [24, 24, 24] };
      const [here, there] = ['cpu', 'cuda'].map((device) => attentionSync(q, k, v, { device, pages }).output.toFloat32());
      return there.every((x, n) => Math.abs(x - here[n]) < 0.004);
    });
  `);
  t.deepEqual(result, [true, true]);
});

onDevice('cuda decode: a shared prefix is checked as on the CPU, and read by each sequence', (t) => {
  const { result } = interpreted(`${draws}
    const [q, pool] = [drawn('float16', 2, 1, 1, 16), drawn('float16', 4, 1, 8, 16)];
    const options = (table) => ({ device: 'cuda', pages: { table, lengths: [16, 12], sharedPrefix: 8 } });
    const refused = (() => {
      try { attentionSync(q, pool, pool, options([[0, 1], [2, 3]])); } catch ({ code, argument }) { return [code, argument]; }
    })();
    const { notTaken } = fused.explain(q, pool, pool, options([[0, 1], [0, 3]]));
    return [refused, notTaken.some(({ path }) => path === 'shared pages')];
  `);
  t.deepEqual(result, [['ERR_INVALID_ARG_VALUE', 'options.pages.table'], true]);
});

onDevice('cuda decode: what other rows of a block see says nothing of keys that none of its own does', (t) => {
  const { result, report } = interpreted(`${draws}
    const q = drawn('float16', 1, 4, 16, 64);
    const [k, v] = [drawn('float16', 1, 1, 64, 64), drawn('float16', 1, 1, 64, 64)];
    v.data.fill(0x7e00, 63 * 64);
    const { output } = attentionSync(q, k, v, { device: 'cuda', mask: fused.causal(), align: 'top-left' });
    const { output: ended } = attentionSync(q, k, v, { device: 'cuda', mask: fused.causal() });
    const spoiled = (tensor) => [...tensor.toFloat32()].some(Number.isNaN);
    // Four queries of all heads are a block: of the last one a query sees the last key.
    return [spoiled(output), [0, 1, 2, 3].map((n) => spoiled(ended.narrow(2, 4 * n, 4)))];
  `);
  t.deepEqual(result, [false, [false, false, false, true]]);
  t.deepEqual(report.findings, []);
});

onDevice('cuda decode: pages that there are not, and those of a cache, are refused by name', (t) => {
  const { result } = interpreted(
    `${draws}
    const [q, pool] = [drawn('float16', 2, 1, 1, 16), drawn('float16', 4, 1, 8, 16)];
    return [
      { table: [[0, 1], [2, 4]], lengths: [9, 9] },
      { table: [[0, 1], [2, -1]], lengths: [9, 9] },
      { table: [[0, 1], [2, -1]], lengths: [9, 8] },
      { table: [[0, 1], [2, 3]], lengths: [9, 17] },
    ].map((pages) => {
      try { return attentionSync(q, pool, pool, { device: 'cuda', pages }).output.size; } catch ({ code, argument }) { return [code, argument]; }
    });
  `,
  );
  t.deepEqual(result, [
    ['ERR_OUT_OF_RANGE', 'options.pages.table[1, 1]'],
    ['ERR_OUT_OF_RANGE', 'options.pages.table[1, 1]'],
    32,
    ['ERR_OUT_OF_RANGE', 'options.pages.lengths[1]'],
  ]);
});
