// A fast cut of the grid and of the exact checks, without ava: ends at the first failure, with exit status 1.
// The library under test is the one that FUSED_ATTENTION_NATIVE_PATH names.

import { AttentionError, attentionSync, mask, mergePartialsSync, Tensor } from '../../lib/index.js';
import { differsAlone } from '../reference/alone.js';
import { actualOf, bitsOf, callOf, run, type Result } from '../reference/call.js';
import { describe, type Case } from '../reference/case.js';
import { differences } from '../reference/check.js';
import { expectedOf } from '../reference/expected.js';
import { deep, grid, type Topic } from '../reference/grid.js';
import { flat, wrongKeys } from '../reference/keys-seen.js';
import { wrongListed, wrongStairs, wrongTokens } from '../reference/listed-case.js';
import { alone, joinQueries, makeBatch, outputOf } from '../reference/paged.js';
import { wrongNeighborhood } from '../reference/neighborhood-case.js';
import { cuts, finishedOf, parted, partialOf } from '../reference/parts.js';
import { tame, wrongRows } from '../reference/poison.js';
import { fromZero, maskFor } from '../reference/program-case.js';
import { caseOf, scoreFor, smoothProgram, wrongScores } from '../reference/program-scores.js';
import { Random } from '../reference/random.js';
import { statisticsCase, wrongStatistics } from '../reference/statistics-case.js';
import { weighedCase, weighings, wrongWeights } from '../reference/weights-case.js';
import { valuesOf } from '../reference/values.js';

function fail(what: string, wrong: string): never {
  console.log(`${what}: ${wrong}`.slice(0, 600));
  process.exit(1);
}

function verify(one: Case): string[] {
  const values = valuesOf(one);
  return differences(one, expectedOf(one, values), actualOf(one, run(callOf(one, values))));
}

/** Quick and sharp ones first. */
function* checks(): Generator<[string, () => string[]]> {
  for (let n = 0; n < 4; n += 1) yield ['pages', () => pages(n)];
  for (let n = 0; n < 8; n += 1) yield ['maps', () => maps(n)];
  const lists = new Random(292_000);
  for (let n = 0; n < 12; n++) yield ['lists of blocks', () => [wrongListed(lists, n) ?? []].flat()];
  for (let n = 0; n < 4; n++) yield ['lists of tokens', () => [wrongTokens(lists, n) ?? []].flat()];
  for (let n = 0; n < 8; n++) yield ['stairs of blocks', () => [wrongStairs(lists, n) ?? []].flat()];
  const topics: Topic[] = ['masks', 'long', 'lengths', 'decode', 'layouts', 'scores', 'types', 'dims', 'anything'];
  for (let n = 0; n < 12; n++) {
    for (const topic of topics) {
      yield ['keys seen', () => wrongKeys(flat(topic, 78_000 + n, 'positions'), 'positions')];
      yield ['grid', () => verify(grid(topic)[n]!)];
      yield ['weights', () => wrongWeights(weighedCase(topic, 251_000 + n), weighings[n % weighings.length]!)];
      yield ['statistics', () => wrongStatistics(statisticsCase(topic, 391_000 + n))];
      yield ['mask programs', () => maskProgram(topic, n)];
      yield ['score programs', () => scoreProgram(topic, n)];
      yield ['poison', () => wrongRows(tame(topic, 82_000 + n), n, false).wrong];
    }
  }
  for (let n = 0; n < 4; n++) yield ['distances', () => distances(n)];
  for (let n = 0; n < 30; n++) yield ['neighborhood', () => [wrongNeighborhood(291_000 + n) ?? []].flat()];
  for (const topic of ['masks', 'long'] as Topic[]) for (let n = 0; n < 8; n++) yield ['parts', () => parts(topic, n)];
  for (const one of deep) {
    yield ['deep', () => verify(one)];
    yield ['threads', () => threads(one)];
    yield ['alone', () => [differsAlone(one) ?? []].flat()];
  }
  for (const topic of topics) {
    for (const one of grid(topic).slice(12, 40)) yield ['grid', () => verify(one)];
  }
}

/** A batch in pages against each sequence by itself: the bits, or nearly where a prefix is shared. */
function pages(seed: number): string[] {
  const shared = seed % 2 === 0 ? 0 : 6;
  const [lengths, queries] = [
    [300, 150, 40, 9],
    [1, 1, 2, 1],
  ];
  const sizes = { headsQ: 4, headsKv: 2, dim: 32, dimV: 32, pageSize: 3 };
  const batch = makeBatch(new Random(seed), { lengths, queries, ...sizes, dtype: 'float32', layout: 'bhsd', shared });
  const { output } = attentionSync(joinQueries(batch, false), batch.key, batch.value, {
    lengthsQ: queries,
    pages: { table: batch.table, lengths, ...(shared > 0 ? { sharedPrefix: shared } : {}) },
  });
  return lengths.flatMap((_, b) => {
    const expected = alone(batch, b, {});
    const wrong = outputOf(batch, false, output, b).some(
      (x, i) => !(Math.abs(x - expected[i]!) <= (shared > 0 ? 1e-5 : 0)),
    );
    return wrong ? [`sequence ${b} of ${seed}`] : [];
  });
}

/** What goes by distances, and what partly stays where it is. */
const moving = [
  '(i, j) => j <= i && i - j < 40',
  '(i, j) => j <= i && (i - j < 9 || (i - j) % 50 === 0)',
  '(i, j) => (i - j) % 3 === 0 && j <= i + 20 && i - j <= 90',
  '(i, j) => j <= i && (j < 50 || i - j < 30)',
];

/** Masks as programs against the same as tensors, with many groups of queries; every second with fewer keys. */
function maps(seed: number): string[] {
  const random = new Random(293_000 + seed);
  const [queries, keys] = seed < moving.length ? [200, 290] : [290, 170];
  const program = moving[seed % moving.length]!;
  const tensor = (rows: number): Tensor => Tensor.from(Float32Array.from(random.normals(rows * 8)), [1, 1, rows, 8]);
  const [q, k, v] = [tensor(queries), tensor(keys), tensor(keys)];
  const visible = new Function(`return ${program}`)() as (i: number, j: number) => boolean;
  const cells = Uint8Array.from({ length: queries * keys }, (_, n) =>
    Number(visible(Math.floor(n / keys) + keys - queries, n % keys)),
  );
  const seen = Tensor.from(cells, [1, 1, queries, keys], { dtype: 'bool' });
  const expected = attentionSync(q, k, v, { mask: seen }).output.toFloat32();
  const actual = attentionSync(q, k, v, { mask: mask(program) }).output.toFloat32();
  const at = actual.findIndex((x, n) => !(Math.abs(x - expected[n]!) <= 1e-5));
  return at < 0 ? [] : [`${program}, ${queries} by ${keys}: row ${Math.floor(at / 8)}`];
}

function maskProgram(topic: Topic, n: number): string[] {
  const drawn = flat(topic, 261_000 + n, 'positions');
  const values = valuesOf(drawn);
  const one = fromZero(drawn, values);
  if (Math.max(one.keys, ...(one.lengthsKv ?? [])) > 1200) return [];
  return refusedOr(() => wrongKeys(one, 'positions', maskFor(one, values, 262_000 + n, 1 + (n % 3))));
}

function scoreProgram(topic: Topic, n: number): string[] {
  const one = caseOf(topic, 271_000 + n, n % 2 === 0);
  if (Math.max(one.keys, ...(one.lengthsKv ?? [])) > 1200) return [];
  const program = n % 2 === 0 ? (fitted: Case) => scoreFor(fitted, 272_000 + n, 2) : () => smoothProgram(n >> 1);
  return wrongScores(one, program, 273_000 + n, n % 3 === 0) ?? [];
}

/** Of a program that has several operations in one sweep, and is of distances to both sides. */
function distances(n: number): string[] {
  return wrongScores(caseOf('masks', 274_000 + n, false), () => smoothProgram(1), 275_000 + n, false) ?? [];
}

/** Nothing is wrong where the analysis cannot exclude that an integer leaves int32. */
function refusedOr(body: () => string[]): string[] {
  try {
    return body();
  } catch (error) {
    if (error instanceof AttentionError && error.expected?.includes('int32')) return [];
    throw error;
  }
}

function threads(one: Case): string[] {
  const call = callOf(one);
  const bits = [1, 7].map((count) => {
    const { output, lse } = run({ ...call, options: { ...call.options, threads: count } });
    return [...bitsOf(output), ...bitsOf(lse!)].join();
  });
  return bits[0] === bits[1] ? [] : [`bits depend on threads: ${describe(one)}`];
}

function parts(topic: Topic, n: number): string[] {
  const { one, values, part } = parted(topic, 41_000 + n);
  const at = cuts(new Random(n), one.keys);
  const list = at.slice(1).map((end, p) => (p % 2 === 0 ? partialOf : finishedOf)(part(at[p]!, end)));
  const sinks = values.sinks === null ? {} : { sinks: Tensor.from(values.sinks, [one.headsQ]) };
  const merged = mergePartialsSync(list, { layout: one.layout, ...sinks });
  return differences(one, expectedOf(one, values), actualOf(one, merged as unknown as Result));
}

let count = 0;
for (const [what, check] of checks()) {
  let wrong: string[];
  try {
    wrong = check();
  } catch (error) {
    wrong = [String(error)];
  }
  if (wrong.length > 0) fail(what, wrong[0]!);
  count++;
}
console.log(`${count} checks passed`);
