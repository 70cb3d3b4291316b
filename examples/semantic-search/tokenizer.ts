// Splits text into the vocabulary's pieces: the unigram language model of SentencePiece, in which the best split is the
// one whose pieces have the highest sum of log-probabilities.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { modelDirectory } from './weights.js';

/** Piece and log-probability, in the order of token ids. A few entries of the published file have null for a score. */
export type Vocabulary = [piece: string, score: number | null][];

/** Stands for a space, and for the start of the text. */
const SPACE = '\u2581';
/** Id of whatever the vocabulary has no piece for. */
const UNKNOWN = 0;
/** The first ids are control symbols, which text never produces. */
const RESERVED = 6;

/** Reads the vocabulary that ships with the model. */
export function loadVocabulary(directory: string = modelDirectory()): Vocabulary {
  return JSON.parse(readFileSync(join(directory, 'vocab.json'), 'utf8')) as Vocabulary;
}

export class Tokenizer {
  readonly #pieces = new Map<string, { id: number; score: number }>();
  readonly #longest: number;

  constructor(vocabulary: Vocabulary) {
    let longest = 1;
    for (let id = RESERVED; id < vocabulary.length; id++) {
      const [piece, score] = vocabulary[id]!;
      // The published file lists two pieces twice; the later id is the one in use.
      this.#pieces.set(piece, { id, score: score ?? 0 });
      longest = Math.max(longest, piece.length);
    }
    this.#longest = longest;
  }

  /**
   * Token ids of a text; none for an empty one. Text is normalised to NFKC first. A character no piece starts with is
   * unknown (id 0), and a run of such characters is one token.
   */
  encode(text: string): number[] {
    const normal = text.normalize('NFKC');
    if (normal.length === 0) return [];
    const symbols = SPACE + normal.replaceAll(' ', SPACE);

    // best[end]: the score of the best split of the first `end` symbols; lengths[end] and ids[end]: its last piece.
    const best = new Float64Array(symbols.length + 1);
    const lengths = new Int32Array(symbols.length + 1);
    const ids = new Int32Array(symbols.length + 1);
    for (let start = 0; start < symbols.length; start++) {
      let known = false;
      const limit = Math.min(this.#longest, symbols.length - start);
      for (let length = 1; length <= limit; length++) {
        const piece = this.#pieces.get(symbols.slice(start, start + length));
        if (piece === undefined) continue;
        known = true;
        extend(start, length, piece.id, piece.score);
      }
      if (!known) extend(start, 1, UNKNOWN, 0);
    }

    const tokens: number[] = [];
    for (let end = symbols.length; end > 0; end -= lengths[end]!) {
      const id = ids[end]!;
      if (id !== UNKNOWN || tokens.at(-1) !== UNKNOWN) tokens.push(id);
    }
    return tokens.reverse();

    // Of equal scores the later start wins, that is, the shorter last piece. The tokenizer that the model was published
    // with takes a score of exactly 0 for none yet, which shows where a text begins with a colon (score null).
    function extend(start: number, length: number, id: number, pieceScore: number): void {
      const end = start + length;
      const score = best[start]! + pieceScore;
      if (best[end] !== 0 && score < best[end]!) return;
      best[end] = score;
      lengths[end] = length;
      ids[end] = id;
    }
  }
}
