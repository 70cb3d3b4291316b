// A thread of embed.ts: loads the model, then embeds every batch it is sent.

import { parentPort } from 'node:worker_threads';

import { TextEmbedder, type Embedded } from './text-embedder.js';

/** Sent to the worker. */
export interface Batch {
  first: number;
  sentences: string[];
}

/** Sent back: the model is loaded, or a batch is done. */
export type Reply = { kind: 'ready' } | ({ kind: 'embedded'; batch: Batch } & Embedded);

async function serve(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error('embed-worker.ts runs as a worker thread');
  const embedder = await TextEmbedder.load();
  // A failure in here is an unhandled rejection, which ends the thread with that error: embed.ts reports it.
  port.on('message', async (batch: Batch) => {
    const embedded = await embedder.embed(batch.sentences);
    const transfer = [embedded.embeddings.buffer as ArrayBuffer];
    port.postMessage({ kind: 'embedded', batch, ...embedded } satisfies Reply, transfer);
  });
  port.postMessage({ kind: 'ready' } satisfies Reply);
}

void serve();
