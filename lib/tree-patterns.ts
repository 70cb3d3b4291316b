// Patterns of trees: sequences that share what comes before them.

import { integerCells } from './builtins.js';
import type { Row } from './builtins.js';
import { AttentionError } from './errors.js';
import { builtInMask } from './masks.js';
import type { Mask } from './masks.js';
import { checkInteger } from './shape.js';

const mostTokens = 2 ** 26;

/**
 * A prefix and branches after it, one behind the other: a token sees the prefix and its own branch, both causally. With
 * two branches, chosen and rejected, it is the prefix sharing of preference training (DPO; Wang & Hegde 2024).
 *
 * @param prefix Its length.
 * @param lengths Those of the branches.
 */
export function branches(prefix: number, lengths: Row): Mask {
  const shared = checkInteger('prefix', prefix, 0, mostTokens);
  const each = integerCells('lengths', lengths);
  let total = shared;
  each.forEach((length, n) => {
    total += checkInteger(`lengths[${n}]`, length, 0, mostTokens);
    if (total > mostTokens) throw new AttentionError('ERR_OUT_OF_RANGE', 'lengths', 'at most 2^26 tokens', `${total}`);
  });
  const ids = new Int32Array(total);
  let end = shared;
  each.forEach((length, n) => {
    ids.fill(n + 1, end, (end += length));
  });
  const program = '(i, j, { prefix, ids }) => j <= i && (j < prefix || ids(i) === ids(j))';
  return builtInMask(`branches(${shared}, ${each.length} of them)`, program, { prefix: shared, ids });
}

/**
 * A tree of drafted tokens behind what is there already (tree verification: SpecInfer, Medusa): the queries are the
 * tree's tokens, and the last keys are theirs. Each sees all keys before them, itself and its ancestors.
 *
 * @param parents Of each token the number of its parent in the tree, a smaller one than its own, or -1.
 */
export function draftTree(parents: Row): Mask {
  const given = integerCells('parents', parents);
  const count = given.length;
  if (count > 4096) throw new AttentionError('ERR_OUT_OF_RANGE', 'parents', 'at most 4096 tokens', `${count}`);
  const seen = new Int32Array(count * count);
  given.forEach((parent, n) => {
    checkInteger(`parents[${n}]`, parent, -1, n - 1);
    if (parent >= 0) seen.copyWithin(n * count, parent * count, (parent + 1) * count);
    seen[n * count + n] = 1;
  });
  const program = `(i, j, { row, col, nq, nkv, seen }) =>
    col < nkv - nq || seen(row, col - (nkv - nq)) === 1`;
  return builtInMask(`draftTree(${count} tokens)`, program, { seen: { data: seen, shape: [count, count] } });
}
