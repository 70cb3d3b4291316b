// Text to embeddings in one thread: tokeniser and encoder together, with the time each batch took.

import { MAX_TOKENS, SentenceEncoder } from './encoder.js';
import { loadVocabulary, Tokenizer } from './tokenizer.js';

export interface Embedded {
  /** [sentences, dimensions], row-major, every row of length one. */
  embeddings: Float32Array;
  /** Tokens that went through the encoder. */
  tokens: number;
  /** Milliseconds this call spent in all, and in attention. */
  time: number;
  attentionTime: number;
}

export class TextEmbedder {
  readonly dimensions: number;
  readonly #encoder: SentenceEncoder;
  readonly #tokenizer: Tokenizer;

  private constructor(encoder: SentenceEncoder, tokenizer: Tokenizer) {
    this.#encoder = encoder;
    this.#tokenizer = tokenizer;
    this.dimensions = encoder.dimensions;
  }

  static async load(): Promise<TextEmbedder> {
    return new TextEmbedder(await SentenceEncoder.load(), new Tokenizer(loadVocabulary()));
  }

  /** Embeds a batch of sentences together. Calls must not overlap, or their attention times mix. */
  async embed(sentences: readonly string[]): Promise<Embedded> {
    const began = performance.now();
    const attentionBefore = this.#encoder.attentionTime;
    const tokens = sentences.map((sentence) => this.#tokenizer.encode(sentence));
    const embeddings = await this.#encoder.encode(tokens);
    return {
      embeddings,
      tokens: tokens.reduce((sum, ids) => sum + Math.min(ids.length, MAX_TOKENS), 0),
      time: performance.now() - began,
      attentionTime: this.#encoder.attentionTime - attentionBefore,
    };
  }
}
