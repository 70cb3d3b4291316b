// Masks and scores over a part of a sequence, made once for each part.

import { withoutLists } from '../block-programs.js';
import { BoundProgram } from '../bound-program.js';
import { language } from '../language.js';
import type { Graph, Op } from '../program/graph.js';
import type { Part } from '../program/relocate.js';

/** Of one program: the latest parts, the latest last. */
const made = new WeakMap<BoundProgram, Map<string, BoundProgram>>();
export const maxParts = 64;

/** The program over a part; itself where the part is the whole, or all the same to it. */
export function moved(program: BoundProgram, part: Part): BoundProgram {
  if (isWhole(program, part)) return program;
  let parts = made.get(program);
  if (parts === undefined) made.set(program, (parts = new Map()));
  const key = JSON.stringify(part);
  const result = parts.get(key) ?? move(program, part);
  parts.delete(key);
  parts.set(key, result);
  if (parts.size > maxParts) parts.delete(parts.keys().next().value!);
  return result;
}

function move(program: BoundProgram, part: Part): BoundProgram {
  const { graph, numbers, tables, product } = withoutLists(program);
  const over = language().relocate(graph, part);
  const added = over.tables.map((values) => ({
    kind: { type: 'integer' as const, rank: 1 as const },
    number: 0,
    cells: Int32Array.from(values),
    shape: [values.length],
  }));
  return new BoundProgram(over.graph, numbers, [...tables, ...added], [], product && 'lost');
}

function isWhole({ graph, lists }: BoundProgram, part: Part): boolean {
  if (!part.whole) return false;
  if (part.head === 0 && part.headKv === 0) return true;
  return lists.every(({ heads }) => heads === 1) && !reads(graph, 'h', 'hkv');
}

/** Whether a program depends on some of these. */
export function reads({ nodes }: Graph, ...names: readonly Op[]): boolean {
  return nodes.some(({ op }) => names.includes(op));
}
