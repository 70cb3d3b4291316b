// What a case should give: the reference and lp of every sequence and head.

import { attendHead, type Head, type HeadResult } from './attention.js';
import { lp } from './lp.js';
import { outputDtypeOf, type Case } from './case.js';
import { at, type Values } from './values.js';

/** By sequence, then query head. */
export interface Expected {
  heads: Head[][];
  results: HeadResult[][];
  /** Outputs of lp, for 16-bit outputs. */
  lp: Float64Array[][] | null;
}

/** The band of positions j - i that the case's programs leave open. */
export function bandOf(test: Case): { low: number; high: number } {
  const [left, right] = test.window ?? [Infinity, Infinity];
  return { low: -left, high: test.causal ? Math.min(0, right) : right };
}

export function headsOf(test: Case, values: Values): Head[][] {
  const band = bandOf(test);
  return values.sequences.map(({ batch, queries, keys }, s) => {
    const start = test.align === 'top-left' ? 0 : keys - queries;
    return Array.from({ length: test.headsQ }, (_, h) => {
      const hkv = Math.floor(h / (test.headsQ / test.headsKv));
      return {
        queries,
        keys,
        dimQk: test.dimQk,
        dimV: test.dimV,
        query: values.query[s]![h]!,
        key: values.key[s]![hkv]!,
        value: values.value[s]![hkv]!,
        scale: test.scale ?? 1 / Math.sqrt(test.dimQk),
        softcap: test.softcap ?? 0,
        allowed: (row: number, column: number) => {
          const distance = column - (start + row);
          if (distance < band.low || distance > band.high) return false;
          return values.masks.every((mask) => at(mask, batch, h, row, column) !== 0);
        },
        ...(values.bias === null
          ? {}
          : { bias: (row: number, column: number) => at(values.bias!, batch, h, row, column) }),
        ...(values.sinks === null ? {} : { sink: values.sinks[h]! }),
      };
    });
  });
}

export function expectedOf(test: Case, values: Values): Expected {
  const heads = headsOf(test, values);
  const output = outputDtypeOf(test);
  return {
    heads,
    results: heads.map((list) => list.map((head) => attendHead(head))),
    lp: output === 'float32' ? null : heads.map((list) => list.map((head) => lp(head, { ...test.dtypes, output }))),
  };
}
