// NaN and infinities where a query may not look: keys and values that are masked for all or only for some.

import { actualOf, callOf, run } from './call.js';
import { describe, type Case } from './case.js';
import { headsOf } from './expected.js';
import { draw, usual, type Topic } from './grid.js';
import { Random } from './random.js';
import { valuesOf, type Values } from './values.js';

export const bad = [NaN, Infinity, -Infinity];

export function copy(values: Values): Values {
  const deep = (list: Float64Array[][]) => list.map((heads) => heads.map((head) => head.slice()));
  return {
    ...values,
    key: deep(values.key),
    value: deep(values.value),
    query: deep(values.query),
    bias: values.bias && { ...values.bias, data: values.bias.data.slice() },
  };
}

interface Poison {
  /** By sequence and kv head: keys whose K or V is poisoned. */
  keys: Set<number>[][];
  values: Set<number>[][];
}

/** Runs a case clean and poisoned: what rows that see no poison lost, and rows that see it kept. */
export function wrongRows(
  one: Case,
  seed: number,
  hiddenOnly: boolean,
): { wrong: string[]; kept: number; spoiled: number } {
  const random = new Random(seed);
  const clean = valuesOf(one);
  const heads = headsOf(one, clean);
  const group = one.headsQ / one.headsKv;
  const hidden = (s: number, h: number, row: number, j: number) => !heads[s]![h]!.allowed(row, j);
  const weightless = (s: number, h: number, row: number, j: number) =>
    hidden(s, h, row, j) || heads[s]![h]!.bias?.(row, j) === -Infinity;

  const poisoned = copy(clean);
  const sets = () => heads.map((_, s) => Array.from({ length: one.headsKv }, () => new Set<number>([s].slice(1))));
  const poison: Poison = { keys: sets(), values: sets() };
  heads.forEach((list, s) => {
    const { queries, keys } = list[0]!;
    for (let hkv = 0; hkv < one.headsKv; hkv++) {
      const seenBySome = (j: number, blind: typeof hidden) => {
        for (let h = hkv * group; h < (hkv + 1) * group; h++) {
          for (let row = 0; row < queries; row++) if (!blind(s, h, row, j)) return true;
        }
        return false;
      };
      for (let j = 0; j < keys; j++) {
        const keyUnseen = !seenBySome(j, hidden);
        if (keyUnseen || (!hiddenOnly && random.chance(0.5 / keys))) {
          poisoned.key[s]![hkv]!.fill(random.pick(bad), j * one.dimQk, (j + 1) * one.dimQk);
          poison.keys[s]![hkv]!.add(j);
        }
        if (keyUnseen || !seenBySome(j, weightless) || (!hiddenOnly && random.chance(0.5 / keys))) {
          poisoned.value[s]![hkv]!.fill(random.pick(bad), j * one.dimV, (j + 1) * one.dimV);
          poison.values[s]![hkv]!.add(j);
        }
      }
    }
  });

  const before = actualOf(one, run(callOf(one, clean)));
  const after = actualOf(one, run(callOf(one, poisoned)));
  const outcome = { wrong: [] as string[], kept: 0, spoiled: 0 };
  let first = 0;
  heads.forEach((list, s) => {
    list.forEach((head, h) => {
      const hkv = Math.floor(h / group);
      for (let row = 0; row < head.queries; row++) {
        const [b, at] = one.lengths === 'ragged' ? [0, first + row] : [s, row];
        const badKey = [...poison.keys[s]![hkv]!].some((j) => !hidden(s, h, row, j));
        const badValue = [...poison.values[s]![hkv]!].some((j) => !weightless(s, h, row, j));
        const where = `[${b}, ${h}, ${at}]`;
        if (!badKey && !badValue) {
          outcome.kept++;
          for (let d = 0; d < one.dimV; d++) {
            const [x, y] = [before.output(b, h, at, d), after.output(b, h, at, d)];
            if (!Object.is(x, y)) outcome.wrong.push(`output${where}[${d}]: ${y}, was ${x}`);
          }
        } else if (badValue && !badKey) {
          outcome.spoiled++;
          if (Number.isFinite(after.output(b, h, at, 0)))
            outcome.wrong.push(`output${where} finite in spite of a seen value`);
        } else outcome.spoiled++;
        if (!badKey) {
          for (const name of ['lse', 'entropy', 'rowMax'] as const) {
            if (one[name] && !Object.is(before[name]!(b, h, at), after[name]!(b, h, at)))
              outcome.wrong.push(`${name}${where} changed`);
          }
        }
      }
    });
    first += list[0]!.queries;
  });
  if (outcome.wrong.length > 0) outcome.wrong = [...outcome.wrong.slice(0, 4), `in ${describe(one)}`];
  return outcome;
}

/** Scores small enough that no visible key's weight vanishes. */
export function tame(topic: Topic, seed: number): Case {
  const one = draw(topic, seed, { ...usual, work: 100_000 });
  const shared = one.storage.key === 'shared' || one.storage.value === 'shared';
  if (shared) one.storage = { query: 'strided', key: 'strided', value: 'strided' };
  return { ...one, scores: one.scores === 'wide' ? 'normal' : one.scores, scale: null };
}
