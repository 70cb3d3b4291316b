import { square, type Case } from '../case.js';

function packed(what: string, lengths: readonly number[]): Case {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  const label = `${what}: ${lengths.length} sequences, ${total} rows, longest ${Math.max(...lengths)}`;
  return square('ragged', total, 64, { layout: 'bshd', label, batch: lengths.length, lengths });
}

/** Lengths that fall off like those of sentences: many short ones, a few long ones. Always the same. */
function sentenceLengths(count: number, median: number, longest: number): number[] {
  return Array.from({ length: count }, (_, i) => {
    const u = (((i * 7919) % count) + 0.5) / count;
    const normal = Math.log(u / (1 - u)) / 1.702; // logistic approximation of the normal quantile
    return Math.max(1, Math.min(longest, Math.round(median * Math.exp(0.7 * normal))));
  });
}

/** Sequences of many lengths back to back. */
export const ragged = (): Case[] => [
  packed('sentences', sentenceLengths(256, 24, 128)),
  packed('paragraphs', sentenceLengths(32, 180, 1024)),
];
