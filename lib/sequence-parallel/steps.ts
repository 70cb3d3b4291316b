// The calls of each schedule on a rank, one after the other, and what has to come in for them.

import type { Outline } from './explain-block.js';
import { partially } from './local.js';
import { rowsNeeded } from './needs.js';
import { portionsOf } from './portions.js';
import type { Schedule } from './predict.js';
import { allRows, countsOf, partOf } from './request.js';
import type { Request, Whole } from './request.js';
import { restricted } from './runs.js';
import type { Run } from './runs.js';
import { childrenOf } from './tree.js';
import { headsOf } from './ulysses.js';
import { outputBytes, pairBytes, partialBytes, queryBytes, rowsIn } from './volume.js';

/** One call to come: what it waits for, and the request that it is a part of. */
export interface Step {
  readonly receivedBytes: number;
  readonly block: Outline | null;
  readonly request: Request;
  readonly headsQ: number;
  readonly headsKv: number;
}

export function stepsOf(schedule: Schedule, request: Request, whole: Whole, rank: number, headsStep: number): Step[] {
  const steps = { ring: ringSteps, tree: treeSteps, allGather: gatherSteps, ulysses: ulyssesSteps }[schedule];
  return steps(request, whole, rank, headsStep);
}

/** The queries of other ranks, which a tree needs where they are dealt out. */
export function queriesOf(request: Request, whole: Whole, rank: number): Step {
  const { geometry } = request;
  const missing = rowsIn(geometry, whole.queries) - rowsIn(geometry, countsOf(whole.rows[rank]!));
  const receivedBytes = queryBytes(geometry, geometry.headsQ, missing);
  return { receivedBytes, block: null, request, headsQ: 0, headsKv: 0 };
}

function ringSteps(given: Request, whole: Whole, rank: number): Step[] {
  const { headsQ, headsKv } = given.geometry;
  const request = partially(given);
  const size = whole.rows.length;
  const rows = whole.rows[rank]!;
  const step = (columns: readonly (readonly Run[])[], receivedBytes: number): Step => {
    const block = { queries: countsOf(rows), keys: countsOf(columns), part: partOf(request, whole, rows, columns) };
    return { receivedBytes, block, request, headsQ, headsKv };
  };
  const steps = [step(whole.columns[rank]!, 0)];
  for (let round = 1; round < size; round += 1) {
    const all = whole.columns[(rank - round + size) % size]!;
    const portions = portionsOf(size, rowsNeeded(request, whole, rows, all));
    if (portions.length === 0) steps.push({ receivedBytes: 0, block: null, request, headsQ, headsKv });
    for (const ranges of portions) {
      const columns = all.map((runs, b) => restricted(runs, ranges[b]!));
      steps.push(step(columns, pairBytes(given.geometry, headsKv, rowsIn(given.geometry, countsOf(columns)))));
    }
  }
  return steps;
}

function treeSteps(given: Request, whole: Whole, rank: number): Step[] {
  const { headsQ, headsKv } = given.geometry;
  const request = partially(given);
  const [rows, columns] = [allRows(whole.queries), whole.columns[rank]!];
  const messages = childrenOf(rank, whole.rows.length).length + (rank === 0 ? 0 : 1);
  const block = { queries: countsOf(rows), keys: countsOf(columns), part: partOf(request, whole, rows, columns) };
  const receivedBytes = messages * partialBytes(given.geometry, rowsIn(given.geometry, whole.queries));
  return [{ receivedBytes, block, request, headsQ, headsKv }];
}

function gatherSteps(request: Request, whole: Whole, rank: number, headsStep: number): Step[] {
  const { geometry } = request;
  const { headsQ, headsKv } = geometry;
  const share = headsQ / headsKv;
  const [rows, columns] = [whole.rows[rank]!, allRows(whole.keys)];
  const part = partOf(request, whole, rows, columns);
  const missing = rowsIn(geometry, whole.keys) - rowsIn(geometry, countsOf(whole.columns[rank]!));
  const steps: Step[] = [];
  for (let first = 0; first < headsKv; first += headsStep) {
    const heads = Math.min(headsStep, headsKv - first);
    steps.push({
      receivedBytes: pairBytes(geometry, heads, missing),
      block: {
        queries: countsOf(rows),
        keys: whole.keys,
        part: { ...part, whole: whole.rows.length === 1, head: first * share, headKv: first },
      },
      request,
      headsQ: heads * share,
      headsKv: heads,
    });
  }
  return steps;
}

function ulyssesSteps(request: Request, whole: Whole, rank: number): Step[] {
  const { geometry } = request;
  const { headsQ, headsKv } = geometry;
  const size = whole.rows.length;
  const queries = rowsIn(geometry, countsOf(whole.rows[rank]!));
  const missingQ = rowsIn(geometry, whole.queries) - queries;
  const missingKv = rowsIn(geometry, whole.keys) - rowsIn(geometry, countsOf(whole.columns[rank]!));
  const part = partOf(request, whole, allRows(whole.queries), allRows(whole.keys));
  const own = headsOf(headsQ, headsKv, rank, size);
  const steps = own.map((heads): Step => {
    const rows = queryBytes(geometry, heads.query.count, missingQ);
    return {
      receivedBytes: rows + pairBytes(geometry, heads.key.count, missingKv),
      block: {
        queries: whole.queries,
        keys: whole.keys,
        part: { ...part, whole: true, head: heads.query.start, headKv: heads.key.start },
      },
      request,
      headsQ: heads.query.count,
      headsKv: heads.key.count,
    };
  });
  // Then the results come back that other ranks have.
  const elsewhere = headsQ - own.reduce((sum, heads) => sum + heads.query.count, 0);
  const receivedBytes = outputBytes(geometry, elsewhere, queries);
  return [...steps, { receivedBytes, block: null, request, headsQ: 0, headsKv: 0 }];
}
