// What is wrong with a program, shown in its source with a caret below the place.

import { AttentionError } from '../errors.js';

/** Characters of a line that are shown on either side of the caret. */
const sight = 60;

/**
 * An `ERR_PROGRAM` error about one place of a source.
 *
 * @param offset Where, in UTF-16 units from the start of the source.
 * @param received What stands there.
 * @param remedy What would be accepted, and how to get there.
 */
export function problem(source: string, offset: number, received: string, remedy: string): AttentionError {
  const at = Math.max(0, Math.min(offset, source.length));
  const lineStart = Math.max(...['\n', '\r', '\u2028', '\u2029'].map((end) => source.lastIndexOf(end, at - 1))) + 1;
  const rest = source.slice(lineStart).search(/[\n\r\u2028\u2029]/u);
  const lineEnd = rest < 0 ? source.length : lineStart + rest;
  const line = source.slice(0, lineStart).split(/\r\n|[\n\r\u2028\u2029]/u).length;

  const from = Math.max(lineStart, at - sight);
  const to = Math.min(lineEnd, at + sight);
  const before = (from > lineStart ? '…' : '') + printable(source.slice(from, at));
  const after = printable(source.slice(at, to)) + (to < lineEnd ? '…' : '');
  const picture = `\n\n    ${before}${after}\n    ${' '.repeat(before.length)}^`;
  const place = `line ${line}, column ${at - lineStart + 1}`;
  return new AttentionError('ERR_PROGRAM', 'program', shortened(remedy), `${shortened(received)} (${place})${picture}`);
}

/** An `ERR_PROGRAM` error about a program as a whole. */
export function wholeProblem(received: string, remedy: string): AttentionError {
  return new AttentionError('ERR_PROGRAM', 'program', remedy, received);
}

/** Names come from the source, and may have any length. */
function shortened(text: string): string {
  return text.length > 240 ? `${text.slice(0, 240)}…` : text;
}

/** One column a UTF-16 unit, so that the caret stands where it should. */
function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\t]/gu, (found) => ' '.repeat(found.length));
}
