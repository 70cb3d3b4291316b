// Sessions of onnxruntime-node: one contrib operator each, on the CPU provider.
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { encodeModel, type ElementType, type NodeModel } from './onnx-model.js';

export type Feeds = Record<string, Tensor>;

const input = (name: string, type: ElementType = 'float32') => ({ name, type });

export interface Node {
  operator: 'MultiHeadAttention' | 'GroupQueryAttention';
  /** Names of the inputs in use; the operator's other inputs are left empty. */
  inputs: readonly string[];
  attributes: NodeModel['attributes'];
}

const SLOTS: Record<Node['operator'], readonly { name: string; type: ElementType }[]> = {
  MultiHeadAttention: [
    input('query'),
    input('key'),
    input('value'),
    input('bias'),
    input('key_padding_mask', 'int32'),
    input('attention_bias'),
    input('past_key'),
    input('past_value'),
  ],
  GroupQueryAttention: [
    input('query'),
    input('key'),
    input('value'),
    input('past_key'),
    input('past_value'),
    input('seqlens_k', 'int32'),
    input('total_sequence_length', 'int32'),
    input('cos_cache'),
    input('sin_cache'),
    input('position_ids'),
    input('attention_bias'),
    input('head_sink'),
  ],
};

// With a past, MultiHeadAttention reads keys and values from its present outputs, so they have to be there.
function outputNames({ operator, inputs }: Node): readonly string[] {
  const present = operator === 'GroupQueryAttention' || inputs.includes('past_key');
  return present ? ['output', 'present_key', 'present_value'] : ['output'];
}

/** A session of one com.microsoft node on `threads` intra-op threads. */
export function createSession(node: Node, threads: number): Promise<InferenceSession> {
  const { operator, inputs, attributes } = node;
  const used = SLOTS[operator].map((slot) => (inputs.includes(slot.name) ? slot : null));
  while (used.at(-1) === null) used.pop();
  const outputs = outputNames(node).map((name) => input(name));
  const model = encodeModel({ operator, domain: 'com.microsoft', inputs: used, outputs, attributes });
  return InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
  });
}

export const floats = (data: Float32Array, dims: readonly number[]): Tensor => new Tensor('float32', data, dims);
export const ints = (data: readonly number[], dims: readonly number[]): Tensor =>
  new Tensor('int32', Int32Array.from(data), dims);
