// Block layouts in the programs of masks: beside a program that hides nothing, or as a program that reads their bits.

import type { BlockLayout } from './block-layout.js';
import { blocksOf, lineCount } from './block-layout.js';
import { BoundProgram, bindProgram, joinPrograms } from './bound-program.js';
import { AttentionError } from './errors.js';
import { language } from './language.js';
import { readParameters } from './parameters.js';

/** Words of 32 blocks in a table; more are only served as lists. */
const mostWords = 2 ** 26;

let nothing: BoundProgram | undefined;

/** What lists alone say. */
export function listedProgram(layout: BlockLayout): BoundProgram {
  nothing ??= bindProgram('mask', '() => true', new Map(), undefined).bound;
  return new BoundProgram(nothing.graph, [], [], [], undefined, [layout]);
}

/** The same without lists: what `or` and `not` can be made of. */
export function withoutLists(program: BoundProgram): BoundProgram {
  if (program.lists.length === 0) return program;
  const { graph, numbers, tables, grids } = program;
  const parts = [new BoundProgram(graph, numbers, tables, grids), ...program.lists.map(denseProgram)];
  return joinPrograms(parts, (graphs) => language().combineMasks('and', graphs));
}

function denseProgram(layout: BlockLayout): BoundProgram {
  const { sizeQ, sizeK, rows, columns, batches, heads, byRow } = layout;
  const lines = lineCount(layout);
  const words = Math.max(1, Math.ceil(columns / 32));
  if (lines * words > mostWords) {
    throw new AttentionError(
      'ERR_UNSUPPORTED',
      'layout',
      `at most ${mostWords} words of 32 blocks in a layout that or() or not() take (its own or() and not() take more)`,
      `${lines} lines of ${words} words`,
    );
  }
  const bits = new Int32Array(lines * words);
  for (let line = 0; line < lines; line += 1) {
    for (const block of blocksOf(layout, line)) bits[line * words + (block >> 5)]! |= 1 << (block & 31);
  }
  const head = heads === 1 ? '' : batches === 1 ? 'h * rows + ' : `(b * heads + h) * rows + `;
  const line = heads === 1 && batches > 1 ? 'b * rows + ' : head;
  const text = `(i, j, { b, h, row, bits, rows, heads, sizeQ, sizeK }) =>
    (bits(${line}Math.floor(${byRow ? 'row' : 'i'} / sizeQ), Math.floor(j / sizeK) >> 5)
      >> (Math.floor(j / sizeK) & 31) & 1) === 1`;
  const given = { bits: { data: bits, shape: [lines, words] }, rows, heads, sizeQ, sizeK };
  return bindProgram('mask', text, readParameters('layout', given, 'mask'), undefined).bound;
}
