// Embeds many sentences on several threads. The matrix products run on the calling JavaScript thread, so each thread
// has its own copy of the model; the attention of all of them shares the library's one pool.

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';

import type { Batch, Reply } from './embed-worker.js';

export interface EmbedStatistics {
  threads: number;
  tokens: number;
  /** Milliseconds: on the clock, then summed over threads in all and in attention. */
  elapsed: number;
  threadTime: number;
  attentionTime: number;
}

/** Characters in a batch: about 2,000 tokens, enough to keep the matrix products efficient. */
const BATCH_CHARACTERS = 8_000;

/** Neighbours in order, cut where a batch has enough text. */
export function makeBatches(sentences: readonly string[], characters = BATCH_CHARACTERS): Batch[] {
  const batches: Batch[] = [];
  let size = Infinity;
  for (const [index, sentence] of sentences.entries()) {
    if (size >= characters) {
      batches.push({ first: index, sentences: [] });
      size = 0;
    }
    batches.at(-1)!.sentences.push(sentence);
    size += sentence.length;
  }
  return batches;
}

/**
 * Embeddings of all sentences, [sentences, dimensions] row-major, and what they took. `progress` is told how many
 * sentences are done. Rejects with the first thread's failure.
 */
export async function embedAll(
  sentences: readonly string[],
  dimensions: number,
  progress: (done: number) => void,
  threads: number = Math.min(availableParallelism(), 8),
): Promise<{ embeddings: Float32Array; statistics: EmbedStatistics }> {
  const began = performance.now();
  const batches = makeBatches(sentences);
  const embeddings = new Float32Array(sentences.length * dimensions);
  const statistics = {
    threads: Math.min(threads, batches.length),
    tokens: 0,
    elapsed: 0,
    threadTime: 0,
    attentionTime: 0,
  };
  let next = 0;
  let done = 0;

  function runWorker(worker: Worker): Promise<void> {
    return new Promise((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', (code) => reject(new Error(`an embedding thread ended early with code ${code}`)));
      worker.on('message', (reply: Reply) => {
        if (reply.kind === 'embedded') {
          embeddings.set(reply.embeddings, reply.batch.first * dimensions);
          statistics.tokens += reply.tokens;
          statistics.threadTime += reply.time;
          statistics.attentionTime += reply.attentionTime;
          done += reply.batch.sentences.length;
          progress(done);
        }
        const batch = batches[next++];
        if (batch === undefined) resolve();
        // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
        else worker.postMessage(batch);
      });
    });
  }

  const workers = Array.from({ length: statistics.threads }, () => new Worker(join(__dirname, 'embed-worker.cjs')));
  try {
    await Promise.all(workers.map(runWorker));
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
  statistics.elapsed = performance.now() - began;
  return { embeddings, statistics };
}
