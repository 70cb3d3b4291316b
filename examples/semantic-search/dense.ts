// Fully connected layers by TensorFlow.js's WebAssembly backend, whose matrix products are XNNPACK's.

import type { EventEmitter } from 'node:events';
import { dirname } from 'node:path';

import * as tf from '@tensorflow/tfjs-core';
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

import type { DenseWeights } from './weights.js';

const ERROR_EVENTS = ['uncaughtException', 'unhandledRejection'];

let started: Promise<void> | undefined;

/** Starts the WebAssembly backend, once in a thread. */
export function startDense(): Promise<void> {
  started ??= startWasm();
  return started;
}

async function startWasm(): Promise<void> {
  setWasmPaths(`${dirname(require.resolve('@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm'))}/`);
  // Emscripten's start-up code catches every uncaught error of the process, only to throw it again under its own name.
  const events: EventEmitter = process;
  const before = ERROR_EVENTS.map((event) => events.listeners(event));
  if (!(await tf.setBackend('wasm'))) throw new Error('TensorFlow.js could not start its WebAssembly backend');
  for (const [index, event] of ERROR_EVENTS.entries()) {
    for (const listener of events.listeners(event)) {
      if (!before[index]!.includes(listener)) events.removeListener(event, listener as () => void);
    }
  }
}

/** One layer, its weights resident in WebAssembly memory. `startDense` must have finished. */
export class Dense {
  readonly inputs: number;
  readonly outputs: number;
  readonly #kernel: tf.Tensor2D;
  readonly #bias: tf.Tensor1D;
  readonly #activation: 'linear' | 'relu';

  constructor(weights: DenseWeights, activation: 'linear' | 'relu' = 'linear') {
    this.inputs = weights.inputs;
    this.outputs = weights.outputs;
    this.#kernel = tf.tensor2d(weights.kernel, [weights.inputs, weights.outputs], 'float32');
    this.#bias = tf.tensor1d(weights.bias, 'float32');
    this.#activation = activation;
  }

  /** activation(x·kernel + bias) of row-major rows, [n, inputs] to [n, outputs]. */
  apply(rows: Float32Array): Float32Array {
    const count = rows.length / this.inputs;
    if (count === 0) return new Float32Array(0);
    const product = tf.tidy(() =>
      tf.fused.matMul({
        a: tf.tensor2d(rows, [count, this.inputs], 'float32'),
        b: this.#kernel,
        bias: this.#bias,
        activation: this.#activation,
      }),
    );
    const result = product.dataSync<'float32'>();
    product.dispose();
    return result;
  }
}
