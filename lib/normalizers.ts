// How scores become weights: softmax, or a function of each score alone.

import { describe, invalidType, invalidValue, oneOf, outOfRange } from './errors.js';
import { isArray, readSnapshot } from './snapshot.js';

export type NormalizerName = 'softmax' | 'sigmoid' | 'relu' | 'squared-relu';

/** Weights 1 / (1 + exp(−s − shift)): Ramapuram et al. 2024, "Theory, Analysis, and Best Practices for Sigmoid Self-Attention". */
export interface SigmoidNormalizer {
  readonly kind: 'sigmoid';
  /** A number that is finite as float32, or 'keys' for −ln Nkv. Default 0. */
  readonly shift?: number | 'keys' | undefined;
}

/**
 * Weights max(s, 0) / divide ('relu': Wortsman et al. 2023, "Replacing softmax with ReLU in Vision Transformers"), or
 * max(s, 0)² / divide ('squared-relu': Hua et al. 2022, "Transformer Quality in Linear Time").
 */
export interface ReluNormalizer {
  readonly kind: 'relu' | 'squared-relu';
  /** A number > 0 that is finite and normal as float32, or 'keys' for Nkv. Default 1. */
  readonly divide?: number | 'keys' | undefined;
}

/**
 * How scores become weights. But for softmax, each weight w(i, j) is a function of its own score s(i, j), with mask,
 * score program, soft cap and bias as ever; output i = Σ w(i, j) v(j) over the keys that i sees. There is no
 * denominator, so no sinks, lse, entropy or rowMax (`ERR_UNSUPPORTED`). A row that sees no key is 0, and a value whose
 * weight is 0 is never looked at: NaN and infinities in it do not reach the row. 'keys' is the number of keys Nkv of the
 * row's sequence, seen or not; a partial, which has only some of them, needs the number instead. A name alone stands for
 * the defaults of its kind.
 */
export type Normalizer = NormalizerName | SigmoidNormalizer | ReluNormalizer | { readonly kind: 'softmax' };

/** A {@link Normalizer} that is softmax. */
export type SoftmaxNormalizer = 'softmax' | { readonly kind: 'softmax' };

/** A normalizer that is not softmax, as native/problem_codec.h has it. */
export interface NormalizerNumbers {
  readonly kind: number;
  readonly byKeys: boolean;
  readonly number: number;
}

const argument = 'options.normalizer';

/** By the numbers that the addon has for them. */
export const kinds: readonly NormalizerName[] = ['softmax', 'sigmoid', 'relu', 'squared-relu'];

/** null for softmax. */
export function readNormalizer(value: unknown): NormalizerNumbers | null {
  const expected = `${oneOf(kinds)}, or an object with one as its kind`;
  if (typeof value !== 'string' && (typeof value !== 'object' || value === null || isArray(argument, value))) {
    throw invalidType(argument, expected, value);
  }
  const given: Readonly<Record<string, unknown>> =
    typeof value === 'string' ? { kind: value } : readSnapshot(argument, value, ['kind', 'shift', 'divide']);
  const kind = kinds.indexOf(given['kind'] as NormalizerName);
  if (kind < 0) {
    const where = typeof value === 'string' ? argument : `${argument}.kind`;
    if (typeof given['kind'] !== 'string') throw invalidType(where, oneOf(kinds), given['kind']);
    throw invalidValue(where, typeof value === 'string' ? expected : oneOf(kinds), describe(given['kind']));
  }
  const { shift, divide } = given;
  if (shift !== undefined && kind !== 1) {
    throw invalidValue(`${argument}.shift`, `none for '${kinds[kind]}'`, describe(shift));
  }
  if (divide !== undefined && kind < 2) {
    throw invalidValue(`${argument}.divide`, `none for '${kinds[kind]}'`, describe(divide));
  }
  if (kind === 0) return null;
  return kind === 1 ? { kind, ...readShift(shift) } : { kind, ...readDivide(divide) };
}

type Given = Omit<NormalizerNumbers, 'kind'>;
const byKeys: Given = { byKeys: true, number: 0 };

function readShift(value: unknown): Given {
  if (value === 'keys') return byKeys;
  if (value === undefined) return { byKeys: false, number: 0 };
  const expected = "a number that is finite as float32, or 'keys'";
  if (typeof value !== 'number') throw invalidType(`${argument}.shift`, expected, value);
  if (!Number.isFinite(Math.fround(value))) throw outOfRange(`${argument}.shift`, expected, value);
  return { byKeys: false, number: value };
}

function readDivide(value: unknown): Given {
  if (value === 'keys') return byKeys;
  if (value === undefined) return { byKeys: false, number: 1 };
  const expected = "a number > 0 that is finite and normal as float32, or 'keys'";
  if (typeof value !== 'number') throw invalidType(`${argument}.divide`, expected, value);
  const divisor = Math.fround(value);
  if (!(divisor >= 2 ** -126 && divisor < Infinity)) throw outOfRange(`${argument}.divide`, expected, value);
  return { byKeys: false, number: value };
}
